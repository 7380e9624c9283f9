"""Real nodes in processes of their own, over real DDS, each test in a domain of its own."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from std_msgs.msg import Float64MultiArray

from planet_ros.ros.topics import EVERY_STEP
from planet_ros.supervision import processes
from planet_ros.supervision.supervisor import Supervisor

TEST_FOLDER = Path(__file__).resolve().parents[1]
MODULES = processes.NODES
ENVIRONMENT: dict[str, Any] = {
    "env_id": "PlanetRosTest/PointMass-v0",
    "env_modules": ["tiny_environments"],
}
PICTURE = {**ENVIRONMENT, "env_id": "PlanetRosTest/Picture-v0"}
PICTURE_AND_POSITION = {**ENVIRONMENT, "env_id": "PlanetRosTest/PictureAndPosition-v0"}
IMAGE_MODEL: dict[str, Any] = {
    "world_model.kind": "rssm",
    "rssm.deterministic_size": 8,
    "rssm.stochastic_size": 3,
    "rssm.hidden_size": 8,
    "rssm.image_hidden_size": 8,
    "training.sequence_length": 5,
}
"""A small model of pictures."""


class NodeProcess(processes.NodeProcess):
    """A node that finds the tests' environments, and what it printed."""

    def __init__(
        self, name: str, parameters: dict[str, Any], log: Path, namespace: str = ""
    ) -> None:
        path = os.pathsep.join([str(TEST_FOLDER), str(TEST_FOLDER.parent)])
        super().__init__(
            name, parameters, log=log, namespace=namespace, environment={"PYTHONPATH": path}
        )
        self.log = log

    def end(self, number: int = signal.SIGINT, timeout_s: float = 30) -> int:
        """Send a signal, if it still runs, and give the exit code."""
        return super().end(number, timeout_s)


class Ros:
    """A domain with an observer in this process, and the nodes that a test starts."""

    def __init__(self, supervisor: Supervisor, folder: Path) -> None:
        self.supervisor = supervisor
        self.observer = supervisor.node
        self._folder = folder
        self._processes: list[NodeProcess] = []
        self._numbers = itertools.count()

    def start(self, name: str, parameters: dict[str, Any], namespace: str = "") -> NodeProcess:
        log = self._folder / f"{next(self._numbers)}-{name}.log"
        self._processes.append(NodeProcess(name, parameters, log, namespace))
        return self._processes[-1]

    def activate_controller(self, namespace: str = "") -> None:
        self.supervisor.activate(f"{namespace}/controller".lstrip("/"), timeout_s=60)

    def collect(self, message_type: type, topic: str, qos: QoSProfile | int = 10) -> list[Any]:
        """A list that every message on a topic is appended to."""
        messages: list[Any] = []
        self.observer.create_subscription(message_type, topic, messages.append, qos)
        return messages

    def until(self, ready: Any, timeout_s: float = 60) -> Any:
        """Spin until `ready` gives something true."""
        with self._explained():
            return self.supervisor.spin_until(lambda: ready() or None, timeout_s)

    def spin(self, seconds: float = 0.4) -> None:
        """Give the nodes time to do something, or nothing."""
        until_s = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > until_s)

    def call(self, service_type: type, name: str, request: Any) -> Any:
        with self._explained():
            return self.supervisor.call(service_type, name, request, timeout_s=60)

    def connect(self, publisher: Publisher, node_name: str) -> None:
        """Wait until a node gets all that is published from now on."""
        self.until(lambda: publisher.get_subscription_count() > 0)
        with self._explained():
            self.supervisor.wait_until_known(node_name, timeout_s=60)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Fail a test that waited in vain with what the nodes said."""
        try:
            yield
        except TimeoutError:
            logs = "\n".join(f"--- {p.log.name}\n{p.output}" for p in self._processes)
            pytest.fail(f"timed out; the nodes said:\n{logs}")

    def close(self) -> None:
        """End all nodes, so that they say goodbye: who is killed is remembered for a while."""
        for process in self._processes:
            if process.poll() is None:
                process.send(signal.SIGINT)
        for process in self._processes:
            process.end()
        self._processes = []


class Commander:
    """Answers every observation with a constant, as a node that knows nothing of labels does."""

    def __init__(self, ros: Ros, action: list[float]) -> None:
        self.action, self.answering = action, True
        self.observations: list[Float64MultiArray] = []
        self.steps = ros.collect(Float64MultiArray, "step", EVERY_STEP)
        self._publisher = ros.observer.create_publisher(Float64MultiArray, "commands", 1)
        ros.observer.create_subscription(Float64MultiArray, "observation", self._answer, 10)

    def _answer(self, message: Float64MultiArray) -> None:
        self.observations.append(message)
        if self.answering:
            self._publisher.publish(Float64MultiArray(data=self.action))


class Diagnostics:
    """What the controller reports of itself."""

    def __init__(self, ros: Ros) -> None:
        self._messages = ros.collect(DiagnosticArray, "/diagnostics")

    @property
    def text(self) -> str:
        """The newest message; empty before the first."""
        return self._messages[-1].status[0].message if self._messages else ""

    @property
    def values(self) -> dict[str, str]:
        """What stands beside it; empty before the first report."""
        values = self._messages[-1].status[0].values if self._messages else []
        return {item.key: item.value for item in values}

    @property
    def dropped(self) -> int:
        """How many messages did not fit; 0 before the first report."""
        return int(self.values.get("dropped_messages", 0))
