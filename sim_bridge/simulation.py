"""A simulation with a clock, without ROS."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planet_ros.data import Step
from planet_ros.environments import Environment


class Simulation:
    """An environment whose time never goes back, not even over a reset.

    Attributes:
        current: The step that was taken last; None before the first reset.
        episode: Number of the episode under way, from 0; -1 before the first reset.
        steps: Environment steps in all, resets not counted.
        time_ns: Simulated time, which is the stamp of `current`.
    """

    def __init__(self, environment: Environment, seed: int) -> None:
        """Episode i of the simulation starts from ``reset(seed=seed + i)``."""
        self.environment = environment
        self.current: Step | None = None
        self.episode = -1
        self.steps = 0
        self._seed = seed
        self._period_ns = round(environment.step_period_s * 1e9)
        self.time_ns = 0

    @property
    def episode_ended(self) -> bool:
        """Whether nothing can be done but reset."""
        return self.current is None or self.current.last

    def reset(self) -> Step:
        """Start the next episode."""
        self.episode += 1
        return self._stamped(self.environment.reset(seed=self._seed + self.episode))

    def step(self, action: NDArray[np.floating]) -> Step:
        """Take an action (A,) in the episode under way."""
        step = self._stamped(self.environment.step(action))
        self.steps += step.environment_steps
        return step

    def _stamped(self, step: Step) -> Step:
        # A reset takes a period too, so that every stamp is new.
        self.time_ns += self._period_ns
        self.current = replace(step, stamp_ns=self.time_ns)
        return self.current
