"""What was commanded, and when, by whomever."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.interface.document import Interface
from planet_ros.interface.writing import ActionWriter

_NEVER_NS = np.iinfo(np.int64).max

MOST_KEPT = 100
"""Commands that are kept at most."""


class Commands:
    """The newest command, those before it, and the answers to states of lock-step."""

    def __init__(self, interface: Interface, writer: ActionWriter) -> None:
        """Begin with nothing.

        Args:
            interface: Says how long a command holds on the robot.
            writer: Reads the messages.
        """
        self._writer = writer
        self._low = np.array([part.low for part in writer.signature_parts])
        self._high = np.array([part.high for part in writer.signature_parts])
        self._timeout_ns = {part.topic: round(part.timeout_s * 1e9) for part in interface.action}
        self.forget()

    def forget(self) -> None:
        """Know nothing any more."""
        count = len(self._low)
        self._values = np.zeros(count)
        self._known = np.zeros(count, np.bool_)
        self._expire_ns = np.zeros(count, np.int64)
        # When each state of knowledge began, the action, and the times at which its numbers expire.
        self._states: deque[tuple[int, NDArray[np.float32], NDArray[np.int64]]] = deque()
        self._answers: dict[int, NDArray[np.float32]] = {}
        self._unstamped: NDArray[np.float32] | None = None

    def take(self, topic: str, message: Any, received_ns: int) -> None:
        """Take in a command message.

        Raises:
            UserError: It cannot be read.
        """
        indices, values, stamp_ns = self._writer.read(topic, message)
        timeout_ns = self._timeout_ns[topic]
        self._values[indices] = values
        self._known[indices] = True
        self._expire_ns[indices] = received_ns + timeout_ns if timeout_ns else _NEVER_NS
        if not self._known.all():
            return
        action = self._within(self._values)
        self._states.append((received_ns, action, self._expire_ns.copy()))
        while len(self._states) > MOST_KEPT:
            self._states.popleft()
        if stamp_ns is None:
            self._unstamped = action
        else:
            self._answers[stamp_ns] = action
            while len(self._answers) > MOST_KEPT:
                del self._answers[next(iter(self._answers))]

    def in_force(self, at_ns: int) -> NDArray[np.float32] | None:
        """What acted then; None where it is not known."""
        while len(self._states) > 1 and self._states[1][0] <= at_ns:
            self._states.popleft()
        if not self._states or self._states[0][0] > at_ns:
            return None
        _, action, expire_ns = self._states[0]
        return action if (at_ns < expire_ns).all() else None

    def newest(self, now_ns: int) -> NDArray[np.float32] | None:
        """What acts now, without forgetting what acted before."""
        known = self._known.all() and (now_ns < self._expire_ns).all()
        return self._within(self._values) if known else None

    def answer(self, stamp_ns: int) -> NDArray[np.float32] | None:
        """The answer to a tick of lock-step; None where it has not come."""
        found = self._answers.pop(stamp_ns, None)
        if found is None:
            found, self._unstamped = self._unstamped, None
        return found

    def _within(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """As the robot takes it: somebody else's command may lie outside of the range."""
        return np.minimum(np.maximum(values, self._low), self._high).astype(np.float32)
