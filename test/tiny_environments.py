"""Environments small enough to be learned in a second, registered on import.

All are one point in the plane, pushed about and rewarded for being near the origin, with
something odd about each of them that the tests need.
"""

from __future__ import annotations

import multiprocessing
import os
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete
from numpy.typing import NDArray

EPISODE_STEPS = 20
STEP_LENGTH = 0.2


class PointMass(gymnasium.Env):
    """Position (2,) as observation, action (2,) in [-1, 1] as displacement, reward −|position|².

    Args:
        limit: The episode terminates, with a reward of −10, where a coordinate exceeds this.
        nan_after: The observation is NaN from this many steps of the environment's life on.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012 - as Gymnasium has it

    def __init__(
        self,
        limit: float = np.inf,
        nan_after: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.observation_space = Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = Box(-1.0, 1.0, (2,), np.float32)
        if limit <= 0:
            raise ValueError(f"limit: found {limit}, expected more than 0")
        self.render_mode = render_mode
        self._limit = limit
        self._nan_after = nan_after
        self._life = 0
        self._position = np.zeros(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        angle = self.np_random.uniform(0, 2 * np.pi)
        self._position = np.array([np.cos(angle), np.sin(angle)])
        return self.observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._life += 1
        self._position = self._position + STEP_LENGTH * np.asarray(action, dtype=np.float64)
        terminated = bool(np.abs(self._position).max() > self._limit)
        reward = -10.0 if terminated else -float(np.square(self._position).sum())
        return self.observation(), reward, terminated, False, {}

    def observation(self) -> Any:
        if self._nan_after is not None and self._life >= self._nan_after:
            return np.full(2, np.nan, dtype=np.float32)
        return self._position.astype(np.float32)

    def render(self) -> NDArray[np.uint8]:
        frame = np.zeros((40, 40, 3), dtype=np.uint8)
        column, row = np.clip(20 + 8 * self._position, 0, 39).astype(int)
        frame[row, column] = 255
        return frame


class Named(PointMass):
    """The point, with a word for each number."""

    observation_names: ClassVar[list[str]] = ["x [m]", "y [m]"]
    action_names: ClassVar[list[str]] = ["push x [m]", "push y [m]"]


class DictObservation(PointMass):
    """The position as a dictionary of coordinates."""

    def __init__(self) -> None:
        super().__init__()
        coordinate = Box(-np.inf, np.inf, (1,), np.float32)
        self.observation_space = Dict({"x": coordinate, "y": coordinate})

    def observation(self) -> dict[str, NDArray[np.float32]]:
        x, y = self._position.astype(np.float32)
        return {"x": np.array([x]), "y": np.array([y])}


class DiscreteActions(PointMass):
    """Three pushes to choose from."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = Discrete(3)


class UnboundedActions(PointMass):
    """Pushes of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = Box(-np.inf, np.inf, (2,), np.float32)


class OneAction(PointMass):
    """Pushes both coordinates alike."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = Box(-1.0, 1.0, (1,), np.float32)


class WideActions(PointMass):
    """The same pushes, in another unit."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = Box(-100.0, 100.0, (2,), np.float32)


class ThreeNumbers(PointMass):
    """The position, and a height that is always 0."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = Box(-np.inf, np.inf, (3,), np.float32)

    def observation(self) -> NDArray[np.float32]:
        return np.append(self._position, 0.0).astype(np.float32)


class SeedEcho(PointMass):
    """Episodes of one step, rewarded with the seed of the reset."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        self._seed = seed
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self._seed is not None
        return self.observation(), float(self._seed), True, False, {}


class Leaves(PointMass):
    """From an odd seed, takes its whole process with it at its fifth step, if that is its own."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        self._leaves = bool((seed or 0) % 2) and multiprocessing.parent_process() is not None
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self._leaves and self._life == 4:
            os._exit(7)
        return super().step(action)


class Picture(PointMass):
    """The point as a camera above sees it: a soft spot, 8 × 8 pixels of the given channels."""

    SIDE = 8

    def __init__(self, channels: int = 1, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)
        self._channels = channels
        self.observation_space = Box(0, 255, (self.SIDE, self.SIDE, channels), np.uint8)

    def observation(self) -> Any:
        return self.picture()

    def picture(self) -> NDArray[np.uint8]:
        pixels = np.linspace(-1.4, 1.4, self.SIDE)
        x, y = (np.exp(-np.square(pixels - at) / 0.18) for at in self._position)
        spot = np.round(255 * np.outer(y, x)).astype(np.uint8)
        # Each channel differs, so that one which is taken for another is noticed.
        return np.stack([spot // (1 + channel) for channel in range(self._channels)], axis=-1)


class FloatPicture(Picture):
    """The picture in numbers from 0 to 1, which are no image."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = Box(0, 1, (self.SIDE, self.SIDE, 1), np.float32)


class PictureAndPosition(Picture):
    """The picture, in a dictionary beside the position.

    Args:
        name: What the picture is called.
        channels: Of the picture.
    """

    def __init__(self, name: str = "camera", channels: int = 1) -> None:
        super().__init__(channels)
        self._name = name
        position = Box(-np.inf, np.inf, (2,), np.float32)
        self.observation_space = Dict({"position": position, name: self.observation_space})

    def observation(self) -> Any:
        return {"position": self._position.astype(np.float32), self._name: self.picture()}


def best_return(start: NDArray[np.floating]) -> float:
    """The highest return that any policy gets from a start (2,) of `PointMass` without limits."""
    distance, total = np.abs(start.astype(np.float64)), 0.0
    for _ in range(EPISODE_STEPS):
        distance = np.maximum(distance - STEP_LENGTH, 0)
        total -= float(np.square(distance).sum())
    return total


def _register(name: str, entry_point: type, **kwargs: Any) -> None:
    gymnasium.register(
        f"PlanetRosTest/{name}-v0",
        entry_point=f"{__name__}:{entry_point.__name__}",
        max_episode_steps=EPISODE_STEPS,
        kwargs=kwargs,
    )


_register("PointMass", PointMass)
_register("Terminating", PointMass, limit=1.05)
_register("BreaksDown", PointMass, nan_after=70)
_register("Named", Named)
_register("DictObservation", DictObservation)
_register("DiscreteActions", DiscreteActions)
_register("UnboundedActions", UnboundedActions)
_register("OneAction", OneAction)
_register("WideActions", WideActions)
_register("ThreeNumbers", ThreeNumbers)
_register("SeedEcho", SeedEcho)
_register("Leaves", Leaves)
_register("Picture", Picture)
_register("FloatPicture", FloatPicture)
_register("PictureAndPosition", PictureAndPosition)
