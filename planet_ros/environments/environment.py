"""Gymnasium environments that a world model can be learned of.

Actions are a vector. Observations are a vector, an image, or a dictionary of these: its vectors
become one, in the order of the space, and each image keeps its name. An image on its own is called
``image``.
"""

from __future__ import annotations

import importlib
import json
import os
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray

from planet_ros.config import Settings, closest
from planet_ros.data import Step
from planet_ros.errors import UserError

VECTOR_PART, IMAGE_PART = "observation", "image"
"""What the observation is called where it is no dictionary."""

STEPS_TAKEN = "environment_steps"
"""What a wrapper that repeats actions says in ``info``: how often it stepped the environment."""


@dataclass(frozen=True)
class EnvironmentSpec:
    """Which environment: what `gymnasium.make` and the wrappers around it are given.

    Attributes:
        id: Gymnasium's id.
        kwargs: Keyword arguments of the environment.
        modules: Python modules to import first, so that they register environments.
        wrappers: ``module:Class`` or ``module:Class {"argument": value}``, inside first.
    """

    id: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    wrappers: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> EnvironmentSpec:
        """The environment that settings name."""
        return cls(
            id=settings.env_id,
            kwargs=json.loads(settings.env_kwargs),
            modules=tuple(settings.env_modules),
            wrappers=tuple(settings.env_wrappers),
        )


