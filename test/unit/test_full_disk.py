"""A real disk that is full, or read-only: what was there stays, and all goes on elsewhere."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from bags import drive, sled, write_bag, write_interface

from planet_ros.bundle.runtime import load_bundle
from planet_ros.data import EpisodeStore
from planet_ros.data.store import save_episode
from planet_ros.training.checkpoint import read_checkpoint
from planet_ros.training.run import RunFolder

pytestmark = pytest.mark.slow

Run = Callable[..., str]

POINT_MASS = [
    *("--env-id", "PlanetRosTest/PointMass-v0"),
    *("--set", 'env_modules=["tiny_environments"]'),
    *("--set", "training.random_steps=40"),
]
FEW = [
    *("--set", "world_model.hidden_sizes=[8]"),
    *("--set", "training.updates=3"),
    *("--set", "training.evaluation_episodes=0"),
    *("--set", "planner.horizon=2"),
]
LEFT_BYTES = 16_384
"""For a few small files, and no checkpoint."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, timeout=10)
    except OSError as error:
        pytest.skip(f"mount cannot be run here: {error}")
    if done.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave next to nothing free."""
    filling = disk / "filling"
    with filling.open("wb") as file:
        file.write(bytes(max(0, shutil.disk_usage(disk).free - LEFT_BYTES)))
    return filling


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


def content(folder: Path) -> dict[Path, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {path.relative_to(folder): path.read_bytes() for path in found}


@pytest.fixture(params=["online", "several environments", "offline"])
def way(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[list[str], list[str]]:
    """Arguments that begin a run, and those that go on with it."""
    if request.param == "offline":
        data, rng = tmp_path / "data", np.random.default_rng(0)
        data.mkdir()
        for number in range(5):
            save_episode(sled(rng), data / f"episode-{number:06d}.npz")
        write_interface(data / "interface.yaml")
        rounds = ["--set", "offline.patience=9", "--set"]
        return ["--data", str(data), *FEW, *rounds, "offline.rounds=2"], [
            *rounds,
            "offline.rounds=5",
        ]
    several = ["--set", "training.environments=2"] if request.param != "online" else []
    return [*POINT_MASS, *FEW, *several, "--steps", "60"], ["--steps", "200"]


def test_full_disk_loses_nothing_and_training_goes_on_elsewhere(
    disk: Path, way: tuple[list[str], list[str]], tmp_path: Path, prints: Run, fails: Run
) -> None:
    begin, further = way
    run = RunFolder(disk / "run")
    prints("train", *begin, "--output", run.path)
    model = load_bundle(run.bundle).digest
    saved = content(run.checkpoint)
    filling = fill(disk)
    error = fails("train", "--resume", "--output", run.path, *further)
    assert "cannot be written: " in error and "No space left" in error and "--resume" in error
    assert content(run.checkpoint) == saved
    assert load_bundle(run.bundle).digest == model
    assert EpisodeStore(run.episodes).steps > 0 and run.metrics()
    assert not [path for path in run.path.rglob("*") if path.name.endswith((".new", ".tmp"))]

    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(run.path, elsewhere)
    prints("train", "--resume", "--output", elsewhere, *further)
    filling.unlink()  # or here, where there is room again
    prints("train", "--resume", "--output", run.path, *further)
    other, here = (read_checkpoint(one.checkpoint) for one in (RunFolder(elsewhere), run))
    assert here.state.fits == other.state.fits > 2
    for name, values in here.tensors.items():
        np.testing.assert_array_equal(values, other.tensors[name])


def test_read_only_disk_is_a_reason_and_can_still_be_read(
    disk: Path, tmp_path: Path, prints: Run, fails: Run
) -> None:
    run = disk / "run"
    prints("train", *POINT_MASS, *FEW, "--steps", "60", "--output", run)
    before = content(run)
    remount(disk, "ro")
    for output in (run, disk / "other"):
        resume = ["--resume"] if output == run else [*POINT_MASS, *FEW]
        error = fails("train", *resume, "--steps", "80", "--output", output)
        assert "cannot be made or written: Read-only file system" in error
        assert "--output" in error
    assert content(run) == before
    prints("export", "--run", run, "--output", tmp_path / "bundle")
    prints("report", run, "--output", tmp_path / "page.html")
    assert "Read-only file system" in fails("export", "--run", run, "--output", disk / "bundle")


def test_import_onto_a_full_disk_leaves_nothing_half_done(
    disk: Path, tmp_path: Path, prints: Run, fails: Run
) -> None:
    bag = write_bag(tmp_path / "bag", drive(600))
    interface = write_interface(tmp_path / "own.yaml", end={"after_steps": 30})
    filling = fill(disk)
    arguments = ["import", bag, "--interface", interface, "--output", disk / "data"]
    error = fails(*arguments)
    assert "No space left" in error and str(disk / "data") in error
    assert not (disk / "data").exists()
    filling.unlink()
    prints(*arguments)
    assert EpisodeStore(disk / "data").steps > 500
