"""A controller that drives a simulated robot by its interface, and what a test does around it."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nodes import Diagnostics, NodeProcess, Ros
from numpy.typing import NDArray
from robot_bundles import interface_of_robot, robot_bundle

from planet_ros.bundle.runtime import Bundle
from planet_ros.interface.paths import parse_path
from planet_ros.interface.writing import ActionWriter
from planet_ros.ros.topics import EVERY_STEP
from planet_ros.ros.types import make, message_class

PERIOD_S, STALE_S = 0.05, 0.25


class Rig:
    """A controller that is active, and what it sends; the robot comes later."""

    def __init__(self, ros: Ros, folder: Path, robot: str, **parameters: Any) -> None:
        self.ros, self.robot = ros, robot
        self.interface = interface_of_robot(robot)
        self.bundle: Bundle = robot_bundle(folder / "model", self.interface)
        self.writer = ActionWriter(self.interface.action, make)
        self.commands: list[tuple[float, NDArray[np.float64]]] = []
        for part in self.interface.action:
            take = partial(self._on_command, part.topic)
            ros.observer.create_subscription(message_class(part.type), part.topic, take, EVERY_STEP)
        self.states: list[tuple[float, Any]] = []
        seen = self.interface.observation[0]
        ros.observer.create_subscription(
            message_class(seen.type),
            seen.topic,
            lambda message: self.states.append((time.monotonic(), message)),
            EVERY_STEP,
        )
        if robot == "base":
            goal = make("geometry_msgs/msg/PoseStamped")
            goals = ros.observer.create_publisher(type(goal), "goal_pose", 1)
            ros.observer.create_timer(0.1, lambda: goals.publish(goal))
        self.diagnostics = Diagnostics(ros)
        self.controller = ros.start("controller", {"model": str(self.bundle.path), **parameters})
        ros.activate_controller()

    def start_robot(self) -> NodeProcess:
        settings = {"robot.name": self.robot, "robot.mode": "real_time", "robot.noise": 0.0}
        return self.ros.start("robot", settings)

    def until_acting(self) -> None:
        """Wait until it has planned for a while."""
        self.ros.until(lambda: self.diagnostics.text.startswith("acting") and self.states)
        self.ros.spin(0.3)

    @property
    def values(self) -> NDArray[np.float64]:
        """(N, A) what was commanded."""
        return np.array([values for _, values in self.commands])

    @property
    def safe(self) -> NDArray[np.float64]:
        """(A,) what is safe now."""
        if not self.writer.safe.holds:
            return np.asarray(self.writer.safe.constant, np.float64)
        (hold,) = self.writer.safe.holds
        return np.asarray(parse_path(hold.field).read(self.states[-1][1]))

    def is_safe(self) -> bool:
        return np.allclose(self.commands[-1][1], self.safe, atol=0.02)

    def check_limits(self) -> None:
        """No command was ever out of its range, or another one too soon."""
        values, parts = self.values, self.writer.signature_parts
        assert np.isfinite(values).all()
        low, high = np.array([(part.low, part.high) for part in parts]).T
        assert (values >= low - 1e-5).all() and (values <= high + 1e-5).all()
        rates = np.array([np.inf if part.max_rate is None else part.max_rate for part in parts])
        assert (np.abs(np.diff(values, axis=0)) <= rates * PERIOD_S + 1e-5).all()

    def _on_command(self, topic: str, message: Any) -> None:
        _, values, _ = self.writer.read(topic, message)
        self.commands.append((time.monotonic(), values))


def change_state(ros: Ros, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(ros.call(ChangeState, "controller/change_state", request).success)
