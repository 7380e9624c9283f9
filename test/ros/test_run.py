"""How a node's process starts and ends: exit codes, reasons, and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nodes import MODULES, TEST_FOLDER, Ros

pytestmark = pytest.mark.ros

FILE = "/**:\n  ros__parameters:\n"
WRONG = {
    "broken YAML": (FILE + "    seed: [1\n", "settings.yaml"),
    "a list of two types": (
        FILE + "    controller: {safe_command: [0, 0.5]}\n",
        "Sequence should be of same type",
    ),
    "a section twice": (
        FILE + "    controller: {rate_hz: 1.0}\n    controller: {max_missed: 1}\n",
        "line 4: 'controller' is given twice",
    ),
    "no value": (FILE + "    seed:\n", "No value"),
}


def started(node: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a node to its end."""
    return subprocess.run(
        [sys.executable, "-m", MODULES[node], "--ros-args", *arguments],
        env={**os.environ, "PYTHONPATH": str(TEST_FOLDER.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refused(done: subprocess.CompletedProcess[str], reason: str) -> None:
    assert done.returncode == 2, done.stderr
    assert reason in done.stderr
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
    assert ".c:" not in done.stderr.partition("error: ")[2]


@pytest.mark.parametrize("what", WRONG)
def test_a_file_that_ros_cannot_read_is_a_reason_and_code_2(tmp_path: Path, what: str) -> None:
    text, reason = WRONG[what]
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    refused(started("controller", "--params-file", str(path)), reason)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--params-file", "/nowhere.yaml"], "/nowhere.yaml"),
        (["--log-level", "loud"], "loud"),
        (["--loud"], "--loud"),
        (["-p", "seed"], "seed"),
    ],
)
def test_wrong_arguments_are_a_reason_and_code_2(arguments: list[str], reason: str) -> None:
    refused(started("controller", *arguments), reason)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_ends_already_is_not_ended_by_another_signal(ros: Ros, number: int) -> None:
    """launch, the terminal and an impatient person send several."""
    node = ros.start("controller", {})
    ros.supervisor.wait_until_known("controller", timeout_s=60)
    until_s = time.monotonic() + 20
    while node.poll() is None and time.monotonic() < until_s:
        node.send(number)
        time.sleep(0.002)
    assert node.poll() == 0, node.output


def test_a_node_without_its_keys_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fast DDS from wheels would not know what to do with them, which is a reason too."""
    (tmp_path / "enclaves" / "controller").mkdir(parents=True)
    monkeypatch.setenv("ROS_SECURITY_KEYSTORE", str(tmp_path))
    monkeypatch.setenv("ROS_SECURITY_ENABLE", "true")
    monkeypatch.setenv("ROS_SECURITY_STRATEGY", "Enforce")
    refused(started("controller", "--enclave", "/controller"), "cannot start: ")
    refused(started("controller", "--enclave", "/other"), "enclaves/other' does not exist")
