"""Subscriptions that nothing on their topic can harm, and who else is on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription

from planet_ros.errors import UserError
from planet_ros.messages.fields import shortened
from planet_ros.messages.sizes import check_bytes
from planet_ros.ros.types import message_class


@dataclass
class Source:
    """A subscription, and what became of the messages on it.

    Attributes:
        subscription: To the topic.
        type_name: Of its messages.
        dropped: How many since the last one that was used.
        reason: Why the newest of these was dropped.
    """

    subscription: Subscription
    type_name: str
    dropped: int = 0
    reason: str = ""

    def text(self, node: Node) -> str:
        """Why nothing comes from it, for a person."""
        where = publishers_text(node, self.subscription, self.type_name)
        if not self.dropped:
            return f"nothing new on {where}"
        return f"all {self.dropped} messages on {where} were dropped, the last: {self.reason}"


def subscribe(
    node: Node,
    type_name: str,
    topic: str,
    qos: QoSProfile,
    *,
    take: Callable[[Any], None],
    drop: Callable[[UserError], None],
    wanted: Callable[[], bool] = lambda: True,
    numbers: Callable[[], int | None] = lambda: None,
) -> Subscription:
    """Subscribe to a topic, for messages whose sizes are bounded.

    rclpy would make Python objects of a message before anyone could see how large it is: a second
    for a layout of 10⁵ parts. Here it hands over the bytes, and their sizes are checked first.

    Args:
        node: Whose subscription it is.
        type_name: Such as ``std_msgs/msg/String``.
        topic: Its name.
        qos: Its quality of service.
        take: Called with each message that can be decoded.
        drop: Called with the reason why another one cannot.
        wanted: Whether messages are looked at at all just now.
        numbers: Of a vector, how many are expected just now; None: any.
    """
    kind = message_class(type_name)

    def on_bytes(data: bytes) -> None:
        if not wanted():
            return
        try:
            message = decoded(type_name, data, numbers())
        except UserError as error:
            drop(error)
            return
        take(message)

    subscription: Subscription = node.create_subscription(kind, topic, on_bytes, qos, raw=True)
    return subscription


def decoded(type_name: str, data: bytes, numbers: int | None = None) -> Any:
    """A message of its bytes.

    Raises:
        UserError: It is too large, or its bytes are none of its type.
    """
    check_bytes(type_name, data, numbers)
    try:
        return deserialize_message(data, message_class(type_name))
    except Exception as error:  # rclpy's own has no public name in every version
        raise UserError(
            f"found {len(data)} bytes that are no {type_name}: {shortened(str(error))}"
        ) from None


def publishers_text(node: Node, subscription: Subscription, type_name: str) -> str:
    """Who publishes on a subscription's topic: ``'/robot/observation' (1 publishers)``.

    The topic has the name that it really has, after remapping; those that are never heard are
    named, because they publish another type there, or with another quality of service.
    """
    topic = subscription.topic_name
    text = f"'{topic}' ({subscription.get_publisher_count()} publishers"
    infos = node.get_publishers_info_by_topic(topic)
    for other in _other_types(infos, type_name):
        text += f", and one of another type, {other}, expected {type_name}"
    reasons = {
        _mismatch(info.qos_profile, subscription.qos_profile)
        for info in infos
        if info.topic_type == type_name
    }
    for reason in sorted(reasons - {""}):
        text += f", and one with another quality of service, {reason}"
    return f"{text})"


def unheard(node: Node, publishers: Iterable[tuple[Publisher, str]]) -> str:
    """Which subscriptions to a node's own topics never hear it.

    Args:
        node: Whose publishers they are.
        publishers: Each with the type of its messages.

    Returns:
        The topics, nodes and reasons, for a person; empty if all is well.
    """
    texts = []
    for publisher, type_name in publishers:
        for info in node.get_subscriptions_info_by_topic(publisher.topic_name):
            reason = _mismatch(publisher.qos_profile, info.qos_profile)
            if info.topic_type != type_name:
                reason = f"found the type {shortened(info.topic_type)}, expected {type_name}"
            if reason:
                texts.append(f"{_full_name(info)} does not hear '{publisher.topic_name}': {reason}")
    return "; ".join(texts[:_MOST_NAMED])


_MOST_NAMED = 5


def _mismatch(offered: QoSProfile, requested: QoSProfile) -> str:
    """Why a publisher's messages never come to a subscription; empty if they do.

    Periods are not compared: what is said of other nodes writes "for ever" in several ways.
    """
    reliable, latched = ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL
    reasons = []
    if requested.reliability == reliable and offered.reliability == ReliabilityPolicy.BEST_EFFORT:
        reasons.append("published best effort and subscribed to reliable")
    if requested.durability == latched and offered.durability == DurabilityPolicy.VOLATILE:
        reasons.append("published volatile and subscribed to transient local")
    return ", ".join(reasons)


def _other_types(infos: Iterable[Any], type_name: str) -> list[str]:
    found = {str(info.topic_type) for info in infos}
    return [shortened(name) for name in sorted(found - {type_name})][:3]


def _full_name(info: Any) -> str:
    return shortened(f"{info.node_namespace.rstrip('/')}/{info.node_name}", 100)


def crowd(node: Node, topics: Iterable[str], may_share: Iterable[str] = ()) -> str:
    """Which topics more than one node publishes on, where there should be one.

    Args:
        node: Who asks.
        topics: With the names that they really have, after remapping.
        may_share: Names of nodes, without their namespaces, that do not count.

    Returns:
        The topics and their publishers, for a person; empty if all is well.
    """
    passed_over = set(may_share)
    texts = []
    for topic in topics:
        names = [
            _full_name(info)
            for info in node.get_publishers_info_by_topic(topic)
            if info.node_name not in passed_over
        ]
        if len(names) > 1:
            named = ", ".join(sorted(names)[:_MOST_NAMED])
            texts.append(f"{len(names)} publish on '{topic}', expected one: {named}")
    return "; ".join(texts)