class Environment:
    """An environment whose steps are checked and come as `Step`.

    Attributes:
        spec: What it was made from.
        gym: Gymnasium's own object.
        low: (A,) least action.
        high: (A,) greatest action.
        observation_size: Numbers O in the observation vector; 0 where images are all there is.
        images: Height, width and channels of each image.
    """

    def __init__(self, spec: EnvironmentSpec, *, render_mode: str | None = None) -> None:
        """Make the environment.

        Raises:
            UserError: The id or a module or wrapper is unknown, the arguments do not fit, or the
                spaces are not of the kinds above.
        """
        self.spec = spec
        for name in spec.modules:
            _import(name, "env_modules")
        self.gym = _make(spec, render_mode)
        self._take_observation_space(self.gym.observation_space)
        action = self._vector("action", self.gym.action_space)
        self.low = np.asarray(action.low, dtype=np.float32)
        self.high = np.asarray(action.high, dtype=np.float32)
        if not (np.isfinite(self.low) & np.isfinite(self.high) & (self.low < self.high)).all():
            self.gym.close()
            raise UserError(
                f"{spec.id}: found actions from {self.low} to {self.high}, expected finite bounds "
                "with low < high; gymnasium.wrappers:RescaleAction in env_wrappers can set them"
            )
        self._index = 0

    def _take_observation_space(self, space: Any) -> None:
        """See which vectors and images there are."""
        self._is_dictionary = isinstance(space, Dict)
        image_alone = {IMAGE_PART: space} if _is_image(space) else {VECTOR_PART: space}
        parts: dict[str, Any] = dict(space.spaces) if self._is_dictionary else image_alone
        if _is_image(parts.get(VECTOR_PART)):
            self.gym.close()
            raise UserError(
                f"{self.spec.id}: found an image called {VECTOR_PART!r} in the dictionary of "
                f"observations, expected another name, such as {IMAGE_PART!r}: that one is the "
                "vector's"
            )
        self.images: dict[str, tuple[int, int, int]] = {
            name: part.shape for name, part in parts.items() if _is_image(part)
        }
        self._vectors = [name for name in parts if name not in self.images]
        self.observation_size = sum(
            self._vector("observation", parts[name]).shape[0] for name in self._vectors
        )

    def _vector(self, part: str, space: Any) -> Box:
        if isinstance(space, Box) and len(space.shape) == 1:
            return space
        self.gym.close()
        raise UserError(
            f"{self.spec.id}: found {part}s {space}, expected a Box of one dimension"
            + (", or of uint8 height × width × channels" if part == "observation" else "")
            + "; a wrapper in env_wrappers can change that (for example "
            "gymnasium.wrappers:FlattenObservation)"
        )

    @property
    def step_period_s(self) -> float:
        """Simulated seconds for each step, from the environment itself; 0.05 where it is silent."""
        period = None
        if self.gym.has_wrapper_attr("dt"):
            period = self.gym.get_wrapper_attr("dt")
        if not isinstance(period, (int, float)) or not period > 0:
            rate = self.gym.unwrapped.metadata.get("render_fps") or 20
            period = 1 / rate
        return float(period)

    def reset(self, seed: int | None = None) -> Step:
        """Start an episode.

        Raises:
            UserError: The observation is not finite.
        """
        observation, _ = self.gym.reset(seed=seed)
        self._index = 0
        step = self._checked(observation, np.zeros_like(self.low), 0.0, False, False)
        return replace(step, environment_steps=0)

    def step(self, action: NDArray[np.floating]) -> Step:
        """Take an action, moved into its range first.

        Raises:
            UserError: The observation or the reward is not finite.
        """
        clipped = np.clip(np.asarray(action, dtype=np.float32), self.low, self.high)
        observation, reward, terminated, truncated, info = self.gym.step(clipped.copy())
        self._index += 1
        step = self._checked(observation, clipped, float(reward), terminated, truncated)
        return replace(step, environment_steps=int(info.get(STEPS_TAKEN, 1)))

    def random_action(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """An action (A,) drawn uniformly from its range."""
        return rng.uniform(self.low, self.high).astype(np.float32)

    def render(self) -> NDArray[np.uint8]:
        """The current frame (height, width, 3)."""
        return np.asarray(self.gym.render(), dtype=np.uint8)

    def close(self) -> None:
        """Release what the environment holds."""
        self.gym.close()

    def _checked(
        self,
        observation: Any,
        action: NDArray[np.float32],
        reward: float,
        terminated: bool,
        truncated: bool,
    ) -> Step:
        parts = observation
        if not self._is_dictionary:
            parts = dict.fromkeys([*self._vectors, *self.images], observation)
        vector = np.concatenate(
            [np.zeros(0, np.float32), *(np.float32(parts[name]) for name in self._vectors)],
            dtype=np.float32,
        )
        images = {name: np.array(parts[name], dtype=np.uint8) for name in self.images}
        for name, image in images.items():
            if image.shape != self.images[name]:
                raise UserError(
                    f"{self.spec.id}: found {name} of shape {image.shape} at step {self._index} of "
                    f"the episode, expected {self.images[name]} as its observation space says"
                )
        for name, value in (("observation", vector), ("reward", reward)):
            if not np.isfinite(value).all():
                raise UserError(
                    f"{self.spec.id}: found {name} {value} at step {self._index} of the episode "
                    f"after action {action}, expected finite numbers; the episode ends before it"
                )
        return Step(
            index=self._index,
            observation=vector,
            action=action,
            reward=reward,
            terminated=bool(terminated),
            truncated=bool(truncated),
            images=images,
        )


def _is_image(space: Any) -> bool:
    return isinstance(space, Box) and space.dtype == np.uint8 and len(space.shape) == 3


def _make(spec: EnvironmentSpec, render_mode: str | None) -> gymnasium.Env:
    try:
        # Not every environment takes a render_mode, so that it is passed only where it is needed.
        rendering: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}
        kwargs = {**spec.kwargs, **rendering}
        if kwargs.get("render_mode") == "rgb_array":
            # Else SDL, which draws some of them, looks for a screen and complains that it has none.
            os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        env = gymnasium.make(spec.id, **kwargs)
    except gymnasium.error.UnregisteredEnv as error:
        near = closest(spec.id, gymnasium.registry)
        raise UserError(
            f"env_id: {spec.id!r} is not registered{near}: {error}; an environment of your own "
            "needs its module in env_modules"
        ) from None
    except (gymnasium.error.Error, TypeError, ValueError, AssertionError, ImportError) as error:
        raise UserError(f"env_id: {spec.id!r} with {spec.kwargs} cannot be made: {error}") from None
    for text in spec.wrappers:
        env = _wrapped(env, text)
    return env


def _wrapped(env: gymnasium.Env, text: str) -> gymnasium.Env:
    entry_point, _, arguments = text.partition(" ")
    module, _, name = entry_point.partition(":")
    wrapper = getattr(_import(module, "env_wrappers"), name, None) if name else None
    if wrapper is None:
        raise UserError(
            f"env_wrappers: found {text!r}, expected module:Class, optionally with a JSON object"
        )
    try:
        return wrapper(env, **json.loads(arguments or "{}"))
    except (TypeError, ValueError, AssertionError) as error:
        raise UserError(f"env_wrappers: {text!r} cannot be applied: {error}") from None


def _import(name: str, setting: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, TypeError, ValueError) as error:  # the latter for names such as ".x" or ""
        raise UserError(f"{setting}: module {name!r} cannot be imported: {error}") from None
