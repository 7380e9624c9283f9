"""A robot that is nothing but topics is learned and driven, by who knows its interface alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from planet_ros.bundle.manifest import MANIFEST_FILE

pytestmark = [pytest.mark.ros, pytest.mark.slow]


def demo(root: Path, folder: Path, *arguments: str) -> dict[str, Any]:
    """The JSON object that a demo prints last."""
    ran = subprocess.run(
        [sys.executable, "-m", "planet_ros.cli.main", "demo", *arguments, "--output", "run"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root)},
        timeout=390,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    manifest = json.loads((folder / "run" / "model" / MANIFEST_FILE).read_text())
    assert "interface" in manifest["requires"]
    assert manifest["environment"] is None
    assert manifest["environment_steps"] == result["environment_steps"]
    assert result["tick_ms"]["p99"] > 0
    return result


@pytest.mark.timeout(400)
def test_pendulum_is_swung_up_over_its_own_topics(domain: None, root: Path, tmp_path: Path) -> None:
    result = demo(root, tmp_path, "--robot", "pendulum", "--episodes", "4", "--seed", "7")
    assert (result["robot"], result["environment_steps"]) == ("pendulum", 1000)
    assert result["worst_return"] > -450 and result["mean_return"] > -300  # random: some -1200


@pytest.mark.timeout(400)
def test_base_drives_to_goals_over_its_own_topics(domain: None, root: Path, tmp_path: Path) -> None:
    arguments = ["--robot", "base", "--steps", "1500", "--episodes", "3", "--seed", "7"]
    result = demo(root, tmp_path, *arguments)
    assert (result["robot"], result["environment_steps"]) == ("base", 1500)
    assert (result["goals"], result["reached"]) == (3, 3)
    assert result["worst_distance_m"] < 0.1
    assert 0 < result["time_ratio_p50"] < 3
    assert result["over_acceleration"] == 0


@pytest.mark.timeout(400)
def test_arm_follows_targets_over_its_own_topics(domain: None, root: Path, tmp_path: Path) -> None:
    arguments = ["--robot", "arm", "--steps", "1200", "--episodes", "2", "--seed", "7"]
    result = demo(root, tmp_path, *arguments)
    assert (result["robot"], result["environment_steps"]) == ("arm", 1200)
    assert result["mean_distance_m"] < 0.04  # at rest it would be some 0.12 away
