"""What a simulated robot offers to its simulation."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Robot(Protocol):
    """A robot that moves when it is told to.

    Attributes:
        low: (A,) least command.
        high: (A,) greatest.
        delay_periods: Control periods that pass before a command acts.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    delay_periods: int

    def reset(self, rng: np.random.Generator) -> None:
        """Begin in a random state, at rest where the robot can be."""

    def step(self, command: NDArray[np.float64], dt: float) -> None:
        """Move for `dt` seconds under a command (A,), which is first moved into its range."""

    def hold(self) -> NDArray[np.float64]:
        """The command (A,) that is safe just now."""
