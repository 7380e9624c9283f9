"""Commands on their way out."""

from __future__ import annotations

import time

from rclpy.duration import Duration
from rclpy.node import Node

from planet_ros.control.latency import Latency
from planet_ros.control.loop import Command
from planet_ros.messages.vectors import VECTOR_TYPE, vector_message
from planet_ros.ros.topics import COMMAND_TOPIC, NEWEST_RELIABLE
from planet_ros.ros.types import make, message_class

ACKNOWLEDGEMENT_LIMIT_S = 0.5


class CommandPublisher:
    """Publishes commands, and measures how often.

    Attributes:
        last: The one that was sent last since `begin`; None before the first.
        period: Time between two of them.
    """

    def __init__(self, node: Node) -> None:
        """Announce the publisher; nothing is sent yet."""
        self._node = node
        self._publisher = node.create_publisher(
            message_class(VECTOR_TYPE), COMMAND_TOPIC, NEWEST_RELIABLE
        )
        self.begin()

    @property
    def topic(self) -> str:
        """The topic, with the name that it really has."""
        return str(self._publisher.topic_name)

    def begin(self) -> None:
        """Count from now on."""
        self.last: Command | None = None
        self.period = Latency()
        self._last_sent_s: float | None = None

    def send(self, command: Command) -> None:
        """Publish a command."""
        now_s = time.monotonic()
        self._publisher.publish(vector_message(make, "action", command.action, command.stamp_ns))
        if self._last_sent_s is not None:
            self.period.add(now_s - self._last_sent_s)
        self._last_sent_s = now_s
        self.last = command

    def flush(self) -> None:
        """Wait until readers have what was sent, or a while: they may be gone."""
        self._publisher.wait_for_all_acked(Duration(seconds=ACKNOWLEDGEMENT_LIMIT_S))

    def close(self) -> None:
        """Take the publisher away."""
        self._node.destroy_publisher(self._publisher)
