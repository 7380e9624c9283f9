"""A pendulum with a motor at its hinge: Gymnasium's Pendulum-v1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gymnasium.envs.classic_control import PendulumEnv
from numpy.typing import NDArray


@dataclass(frozen=True)
class PendulumState:
    """Angle in rad, 0 upright, counter-clockwise, not wrapped; velocity in rad/s; torque in N m."""

    angle: float
    velocity: float
    torque: float


class Pendulum:
    """Gymnasium's own environment, of which only the movement is used.

    A reset with ``default_rng(n)`` begins where Gymnasium's ``reset(seed=n)`` does.
    """

    delay_periods = 0

    def __init__(self) -> None:
        self._env = PendulumEnv()
        self.high = np.full(1, self._env.max_torque)
        self.low = -self.high

    @property
    def state(self) -> PendulumState:
        """Where it is, and the torque that acted last."""
        angle, velocity = self._env.state
        torque = 0.0 if self._env.last_u is None else float(self._env.last_u)
        return PendulumState(float(angle), float(velocity), torque)

    def reset(self, rng: np.random.Generator) -> None:
        """Begin at any angle, with up to 1 rad/s."""
        self._env.np_random = rng
        self._env.reset()

    def step(self, command: NDArray[np.float64], dt: float) -> None:
        """Move under a torque (1,) in N m, at most 2."""
        self._env.dt = dt
        self._env.step(command)

    def hold(self) -> NDArray[np.float64]:
        """No torque."""
        return np.zeros(1)
