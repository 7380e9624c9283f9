"""Nodes in processes of their own end in bounded time, and get the parameters that were meant."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from planet_ros.config import find_config
from planet_ros.errors import UserError
from planet_ros.supervision import processes
from planet_ros.supervision.processes import (
    NODES,
    NodeHangsError,
    NodeProcess,
    command_line,
    own_domain,
)

Start = Callable[[str], NodeProcess]

STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""
QUICK = """
import os, signal, sys
signal.signal(signal.SIGINT, lambda *_: sys.exit(7))
print("arguments", sys.argv[1:], os.environ.get("OF_THE_TEST"), flush=True)
signal.pause()
"""


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """``node(code)``: a process of that code in a node's place."""
    monkeypatch.chdir(tmp_path)
    started: list[NodeProcess] = []

    def start(code: str) -> NodeProcess:
        (tmp_path / "a_node.py").write_text(code)
        monkeypatch.setitem(NODES, "node", "a_node")
        path = {"PYTHONPATH": str(tmp_path), "OF_THE_TEST": "yes"}
        log = tmp_path / "node.log"
        process = NodeProcess("node", {"a": 1}, log=log, environment=path)
        started.append(process)
        until = time.monotonic() + 30
        while not process.output:
            assert time.monotonic() < until
            time.sleep(0.02)
        return process

    yield start
    for process in started:
        process.send(signal.SIGKILL)


def test_a_node_is_ended_by_a_signal_and_gives_its_code(node: Start) -> None:
    process = node(QUICK)
    assert process.poll() is None
    process.check_alive()
    assert process.end() == 7
    assert process.poll() == 7
    assert process.end() == 7  # nothing more happens
    assert "['--ros-args', '-p', 'node:a:=1'] yes" in process.output


def test_a_node_that_has_ended_is_named_with_its_log(node: Start, tmp_path: Path) -> None:
    process = node(QUICK)
    process.end()
    with pytest.raises(UserError) as caught:
        process.check_alive()
    assert str(caught.value) == f"the node ended with code 7; see {tmp_path / 'node.log'}"


def test_a_node_that_hangs_is_gone_in_bounded_time_and_says_where_it_was(node: Start) -> None:
    process = node(STUBBORN)
    began = time.monotonic()
    with pytest.raises(NodeHangsError) as caught:
        process.end(timeout_s=0.5)
    assert time.monotonic() - began < 5
    assert process.poll() == -signal.SIGABRT
    assert "node did not end within 0.5 s of signal 2" in str(caught.value)
    assert "Fatal Python error: Aborted" in str(caught.value)
    assert "a_node.py" in str(caught.value)


def test_the_end_of_the_block_ends_the_node(node: Start) -> None:
    with node(QUICK) as process:
        pass
    assert process.poll() == 7


def test_a_node_that_hangs_at_the_end_of_the_block_is_a_warning(
    node: Start, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NodeProcess.end, "__defaults__", (signal.SIGINT, 0.3))
    with node(STUBBORN) as process:
        pass
    assert process.poll() == -signal.SIGABRT
    assert "warning: node did not end" in capsys.readouterr().err


def test_an_interrupt_while_waiting_leaves_nothing_behind(
    node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = node(STUBBORN)
    wait = process._process.wait

    def interrupted(timeout: float | None = None) -> int:
        if timeout is not None:
            raise KeyboardInterrupt
        return wait()

    monkeypatch.setattr(process._process, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        process.end()
    assert process.poll() == -signal.SIGKILL


def test_parameters_are_json_after_the_file() -> None:
    parameters = {"env_modules": [], "env_kwargs": json.dumps({"g": 9.81}), "training.resume": True}
    assert command_line("trainer", parameters, Path("a.yaml")) == [
        sys.executable,
        "-m",
        "planet_ros.ros.trainer_node",
        "--ros-args",
        "--params-file",
        "a.yaml",
        "-p",
        "trainer:env_modules:=[]",
        "-p",
        'trainer:env_kwargs:="{\\"g\\": 9.81}"',
        "-p",
        "trainer:training.resume:=true",
    ]


def test_a_domain_is_on_this_machine_alone_and_in_range() -> None:
    with own_domain() as variables:
        assert variables["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
        assert 1 <= int(variables["ROS_DOMAIN_ID"]) <= 100
    with own_domain(77) as variables:
        assert variables["ROS_DOMAIN_ID"] == "77"


def test_nobody_else_gets_a_domain_while_it_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    monkeypatch.setattr(processes, "DOMAINS", range(1, 4))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    another = (
        "import sys, tempfile; from planet_ros.supervision import processes\n"
        "processes.DOMAINS, tempfile.tempdir = range(1, 4), sys.argv[1]\n"
        "with processes.own_domain() as variables: print(variables['ROS_DOMAIN_ID'])"
    )
    with own_domain() as first, own_domain() as second:
        taken = {first["ROS_DOMAIN_ID"], second["ROS_DOMAIN_ID"]}
        elsewhere = run_python(another, str(tmp_path)).stdout.strip()
        assert {*taken, elsewhere} == {"1", "2", "3"}
        with own_domain(), pytest.raises(UserError, match="all of 1 to 3 taken"), own_domain():
            pass
    with own_domain(), own_domain(), own_domain():
        pass


def test_nodes_are_modules_of_the_checkout(root: Path) -> None:
    assert set(processes.NODES) == {"gym_bridge", "controller", "trainer", "robot"}
    for module in processes.NODES.values():
        assert (root / (module.replace(".", "/") + ".py")).is_file()


def test_presets_are_found_and_what_is_none_is_refused(root: Path) -> None:
    assert find_config("pendulum.yaml") == root / "config" / "pendulum.yaml"
    with pytest.raises(UserError, match=r"no_such\.yaml is not in .*give a path"):
        find_config("no_such.yaml")


def test_presets_of_an_installation_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "share" / "planet_ros" / "config"
    folder.mkdir(parents=True)
    (folder / "of_ones_own.yaml").write_text("")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/nowhere:{tmp_path}")
    assert find_config("of_ones_own.yaml") == folder / "of_ones_own.yaml"
