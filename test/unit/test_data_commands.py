"""Data sets of other projects on the command line, from import to a bundle and back."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import foreign
import numpy as np
import pytest
from bags import write_interface

from planet_ros.bundle.runtime import load_bundle
from planet_ros.data import EpisodeStore, Signature
from planet_ros.data.store import save_episode, stored_episodes
from planet_ros.errors import UserError
from planet_ros.interface.description import (
    DESCRIPTION_FILE,
    Description,
    description_text,
    load_description,
)

Command = Callable[..., str]

FEW = [
    *("--set", "training.updates=4", "--set", "offline.rounds=2", "--set", "planner.horizon=3"),
    *("--set", "world_model.members=2", "--set", "world_model.hidden_sizes=[16]"),
]


def fill(folder: Path, signature: Signature, environment: str = "") -> Path:
    """A folder of own episodes that says what they are of."""
    folder.mkdir()
    for number in range(4):
        one = foreign.episode(signature, 12, number)
        save_episode(one, folder / f"episode-{number:06d}.npz")
    description = Description(signature, environment)
    (folder / DESCRIPTION_FILE).write_text(description_text(description))
    return folder


@pytest.fixture(autouse=True)
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("minari")
    pytest.importorskip("pyarrow")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.chdir(tmp_path)


def test_from_an_environments_data_set_to_its_bundle(
    tmp_path: Path, prints: Command, fails: Command
) -> None:
    own = fill(tmp_path / "own", foreign.PLAIN, "Pendulum-v1")
    printed = prints("convert", own, "--output", "minari:mine/pendulum-v0")
    assert printed == f"4 episodes, in {tmp_path}/minari/mine/pendulum-v0\n"
    printed = prints("import", "minari:mine/pendulum-v0", "--output", "data")
    assert "observation: vector of 3\n1 numbers of action, every 0.05 s\n48 steps in 4" in printed
    prints("train", "--data", "data", "--output", "run", *FEW)
    bundle = load_bundle(tmp_path / "run" / "model")
    assert bundle.manifest.signature == foreign.PLAIN
    assert bundle.manifest.environment is not None
    assert bundle.manifest.environment.id == "Pendulum-v1"
    # The run's own experience goes out too: three were learned from.
    printed = prints("convert", "run", "--output", "lerobot:./out", "--json")
    assert json.loads(printed) == {"episodes": 3, "folder": "out"}
    printed = prints("import", "out", "--output", "again", "--json", "--period", 0.1)
    found = json.loads(printed)
    assert (found["environment"], found["period_s"]) == ("Pendulum-v1", 0.1)
    for file in ("run/episodes", "again"):
        assert len(stored_episodes(tmp_path / file)) == 3
    assert "import minari:mine/pendulum-v0 --output DIR" in fails(
        "train", "--data", "minari:mine/pendulum-v0", "--output", "more"
    )


def test_the_environment_of_the_data_gives_way_to_that_of_the_settings(
    tmp_path: Path, prints: Command
) -> None:
    own = fill(tmp_path / "own", foreign.PLAIN, "Other-v0")
    prints("train", "--data", own, "--output", "run", *FEW)
    record = load_bundle(tmp_path / "run" / "model").manifest.environment
    assert record is not None and record.id == "Other-v0"
    prints("train", "--data", own, "--output", "more", "--env-id", "Mine-v0", *FEW)
    record = load_bundle(tmp_path / "more" / "model").manifest.environment
    assert record is not None and record.id == "Mine-v0"


def test_what_is_of_no_environment_says_so_after_a_resume_too(
    tmp_path: Path, prints: Command
) -> None:
    own = fill(tmp_path / "own", foreign.PLAIN)
    prints("train", "--data", own, "--output", "run", *FEW)
    assert load_bundle(tmp_path / "run" / "model").manifest.environment is None
    assert load_description(tmp_path / "run") == Description(foreign.PLAIN)
    settings = tmp_path / "run" / "settings.yaml"
    settings.write_text(settings.read_text().replace("rounds: 2", "rounds: 3"))
    prints("train", "--resume", "--output", "run")
    bundle = load_bundle(tmp_path / "run" / "model")
    assert bundle.manifest.environment is None
    assert bundle.manifest.signature == foreign.PLAIN


def test_a_robots_episodes_go_out_and_come_back(tmp_path: Path, prints: Command) -> None:
    joint = Signature((foreign.JOINT,), foreign.PLAIN.action, 0.05)
    own = fill(tmp_path / "own", joint)
    (own / DESCRIPTION_FILE).unlink()
    write_interface(own / "interface.yaml")
    prints("convert", own, "--output", "lerobot:./set", "--task", "push it")
    assert "push it" in (tmp_path / "set/meta/tasks.parquet").read_bytes().decode("latin1")
    prints("import", "lerobot:./set", "--interface", own / "interface.yaml", "--output", "back")
    first, second = (EpisodeStore(one).episodes[1] for one in (own, tmp_path / "back"))
    np.testing.assert_array_equal(first.observation["joint"], second.observation["joint"])
    angle = first.observation["joint"][:-1, 0].astype(np.float64)
    np.testing.assert_allclose(second.reward, -(angle**2))
    assert (tmp_path / "back/interface.yaml").exists()


def test_a_reward_that_is_a_function_judges_data_sets_too(
    tmp_path: Path, prints: Command, make_module: Callable[..., None]
) -> None:
    make_module(
        "own_tasks", "def reward(seen, action, then, goal):\n    return seen['joint'][..., 1] * 2\n"
    )
    joint = Signature((foreign.JOINT,), foreign.PLAIN.action, 0.05)
    prints("convert", fill(tmp_path / "own", joint), "--output", "lerobot:./set")
    reward = {"kind": "function", "function": "own_tasks:reward"}
    write_interface(tmp_path / "own.yaml", reward=reward)
    prints("import", "lerobot:./set", "--interface", "./own.yaml", "--output", "back")
    (first, *_) = EpisodeStore(tmp_path / "back").episodes
    np.testing.assert_allclose(first.reward, first.observation["joint"][:-1, 1] * 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["import", "bag.mcap"], "--interface: found none, expected the document of the robot"),
        (["import", "own.mcap", "minari:x-v0"], "own.mcap: found beside data sets"),
        (["import", "minari:x-v0", "--lock-step"], "--lock-step: found with a data set"),
        (["import", "minari:x-v0", "--period", "-1"], "--period: found -1"),
        (["import", "minari:x-v0", "--reward", "r"], "--reward: minari:x-v0 has rewards of its"),
        (["import", "minari:x-v0"], "minari:x-v0: not in"),
        (["import", "minari:"], "found no name after the colon"),
        (["import", "lerobot:none"], "found no meta/info.json"),
        (["import", "bag", "--interface", "pendulum", "--reward", "x"], "found with bags"),
        (["convert", "none"], "found no episodes"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: list[str], expected: str, fails: Command
) -> None:
    assert expected in fails(*arguments, "--output", "out")


def test_convert_says_what_it_lacks(tmp_path: Path, fails: Command) -> None:
    own = fill(tmp_path / "own", foreign.PLAIN)
    assert "expected minari:ID, minari:FOLDER or lerobot:FOLDER" in fails(
        "convert", own, "--output", "out"
    )
    assert "--video: found with a Minari" in fails(
        "convert", own, "--output", "minari:a-v0", "--video"
    )
    (own / "episode-000002.npz").write_bytes(b"x")
    assert "episode-000002.npz: not a whole episode" in fails(
        "convert", own, "--output", "lerobot:./out"
    )
    (own / DESCRIPTION_FILE).unlink()
    assert "nothing says what the episodes are of" in fails(
        "convert", own, "--output", "lerobot:./out"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is not JSON"),
        ("[" * 10**5, "is not JSON"),
        ("[]", "found no signature"),
        ('{"signature": {"observation": [], "action": [], "period_s": 1}}', "found no signature"),
        (json.dumps({"signature": 1}), "found no signature: signature"),
        (" " * 2**23, "found more than"),
    ],
)
def test_a_description_that_is_none_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / DESCRIPTION_FILE).write_text(text)
    with pytest.raises(UserError) as error:
        load_description(tmp_path)
    assert expected in str(error.value) and str(tmp_path) in str(error.value)


def test_a_description_comes_back(tmp_path: Path) -> None:
    found = Description(foreign.SIGNATURE, "A/b-v3")
    (tmp_path / DESCRIPTION_FILE).write_text(description_text(found))
    assert load_description(tmp_path) == found
    assert load_description(tmp_path / "none") is None


def test_no_library_of_them_is_loaded_before_it_is_needed(run_python: Any) -> None:
    result: subprocess.CompletedProcess[str] = run_python(
        "import sys, planet_ros.cli.main, planet_ros.cli.commands\n"
        "import planet_ros.datasets.converting, planet_ros.datasets.minari_writing\n"
        "import planet_ros.datasets.lerobot, planet_ros.datasets.lerobot_writing\n"
        "print(sorted({'minari', 'h5py', 'pyarrow', 'av', 'gymnasium', 'torch'} & {*sys.modules}))"
    )
    assert result.stdout == "[]\n", result.stderr
