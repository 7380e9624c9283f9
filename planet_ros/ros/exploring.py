"""Random commands to a robot, as messages of its own topics."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.node import Node

from planet_ros.config.learning import MAX_STEPS
from planet_ros.control.exploration import RandomCommands
from planet_ros.interface.document import Interface
from planet_ros.interface.timeline import Timeline
from planet_ros.interface.writing import ActionWriter
from planet_ros.ros.topics import QOS
from planet_ros.ros.types import make, message_class
from planet_ros.training.session import Session


class Exploring:
    """Publishes random commands while the session explores.

    The first leads on from the command that is in force. Where the robot's state is missing, and
    where exploring ends, the commands lead to the safe one, no faster than is allowed; then there
    are none.
    """

    def __init__(
        self,
        node: Node,
        interface: Interface,
        timeline: Timeline,
        session: Session,
        *,
        stream: int = 0,
    ) -> None:
        """Make publishers, and send nothing yet.

        Args:
            node: Whose publishers they are.
            interface: What a command is, and which one is safe.
            timeline: What is seen.
            session: Says whether to explore, and draws.
            stream: Number of the robot: each is sent random commands of its own.
        """
        self._timeline = timeline
        self._session = session
        self._writer = ActionWriter(interface.action, make)
        self._publishers = {
            part.topic: node.create_publisher(message_class(part.type), part.topic, QOS[part.qos])
            for part in interface.action
        }
        parts = self._writer.signature_parts
        self._commands = RandomCommands(
            np.array([part.low for part in parts]),
            np.array([part.high for part in parts]),
            np.array([np.inf if part.max_rate is None else part.max_rate for part in parts]),
            session.random_action,
            first=session.steps + stream * MAX_STEPS,
        )
        self._period_s = interface.period_s
        self._sent_ns: int | None = None
        self._rest: NDArray[np.float64] | None = None
        self._answered_ns: int | None = None
        self._answered_on = ""

    def tick(self, now_ns: int) -> None:
        """Send the command of a period, if there is one to be sent."""
        explores = self._session.explores
        missing = bool(self._timeline.lacking(now_ns))
        if self._commands.last is None and (not explores or missing or not self._begin(now_ns)):
            return
        if explores and not missing:
            self._rest = None
            self._send(self._commands.explore(self._passed_s(now_ns)), now_ns)
            return
        if self._rest is None:
            self._rest = self._safe()
        if self._rest is not None:
            self._send(self._commands.towards(self._rest, self._passed_s(now_ns)), now_ns)
        if not explores and (self._rest is None or self._rests):
            self._commands.end()

    def answer(self, topic: str, now_ns: int) -> None:
        """Lock-step: answer what has come on a topic, where a command is waited for.

        What is repeated is answered again, and in the same way: the answer was lost.
        """
        asked_ns = self._timeline.asked_ns
        if asked_ns is None or not self._session.explores:
            return
        if asked_ns == self._answered_ns:
            if topic == self._answered_on and self._commands.last is not None:
                self._send(self._commands.last, asked_ns)
            return
        if self._commands.last is None and not self._begin(now_ns):
            return
        self._answered_ns, self._answered_on = asked_ns, topic
        self._send(self._commands.explore(self._passed_s(asked_ns)), asked_ns)

    def close(self, now_ns: int) -> None:
        """Send the safe command as the last one, at once, where another one is in force.

        `flush` then waits for the robot.
        """
        safe = self._safe()
        if self._commands.last is None or self._rests or safe is None:
            return
        self._send(safe, now_ns)

    def flush(self, until_s: float) -> None:
        """Wait until the robot has what was sent, up to a time of the steady clock."""
        for publisher in self._publishers.values():
            left_s = max(0.0, until_s - time.monotonic())
            publisher.wait_for_all_acked(Duration(seconds=left_s))

    @property
    def _rests(self) -> bool:
        """Whether the newest command is the safe one."""
        last = self._commands.last
        return self._rest is not None and last is not None and np.array_equal(self._rest, last)

    def _begin(self, now_ns: int) -> bool:
        """Find out from where to lead on; give whether it is known."""
        commanded = self._timeline.commanded(now_ns)
        start = self._safe() if commanded is None else commanded
        if start is None:
            return False
        self._commands.begin(start)
        self._sent_ns = self._rest = None
        return True

    def _safe(self) -> NDArray[np.float64] | None:
        """The safe command (A,); None where it is what is measured, and nothing was."""
        safe = self._writer.safe.at(np.inf, None, self._timeline.measured)
        if safe is None:
            return None
        low_high = [(part.low, part.high) for part in self._writer.signature_parts]
        low, high = np.array(low_high).T
        return np.clip(safe, low, high).astype(np.float64)

    def _passed_s(self, now_ns: int) -> float:
        """Seconds since the last command, of which no more than a period counts."""
        if self._sent_ns is None:
            return self._period_s
        return min(self._period_s, (now_ns - self._sent_ns) / 1e9)

    def _send(self, command: NDArray[np.float64], stamp_ns: int) -> None:
        self._sent_ns = stamp_ns
        for topic, message in self._writer.messages(command, stamp_ns):
            self._publishers[topic].publish(message)
