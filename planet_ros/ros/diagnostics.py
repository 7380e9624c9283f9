"""What the controller says of itself on ``/diagnostics``, once a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock
from rclpy.node import Node

from planet_ros.bundle.runtime import Bundle
from planet_ros.control.events import Command, Origin
from planet_ros.control.latency import Latency
from planet_ros.control.loop import ControlLoop
from planet_ros.messages.fields import shortened
from planet_ros.ros.topics import MODEL_TOPIC

PERIOD_S = 1.0
MAX_TEXT = 1000


@dataclass(frozen=True)
class Situation:
    """What a controller's state is judged by.

    Attributes:
        bundle: In use; None without one.
        loop: At work; None while the controller is not active.
        lock_step: Whether observations are answered, and not the clock.
        command: The one that was sent last; None before the first.
        source: Topic that bundles come from.
        refusal: Why the newest announced bundle is not used; empty if it is.
        lacking: Parts of the observation that do not come; empty if all do.
        dropped: Messages that could not be read.
        period: Time between two commands.
        crowd: Who else publishes where there should be one publisher; empty if nobody does.
        unheard: Who listens to commands and never hears them; empty if all do.
        stopped_clock: That simulated time stands still; empty if it does not.
        priority: Real-time priority that the controller has; 0: none.
    """

    bundle: Bundle | None = None
    loop: ControlLoop | None = None
    lock_step: bool = False
    command: Command | None = None
    source: str = MODEL_TOPIC
    refusal: str = ""
    lacking: str = ""
    dropped: int = 0
    period: Latency = field(default_factory=Latency)
    crowd: str = ""
    unheard: str = ""
    stopped_clock: str = ""
    priority: int = 0

    def judgement(self) -> tuple[bytes, str]:
        """Level and message of the status."""
        if self.loop is None:
            return DiagnosticStatus.OK, "inactive"
        if self.bundle is None:
            return DiagnosticStatus.WARN, f"waiting for a model on '{self.source}'"
        if self.stopped_clock:
            return DiagnosticStatus.WARN, self.stopped_clock
        if self.refusal:
            return DiagnosticStatus.WARN, f"the newest model was refused: {self.refusal}"
        if self.lacking and (self.lock_step or self.command is None):
            return DiagnosticStatus.WARN, f"the observation is not complete: {self.lacking}"
        if self.command is None:
            return self._well("waiting for an observation")
        if self.loop.failure:
            return DiagnosticStatus.ERROR, self.loop.failure
        if self.command.origin is Origin.SAFE:
            level = DiagnosticStatus.OK if self.loop.waiting else DiagnosticStatus.WARN
            return level, f"safe command: {self.command.reason}"
        if self.command.origin is Origin.LATE_PLAN:
            return DiagnosticStatus.WARN, self.command.reason
        return self._well("acting")

    def _well(self, message: str) -> tuple[bytes, str]:
        """What to say where nothing is wrong, unless it is with others on the topics."""
        others = "; ".join(text for text in (self.crowd, self.unheard) if text)
        if others:
            return DiagnosticStatus.WARN, f"{message}; {others}"
        return DiagnosticStatus.OK, message

    def values(self) -> Mapping[str, object]:
        """What stands beside them, by its key."""
        values: dict[str, object] = {
            "model": self.bundle.path if self.bundle else "",
            "model_hash": self.bundle.digest if self.bundle else "",
            "dropped_messages": self.dropped,
            "other_publishers": self.crowd,
            "unheard_commands": self.unheard,
            "realtime_priority": self.priority,
        }
        if self.loop is not None:
            values.update(vars(self.loop.counters))
            if novelties := tuple(self.loop.novelties):
                values["novelty"] = f"{sum(novelties) / len(novelties):.2f}"
            for name, latency in (("planning", self.loop.planning), ("period", self.period)):
                for quantile, value in latency.milliseconds().items():
                    values[f"{name}_{quantile}_ms"] = f"{value:.3f}"
        return values


class Diagnostics:
    """Publishes how a controller is doing, until it is closed."""

    def __init__(self, node: Node, situation: Callable[[], Situation], clock: Clock) -> None:
        """Begin; `situation` is asked each second of `clock`."""
        self._node = node
        self._situation = situation
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._timer = node.create_timer(PERIOD_S, self._publish, clock=clock)

    def close(self) -> None:
        """Be silent."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def _publish(self) -> None:
        situation = self._situation()
        status = DiagnosticStatus(name=f"{self._node.get_fully_qualified_name()[1:]}: control")
        status.hardware_id = "none"
        status.level, message = situation.judgement()
        status.message = shortened(message, MAX_TEXT)
        status.values = [
            KeyValue(key=key, value=shortened(value, MAX_TEXT))
            for key, value in situation.values().items()
        ]
        array = DiagnosticArray(status=[status])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)
