"""Gymnasium wrappers around what is seen, and how often; named in ``env_wrappers``."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray

from planet_ros.data.images import fit_image
from planet_ros.data.signature import IMAGE_PART, VECTOR_PART
from planet_ros.environments.environment import STEPS_TAKEN
from planet_ros.environments.names import named, observation_names
from planet_ros.environments.period import Period, RepeatingWrapper, step_period


class ActionRepeat(RepeatingWrapper):
    """Takes each action several times and adds up the rewards, as PlaNet does.

    It ends early where the episode does, and says in ``info`` how many steps it took.
    """

    def __init__(self, env: gymnasium.Env, repeat: int) -> None:
        """Take each action `repeat` times, at least once."""
        super().__init__(env)
        if repeat < 1:
            raise ValueError(f"repeat: found {repeat}, expected at least 1")
        self.repeats = repeat

    @property
    def dt(self) -> float:
        """Simulated seconds between two decisions, where the environment says its own."""
        period: Period = step_period(self)
        if period.guess:
            raise AttributeError(f"dt: {period.guess}")
        return period.seconds

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take an action; the observation is the last one."""
        total, taken = 0.0, 0
        for _ in range(self.repeats):
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


class AngleEncoding(gymnasium.ObservationWrapper):
    """Shows cosine and sine of angles in their place.

    An angle that is wrapped jumps from one end of its range to the other, which no model of small
    changes follows; its cosine and sine do not.
    """

    def __init__(self, env: gymnasium.Env, indices: list[int], period: float = 2 * np.pi) -> None:
        """Encode the numbers at `indices` of a vector observation.

        Args:
            env: The environment.
            indices: Which numbers are angles.
            period: Of a whole turn, in their unit: 2 π of radians, 360 of degrees.
        """
        super().__init__(env)
        space: Any = env.observation_space
        size = space.shape[0] if isinstance(space, Box) and len(space.shape) == 1 else 0
        if not indices or not {*indices} <= {*range(size)} or not period > 0:
            raise ValueError(
                f"found indices {indices} and period {period}, expected some that {space} has, and "
                "more than 0"
            )
        self._angles = {*indices}
        self._factor = 2 * np.pi / period
        self.observation_space = Box(
            self._encoded(space.low, (-1.0, -1.0)),
            self._encoded(space.high, (1.0, 1.0)),
            dtype=np.float32,
        )

    @property
    def observation_names(self) -> list[str]:
        """Those of the numbers, where they are known: ``cos(angle)`` and ``sin(angle)``."""
        names: list[str] = []
        for index, text in enumerate(observation_names(self.env)):
            plain = named(text, "observation_names").name
            encoded = [f"cos({plain})", f"sin({plain})"]
            names += encoded if index in self._angles else [text]
        return names

    def observation(self, observation: Any) -> NDArray[np.float32]:
        """The numbers, with two for each angle."""
        # In the precision that they come in: an angle may have made many turns.
        return self._encoded(np.asarray(observation))

    def _encoded(
        self, values: NDArray[Any], ends: tuple[float, float] | None = None
    ) -> NDArray[np.float32]:
        """Values (n,) with two for each angle: its cosine and sine, or given ends of these."""
        encoded: list[float] = []
        for index, value in enumerate(values.tolist()):
            if index in self._angles:
                angle = value * self._factor
                encoded += (np.cos(angle), np.sin(angle)) if ends is None else ends
            else:
                encoded.append(value)
        return np.array(encoded, dtype=np.float32)


class ArrangeImage(gymnasium.ObservationWrapper):
    """Makes images of height × width × channels of arrays of bytes that are ordered otherwise."""

    def __init__(
        self,
        env: gymnasium.Env,
        channels_first: bool = False,
        channels: list[int] | None = None,
        frame: int | None = None,
        name: str | None = None,
    ) -> None:
        """Arrange an image.

        Args:
            env: The environment; its observation, or a part of it, is of uint8 with two dimensions
                (a grey picture), three, or four (a stack of pictures).
            channels_first: Whether a picture's channels are before its height and width.
            channels: Those that are kept: 1 or 3 of them; None: all.
            frame: Of a stack, the picture that is kept; -1: the last.
            name: Of the image, in a dictionary.
        """
        super().__init__(env)
        self._first, self._channels, self._frame, self._name = channels_first, channels, frame, name
        space: Any = env.observation_space
        whole = isinstance(space, Dict) and name is not None
        part = space.spaces.get(name) if whole else space
        if not isinstance(part, Box) or part.dtype != np.uint8:
            raise ValueError(f"found {part}, expected a Box of uint8; name says which of a Dict's")
        try:
            low, high = self._arranged(part.low), self._arranged(part.high)
        except (IndexError, ValueError) as error:
            raise ValueError(f"{part} cannot be arranged so: {error}") from None
        if low.ndim != 3 or low.shape[2] not in (1, 3):
            raise ValueError(f"makes images of shape {low.shape}, expected 1 or 3 channels at last")
        image = Box(low, high, dtype=np.uint8)
        self.observation_space = Dict({**space.spaces, str(name): image}) if whole else image

    def observation(self, observation: Any) -> Any:
        """The image, or the dictionary with it."""
        if self._name is None or not isinstance(observation, dict):
            return self._arranged(np.asarray(observation))
        return {**observation, self._name: self._arranged(np.asarray(observation[self._name]))}

    def _arranged(self, array: NDArray[Any]) -> NDArray[Any]:
        if self._frame is not None:
            array = array[self._frame]
        if array.ndim == 2:
            array = array[..., np.newaxis]
        if self._first:
            array = np.moveaxis(array, 0, -1)
        return array if self._channels is None else array[..., self._channels]


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
