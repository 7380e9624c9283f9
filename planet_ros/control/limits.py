"""What may be sent to an actuator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from planet_ros.errors import UserError


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
