"""The metrics as TensorBoard reads them: the same numbers, once each, whatever happened."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bags import MAKE, sled, write_interface

from planet_ros.data.store import save_episode
from planet_ros.errors import UserError
from planet_ros.training.experience import read_experience
from planet_ros.training.loop import train
from planet_ros.training.offline import train_offline
from planet_ros.training.run import RunFolder

MakeSettings = Callable[..., Any]
WANTED = {"training.tensorboard": True}


def read_back(run: RunFolder) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by tag, by TensorBoard's own reader."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(run.tensorboard), size_guidance={"scalars": 0})
    log.Reload()
    return {
        tag: [(event.step, event.value) for event in log.Scalars(tag)]
        for tag in log.Tags()["scalars"]
    }


def expected(run: RunFolder) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for record in run.metrics():
        kind = record["kind"]
        step = record["fit" if kind == "fit" else "environment_steps"]
        for name, value in record.items():
            if type(value) in (int, float) and name not in ("episode", "fit"):
                found.setdefault(f"{kind}/{name}", []).append((step, value))
    return found


def check_equal(run: RunFolder) -> None:
    found, wanted = read_back(run), expected(run)
    assert set(found) == set(wanted) and wanted
    for tag, values in wanted.items():
        assert len(found[tag]) == len(values), tag
        for (step, value), (wanted_step, wanted_value) in zip(found[tag], values, strict=True):
            assert step == wanted_step
            assert math.isclose(value, wanted_value, rel_tol=1e-5, abs_tol=1e-30), tag


def test_resumed_run_has_every_number_once(tmp_path: Path, tiny_settings: MakeSettings) -> None:
    run = train(tiny_settings(tmp_path / "run", WANTED))
    check_equal(run)
    assert {"episode/return", "fit/loss"} <= set(read_back(run))
    # Written after the last commit by a process that was killed: it is not to be seen.
    with run.metrics_file.open("a") as file:
        file.write('{"kind": "episode", "return": 5.0, "environment_steps": 777}\n')
    (event_file,) = run.tensorboard.iterdir()
    event_file.write_bytes(event_file.read_bytes()[:-7])
    more = {"training.steps": 180, "training.resume": True, "training.evaluation_episodes": 1}
    train(tiny_settings(run.path, {**WANTED, **more}))
    check_equal(run)
    assert "evaluation/mean_return" in read_back(run)
    assert 777 not in [step for step, _ in read_back(run)["episode/return"]]


def test_run_that_learns_from_data_has_a_point_for_each_fit(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    import numpy as np

    data = tmp_path / "data"
    data.mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        save_episode(sled(rng, 15), data / f"episode-{number:06d}.npz")
    write_interface(data / "interface.yaml")
    values = {**WANTED, "offline.rounds": 3, "training.updates": 2}
    settings = tiny_settings(tmp_path / "run", values)
    run = train_offline(settings, lambda: read_experience([data], settings, MAKE))
    check_equal(run)
    assert [step for step, _ in read_back(run)["fit/held_out_error"]] == [1, 2, 3]


def test_nothing_is_written_unless_it_is_wanted(tiny_run: Path) -> None:
    assert not RunFolder(tiny_run).tensorboard.exists()


def test_missing_package_is_named_before_anything_is_learned(
    tmp_path: Path, tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [*sys.modules]:
        if name.partition(".")[0] == "tensorboard" or name.startswith("torch.utils.tensorboard"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    settings = tiny_settings(tmp_path / "run", WANTED)
    with pytest.raises(UserError, match=r"training\.tensorboard: found true.*\[tensorboard\]"):
        train(settings)
    monkeypatch.undo()
    # What was refused is in nobody's way.
    train(tiny_settings(tmp_path / "run"))
