"""A node's subscriptions whose unusable messages are counted, and said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.node import Node
from rclpy.qos import QoSProfile

from planet_ros.errors import UserError
from planet_ros.messages.fields import shortened
from planet_ros.ros.subscriptions import Source, subscribe

WARNING_PERIOD_S = 2.0

T = TypeVar("T")


class Listener:
    """Listens to topics; what cannot be used is dropped.

    Attributes:
        dropped: Messages that were, by topic.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.dropped: Counter[str] = Counter()

    def listen(
        self,
        type_name: str,
        topic: str,
        qos: QoSProfile,
        *,
        read: Callable[[Any], T],
        take: Callable[[T], None],
        what: str,
    ) -> Source:
        """Subscribe to a topic.

        Args:
            type_name: Of its messages.
            topic: Its name.
            qos: Its quality of service.
            read: Called with each message that can be decoded; raises a UserError where it is not
                what it should be, and it is dropped.
            take: Called with what was read.
            what: A message of these, to a person.
        """

        def on_message(message: Any) -> None:
            try:
                value = read(message)
            except UserError as error:
                on_dropped(error)
                return
            source.dropped = 0
            take(value)

        def on_dropped(reason: UserError) -> None:
            source.dropped, source.reason = source.dropped + 1, shortened(str(reason))
            self.dropped[topic] += 1
            self._node.get_logger().warn(
                f"dropped {what}: {reason} ({self.dropped.total()} dropped so far)",
                throttle_duration_sec=WARNING_PERIOD_S,
            )

        subscription = subscribe(
            self._node, type_name, topic, qos, take=on_message, drop=on_dropped
        )
        source = Source(subscription, type_name)
        return source
