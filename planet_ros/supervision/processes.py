"""Nodes in processes of their own, which end in bounded time whatever they do.

This process needs no ROS for it.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from planet_ros.errors import UserError

NODES = {
    "gym_bridge": "sim_bridge.gym_bridge",
    "controller": "planet_ros.ros.controller_node",
    "trainer": "planet_ros.ros.trainer_node",
    "robot": "sim_bridge.robot_node",
}
"""The module of each node, for ``python -m``."""

END_LIMIT_S = 15.0
"""A node that does not end within this time after a signal hangs."""

_ABORT_LIMIT_S = 5.0

DOMAINS = range(1, 101)
"""Whose ports Linux gives to nobody else (those from 102 on are of its ephemeral range)."""

_turn = itertools.count(os.getpid())  # the next domain is another: the last one may still end


class NodeHangsError(Exception):
    """A node did not end by a signal, and was killed."""


class NodeProcess:
    """A node in a process of its own; as a context, it is ended by SIGINT when the block ends."""

    def __init__(
        self,
        name: str,
        parameters: Mapping[str, Any],
        *,
        config: Path | None = None,
        namespace: str = "",
        log: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start a node.

        Args:
            name: One of `NODES`.
            parameters: By their names; they override those of the file.
            config: A ROS parameter file.
            namespace: Of the node, without a leading slash.
            log: File for what it prints, which is replaced; None: it prints to this terminal.
            environment: Variables in place of, or beside, those of this process.
        """
        self.name = name
        self._log = log
        variables = {
            **os.environ,
            "PYTHONFAULTHANDLER": "1",  # who is aborted says where it was
            **(environment or {}),
        }
        command = command_line(name, parameters, config, namespace)
        if log is None:
            self._process = subprocess.Popen(command, env=variables)
        else:
            with log.open("wb") as file:
                self._process = subprocess.Popen(
                    command, stdout=file, stderr=subprocess.STDOUT, env=variables
                )

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.end()
        except NodeHangsError as hang:  # what the block did is not undone by it
            print(f"warning: {hang}", file=sys.stderr, flush=True)

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def output(self) -> str:
        """What it has printed to its log so far; empty without one."""
        if self._log is None:
            return ""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.poll()

    def check_alive(self) -> None:
        """See that it still runs.

        Raises:
            UserError: It has ended.
        """
        code = self.poll()
        if code is not None:
            where = "above" if self._log is None else self._log
            raise UserError(f"the {self.name} ended with code {code}; see {where}")

    def send(self, number: int) -> None:
        """Send a signal, if it still runs."""
        self._process.send_signal(number)

    def end(self, number: int = signal.SIGINT, timeout_s: float = END_LIMIT_S) -> int:
        """Send a signal, if it still runs, and give the exit code.

        Raises:
            NodeHangsError: It does not end in time. It is gone then; its log says where it was.
        """
        self.send(number)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)
            try:
                self._process.wait(_ABORT_LIMIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        except BaseException:  # such as a second Ctrl-C: it must not be left behind
            self._process.kill()
            self._process.wait()
            raise
        raise NodeHangsError(
            f"{self.name} did not end within {timeout_s:g} s of signal {number}\n{self.output}"
        )


def command_line(
    name: str, parameters: Mapping[str, Any], config: Path | None, namespace: str = ""
) -> list[str]:
    """The command that starts a node; values are JSON, which is YAML to ROS.

    The node is named before each parameter: an empty list has no type, so that ROS would leave in
    its place what a file says for the same pattern of nodes, which is ``/**`` in the presets. In a
    namespace simulated time is of a clock of its own, as each simulator there has one.
    """
    command = [sys.executable, "-m", NODES[name], "--ros-args"]
    if config is not None:
        command += ["--params-file", str(config)]
    node = f"{name}:"
    if namespace:
        node = ""  # a name alone is that of a node in no namespace
        command += ["-r", f"__ns:=/{namespace}", "-r", "/clock:=clock"]
    for key, value in parameters.items():
        command += ["-p", f"{node}{key}:={json.dumps(value)}"]
    return command


@contextmanager
def recorded(bag: Path, interface: str, log: Path) -> Iterator[None]:
    """Record what a robot in lock-step says and is told, in a process of its own.

    Args:
        bag: Folder for the recording.
        interface: Document of the robot, or the name of one.
        log: File for what the recorder prints.

    Raises:
        UserError: The recorder does not start, or ends before its time.
    """
    command = [sys.executable, "-m", "planet_ros.cli.main", "record", "--interface", interface]
    with log.open("w") as out:
        recorder = subprocess.Popen(
            [*command, "--lock-step", "--output", str(bag)], stdout=out, stderr=out
        )
    try:
        while "recording" not in log.read_text():
            if recorder.poll() is not None:
                raise UserError(f"the recorder ended: {log.read_text().strip()}")
            time.sleep(0.1)
        yield
        recorder.terminate()
        if recorder.wait(_RECORDER_END_S) != 0:
            raise UserError(f"the recorder ended with code {recorder.returncode}; see {log}")
    finally:
        recorder.kill()


_RECORDER_END_S = 30.0


@contextmanager
def own_domain(number: int | None = None) -> Iterator[dict[str, str]]:
    """Variables of a ROS domain on this machine alone, which are this process's while it lasts.

    Nodes in it are not on the network of some robot, and not among those of another process that
    asks for a domain in this way.

    Args:
        number: ROS_DOMAIN_ID, whoever else has it; None: one that is free.

    Raises:
        UserError: All domains are taken.
    """
    claim = None
    if number is None:
        number, claim = _claimed_domain()
    try:
        yield {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_DOMAIN_ID": str(number)}
    finally:
        if claim is not None:
            os.close(claim)


@contextmanager
def variables(wanted: Mapping[str, str]) -> Iterator[None]:
    """Set those of the environment's variables that nobody has set, for a while."""
    unset = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(unset)
    try:
        yield
    finally:
        for name in unset:
            del os.environ[name]


def _claimed_domain() -> tuple[int, int]:
    """A domain, and the descriptor that holds it; the system lets go of it with the process."""
    for _ in DOMAINS:
        domain = DOMAINS[next(_turn) % len(DOMAINS)]
        path = Path(tempfile.gettempdir()) / f"planet_ros-domain-{domain}.lock"
        try:
            claim = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except OSError:  # another user's, which this one may not read
            continue
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(claim)
            continue
        return domain, claim
    raise UserError(
        f"ROS domains: found all of {DOMAINS[0]} to {DOMAINS[-1]} taken on this machine, expected "
        "a free one; end other demos, benchmarks or tests, or set ROS_DOMAIN_ID"
    )
