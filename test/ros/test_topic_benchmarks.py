"""The benchmarks with nodes run, with their smallest arguments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nodes import ENVIRONMENT, Ros
from robot_bundles import robot_bundle

from planet_ros.supervision.evaluation import evaluate_over_topics

pytestmark = [pytest.mark.ros, pytest.mark.slow]


def result_of(name: str, root: Path, *arguments: object) -> dict[str, Any]:
    """The JSON object on the last line that a benchmark prints."""
    command = [sys.executable, str(root / "benchmarks" / f"{name}.py"), *map(str, arguments)]
    path = os.pathsep.join([str(root), str(root / "test")])
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=root,  # from where its nodes find this checkout too
        env={**os.environ, "PYTHONPATH": path},
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return result


def model(bundle: str) -> tuple[object, ...]:
    return "--model", bundle, "--allow-python", ENVIRONMENT["env_modules"][0]


def test_a_controller_keeps_its_rate(root: Path, tiny_bundle: str) -> None:
    result = result_of(
        "control_rate",
        root,
        *model(tiny_bundle),
        *("--seconds", 2, "--warm-up", 1, "--rate", 20),
    )
    assert 10 < result["rate_hz"] < 30
    assert result["commands"] > 10
    assert not result["torch_mapped"]


def test_a_controller_answers(root: Path, tiny_bundle: str) -> None:
    few = ("--count", 20, "--warm-up", 2)
    result = result_of("latency", root, "--model", tiny_bundle, *few)
    assert (result["answers"], result["unanswered"]) == (20, 0)
    assert result["whole_ms"]["p50"] > result["less_planning_ms"]["p50"]
    assert result["echo_ms"]["p50"] > 0


def test_what_a_joystick_teaches_is_learned(root: Path, tmp_path: Path) -> None:
    few = ("--seeds", "7-7", "--steps", 250, "--episodes", 1)
    result = result_of("listening", root, *few, "--output", tmp_path / "runs")
    assert len(result["listen"]) == len(result["random"]) == 1
    assert result["cost_ratio"] > 0


def test_topics_cost_nothing(root: Path, tiny_bundle: str) -> None:
    result = result_of("over_topics", root, *model(tiny_bundle), "--episodes", 2)
    assert result["returns_over_topics"] == result["returns_in_process"]


def test_a_delay_is_compensated_and_found(root: Path, tmp_path: Path) -> None:
    few = ("--delays", 2, "--seeds", 0, "--episodes", 1, "--steps", 200)
    (late, untold) = result_of("delay", root, *few, "--output", tmp_path / "runs")["cases"]
    assert (late["delay"], late["compensated"], late["found"]) == (2, True, [2])
    assert (untold["delay"], untold["compensated"], untold["found"]) == (2, False, [2])
    assert late["mean_return"] < 0 and len(late["mean_returns"]) == 1


def test_damaged_messages_end_no_node_and_move_no_robot(root: Path, tiny_bundle: str) -> None:
    result = result_of("damage", root, *model(tiny_bundle), "--messages", 600)
    assert result["messages"] == 600
    assert (result["ended"], result["unsafe"]) == ({}, 0)
    assert set(result["codes"].values()) == {0}
    assert sorted(set(result["topics"])) == [
        "/commands",
        "/model",
        "/model_in_use",
        "/observation",
        "/step",
    ]
    assert min(result["warnings_of_drops"][name] for name in ("controller", "trainer")) >= 1
    assert result["rate_hz"] > 25  # of 50, on a machine that does other things too


def test_new_models_disturb_no_controller(root: Path) -> None:
    few = ("--seconds", 3, "--spans", 1, "--warm-up", 0)
    result = result_of("bundles", root, "--count", 10, *few)
    assert (result["announced"], result["damaged"], result["refused"]) == (10, 1, 1)
    assert 1 <= result["taken_over"] <= 9  # the newest of several that wait
    assert min(result[name]["commands"] for name in ("with", "without")) > 10
    assert len(result["memory_mb"]) == 2


def test_large_bundles_come_as_between_machines(root: Path) -> None:
    few = ("--seconds", 3, "--spans", 1, "--warm-up", 0)
    result = result_of("bundles", root, "--over-topics", "--count", 2, *few)
    assert result["megabytes"] > 10
    assert result["taken_over"] == 2
    assert min(result[name]["commands"] for name in ("with", "without")) > 10


def test_whoever_of_a_robot_is_killed_the_robot_stops(root: Path, tmp_path: Path) -> None:
    bundle = robot_bundle(tmp_path / "model", "base")
    result = result_of("robot_kills", root, "--model", bundle.path, "--robot", "base", "--kills", 1)
    assert result["kills"] == 9
    assert {row["kills"] for row in result["by_signal"].values()} == {1}
    for name, row in result["by_signal"].items():
        # In time is for the benchmark to say: this machine may do other things.
        assert row["max_ms"] is not None and row["max_ms"] < 10_000, name


def test_episodes_are_whole_though_a_learner_would_pause_within_them(
    ros: Ros, tiny_bundle: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As presets say that fit every so many steps."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), str(root / "test")]))
    config = tmp_path / "preset.yaml"
    config.write_text("/**: {ros__parameters: {training: {update_every_steps: 5}}}\n")
    record = evaluate_over_topics(
        ros.supervisor,
        Path(tiny_bundle),
        config=config,
        simulation=ENVIRONMENT,
        episodes=1,
        seed=0,
        logs=tmp_path,
        say=print,
    )
    assert len(record.returns) == 1
