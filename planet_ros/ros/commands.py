"""Commands on their way out."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.node import Node

from planet_ros.control.events import Command
from planet_ros.control.latency import Latency
from planet_ros.errors import UserError
from planet_ros.interface.ahead import TRAJECTORY_TYPE
from planet_ros.interface.document import Interface
from planet_ros.interface.writing import ActionWriter
from planet_ros.messages.fields import time_message
from planet_ros.messages.vectors import VECTOR_TYPE
from planet_ros.ros.subscriptions import subscribe, unheard
from planet_ros.ros.topics import LOCK_STEP_QOS, NEWEST_QOS
from planet_ros.ros.types import make, message_class

ACKNOWLEDGEMENT_LIMIT_S = 0.5


class CommandPublisher:
    """Publishes commands as messages of an interface, and measures how often.

    Attributes:
        writer: Of the messages.
        last: The one that was sent last since `begin`; None before the first.
        period: Time between two of them.
    """

    def __init__(self, node: Node, interface: Interface, *, lock_step: bool) -> None:
        """Announce the publishers; nothing is sent yet.

        Args:
            node: Whose they are.
            interface: What the messages are.
            lock_step: Whether headers bear the stamp of the observation that a command answers;
                otherwise the time at which it is sent, as drivers expect that refuse old ones.

        Raises:
            UserError: A message type is not installed, or has no such field.
        """
        self._node = node
        self._lock_step = lock_step
        self.writer = ActionWriter(interface.action, make)
        # A robot that missed a command wants the next one; who learns in lock-step wants each.
        qos = LOCK_STEP_QOS if lock_step else NEWEST_QOS
        self._publishers = {
            part.topic: node.create_publisher(message_class(part.type), part.topic, qos[part.qos])
            for part in interface.action
        }
        self._heard: dict[int, float] = {}
        # Where changes are limited, the first command goes on from what was sent before.
        limited = any(one.max_rate is not None for one in self.writer.signature_parts)
        self._listening = [
            subscribe(
                node,
                part.type,
                part.topic,
                NEWEST_QOS["sensor_data"],
                take=lambda message, topic=part.topic: self._hear(topic, message),  # type: ignore[misc]
                drop=lambda reason: None,
            )
            for part in interface.action
            if limited
        ]
        self.begin()

    @property
    def topics(self) -> list[str]:
        """The topics, with the names that they really have."""
        return [str(publisher.topic_name) for publisher in self._publishers.values()]

    @property
    def unheard(self) -> str:
        """Who listens to commands and never hears them, and why; empty if all do."""
        types = self.writer.types
        return unheard(self._node, ((one, types[topic]) for topic, one in self._publishers.items()))

    @property
    def before(self) -> NDArray[np.float32] | None:
        """(A,) what was commanded last by whoever it was; None where it is not known."""
        count = len(self.writer.signature_parts)
        if len(self._heard) < count:
            return None
        return np.array([self._heard[index] for index in range(count)], np.float32)

    def begin(self) -> None:
        """Count from now on."""
        self.last: Command | None = None
        self.period = Latency()
        self._last_sent_s: float | None = None

    def send(self, command: Command) -> None:
        """Publish a command."""
        now_s = time.monotonic()
        for topic, message in self.writer.messages(command.action, command.stamp_ns):
            type_name = self.writer.types[topic]
            if not self._lock_step and type_name != VECTOR_TYPE and hasattr(message, "header"):
                # A trajectory without a stamp begins when it arrives; one of the past is dropped.
                sent_ns = 0
                if type_name != TRAJECTORY_TYPE:
                    sent_ns = self._node.get_clock().now().nanoseconds
                message.header.stamp = time_message(make, sent_ns)
            self._publishers[topic].publish(message)
        if self._last_sent_s is not None:
            self.period.add(now_s - self._last_sent_s)
        self._last_sent_s = now_s
        self.last = command

    def flush(self) -> None:
        """Wait until readers have what was sent, or a while: they may be gone."""
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=ACKNOWLEDGEMENT_LIMIT_S))

    def close(self) -> None:
        """Take the publishers away."""
        for subscription in self._listening:
            self._node.destroy_subscription(subscription)
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)

    def _hear(self, topic: str, message: object) -> None:
        try:
            indices, values, _ = self.writer.read(topic, message)
        except UserError:
            return
        self._heard.update(zip(indices.tolist(), values.tolist(), strict=True))
