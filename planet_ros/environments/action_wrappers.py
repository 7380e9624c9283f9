"""Gymnasium wrappers that make actions of a kind that can be planned; named in ``env_wrappers``."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import ArrayLike, NDArray

from planet_ros.environments.names import action_names, named


class BoundedAction(gymnasium.ActionWrapper):
    """Gives bounds to actions that have none, in their own unit."""

    def __init__(self, env: gymnasium.Env, low: ArrayLike, high: ArrayLike) -> None:
        """Let actions go from `low` to `high`: a number each, or one for each of the action's."""
        super().__init__(env)
        space = _box(env)
        # Whatever the environment's own bounds are, they are not left.
        with np.errstate(over="ignore"):
            least, greatest = (np.asarray(end, space.dtype) for end in (low, high))
        least = np.maximum(np.broadcast_to(least, space.shape), space.low)
        greatest = np.minimum(np.broadcast_to(greatest, space.shape), space.high)
        if not (np.isfinite(least) & np.isfinite(greatest) & (least < greatest)).all():
            raise ValueError(f"found {low!r} to {high!r}, expected finite numbers with low < high")
        self.action_space = Box(least, greatest, dtype=space.dtype.type)

    @property
    def action_names(self) -> list[str]:
        """Those of the environment, where they are known."""
        return action_names(self.env)

    def action(self, action: Any) -> Any:
        """The action as it is."""
        return action


class NormalizedAction(gymnasium.ActionWrapper):
    """Takes numbers from -1 to 1 for actions from the least to the greatest.

    The action is computed in float64 and never leaves the environment's own bounds.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        """Normalise all numbers of an action with finite bounds."""
        super().__init__(env)
        self._space = _box(env)
        self._low = np.asarray(self._space.low, np.float64)
        self._high = np.asarray(self._space.high, np.float64)
        if not (np.isfinite(self._low) & np.isfinite(self._high)).all():
            raise ValueError(f"found {self._space}, expected finite bounds")
        self.action_space = Box(-1.0, 1.0, self._space.shape, np.float32)

    @property
    def action_names(self) -> list[str]:
        """Those of the environment, where they are known, without their units."""
        return [named(text, "action_names").name for text in action_names(self.env)]

    def action(self, action: Any) -> NDArray[Any]:
        """The action in the environment's own unit."""
        part = (np.clip(np.asarray(action, np.float64), -1, 1) + 1) / 2
        values = (1 - part) * self._low + part * self._high
        if np.issubdtype(self._space.dtype, np.integer):
            values = np.rint(values)
        # The ends themselves, which float64 may not hold (2⁶³ - 1) or sums of it may miss.
        low, high = self._space.low, self._space.high
        with np.errstate(invalid="ignore"):
            within = np.clip(values.astype(self._space.dtype), low, high)
        return np.where(part <= 0, low, np.where(part >= 1, high, within))


class SelectAction(gymnasium.ActionWrapper):
    """Leaves some numbers of the action to be decided, and keeps the others as they are told."""

    def __init__(
        self, env: gymnasium.Env, indices: list[int], others: list[float] | None = None
    ) -> None:
        """Decide the numbers at `indices`.

        Args:
            env: The environment.
            indices: Of the action, or of its numbers one after the other where it has more than one
                dimension.
            others: Of all numbers, what those are that are not decided; None: the middle of their
                range.
        """
        super().__init__(env)
        self._space = _box(env)
        low, high = self._space.low.ravel(), self._space.high.ravel()
        if not indices or not {*indices} <= {*range(low.size)} or len({*indices}) < len(indices):
            raise ValueError(f"indices: found {indices}, expected some of {low.size} numbers")
        whole = np.float64(low) / 2 + np.float64(high) / 2 if others is None else np.array(others)
        if whole.shape != low.shape or not np.isfinite(np.delete(whole, indices)).all():
            raise ValueError(f"others: found {others}, expected {low.size} finite numbers")
        self._indices = list(indices)
        self._whole = np.clip(whole.astype(self._space.dtype), low, high)
        self.action_space = Box(low[self._indices], high[self._indices], dtype=low.dtype.type)

    @property
    def action_names(self) -> list[str]:
        """Those of the numbers that are decided, where they are known."""
        names = action_names(self.env)
        return [names[index] for index in self._indices] if names else []

    def action(self, action: Any) -> NDArray[Any]:
        """The whole action."""
        whole = self._whole.copy()
        whole[self._indices] = action
        return whole.reshape(self._space.shape)


def _box(env: gymnasium.Env) -> Box:
    if not isinstance(env.action_space, Box):
        raise TypeError(f"found actions {env.action_space}, expected a Box")
    return env.action_space
