"""Gymnasium wrappers that the presets use, named in ``env_wrappers``."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray

from planet_ros.data.images import fit_image
from planet_ros.data.signature import IMAGE_PART, VECTOR_PART
from planet_ros.environments.environment import STEPS_TAKEN
from planet_ros.environments.names import observation_names


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

    @property
    def observation_names(self) -> list[str]:
        """Those of the numbers that are shown, where they are known."""
        names = observation_names(self.env)
        return [names[index] for index in self._indices] if names else []

    def observation(self, observation: Any) -> NDArray[np.float32]:
        """The numbers that are shown."""
        return np.asarray(observation, dtype=np.float32)[self._indices]


class RenderedImage(gymnasium.Wrapper):
    """Shows what the environment looks like: an image in place of its observation, or beside it.

    The environment is made with ``render_mode: rgb_array`` in ``env_kwargs``.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        size: int = 64,
        channels: int = 3,
        keep_observation: bool = False,
    ) -> None:
        """Render images of `size` × `size` pixels.

        Args:
            env: The environment.
            size: Height and width.
            channels: 3 for RGB, 1 for grey.
            keep_observation: Give a dictionary of ``observation``, a vector, and ``image``.
        """
        super().__init__(env)
        if env.render_mode != "rgb_array" or channels not in (1, 3) or size < 1:
            raise ValueError(
                f"found render_mode {env.render_mode}, size {size} and {channels} channels, "
                'expected {"render_mode": "rgb_array"} in env_kwargs, size ≥ 1, and 1 or 3 channels'
            )
        self._shape = (size, size, channels)
        self._keep = keep_observation
        image = Box(0, 255, self._shape, np.uint8)
        self.observation_space = (
            Dict({VECTOR_PART: env.observation_space, IMAGE_PART: image}) if self._keep else image
        )

    @property
    def observation_names(self) -> list[str]:
        """Those of the vector beside the image, if one is kept."""
        return observation_names(self.env) if self._keep else []

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(**arguments)
        return self._seen(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take an action and look."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._seen(observation), reward, terminated, truncated, info

    def _seen(self, observation: Any) -> Any:
        image = fit_image(np.asarray(self.env.render(), dtype=np.uint8), self._shape)
        return {VECTOR_PART: observation, IMAGE_PART: image} if self._keep else image
