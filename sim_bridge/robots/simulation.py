"""A clock, delays and new beginnings for a simulated robot."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from sim_bridge.robots.robot import Robot

PERIOD_S = 0.05
"""Control period of all robots here."""

RESTART_GAP_NS = 10**9
"""Simulated time that a restart takes: nobody can mistake what comes after it for what follows."""

_PERIOD_NS = round(PERIOD_S * 1e9)


class RobotSimulation:
    """A robot whose time never goes back, and whose commands act after their delay.

    Attributes:
        robot: The robot.
        time_ns: Simulated time, which is the stamp of its state.
        steps: Control periods in all.
    """

    def __init__(
        self, robot: Robot, *, seed: int, extra_delay_periods: int = 0, episode_s: float = 0.0
    ) -> None:
        """Begin; the simulation has then started once.

        Args:
            robot: The robot.
            seed: Start i of the simulation, from 0, is that of ``default_rng(seed + i)``.
            extra_delay_periods: Control periods beyond the robot's own until a command acts.
            episode_s: Simulated seconds after which it is due to start anew; 0: never.
        """
        self.robot = robot
        self.time_ns = 0
        self.steps = 0
        self._seed = seed
        self._starts = 0
        self._delay = robot.delay_periods + extra_delay_periods
        self._longest = max(1, round(episode_s / PERIOD_S)) if episode_s > 0 else 0
        self._since_start = 0
        self._sent: deque[NDArray[np.float64]] = deque()
        self.restart()

    @property
    def restart_is_due(self) -> bool:
        """Whether the robot has run for as long as it should from one start."""
        return 0 < self._longest <= self._since_start

    def restart(self) -> None:
        """Begin in a random state; the stamp jumps by `RESTART_GAP_NS` and a period."""
        self.robot.reset(np.random.default_rng(self._seed + self._starts))
        self._starts += 1
        self._since_start = 0
        self._sent = deque(self.robot.hold() for _ in range(self._delay))
        self.time_ns += RESTART_GAP_NS + _PERIOD_NS

    def step(self, command: NDArray[np.floating]) -> None:
        """Let a control period pass, in which a command (A,) is given."""
        self._sent.append(np.asarray(command, dtype=np.float64))
        self.robot.step(self._sent.popleft(), PERIOD_S)
        self.steps += 1
        self._since_start += 1
        self.time_ns += _PERIOD_NS
