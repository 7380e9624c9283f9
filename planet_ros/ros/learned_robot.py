"""One robot that is learned from: its topics, the steps out of them, and commands to it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from rclpy.node import Node

from planet_ros.errors import UserError
from planet_ros.interface.document import Interface, Qos
from planet_ros.interface.namespaces import in_namespace
from planet_ros.interface.timeline import Timeline
from planet_ros.messages.fields import shortened
from planet_ros.models import Task
from planet_ros.ros.exploring import Exploring
from planet_ros.ros.listening import Listener
from planet_ros.ros.step_source import Take
from planet_ros.ros.subscriptions import Source
from planet_ros.ros.topics import LOCK_STEP_QOS, QOS, check_name
from planet_ros.ros.types import make
from planet_ros.training.session import Session
from planet_ros.training.tasks import end_of

MOST_REASONS = 10
"""Reasons for cuts that one line names."""


class LearnedRobot:
    """Hears the topics that an interface names in one namespace, and makes steps of one stream.

    Attributes:
        timeline: Makes the steps.
    """

    def __init__(
        self,
        node: Node,
        listener: Listener,
        interface: Interface,
        task: Task | None,
        *,
        namespace: str,
        stream: int,
        lock_step: bool,
    ) -> None:
        """Subscribe to nothing yet.

        Args:
            node: Whose subscriptions and publishers they are.
            listener: Of the same node.
            interface: What the robot is.
            task: What it is to achieve, where that is known.
            namespace: Of its topics; empty: the node's own.
            stream: Its number, which its steps bear.
            lock_step: Whether it waits for a command after each step.

        Raises:
            UserError: The document does not fit the types of the messages, or names no topics that
                ROS allows.
        """
        self._node = node
        self._listener = listener
        self._name = namespace
        self._stream = stream
        self._lock_step = lock_step
        self._interface = in_namespace(interface, namespace)
        self.timeline = Timeline(self._interface, make, together=lock_step, ended=end_of(task))
        for topic in self.timeline.topics:
            try:
                check_name(topic)
            except UserError as error:
                raise UserError(f"topic {topic!r}: {error}") from None
        self._exploring: Exploring | None = None
        self._sources: dict[str, Source] = {}
        self._heard_s: dict[str, float] = {}
        self._stepped_s = time.monotonic()
        self._reported = ""

    def listen(self, session: Session, take: Take) -> None:
        """Subscribe to all its topics; be able to command it where the session may explore."""
        self._take = take
        if session.settings.training.collect != "listen":
            self._exploring = Exploring(
                self._node, self._interface, self.timeline, session, stream=self._stream
            )
        wanted, profiles = qualities(self._interface), LOCK_STEP_QOS if self._lock_step else QOS
        for topic, type_name in self.timeline.topics.items():
            self._sources[topic] = self._listener.listen(
                type_name,
                topic,
                profiles[wanted.get(topic, "sensor_data")],
                read=partial(self._read, topic),
                take=lambda _: None,
                what=f"a message on '{topic}'",
            )
        self._stepped_s = time.monotonic()
        self._heard_s = dict.fromkeys(self._sources, self._stepped_s)

    @property
    def idle_s(self) -> float:
        """Seconds without a step."""
        return time.monotonic() - self._stepped_s

    def silence(self, limit_s: float) -> str:
        """Which topics are silent, and why, where no step came for so many seconds; else empty."""
        if self.idle_s <= limit_s:
            return ""
        now_s = time.monotonic()
        silent = [topic for topic, at_s in self._heard_s.items() if now_s - at_s > limit_s]
        text = ", ".join(self._sources[topic].text(self._node) for topic in silent)
        if not silent:
            names = self.timeline.lacking(self._now_ns())
            lacking = f"nothing new of {', '.join(names)}" if names else "no two make a step"
            text = f"messages come on all topics, but {lacking}"
        return self._named(text)

    def advance(self) -> None:
        """Let time pass, by the clock that messages are received by."""
        self.timeline.advance(self._now_ns())
        self._give()

    def check(self) -> None:
        """In lock-step: give up on commands that have not come."""
        self.timeline.check()
        self._give()

    def explore(self) -> None:
        """Send the command of a period, if there is one to be sent."""
        if self._exploring is not None:
            self._exploring.tick(self._now_ns())

    def close(self) -> None:
        """Send the safe command, where a random one is in force."""
        if self._exploring is not None and not self._lock_step:
            self._exploring.close(self._now_ns())

    def flush(self, until_s: float) -> None:
        """Wait until the robot has what was sent, up to a time of the steady clock."""
        if self._exploring is not None and not self._lock_step:
            self._exploring.flush(until_s)

    def report(self) -> None:
        """Say how it goes, where something changed."""
        counters = self.timeline.counters
        dropped = {topic: self._listener.dropped[topic] for topic in self.timeline.topics}
        text = f"{counters.steps} steps of {counters.ticks} ticks"
        text += _counted("cuts", counters.cuts) + _counted("dropped", dropped)
        if text != self._reported:
            self._reported = text
            self._node.get_logger().info(self._named(text))

    def _read(self, topic: str, message: Any) -> None:
        now_ns = self._now_ns()
        try:
            self.timeline.take(topic, message, now_ns)
        finally:
            self._give()  # time went on, whatever the message is worth
        self._heard_s[topic] = time.monotonic()
        if self._exploring is not None and self._lock_step:
            self._exploring.answer(topic, now_ns)

    def _give(self) -> None:
        steps = self.timeline.steps()
        if steps:
            self._stepped_s = time.monotonic()
            self._take([replace(step, stream=self._stream) for step in steps])

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def _named(self, text: str) -> str:
        return f"{self._name}: {text}" if self._name else text


def qualities(interface: Interface) -> dict[str, Qos]:
    """Quality of service by topic; where parts ask for several, the one that any publisher has."""
    found: dict[str, Qos] = {}
    for part in (*interface.sources, *interface.action):
        if found.get(part.topic) != "sensor_data":
            found[part.topic] = part.qos
    return found


def _counted(what: str, counts: Mapping[str, int]) -> str:
    """``; cuts: stamps jump 2``, empty where there is nothing."""
    most = Counter({name: count for name, count in counts.items() if count})
    if not most:
        return ""
    return f"; {what}: " + ", ".join(
        f"{shortened(name)} {count}" for name, count in most.most_common(MOST_REASONS)
    )
