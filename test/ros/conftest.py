"""Each test has a ROS domain of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nodes import IMAGE_MODEL, PICTURE, PICTURE_AND_POSITION, Ros

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
