"""A robot that is nothing but topics is learned and driven, by who knows its interface alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from planet_ros.bundle.manifest import MANIFEST_FILE

pytestmark = [pytest.mark.ros, pytest.mark.slow]


@pytest.mark.timeout(400)
def test_pendulum_is_swung_up_over_its_own_topics(domain: None, root: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    arguments = ["--robot", "pendulum", "--output", str(output), "--episodes", "4", "--seed", "7"]
    ran = subprocess.run(
        [sys.executable, "-m", "planet_ros.cli.main", "demo", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        timeout=390,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    result = json.loads(ran.stdout.splitlines()[-1])
    assert (result["robot"], result["environment_steps"]) == ("pendulum", 1000)
    assert result["worst_return"] > -450 and result["mean_return"] > -300  # random: some -1200
    assert result["tick_ms"]["p99"] > 0
    manifest = json.loads((output / "model" / MANIFEST_FILE).read_text())
    assert manifest["requires"] == ["interface"]
    assert manifest["interface"]["observation"][0]["topic"] == "joint_states"
    assert manifest["environment"] is None
