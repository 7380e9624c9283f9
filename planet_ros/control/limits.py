"""What may be sent to an actuator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from planet_ros.data import Signature
from planet_ros.errors import UserError

_SAME_PERIOD = 1e-3


def check_allowed(pinned: Signature, wanted: Signature, where: str) -> None:
    """See that a model asks no more of a robot than it allowed when it was set up.

    Names and units may differ, and a range may be narrower.

    Args:
        pinned: What the robot allows: observation, actions, their ranges, the period.
        wanted: What the model was made for.
        where: The model, for the error.

    Raises:
        UserError: The model wants another observation, another number of actions, a wider range
            or another period.
    """
    pinned.check(wanted.layout, where)
    for part, low, high in zip(wanted.action, pinned.low, pinned.high, strict=True):
        if not (low <= np.float32(part.low) and np.float32(part.high) <= high):
            raise UserError(
                f"{where}: found the action {part.name[:100]!r} from {part.low:g} to "
                f"{part.high:g}, expected it within {low:g} to {high:g}, {_PINNED}"
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


class Limits:
    """Range of each dimension of a command, and the command that is safe.

    Attributes:
        low: (A,) least.
        high: (A,) greatest.
        safe: (A,) sent when nothing better is known.
    """

    def __init__(
        self,
        low: NDArray[np.float32],
        high: NDArray[np.float32],
        safe: Sequence[float] = (),
        name: str = "controller.safe_command",
    ) -> None:
        """Take the range and the safe command; zeros, moved into the range, where it is empty.

        Raises:
            UserError: The safe command has another length or is out of range; `name` is said.
        """
        self.low, self.high = low, high
        if not len(safe):
            self.safe = np.clip(np.zeros_like(low), low, high)
            return
        self.safe = np.asarray(safe, dtype=np.float32)
        if self.safe.shape != low.shape:
            raise UserError(f"{name}: found {len(safe)} values, expected {len(low)}")
        if not ((self.safe >= low) & (self.safe <= high)).all():
            raise UserError(f"{name}: found {list(safe)}, expected values from {low} to {high}")

    def apply(self, action: NDArray[np.floating]) -> NDArray[np.float32] | None:
        """The action (A,) moved into its range; None when it is not finite."""
        if not np.isfinite(action).all():
            return None
        return np.clip(action, self.low, self.high).astype(np.float32)
