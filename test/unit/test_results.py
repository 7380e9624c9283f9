"""What `benchmarks/results.py` takes for its target, and what it says of each seed."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from planet_ros.training.run import RunFolder

RECORD = {
    "mean": -150.0,
    "worst": -300.0,
    "environment_steps": 1000,
    "seconds": 41.0,
    "core_seconds": 20.0,
    "tick_ms": {"p50": 3.0, "p99": 5.0},
}


@pytest.fixture(scope="module")
def results(root: Path) -> Iterator[ModuleType]:
    """The script as a module."""
    name = "benchmark_results"
    spec = importlib.util.spec_from_file_location(name, root / "benchmarks" / "results.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[name]


def asked(results: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: str) -> argparse.Namespace:
    """The options as the script reads them from a command line."""
    monkeypatch.setattr(sys, "argv", ["results.py", *words])
    options = results._options()
    assert isinstance(options, argparse.Namespace)
    return options


@pytest.mark.parametrize(
    ("words", "seeds"),
    [
        ([], [0, 1, 2]),
        (["--seeds", "7"], [7]),
        (["--seeds", "100-103"], [100, 101, 102, 103]),
        (["--seeds", "4", "0-2", "9-9"], [4, 0, 1, 2, 9]),
        (["--seeds", "1", "0-2", "2"], [1, 0, 2]),
    ],
)
def test_seeds_are_numbers_and_ranges_with_both_ends_each_seed_once(
    results: ModuleType, monkeypatch: pytest.MonkeyPatch, words: list[str], seeds: list[int]
) -> None:
    assert asked(results, monkeypatch, "pendulum", *words).seeds == seeds


@pytest.mark.parametrize("word", ["5-3", "a", "1-", "-1-2", "1,2", "1-2-3", "", "²"])
def test_what_is_no_range_of_seeds_is_refused(
    results: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    word: str,
) -> None:
    with pytest.raises(SystemExit) as caught:
        asked(results, monkeypatch, "pendulum", "--seeds=" + word)
    assert caught.value.code == 2
    assert f"found {word!r}, expected a seed such as 7" in capsys.readouterr().err


def test_fewer_than_one_start_are_refused(
    results: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        asked(results, monkeypatch, "pendulum", "--starts", "0")
    assert "found '0', expected 1 or more" in capsys.readouterr().err


def test_target_is_the_presets_with_what_the_options_say_in_its_place(
    results: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = results.task_of(asked(results, monkeypatch, "pendulum"))
    assert plain == results.TASKS["pendulum"]
    said = {"first-start": 5, "starts": 6, "mean": -1, "worst": -2, "seconds": 3}
    words = [word for name, value in said.items() for word in (f"--{name}", str(value))]
    other = results.task_of(asked(results, monkeypatch, "pendulum", *words))
    assert (other.first_start, other.starts) == (5, 6)
    assert (other.mean, other.worst, other.seconds) == (-1.0, -2.0, 3.0)
    assert other.source == plain.source


@pytest.mark.parametrize(
    ("found", "missed"),
    [
        ({}, []),
        ({"mean": -160.0, "worst": -400.0, "core_seconds": 30.0}, []),
        ({"mean": -160.1}, ["mean"]),
        ({"worst": -400.1}, ["worst"]),
        ({"core_seconds": 30.1}, ["seconds"]),
        ({"core_seconds": None}, ["seconds"]),
        ({"mean": -999.0, "worst": -999.0, "core_seconds": 99.0}, ["mean", "worst", "seconds"]),
    ],
)
def test_seed_reaches_its_target_in_every_part_of_it(
    results: ModuleType, found: dict[str, Any], missed: list[str]
) -> None:
    task = results.Task(-160.0, "a test", 0, 20, worst=-400.0, seconds=30.0)
    record = {name: value for name, value in (RECORD | found).items() if value is not None}
    assert task.missed(record) == missed
    assert results.Task(-9e9, "a test", 0, 20).missed(record) == []


def test_table_marks_what_was_missed_and_counts_who_reached_the_target(
    results: ModuleType,
) -> None:
    task = results.Task(-160.0, "a test", 3000, 20, worst=-400.0, seconds=30.0)
    rows = []
    for seed, found in enumerate([{}, {"mean": -161.0, "worst": -410.0, "core_seconds": 31.0}]):
        record = RECORD | found
        missed = task.missed(record)
        rows.append({"seed": seed, "passed": not missed, "missed": missed, **record})
    first, _, _, _, *seeds, _, summary, _ = results.markdown(task, rows).split("\n")
    assert first == (
        "20 starts from 3000; target mean ≥ -160, worst ≥ -400, training ≤ 30 s of one core "
        "(a test)"
    )
    assert seeds == [
        "| 0 | -150.0 | -300.0 | 1000 | 20 | 41 | 3.0 / 5.0 ms |",
        "| 1 | -161.0 (missed) | -410.0 (missed) | 1000 | 31 (missed) | 41 | 3.0 / 5.0 ms |",
    ]
    assert summary == (
        "1 of 2 reach the target; means from -161.0 to -150.0, -155.5 on average; "
        "worst episode -410.0."
    )


def test_more_seeds_than_colours_are_one_line_of_the_legend(
    results: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    labels: list[list[str]] = []

    def recording(figure: Any, path: Path) -> None:
        labels.append([text.get_text() for text in figure.axes[0].get_legend().get_texts()])

    monkeypatch.setattr(results, "save_figure", recording)
    task, most = results.TASKS["pendulum"], results.MOST_COLOURS
    for count in (most, most + 1):
        runs = {seed: RunFolder(tmp_path / str(seed)) for seed in range(count)}
        for run in runs.values():
            run.path.mkdir(exist_ok=True)
            (run.path / "metrics.jsonl").write_text(
                '{"kind": "episode", "environment_steps": 200, "return": -1000, "random": true}\n'
            )
        results.draw("pendulum", task, runs, tmp_path / "figure.png")
    few, many = labels
    assert few == [*(f"seed {seed}" for seed in range(most)), "random actions", few[-1]]
    assert many == [f"each of {most + 1} seeds", "random actions", few[-1]]
