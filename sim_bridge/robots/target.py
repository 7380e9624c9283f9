"""A target in the plane of the arm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FARTHEST_M = 0.2
"""From the shoulder, as in Gymnasium's Reacher-v5."""

_CIRCLES_M = (0.05, 0.19)
"""Least and greatest distance from the shoulder of a point on a circle."""


@dataclass(frozen=True)
class TargetMotion:
    """How a target moves.

    Attributes:
        kind: ``random``: it rests in a random place. ``circle``: it runs on a circle.
        every_s: random: seconds until it is in another place; 0: until the simulation restarts.
        speed: circle: m/s.
        radius: circle: metres, at most 0.07, so that all of it can be reached.
    """

    kind: Literal["random", "circle"] = "random"
    every_s: float = 0.0
    speed: float = 0.2
    radius: float = 0.06


class Target:
    """Where the fingertip is to be.

    Attributes:
        position: (2,) x and y in metres from the shoulder.
    """

    def __init__(self, motion: TargetMotion) -> None:
        self.position: NDArray[np.float64] = np.zeros(2)
        self._motion = motion
        self._centre = np.zeros(2)
        self._phase = self._age_s = 0.0
        self._rng = np.random.default_rng(0)

    def reset(self, rng: np.random.Generator) -> None:
        """Begin in a random place, or on a random circle, counter-clockwise."""
        self._rng = rng
        self._age_s = 0.0
        if self._motion.kind == "random":
            self._move()
            return
        radius = self._motion.radius
        nearest, farthest = _CIRCLES_M[0] + radius, _CIRCLES_M[1] - radius
        distance = rng.uniform(nearest, farthest)
        # In front of the arm: so the shoulder need not turn past its range on the way round.
        angle = rng.uniform(-math.pi / 2, math.pi / 2)
        self._centre = distance * np.array([math.cos(angle), math.sin(angle)])
        self._phase = rng.uniform(-math.pi, math.pi)
        self._run()

    def step(self, dt: float) -> None:
        """Let time pass."""
        if self._motion.kind == "circle":
            self._phase += self._motion.speed / self._motion.radius * dt
            self._run()
            return
        self._age_s += dt
        # Half a step earlier or later does not matter, rounding would.
        if 0 < self._motion.every_s <= self._age_s + dt / 2:
            self._move()
            self._age_s = 0.0

    def _move(self) -> None:
        while True:
            self.position = self._rng.uniform(-FARTHEST_M, FARTHEST_M, 2)
            if np.linalg.norm(self.position) < FARTHEST_M:
                return

    def _run(self) -> None:
        direction = np.array([math.cos(self._phase), math.sin(self._phase)])
        self.position = self._centre + self._motion.radius * direction
