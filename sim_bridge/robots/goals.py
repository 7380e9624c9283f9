"""Places that a mobile base is sent to, one after another, as a person with RViz would."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FARTHEST_M = 3.0
"""Of a goal from the origin, along x and y, and from where the base is."""

_NEAREST_M = 0.5
"""From where the base is: it need not go where it stands."""


class Goals:
    """Where the base is to be.

    Attributes:
        position: (2,) x and y in the frame odom, m.
    """

    def __init__(self, every_s: float) -> None:
        """Send it nowhere yet.

        Args:
            every_s: Seconds until it is sent elsewhere; 0: nobody sends it.
        """
        self.every_s = every_s
        self.position: NDArray[np.float64] = np.zeros(2)
        self._age_s = 0.0
        self._rng = np.random.default_rng(0)

    def reset(self, rng: np.random.Generator, x: float, y: float) -> None:
        """Send a base that stands at x and y to a first place."""
        self._rng = rng
        self._send(x, y)

    def step(self, dt: float, x: float, y: float) -> None:
        """Let time pass; x and y are where the base is."""
        self._age_s += dt
        # Half a step earlier or later does not matter, rounding would.
        if 0 < self.every_s <= self._age_s + dt / 2:
            self._send(x, y)

    def _send(self, x: float, y: float) -> None:
        self._age_s = 0.0
        # From anywhere within the square there is a place to go: half of it is near enough.
        x, y = np.clip([x, y], -FARTHEST_M, FARTHEST_M)
        while True:
            self.position = self._rng.uniform(-FARTHEST_M, FARTHEST_M, 2)
            if _NEAREST_M < math.dist(self.position, (x, y)) < FARTHEST_M:
                return
