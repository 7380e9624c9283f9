"""Real nodes in processes of their own, over real DDS, each test in a domain of its own."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rclpy.qos import QoSProfile

from planet_ros.cli.supervisor import Supervisor

TEST_FOLDER = Path(__file__).resolve().parents[1]
MODULES = {
    "gym_bridge": "sim_bridge.gym_bridge",
    "controller": "planet_ros.ros.controller_node",
    "trainer": "planet_ros.ros.trainer_node",
}
ENVIRONMENT = {"env_id": "PlanetRosTest/PointMass-v0", "env_modules": ["tiny_environments"]}


class NodeProcess:
    """A node, and what it printed."""

    def __init__(self, name: str, parameters: dict[str, Any], log: Path) -> None:
        command = [sys.executable, "-m", MODULES[name], "--ros-args"]
        for key, value in parameters.items():
            command += ["-p", f"{key}:={json.dumps(value)}"]
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(TEST_FOLDER)},
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def poll(self) -> int | None:
        return self._process.poll()

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self, number: int = signal.SIGINT, timeout_s: float = 30) -> int:
        """Send a signal, if it still runs, and give the exit code."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"did not end by signal {number}:\n{self.output}") from None


class Ros:
    """A domain with an observer in this process, and the nodes that a test starts."""

    def __init__(self, supervisor: Supervisor, folder: Path) -> None:
        self.supervisor = supervisor
        self.observer = supervisor.node
        self._folder = folder
        self._processes: list[NodeProcess] = []
        self._numbers = itertools.count()

    def start(self, name: str, parameters: dict[str, Any]) -> NodeProcess:
        log = self._folder / f"{next(self._numbers)}-{name}.log"
        self._processes.append(NodeProcess(name, parameters, log))
        return self._processes[-1]

    def activate_controller(self) -> None:
        self.supervisor.activate("controller", timeout_s=60)

    def collect(self, message_type: type, topic: str, qos: QoSProfile | int = 10) -> list[Any]:
        """A list that every message on a topic is appended to."""
        messages: list[Any] = []
        self.observer.create_subscription(message_type, topic, messages.append, qos)
        return messages

    def until(self, ready: Any, timeout_s: float = 60) -> Any:
        """Spin until `ready` gives something true."""
        try:
            return self.supervisor.spin_until(lambda: ready() or None, timeout_s)
        except TimeoutError:
            logs = "\n".join(f"--- {p._log.name}\n{p.output}" for p in self._processes)
            pytest.fail(f"timed out; the nodes said:\n{logs}")

    def call(self, service_type: type, name: str, request: Any) -> Any:
        client = self.observer.create_client(service_type, name)
        self.until(client.service_is_ready)
        future = client.call_async(request)
        return self.until(future.result)

    def close(self) -> None:
        """End all nodes, so that they say goodbye: who is killed is remembered for a while."""
        for process in self._processes:
            if process.poll() is None:
                process.send(signal.SIGINT)
        for process in self._processes:
            process.end()
        self._processes = []
