"""What tests of the command line, and of predictions, have in common."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from launch_files import HELPERS, STAND_INS, Read, Share, StandIn, Transition


@pytest.fixture
def same_signal_handler() -> Iterator[None]:
    """Commands take over SIGTERM; the tests keep theirs."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def fails(same_signal_handler: None, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """``fails("train", …)``: run a command that must end with code 2, and give its message."""

    from planet_ros.cli.main import main

    def run(*arguments: object) -> str:
        try:
            code: object = main([str(argument) for argument in arguments])
        except SystemExit as exit_:  # argparse's own
            code = exit_.code
        output = capsys.readouterr()
        assert code == 2, output.err
        assert "Traceback" not in output.err
        return output.err

    return run


@pytest.fixture
def prints(same_signal_handler: None, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """``prints("info", …)``: run a command that must succeed, and give its standard output."""

    from planet_ros.cli.main import main

    def run(*arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture(scope="session")
def picture_run(
    tmp_path_factory: pytest.TempPathFactory, tiny_settings: Callable[..., Any]
) -> Path:
    """Folder of a finished run on the position and a picture; tests must leave it as it is."""
    from planet_ros.training.loop import train

    folder = tmp_path_factory.mktemp("picture") / "run"
    values = {
        "env_id": "PlanetRosTest/PictureAndPosition-v0",
        "world_model.kind": "rssm",
        "rssm.deterministic_size": 16,
        "rssm.stochastic_size": 4,
        "rssm.hidden_size": 16,
        "rssm.image_hidden_size": 16,
        "rssm.disagreement_samples": 3,
        "training.sequence_length": 10,
    }
    train(tiny_settings(folder, values))
    return folder


@pytest.fixture(scope="session")
def offline_run(
    tmp_path_factory: pytest.TempPathFactory, tiny_settings: Callable[..., Any]
) -> Path:
    """Folder of a run that learned a robot from episodes; tests must leave it as it is."""
    from bags import MAKE, sled, write_interface

    from planet_ros.data.store import save_episode
    from planet_ros.training.experience import read_experience
    from planet_ros.training.offline import train_offline

    data = tmp_path_factory.mktemp("offline") / "data"
    data.mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        save_episode(sled(rng), data / f"episode-{number:06d}.npz")
    write_interface(data / "interface.yaml")
    values = {"training.updates": 10, "training.learning_rate": 0.01, "offline.rounds": 4}
    settings = tiny_settings(data.parent / "run", values)
    return train_offline(settings, lambda: read_experience([data], settings, MAKE)).path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Read]]:
    """``read("sim.launch.py")``: as `Read`."""
    for name in STAND_INS:
        monkeypatch.setitem(sys.modules, name, StandIn(name))
    sys.modules["lifecycle_msgs.msg"].Transition = Transition  # type: ignore[attr-defined]
    sys.modules["launch_ros.substitutions"].FindPackageShare = Share  # type: ignore[attr-defined]
    for helper in HELPERS:
        monkeypatch.delitem(sys.modules, helper, raising=False)
    yield Read
    package = importlib.import_module("planet_ros.ros")
    for helper in HELPERS:
        sys.modules.pop(helper, None)  # it has the stand-in's names
        if hasattr(package, helper.rpartition(".")[2]):
            delattr(package, helper.rpartition(".")[2])
