"""Gymnasium environments that a world model can be learned of.

Actions are a vector. Observations are a vector, an image, or a dictionary of these: its vectors
become one, in the order of the space, and each image keeps its name. An image on its own is called
``image``.
"""

from __future__ import annotations

import importlib
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Dict
from numpy.typing import NDArray

from planet_ros.config import EnvironmentSettings, closest
from planet_ros.data import Signature, Step
from planet_ros.data.signature import (
    PERIOD_RANGE_S,
    VECTOR_PART,
    ActionPart,
    Layout,
    ObservationPart,
)
from planet_ros.environments.faults import BrokenEnvironment, reason
from planet_ros.environments.names import action_names, numbers_named, observation_names
from planet_ros.environments.period import Period, step_period, time_limit
from planet_ros.environments.spaces import action_ends, is_image, native_action, parts_of
from planet_ros.errors import UserError

STEPS_TAKEN = "planet_ros.environment_steps"
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
        time_limit: Steps after which it cuts an episode at the latest; None: it does not say.
        episode_steps: Steps after which an episode is cut all the same; 0: none. It may be set.
    """

    def __init__(
        self, spec: EnvironmentSpec, *, render_mode: str | None = None, episode_steps: int = 0
    ) -> None:
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
            parts = parts_of(self.gym.observation_space, spec.id)
            self._images = [name for name, space in parts.items() if is_image(space)]
            self._vectors = {
                name: space.shape for name, space in parts.items() if name not in self._images
            }
            self._period = self._checked_period()
            self.time_limit = time_limit(self.gym)
            self.signature = Signature(
                self._observation_parts(parts), self._action_parts(), self.step_period_s
            )
        except UserError:
            self.close()
            raise
        except ValueError as error:
            self.close()
            raise UserError(f"{spec.id}: {error}") from None
        self.episode_steps = episode_steps
        self._index = 0

    def _observation_parts(self, spaces: dict[str, Any]) -> tuple[ObservationPart, ...]:
        size = sum(shape[0] for shape in self._vectors.values())
        names = observation_names(self.gym)
        numbers = self._named("observation", self.spec.observation_names, names, size)
        vector = ObservationPart(VECTOR_PART, (size,), numbers=numbers) if size else None
        images = [
            ObservationPart(name, spaces[name].shape, role="image", dtype="uint8")
            for name in self._images
        ]
        return (*([vector] if vector else []), *images)

    def _action_parts(self) -> tuple[ActionPart, ...]:
        low, high = action_ends(self.gym.action_space, self.spec.id)
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

    def _checked_period(self) -> Period:
        period = step_period(self.gym)
        shortest, longest = PERIOD_RANGE_S
        if shortest <= period.seconds <= longest:
            return period
        cure = "the environment has to take less time for a step"
        if period.seconds < shortest:
            wrapper = 'planet_ros.wrappers:ActionRepeat {"repeat": 10}'
            cure = f"{wrapper} in env_wrappers takes each action for that many of its steps"
        raise UserError(
            f"{self.spec.id}: period_s: found {period.seconds:g}, expected {shortest:g} to "
            f"{longest:g} seconds; {cure}"
        )

    @property
    def step_period_s(self) -> float:
        """Simulated seconds for each step, from the environment itself; else a guess."""
        return self._period.seconds

    def notes(self, *, period_given: bool = False, fits_within_episodes: bool = False) -> list[str]:
        """What a person should know before learning here, if anything.

        Args:
            period_given: Whether the settings say how long a step takes.
            fits_within_episodes: Whether a model is fitted before an episode has ended, too.
        """
        notes = []
        if self._period.guess and not period_given:
            notes.append(
                f"{self.spec.id}: does not say how long a step takes: {self._period.guess}, "
                f"{self.step_period_s:.4g} s; if it is another, set training.command_period_s"
            )
        if self.time_limit is None and not (fits_within_episodes or self.episode_steps):
            notes.append(
                f"{self.spec.id}: names no time limit; unless its episodes end by themselves, the "
                "model is fitted only once, at the end: set training.episode_steps or "
                "training.update_every_steps, or cut them with gymnasium.wrappers:TimeLimit "
                '{"max_episode_steps": 200} in env_wrappers'
            )
        return notes

    def reset(self, seed: int | None = None) -> Step:
        """Start an episode.

        Raises:
            BrokenEnvironment: The environment raises an error, or the observation is not what its
                space says or not finite.
        """
        self._index = 0
        with self._watched("the reset"):
            observation, _ = self.gym.reset(seed=seed)
            nothing = np.zeros(self.signature.actions, np.float32)
            step = self.checked(0, observation, nothing, 0.0, False, False)
        return replace(step, environment_steps=0)

    def step(self, action: NDArray[np.floating]) -> Step:
        """Take an action, moved into its range first, and to a whole number where it is one.

        Raises:
            BrokenEnvironment: The environment raises an error, or the observation or the reward is
                not what it should be, or not finite.
        """
        low, high = self.signature.low, self.signature.high
        clipped = np.clip(np.asarray(action, dtype=np.float32), low, high)
        space: Any = self.gym.action_space
        sent, taken = native_action(clipped, space)
        self._index += 1
        with self._watched(f"step {self._index}"):
            observation, reward, terminated, truncated, info = self.gym.step(sent)
            step = self.checked(self._index, observation, taken, reward, terminated, truncated)
            return replace(step, environment_steps=int(info.get(STEPS_TAKEN, 1)))

    @contextmanager
    def _watched(self, doing: str) -> Iterator[None]:
        """Say whose error it is, whatever is raised."""
        try:
            yield
        except (Exception, SystemExit) as error:
            raise self.broken(doing, error) from error

    def broken(self, doing: str, error: BaseException) -> BrokenEnvironment:
        """What to raise for whatever the environment raised, or `checked` found."""
        if isinstance(error, UserError):
            return BrokenEnvironment(str(error))
        return BrokenEnvironment(
            f"{self.spec.id}: {doing} of the episode failed with {reason(error)}"
        )

    def render(self) -> NDArray[np.uint8]:
        """The current frame (height, width, 3).

        Raises:
            BrokenEnvironment: It cannot be drawn.
        """
        try:
            frame: Any = self.gym.render()
            shape = np.shape(frame)
            if len(shape) != 3 or shape[2] != 3:
                raise TypeError(f"render() gave {type(frame).__name__} of shape {shape}")
            return np.asarray(frame, dtype=np.uint8)
        except (Exception, SystemExit) as error:
            raise BrokenEnvironment(self._undrawn(error)) from error

    def _undrawn(self, error: BaseException) -> str:
        return f"{self.spec.id}: cannot be drawn: {reason(error)}; {_DRAWING}"

    def close(self) -> None:
        """Release what the environment holds; that it fails to is a warning, and costs nothing."""
        try:
            self.gym.close()
        except Exception as error:
            warnings.warn(f"{self.spec.id}: cannot be closed: {reason(error)}", stacklevel=2)

    def cuts_at(self, index: int) -> bool:
        """Whether an episode is cut after so many steps, though it could go on."""
        return 0 < self.episode_steps <= index

    def checked(
        self,
        index: int,
        observation: Any,
        action: NDArray[np.float32],
        reward: Any,
        terminated: bool,
        truncated: bool,
    ) -> Step:
        """What the environment gave, as a step.

        Args:
            index: Of the step.
            observation: As it was given; all that follow too, but for the action.
            action: (A,) taken before.
            reward: For it.
            terminated: Whether the episode is over.
            truncated: Whether it was cut.

        Raises:
            UserError: Something is not what the spaces say, or not finite.
        """
        where = f"{self.spec.id}: step {index} of the episode"
        given = observation
        if not self._is_dictionary:
            given = dict.fromkeys([*self._vectors, *self._images], observation)
        parts: dict[str, NDArray[Any]] = {}
        if self.signature.vector_size:
            vectors = [self._numbers(given[name], name, where) for name in self._vectors]
            parts[VECTOR_PART] = np.concatenate(vectors)
        for name in self._images:
            parts[name] = _pixels(given[name], name, where)
        self.signature.check(Layout.of(parts, action), where)
        if np.shape(reward) != ():
            raise UserError(
                f"{where}: found a reward of shape {np.shape(reward)}, {reward}, expected a "
                "number: the environment may return float(reward)"
            )
        for name, value in ((VECTOR_PART, parts.get(VECTOR_PART, 0.0)), ("reward", float(reward))):
            if not np.isfinite(value).all():
                raise UserError(
                    f"{self.spec.id}: found {name} {value} at step {index} of the episode "
                    + (f"after action {action}, " if index else "(its reset), ")
                    + "expected finite numbers; the episode ends before it"
                )
        return Step(
            index=index,
            observation=parts,
            action=action,
            reward=float(reward),
            terminated=bool(terminated),
            truncated=bool(truncated) or self.cuts_at(index),
        )

    def _numbers(self, given: Any, name: str, where: str) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):  # what is too large is found by who looks for infinities
            numbers = np.asarray(given, np.float32)
        if numbers.ndim != 1 or (len(self._vectors) > 1 and numbers.shape != self._vectors[name]):
            raise UserError(
                f"{where}: found {name!r} of shape {list(numbers.shape)}, expected "
                f"{list(self._vectors[name])}, as the observation space says"
            )
        return numbers


_DRAWING = (
    "it must offer render_mode rgb_array; MuJoCo draws without a display where the environment "
    "variable MUJOCO_GL is egl (with a GPU) or osmesa"
)


def _pixels(given: Any, name: str, where: str) -> NDArray[np.uint8]:
    """A copy of an image; numbers that are no bytes would become others without a word."""
    pixels = np.array(given)
    if pixels.dtype != np.uint8:
        whole = np.issubdtype(pixels.dtype, np.integer) and pixels.size > 0
        if not whole or pixels.min() < 0 or pixels.max() > 255:
            raise UserError(
                f"{where}: found {name!r} of {pixels.dtype}, expected uint8, as the observation "
                "space says"
            )
    return pixels.astype(np.uint8)


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
    except (Exception, SystemExit) as error:
        raise UserError(
            f"env_id: {spec.id!r} with {spec.kwargs} cannot be made: {_told(error)}"
        ) from error
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
    except (Exception, SystemExit) as error:
        raise UserError(f"env_wrappers: {text!r} cannot be applied: {_told(error)}") from error


def _told(error: BaseException) -> str:
    """What is wrong: the text alone where it is meant for a person, else kind and place too."""
    meant = isinstance(error, (gymnasium.error.Error, UserError)) and str(error)
    return str(error) if meant else reason(error)


def _import(name: str, setting: str) -> Any:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # names such as ".x" or "", and whatever it does
        raise UserError(f"{setting}: module {name!r} cannot be imported: {_told(error)}") from error
