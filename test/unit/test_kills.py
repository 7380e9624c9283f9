"""A run that is killed and continued is the run that nothing happened to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def killed(root: Path, tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """Let test/kills.py kill runs."""
    test = root / "test"
    path = os.pathsep.join([str(root), str(test), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(test / "kills.py"), arguments[0], str(tmp_path), *arguments[1:]],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize("options", [("4",), ("11", "no-swap")], ids=["", "no swap of folders"])
@pytest.mark.slow
def test_killed_before_any_write_it_goes_on_as_if_it_had_not_been(
    root: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    result = killed(root, tmp_path, "writes", *options)
    assert result["wrong"] == []
    assert result["kills"] == len(range(1, result["writes"] + 1, int(options[0]))) > 8


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_random_moments_it_goes_on_as_if_it_had_not_been(
    root: Path, tmp_path: Path
) -> None:
    kinds = ["ensemble", "rssm"]
    result = killed(root, tmp_path, "moments", "20", "0", *kinds)  # by hand 50, or many more
    assert result["wrong"] == []
    assert result["kills"] >= 15  # the others had ended before


@pytest.mark.slow
def test_killed_with_several_environments_it_goes_on_as_if_it_had_not_been(
    root: Path, tmp_path: Path
) -> None:
    result = killed(root, tmp_path, "moments", "6", "0", "copies")
    assert result["wrong"] == []
    assert result["kills"] >= 5
