"""Documents from somebody else: nothing that they name is run by looking at them, or driving."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

pytest.importorskip("rclpy")

from planet_ros.bundle.export import BundleExporter
from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import PlannerSettings, WorldModelSettings
from planet_ros.config.ros_yaml import dump_yaml, load_yaml
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.interface.files import load_interface
from planet_ros.interface.signature import signature_of
from planet_ros.models import Ensemble
from planet_ros.ros.robot import Robot
from planet_ros.ros.types import make
from planet_ros.training.tasks import task_of

EVIL = "a_strangers_module"


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that exists once a module of the name `EVIL`, or one in it, has been imported."""
    trace = tmp_path / "trace"
    folder = tmp_path / "path" / EVIL
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(folder.parent)
    return trace


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """An interface whose reward and end are the stranger's functions."""
    interface = load_interface("pendulum").model_dump(exclude_defaults=True)
    interface["reward"] = {"kind": "function", "function": f"{EVIL}:reward"}
    interface["end"] = {"function": f"{EVIL}:ended"}
    path = tmp_path / "robot.yaml"
    path.write_text(dump_yaml(interface))
    return path


def test_an_interface_is_looked_at_without_its_functions(
    document: Path, evil: Path, prints: Callable[..., str]
) -> None:
    assert "joint_states" in prints("interface", document)
    assert not evil.exists()
    # Whoever learns by it does import them, and nobody else: so the trace would be seen.
    interface = load_interface(document)
    with pytest.raises(UserError):
        task_of(interface, signature_of(interface, make), make)
    assert evil.exists()


def bundle_with(interface: Interface, folder: Path) -> Path:
    """A bundle that has learned nothing, and bears an interface as it is."""
    signature = signature_of(load_interface("pendulum"), make)
    torch.manual_seed(0)
    model = Ensemble(signature, WorldModelSettings(members=1, hidden_sizes=[4]))
    BundleExporter(model, 2).export(
        folder,
        {
            "model_kind": "ensemble",
            "horizon": 2,
            "signature": signature,
            "planner": PlannerSettings(horizon=2, candidates=4, iterations=1),
            "interface": interface,
        },
    )
    return folder


def test_a_controller_takes_a_bundle_without_the_functions_of_its_interface(
    document: Path, evil: Path, tmp_path: Path, prints: Callable[..., str]
) -> None:
    path = bundle_with(load_interface(document), tmp_path / "model")
    bundle = load_bundle(path)
    Robot.of(bundle).check(bundle)
    prints("info", path)
    assert not evil.exists()


def test_a_controller_imports_no_module_for_the_type_of_a_topic(evil: Path, tmp_path: Path) -> None:
    """The type is a name that the bundle brings."""
    interface = load_interface("pendulum")
    part = interface.observation[0].model_copy(update={"type": f"{EVIL}/msg/Thing"})
    path = bundle_with(interface.model_copy(update={"observation": [part]}), tmp_path / "model")
    with pytest.raises(UserError, match=f"{EVIL}/msg/Thing"):
        Robot.of(load_bundle(path))
    assert not evil.exists()


def test_a_run_is_exported_and_shown_without_the_modules_of_its_settings(
    tiny_run: Path, evil: Path, tmp_path: Path, prints: Callable[..., str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    settings = load_yaml((run / "settings.yaml").read_text())
    settings["/**"]["ros__parameters"]["env_modules"] = [EVIL]
    (run / "settings.yaml").write_text(dump_yaml(settings))
    prints("export", "--run", run, "--output", tmp_path / "model")
    prints("imagine", "--run", run, "--output", tmp_path / "pictures")
    assert not evil.exists()
