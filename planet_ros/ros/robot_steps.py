"""Steps of a robot, from its own topics: what it measures, and what it is commanded by whomever."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from planet_ros.config import TrainerNodeSettings
from planet_ros.data import Step
from planet_ros.environments import EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.interface.files import load_interface
from planet_ros.interface.timeline import Timeline
from planet_ros.messages.fields import shortened
from planet_ros.models import Task
from planet_ros.ros.exploring import Exploring
from planet_ros.ros.listening import Listener
from planet_ros.ros.step_source import Take
from planet_ros.ros.subscriptions import Source
from planet_ros.ros.topics import EACH, QOS, check_name
from planet_ros.ros.types import make
from planet_ros.training.session import Session
from planet_ros.training.tasks import task_of

CHECK_PERIOD_S = 0.1
REPORT_PERIOD_S = 10.0
MOST_REASONS = 10
"""Reasons for cuts that one line names."""


class RobotSteps:
    """Steps out of the messages that the settings' interface names; see `StepSource`."""

    environment: EnvironmentSpec | None = None
    complete = True

    def __init__(self, node: Node, listener: Listener, settings: TrainerNodeSettings) -> None:
        """Read the interface.

        Raises:
            UserError: There is none, it does not fit the types of the messages, or no reward comes
                with them.
        """
        self._node = node
        self._listener = listener
        training = settings.training
        document = load_interface(settings.interface)
        self.interface: Interface | None = document
        self._document = document
        if document.reward.kind == "step":
            raise UserError(
                f"{settings.interface}: reward: found none, expected kind quadratic or topic: the "
                "robot's topics hold none by themselves"
            )
        if training.command_period_s > 0:
            raise UserError(
                f"training.command_period_s: found {training.command_period_s:g} beside an "
                f"interface, expected 0: its period_s is {document.period_s:g}"
            )
        self._lock_step = training.lock_step
        self.catches_up = not training.lock_step
        self._timeline = Timeline(document, make, together=training.lock_step)
        for topic in self._timeline.topics:
            try:
                check_name(topic)
            except UserError as error:
                raise UserError(f"{settings.interface}: topic {topic!r}: {error}") from None
        self.signature = self._timeline.signature
        self.task: Task | None = task_of(document, self.signature, make)
        if not (training.update_every_steps or document.end.after_steps):
            node.get_logger().warn(
                "the model is fitted where an episode ends, and nothing says that one does after "
                "some time: set training.update_every_steps, or end.after_steps in the interface"
            )
        self._exploring: Exploring | None = None
        self._sources: dict[str, Source] = {}
        self._heard_s: dict[str, float] = {}
        self._stepped_s = time.monotonic()
        self._reported = ""

    def listen(self, session: Session, take: Take) -> None:
        """Subscribe to all topics of the interface; command where the session may explore."""
        self._take = take
        if session.settings.training.collect != "listen":
            self._exploring = Exploring(self._node, self._document, self._timeline, session)
        qualities = _qualities(self._document)
        for topic, type_name in self._timeline.topics.items():
            self._sources[topic] = self._listener.listen(
                type_name,
                topic,
                QOS[qualities[topic]] if topic in qualities else EACH,
                read=partial(self._read, topic),
                take=lambda _: None,
                what=f"a message on '{topic}'",
            )
        now_s = self._stepped_s = time.monotonic()
        self._heard_s = dict.fromkeys(self._sources, now_s)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        if self._lock_step:
            self._node.create_timer(CHECK_PERIOD_S, self._check, clock=steady)
        else:
            # By the clock that messages are received by, which may be a simulation's.
            self._node.create_timer(self._document.period_s / 2, self._advance)
            if self._exploring is not None:
                self._node.create_timer(self._document.period_s, self._explore)
        self._node.create_timer(REPORT_PERIOD_S, self._report, clock=steady)

    def is_lost(self, step: Step) -> bool:
        """Never: where something is missing there is no step."""
        return False

    def silence(self, limit_s: float) -> str:
        """Which topics are silent, and why."""
        now_s = time.monotonic()
        if now_s - self._stepped_s <= limit_s:
            return ""
        self._stepped_s = now_s
        silent = [topic for topic, at_s in self._heard_s.items() if now_s - at_s > limit_s]
        if not silent:
            return "messages come on all topics, but " + (self._lacking() or "no two make a step")
        return ", ".join(self._sources[topic].text(self._node) for topic in silent)

    def close(self) -> None:
        """Send the safe command, where a random one is in force; say what came of it all."""
        if self._exploring is not None and not self._lock_step:
            self._exploring.close(self._now_ns())
        self._report()

    def _read(self, topic: str, message: Any) -> None:
        now_ns = self._now_ns()
        try:
            self._timeline.take(topic, message, now_ns)
        finally:
            self._give()  # time went on, whatever the message is worth
        self._heard_s[topic] = time.monotonic()
        if self._exploring is not None and self._lock_step:
            self._exploring.answer(topic, now_ns)

    def _advance(self) -> None:
        self._timeline.advance(self._now_ns())
        self._give()

    def _check(self) -> None:
        self._timeline.check()
        self._give()

    def _explore(self) -> None:
        assert self._exploring is not None
        self._exploring.tick(self._now_ns())

    def _give(self) -> None:
        steps = self._timeline.steps()
        if steps:
            self._stepped_s = time.monotonic()
            self._take(steps)

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def _lacking(self) -> str:
        names = self._timeline.lacking(self._now_ns())
        return f"nothing new of {', '.join(names)}" if names else ""

    def _report(self) -> None:
        """Say how it goes, where something changed."""
        counters = self._timeline.counters
        text = f"{counters.steps} steps of {counters.ticks} ticks"
        text += _counted("cuts", counters.cuts) + _counted("dropped", self._listener.dropped)
        if text != self._reported:
            self._reported = text
            self._node.get_logger().info(text)


def _qualities(interface: Interface) -> dict[str, Any]:
    """Quality of service by topic; where parts ask for several, the one that any publisher has."""
    qualities: dict[str, Any] = {}
    for part in (*interface.sources, *interface.action):
        if qualities.get(part.topic) != "sensor_data":
            qualities[part.topic] = part.qos
    return qualities


def _counted(what: str, counts: Counter[str]) -> str:
    """``; cuts: stamps jump 2``, empty where there is nothing."""
    if not counts:
        return ""
    most = counts.most_common(MOST_REASONS)
    return f"; {what}: " + ", ".join(f"{shortened(name)} {count}" for name, count in most)
