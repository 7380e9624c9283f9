"""What is sent when nothing better is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planet_ros.errors import UserError


@dataclass(frozen=True)
class Hold:
    """Numbers of a command that, where nothing better is known, are what is measured.

    Attributes:
        indices: Of the command.
        field: Name of the observed field, of as many numbers.
    """

    indices: tuple[int, ...]
    field: str


@dataclass(frozen=True)
class SafeCommand:
    """What is sent when nothing better is known.

    Attributes:
        constant: (A,) numbers; those of `holds` count for nothing.
        within_s: (A,) seconds in which a command moves there, from the one before; 0: at once.
        holds: What takes the place of the constant.
    """

    constant: NDArray[np.float32]
    within_s: NDArray[np.floating]
    holds: tuple[Hold, ...] = ()

    @classmethod
    def at_once(
        cls,
        low: NDArray[np.float32],
        high: NDArray[np.float32],
        safe: Sequence[float] = (),
        name: str = "controller.safe_command",
    ) -> SafeCommand:
        """A constant; zeros, moved into the range, where it is empty.

        Raises:
            UserError: It has another length than the range or is out of it; `name` is said.
        """
        at_once = np.zeros(low.shape)
        if not len(safe):
            return cls(np.clip(np.zeros_like(low), low, high), at_once)
        constant = np.asarray(safe, dtype=np.float32)
        if constant.shape != low.shape:
            raise UserError(f"{name}: found {len(safe)} values, expected {len(low)}")
        if not ((constant >= low) & (constant <= high)).all():
            raise UserError(f"{name}: found {list(safe)}, expected values from {low} to {high}")
        return cls(constant, at_once)

    def at(
        self,
        since_s: float,
        before: NDArray[np.float32] | None,
        measured: Callable[[str], NDArray[np.floating] | None],
    ) -> NDArray[np.float32] | None:
        """The command (A,) at a time.

        Args:
            since_s: Seconds since it has been needed.
            before: (A,) what was commanded then; None where nothing was.
            measured: Gives what an observed field was when it became needed; None: never seen.

        Returns:
            None where a number to hold was never seen and nothing was commanded that could stay.
        """
        command = self.constant.copy()
        for hold in self.holds:
            numbers = measured(hold.field)
            indices = list(hold.indices)
            if numbers is not None:
                command[indices] = numbers
            elif before is not None:
                command[indices] = before[indices]
            else:
                return None
        if before is None or not self.within_s.any():
            return command
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(self.within_s > 0, np.minimum(since_s / self.within_s, 1.0), 1.0)
        return (before + share * (command - before)).astype(np.float32)
