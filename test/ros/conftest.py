"""Each test has a ROS domain of its own."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from launched import ROOT, SETTINGS, Launched
from nodes import IMAGE_MODEL, MODULES, PICTURE, PICTURE_AND_POSITION, Ros

from planet_ros.supervision.processes import own_domain
from planet_ros.supervision.supervisor import Supervisor


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A ROS domain that nobody else has, for this process and those that it starts."""
    with own_domain() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield


@pytest.fixture
def ros(domain: None, tmp_path: Path) -> Iterator[Ros]:
    """A domain of its own; all processes are gone afterwards."""
    with Supervisor() as supervisor:
        rig = Ros(supervisor, tmp_path)
        try:
            yield rig
        finally:
            rig.close()


@pytest.fixture
def tiny_bundle(tiny_run: Path) -> str:
    """A bundle that was learned on the point mass."""
    return str(tiny_run / "model")


@pytest.fixture(scope="session")
def image_bundles(
    tmp_path_factory: pytest.TempPathFactory, tiny_settings: Callable[..., Any]
) -> dict[str, str]:
    """Bundles that have seen little of each environment with images, by its id."""
    from planet_ros.training.loop import train

    bundles = {}
    for environment in (PICTURE, PICTURE_AND_POSITION):
        few = {"training.steps": 40, "training.random_steps": 20, "training.updates": 5}
        folder = tmp_path_factory.mktemp("images") / "run"
        train(tiny_settings(folder, {**IMAGE_MODEL, **few, **environment}))
        bundles[environment["env_id"]] = str(folder / "model")
    return bundles


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Where ROS finds this package, as colcon would install it."""
    prefix = tmp_path / "install"
    share, lib = prefix / "share", prefix / "lib" / "planet_ros"
    index = share / "ament_index" / "resource_index" / "packages"
    for folder in (index, lib, share / "planet_ros"):
        folder.mkdir(parents=True)
    (index / "planet_ros").touch()
    for part in ("launch", "config"):
        (share / "planet_ros" / part).symlink_to(ROOT / part)
    for name, module in MODULES.items():
        script = lib / name
        script.write_text(
            f"#!{sys.executable}\nimport sys\nfrom {module} import main\nsys.exit(main())\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return prefix


@pytest.fixture
def launch(ros: Ros, prefix: Path, tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    """``launch("sim.launch.py", seed=7)``: runs it until the test ends."""
    running: list[Launched] = []

    def start(name: str, settings: str = SETTINGS, **arguments: Any) -> Launched:
        file = prefix / "share" / "planet_ros" / "launch" / name
        (tmp_path / "settings.yaml").write_text(settings)
        if name in ("learn.launch.py", "robot.launch.py") and "model" not in arguments:
            arguments.setdefault("output", tmp_path / "run")
        arguments.setdefault("params_file", tmp_path / "settings.yaml")
        running.append(Launched(file, arguments, tmp_path, prefix))
        return running[-1]

    yield start
    for one in running:
        one.close()
