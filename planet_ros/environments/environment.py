"""Gymnasium environments that a world model can be learned of.

Actions are a vector. Observations are a vector, an image, or a dictionary of these: its vectors
become one, in the order of the space, and each image keeps its name. An image on its own is called
``image``.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray

from planet_ros.config import EnvironmentSettings, closest
from planet_ros.data import Signature, Step
from planet_ros.data.signature import IMAGE_PART, VECTOR_PART, ActionPart, Layout, ObservationPart
from planet_ros.environments.names import action_names, numbers_named, observation_names
from planet_ros.errors import UserError

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
        observation_names: ``NAME [UNIT]`` of each number of the observation's vectors together;
            empty: what the environment knows.
        action_names: Likewise, of each number of the action.
    """

    id: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    wrappers: tuple[str, ...] = ()
    observation_names: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: EnvironmentSettings) -> EnvironmentSpec:
        """The environment that settings name."""
        return cls(
            id=settings.env_id,
            kwargs=json.loads(settings.env_kwargs),
            modules=tuple(settings.env_modules),
            wrappers=tuple(settings.env_wrappers),
            observation_names=tuple(settings.env_observation_names),
            action_names=tuple(settings.env_action_names),
        )


class Environment:
    """An environment whose steps are checked and come as `Step`.

    Attributes:
        spec: What it was made from.
        gym: Gymnasium's own object.
        signature: What goes in and out: all vectors of its observation joined to the part
            ``observation``, each image, and the action, with their names and units; and the
            environment's own period.
    """

    def __init__(self, spec: EnvironmentSpec, *, render_mode: str | None = None) -> None:
        """Make the environment.

        Raises:
            UserError: The id or a module or wrapper is unknown, the arguments do not fit, the
                spaces are not of the kinds above, or there are more or fewer names than numbers.
        """
        self.spec = spec
        for name in spec.modules:
            _import(name, "env_modules")
        self.gym = _make(spec, render_mode)
        try:
            self._is_dictionary = isinstance(self.gym.observation_space, Dict)
            parts = self._parts()
            self._images = [name for name, space in parts.items() if _is_image(space)]
            self._vectors = [name for name in parts if name not in self._images]
            self.signature = Signature(
                self._observation_parts(parts), self._action_parts(), self.step_period_s
            )
        except ValueError as error:
            self.gym.close()
            raise UserError(f"{spec.id}: {error}") from None
        except UserError:
            self.gym.close()
            raise
        self._index = 0

    def _parts(self) -> dict[str, Any]:
        """The space of each vector and image."""
        space = self.gym.observation_space
        alone = {IMAGE_PART if _is_image(space) else VECTOR_PART: space}
        parts: dict[str, Any] = dict(space.spaces) if isinstance(space, Dict) else alone
        if _is_image(parts.get(VECTOR_PART)):
            raise UserError(
                f"{self.spec.id}: found an image called {VECTOR_PART!r} in the dictionary of "
                f"observations, expected another name, such as {IMAGE_PART!r}: that one is the "
                "vector's"
            )
        return parts

    def _observation_parts(self, spaces: dict[str, Any]) -> tuple[ObservationPart, ...]:
        size = sum(self._vector("observation", spaces[name]).shape[0] for name in self._vectors)
        names = observation_names(self.gym)
        numbers = self._named("observation", self.spec.observation_names, names, size)
        vector = ObservationPart(VECTOR_PART, (size,), numbers=numbers) if size else None
        images = [
            ObservationPart(name, spaces[name].shape, role="image", dtype="uint8")
            for name in self._images
        ]
        return (*([vector] if vector else []), *images)

    def _action_parts(self) -> tuple[ActionPart, ...]:
        space = self._vector("action", self.gym.action_space)
        low, high = (np.asarray(bound, np.float32) for bound in (space.low, space.high))
        if not (np.isfinite(low) & np.isfinite(high) & (low < high)).all():
            raise UserError(
                f"{self.spec.id}: found actions from {low} to {high}, expected finite bounds "
                "with low < high; gymnasium.wrappers:RescaleAction in env_wrappers can set them"
            )
        names = self._named("action", self.spec.action_names, action_names(self.gym), len(low))
        labels = [(one.name, one.unit) for one in names]
        labels = labels or [(f"action_{index}", "") for index in range(len(low))]
        return tuple(
            ActionPart(name, float(least), float(greatest), unit)
            for (name, unit), least, greatest in zip(labels, low, high, strict=True)
        )

    def _named(self, what: str, given: Sequence[str], known: Sequence[str], count: int) -> Any:
        """Names from the settings, else from the environment."""
        setting = f"env_{what}_names" if given else f"{self.spec.id}: {what}_names"
        return numbers_named(given or known, count, setting)

    def _vector(self, part: str, space: Any) -> Box:
        if isinstance(space, Box) and len(space.shape) == 1:
            return space
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
        nothing = np.zeros(self.signature.actions, np.float32)
        step = self._checked(observation, nothing, 0.0, False, False)
        return replace(step, environment_steps=0)

    def step(self, action: NDArray[np.floating]) -> Step:
        """Take an action, moved into its range first.

        Raises:
            UserError: The observation or the reward is not finite.
        """
        low, high = self.signature.low, self.signature.high
        clipped = np.clip(np.asarray(action, dtype=np.float32), low, high)
        observation, reward, terminated, truncated, info = self.gym.step(clipped.copy())
        self._index += 1
        step = self._checked(observation, clipped, float(reward), terminated, truncated)
        return replace(step, environment_steps=int(info.get(STEPS_TAKEN, 1)))

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
        given = observation
        if not self._is_dictionary:
            given = dict.fromkeys([*self._vectors, *self._images], observation)
        parts: dict[str, NDArray[Any]] = {}
        if self.signature.vector_size:
            vectors = [np.asarray(given[name], np.float32) for name in self._vectors]
            parts[VECTOR_PART] = np.concatenate(vectors)
        for name in self._images:
            parts[name] = np.array(given[name], dtype=np.uint8)
        where = f"{self.spec.id}: step {self._index} of the episode"
        self.signature.check(Layout.of(parts, action), where)
        for name, value in ((VECTOR_PART, parts.get(VECTOR_PART, 0.0)), ("reward", reward)):
            if not np.isfinite(value).all():
                raise UserError(
                    f"{self.spec.id}: found {name} {value} at step {self._index} of the episode "
                    f"after action {action}, expected finite numbers; the episode ends before it"
                )
        return Step(
            index=self._index,
            observation=parts,
            action=action,
            reward=reward,
            terminated=bool(terminated),
            truncated=bool(truncated),
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
