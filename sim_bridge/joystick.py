"""Someone who drives a simulated robot by hand, for tests and experiments.

Others do not know that there is no person: all that they see are messages on the command topic.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from planet_ros.messages.fields import header_stamp_ns
from planet_ros.ros.topics import EVERY_STEP, NEWEST
from planet_ros.ros.types import make, message_class
from sim_bridge.robots.simulation import PERIOD_S
from sim_bridge.robots.topics import ROBOTS, RobotOptions

_HELD_S = (0.1, 1.0)
"""Shortest and longest time for which a stick is held in one place."""


class Sticks:
    """Positions of joystick's sticks: each is held in a random place for a random time.

    One place in five is the middle, where a stick springs back to when it is let go.
    """

    def __init__(
        self, low: NDArray[np.float64], high: NDArray[np.float64], rng: np.random.Generator
    ) -> None:
        """Let go of all sticks.

        Args:
            low: (A,) command at one end.
            high: (A,) at the other.
            rng: What the hands do.
        """
        self._low, self._high, self._rng = low, high, rng
        self._places = np.zeros_like(low)
        self._left = np.zeros(len(low), dtype=np.int64)

    def next(self) -> NDArray[np.float64]:
        """The command (A,) of the next control period."""
        for index in np.flatnonzero(self._left == 0):
            place = self._rng.uniform(self._low[index], self._high[index])
            self._places[index] = 0.0 if self._rng.random() < 0.2 else place
            self._left[index] = max(1, round(self._rng.uniform(*_HELD_S) / PERIOD_S))
        self._left -= 1
        return self._places.copy()


class Joystick:
    """Publishes a command for each new state of a robot, in lock-step and in real time.

    Attributes:
        driving: Whether it does so just now.
        topics: Of the states that it looks at.
        sent: Commands so far, by the stamp of the state that each answers.
    """

    def __init__(self, node: Node, robot: str, rng: np.random.Generator) -> None:
        """Begin to drive.

        Args:
            node: Whose subscription and publisher they are.
            robot: One of `ROBOTS`.
            rng: What the hands do.
        """
        self.driving = True
        self.sent: dict[int, NDArray[np.float64]] = {}
        self._topics = ROBOTS[robot](make, RobotOptions())
        self._sticks = Sticks(self._topics.robot.low, self._topics.robot.high, rng)
        topic, kind = self._topics.command
        self._publisher = node.create_publisher(message_class(kind), topic, EVERY_STEP)
        self.topics = tuple(self._topics.states)
        self._seen: dict[str, int | None] = dict.fromkeys(self.topics)
        for topic, kind in self._topics.states.items():
            take = functools.partial(self._on_state, topic)
            node.create_subscription(message_class(kind), topic, take, NEWEST)

    def _on_state(self, topic: str, message: Any) -> None:
        """Answer, once all parts of a state are there: others may still wait for the last one."""
        self._seen[topic] = stamp_ns = header_stamp_ns(message)
        if stamp_ns is None or not self.driving or set(self._seen.values()) != {stamp_ns}:
            return
        if stamp_ns not in self.sent:
            self.sent[stamp_ns] = self._sticks.next()
        # A state that is shown again was not answered: the answer was lost on its way.
        self._publisher.publish(self._topics.write(self.sent[stamp_ns], stamp_ns))
