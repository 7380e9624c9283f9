"""Every benchmark runs, here with its smallest arguments; those with nodes are in test/ros."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # each loads torch in a process of its own

RunBenchmark = Callable[..., str]

HERE = {
    "cautious",
    "collection",
    "disagreement",
    "export",
    "import_bag",
    "planning",
    "regression",
    "results",
    "update",
}
WITH_NODES = {
    "bundles",
    "control_rate",
    "damage",
    "delay",
    "driven",
    "latency",
    "listening",
    "over_topics",
    "robot_kills",
}


@pytest.fixture
def run_benchmark(root: Path, tmp_path: Path) -> RunBenchmark:
    """``run_benchmark("planning", "--seconds", 0.1)``: what it prints."""

    def run(name: str, *arguments: object, code: int = 0) -> str:
        command = [sys.executable, str(root / "benchmarks" / f"{name}.py"), *map(str, arguments)]
        ran = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "test")])},
            timeout=240,
            check=False,
        )
        assert ran.returncode == code, ran.stdout + ran.stderr
        return ran.stdout

    return run


def table_rows(printed: str) -> dict[str, list[str]]:
    """Rows of all tables: the first cell, and the others."""
    rows = [line.strip("| ").split(" | ") for line in printed.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows}


def test_every_benchmark_has_its_test(root: Path) -> None:
    assert {path.stem for path in (root / "benchmarks").glob("*.py")} == HERE | WITH_NODES


def test_planning(run_benchmark: RunBenchmark, tiny_run: Path) -> None:
    model = tiny_run / "model"
    printed = run_benchmark("planning", "--model", model, "--seconds", 0.1, "--candidates", 2, 3)
    assert "A bundle at work, horizon 4" in printed
    rows = table_rows(printed)
    assert {"imagine 2 candidates", "imagine 3 candidates"} < set(rows)
    assert {"onnxruntime, 1 thread", "torch, 2 threads"} < set(rows)
    assert "ours: Cem, onnxruntime, 1 thread" in rows
    plan = next(cells for name, cells in rows.items() if name.startswith("plan: "))
    itself = rows["of which in the planner itself"]
    assert 0 < float(itself[0]) < float(plan[0])


def test_export(run_benchmark: RunBenchmark) -> None:
    rows = table_rows(run_benchmark("export", "--seconds", 0.1))
    cases = {"trace the graphs", "write a bundle with new weights", "read, check and warm it up"}
    assert cases < set(rows)


def test_update_with_the_sizes_of_planet(run_benchmark: RunBenchmark) -> None:
    printed = run_benchmark("update", "--ablate", "--rounds", 1, "--batch", 1, "--length", 2)
    result = json.loads(printed.splitlines()[-1])
    assert (result["batch"], result["length"]) == (1, 2)
    assert {"ours", "none of these"} < set(result["seconds"])
    assert all(seconds[0] > 0 for seconds in result["seconds"].values())


def test_update_of_a_preset(run_benchmark: RunBenchmark, root: Path) -> None:
    preset = root / "config" / "pendulum.yaml"
    printed = run_benchmark("update", "--config", preset, "--rounds", 1)
    assert json.loads(printed.splitlines()[-1])["seconds"]["ours"][0] > 0


def test_disagreement_of_an_ensemble(run_benchmark: RunBenchmark, tiny_run: Path) -> None:
    printed = run_benchmark("disagreement", "--run", tiny_run, "--episodes", 1)
    assert printed.count("| spread of the members |") == 3


def test_disagreement_of_the_recurrent_model(
    run_benchmark: RunBenchmark, tmp_path: Path, tiny_settings: Callable[..., Any]
) -> None:
    from planet_ros.training.loop import train

    small = {
        "world_model.kind": "rssm",
        "rssm.deterministic_size": 8,
        "rssm.stochastic_size": 3,
        "rssm.hidden_size": 8,
        "rssm.disagreement_samples": 2,
        "training.sequence_length": 5,
        "training.updates": 3,
    }
    train(tiny_settings(tmp_path / "run", small))
    printed = run_benchmark(
        "disagreement", "--run", tmp_path / "run", "--episodes", 1, "--seconds", 0.1
    )
    assert printed.count("| 2 whole trajectories |") == 4  # three of actions, one of time
    assert "without disagreement" in table_rows(printed)


def test_regression_beside_itself(run_benchmark: RunBenchmark, root: Path) -> None:
    few = ["--rounds", 1, "--seconds", 0.01, "--many", 1000]
    printed = run_benchmark("regression", "--reference", root, *few)
    result = json.loads(printed.splitlines()[-1])
    for case in ("plan", "tick", "update", "export", "fit, 100000 steps", "controller import"):
        assert result[case]["ratio"] > 0


def test_results(run_benchmark: RunBenchmark, tmp_path: Path) -> None:
    """A run of 220 steps, which misses its target; the second time nothing is trained."""
    arguments = ["pendulum", "--seeds", 3, "--steps", 220, "--starts", 1]
    arguments += ["--output", tmp_path / "runs", "--figures", tmp_path / "figures"]
    printed = run_benchmark("results", *arguments, code=1)
    result = json.loads(printed.splitlines()[-1])
    assert (result["task"], result["passed"]) == ("pendulum", False)
    assert result["seeds"][0]["environment_steps"] == 220
    assert (tmp_path / "figures" / "pendulum.png").stat().st_size > 1000
    assert (tmp_path / "runs" / "pendulum-3" / "learning_curves.png").is_file()
    assert printed == run_benchmark("results", *arguments, code=1)


def test_collection(run_benchmark: RunBenchmark) -> None:
    few = ["--environments", 2, "--rounds", 1, "--steps", 100]
    printed = run_benchmark("collection", *few)
    result = json.loads(printed.splitlines()[-1])
    cases = {f"{how}, {way}" for how in ("random", "planned") for way in ("one", "sync", "async")}
    assert set(result) == cases
    assert all(one["steps_per_second"] > 0 and one["ratio"] > 0 for one in result.values())


def test_import_of_a_bag(run_benchmark: RunBenchmark) -> None:
    result = json.loads(run_benchmark("import_bag", "--minutes", 0.1).splitlines()[-1])
    assert result["messages"] == 1200 and result["steps"] > 580
    assert result["seconds"] > 0 and result["peak_memory_mb"] > 10
