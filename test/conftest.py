"""What tests in more than one file need."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TEST_FOLDER = Path(__file__).resolve().parent
ROOT = TEST_FOLDER.parent

TINY_SETTINGS: dict[str, Any] = {
    "env_id": "PlanetRosTest/PointMass-v0",
    "env_modules": ["tiny_environments"],
    "world_model.members": 2,
    "world_model.hidden_sizes": [32],
    "world_model.predict_continue": False,
    "training.steps": 120,
    "training.random_steps": 60,
    "training.updates": 20,
    "training.batch_size": 16,
    "training.evaluation_episodes": 0,
    "planner.horizon": 4,
    "planner.candidates": 16,
    "planner.elites": 4,
    "planner.iterations": 2,
}
"""Settings of a run that takes a second."""


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder that holds package.xml."""
    return ROOT


@pytest.fixture(scope="session")
def tiny_settings() -> Callable[..., Any]:
    """``tiny_settings(output, {"planner.horizon": 3})``: settings of a run that takes a second."""
    from planet_ros.config import settings_from

    def make(output: Path, overrides: dict[str, Any] | None = None) -> Any:
        values = {**TINY_SETTINGS, "training.output": str(output), **(overrides or {})}
        return settings_from(values)

    return make


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny_settings: Callable[..., Any]) -> Path:
    """Folder of a finished run on the point mass; tests must leave it as it is."""
    from planet_ros.training.loop import train

    folder = tmp_path_factory.mktemp("tiny") / "run"
    train(tiny_settings(folder, {"training.evaluation_episodes": 2}))
    return folder


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """``run_python(code, *arguments)``: run code in a fresh interpreter."""

    def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(ROOT), str(TEST_FOLDER), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)},
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def make_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """``make_module("own_tasks", text)``: a module that this test alone can import."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def make(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        made.append(name)

    yield make
    for name in made:
        sys.modules.pop(name, None)
