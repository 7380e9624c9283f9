"""What may be sent to an actuator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from planet_ros.data import Signature
from planet_ros.errors import UserError
from planet_ros.interface.safe import SafeCommand

_SAME_PERIOD = 1e-3


def check_allowed(pinned: Signature, wanted: Signature, where: str) -> None:
    """See that a model asks no more of a robot than it allowed when it was set up.

    Names and units may differ, and a range may be narrower.

    Args:
        pinned: What the robot allows: observation, actions, their ranges, the period.
        wanted: What the model was made for.
        where: The model, for the error.

    Raises:
        UserError: The model wants another observation, another number of actions, a wider range,
            faster changes or another period.
    """
    pinned.check(wanted.layout, where)
    for part, low, high in zip(wanted.action, pinned.low, pinned.high, strict=True):
        if not (low <= np.float32(part.low) and np.float32(part.high) <= high):
            raise UserError(
                f"{where}: found the action {part.name[:100]!r} from {part.low:g} to "
                f"{part.high:g}, expected it within {low:g} to {high:g}, {_PINNED}"
            )
    for part, most in zip(wanted.action, pinned.action, strict=True):
        if most.max_rate is not None and (part.max_rate is None or part.max_rate > most.max_rate):
            raise UserError(
                f"{where}: found the action {part.name[:100]!r} with a change of "
                f"{'any size' if part.max_rate is None else f'{part.max_rate:g}'} per second, "
                f"expected at most {most.max_rate:g}, {_PINNED}"
            )
    if abs(wanted.period_s - pinned.period_s) > _SAME_PERIOD * pinned.period_s:
        raise UserError(
            f"{where}: found a period of {wanted.period_s:g} s, expected {pinned.period_s:g} s, "
            f"{_PINNED}"
        )


_PINNED = (
    "as of the first model since the controller was configured; clean up and configure again to "
    "allow another"
)


class SafeSpell:
    """A time in which nothing better than the safe command is known."""

    def __init__(
        self,
        safe: SafeCommand,
        began_s: float,
        before: NDArray[np.float32] | None,
        measured: Callable[[str], NDArray[np.floating] | None],
    ) -> None:
        """Begin.

        Args:
            safe: What is safe.
            began_s: When it begins.
            before: (A,) what was commanded last; None: nothing.
            measured: Gives the newest numbers of an observed field; None: it was never seen.
        """
        self._safe, self._began_s, self._before = safe, began_s, before
        # What is held is what was measured when it began: later an arm may have sunk.
        self._held = {hold.field: measured(hold.field) for hold in safe.holds}

    def command(self, now_s: float) -> NDArray[np.float32] | None:
        """The command (A,) that is due; None where it is to hold what was never measured."""
        return self._safe.at(now_s - self._began_s, self._before, self._held.get)


class Limits:
    """Range of each dimension of a command, and how fast it may change.

    Attributes:
        low: (A,) least.
        high: (A,) greatest.
        max_change: (A,) largest difference of two commands; infinite where any is allowed.
    """

    def __init__(
        self,
        low: NDArray[np.float32],
        high: NDArray[np.float32],
        max_change: NDArray[np.float32] | None = None,
    ) -> None:
        """Take the range and, where there is one, the largest change."""
        self.low, self.high = low, high
        self.max_change = np.full_like(low, np.inf) if max_change is None else max_change

    @classmethod
    def of(cls, signature: Signature) -> Limits:
        """Those that a signature says."""
        return cls(signature.low, signature.high, signature.max_change)

    def apply(
        self, action: NDArray[np.floating], before: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32] | None:
        """The action (A,) moved into its range, and near enough to the one before.

        Returns:
            None when it is not finite.
        """
        if not np.isfinite(action).all():
            return None
        if before is not None:
            action = np.clip(action, before - self.max_change, before + self.max_change)
        return np.clip(action, self.low, self.high).astype(np.float32)
