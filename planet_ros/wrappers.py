"""Gymnasium wrappers that the presets use, named in ``env_wrappers``."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from planet_ros.environment import STEPS_TAKEN


class ActionRepeat(gymnasium.Wrapper):
    """Takes each action several times and adds up the rewards, as PlaNet does.

    It ends early where the episode does, and says in ``info`` how many steps it took.
    """

    def __init__(self, env: gymnasium.Env, repeat: int) -> None:
        """Take each action `repeat` times, at least once."""
        super().__init__(env)
        if repeat < 1:
            raise ValueError(f"repeat: found {repeat}, expected at least 1")
        self._repeat = repeat

    @property
    def dt(self) -> float:
        """Simulated seconds between two decisions."""
        return float(self.env.get_wrapper_attr("dt")) * self._repeat

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take an action; the observation is the last one."""
        total, taken = 0.0, 0
        for _ in range(self._repeat):
            taken += 1
            observation, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return observation, total, terminated, truncated, {**info, STEPS_TAKEN: taken}


class SelectObservation(gymnasium.ObservationWrapper):
    """Shows some numbers of the observation alone, such as positions without velocities."""

    def __init__(self, env: gymnasium.Env, indices: list[int]) -> None:
        """Show the numbers at `indices` of a vector observation."""
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, Box) or not indices or max(indices) >= space.shape[0]:
            raise ValueError(f"indices: found {indices}, expected some that {space} has")
        self._indices = list(indices)
        self.observation_space = Box(
            space.low[self._indices], space.high[self._indices], dtype=np.float32
        )

    def observation(self, observation: Any) -> NDArray[np.float32]:
        """The numbers that are shown."""
        return np.asarray(observation, dtype=np.float32)[self._indices]
