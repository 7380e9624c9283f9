"""Policies that try something out: random actions, and noise on those of another policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planet_ros.control.policy import Policy, Successor
from planet_ros.data import Parts, Signature
from planet_ros.planning import Plan
from planet_ros.planning.noise import colored_noise

Array = NDArray[np.float32]

_RANDOM_STREAM = 0
"""Random actions come from ``default_rng([seed, stream, episode, index])``, so that a run that is
resumed, or whose steps come over a network, draws the same ones."""

_AHEAD_STREAM = 2
_AHEAD = 100
"""Random actions that are drawn at once come from ``default_rng([seed, stream, episode, index //
_AHEAD])``: to make a generator takes longer than all else."""

_EXPLORATION_STREAM = 3

_NOISE_STEPS = 1000
"""Length of an episode's coloured noise, which then repeats."""

_NOISE_EPISODES = 64
"""Episodes whose noise is kept, for robots that are explored at once."""


class RandomPolicy:
    """Uniformly random actions, or coloured noise around the middle of the range."""

    def __init__(
        self, signature: Signature, *, seed: int, beta: float = 0.0, ahead: bool = False
    ) -> None:
        """Draw for a run.

        Args:
            signature: Whose actions.
            seed: Of the run; its episode i is the one after ``reset(seed + i)``.
            beta: Exponent of the noise's 1/f spectrum; 0: each action is drawn anew.
            ahead: Draw many actions of an episode at once: others, in a tenth of the time.
        """
        self._signature = signature
        self._seed = seed
        self._beta = beta
        self._ahead = ahead
        self._drawn = (-1, -1), np.empty((0, 0), np.float32)
        self._noise: dict[int, NDArray[np.floating]] = {}
        self._episode, self._index = 0, 0

    def reset(self, seed: int | None = None) -> None:
        """Begin the episode of a seed, or the next one."""
        self._episode = self._episode + 1 if seed is None else seed - self._seed
        self._index = 0

    def act(self, observation: Parts) -> Plan:
        """A plan of one action, whatever was seen."""
        action = self.action(self._episode, self._index)
        self._index += 1
        return Plan(action[np.newaxis])

    def took(self, action: Array) -> None:
        """What was done does not matter."""

    def action(self, episode: int, index: int) -> Array:
        """The action (A,) of a step, which depends on its numbers alone."""
        low, high = self._signature.low, self._signature.high
        if self._beta == 0 and self._ahead:
            block = episode, index // _AHEAD
            if self._drawn[0] != block:
                rng = np.random.default_rng([self._seed, _AHEAD_STREAM, *block])
                rows = rng.uniform(low, high, (_AHEAD, len(low)))
                self._drawn = block, rows.astype(np.float32)
            return self._drawn[1][index % _AHEAD]
        if self._beta == 0:
            rng = np.random.default_rng([self._seed, _RANDOM_STREAM, episode, index])
            return rng.uniform(low, high).astype(np.float32)
        if episode not in self._noise:
            if len(self._noise) >= _NOISE_EPISODES:
                del self._noise[next(iter(self._noise))]
            rng = np.random.default_rng([self._seed, _RANDOM_STREAM, episode])
            self._noise[episode] = colored_noise(self._beta, (1, _NOISE_STEPS, len(low)), rng)[0]
        noise = self._noise[episode][index % _NOISE_STEPS]
        return np.clip(self._signature.middle + (high - low) / 2 * noise, low, high).astype(
            np.float32
        )


class ExploringPolicy:
    """Another policy with noise on the action that is due."""

    def __init__(self, policy: Successor, signature: Signature, *, noise: float, seed: int) -> None:
        """Add noise.

        Args:
            policy: Which decides.
            signature: Whose actions.
            noise: Its standard deviation, in halves of the range.
            seed: Of the noise.
        """
        self._policy = policy
        self._signature = signature
        self._std = noise * (signature.high - signature.low) / 2
        self._rng = np.random.default_rng([seed, _EXPLORATION_STREAM])

    def reset(self, seed: int | None = None) -> None:
        """Reset the other policy; with a seed, draw the noise as from the beginning."""
        self._policy.reset(seed)
        if seed is not None:
            self._rng = np.random.default_rng([seed, _EXPLORATION_STREAM])

    def act(self, observation: Parts) -> Plan:
        """The other policy's plan, its first action changed within its range."""
        plan = self._policy.act(observation)
        actions = plan.actions.copy()
        actions[0] += self._std * self._rng.standard_normal(len(self._std), dtype=np.float32)
        return replace(plan, actions=np.clip(actions, self._signature.low, self._signature.high))

    def took(self, action: Array) -> None:
        """Tell the other policy."""
        self._policy.took(action)

    def inherit(self, previous: Policy) -> bool:
        """Let the other policy go on, and draw on."""
        if not isinstance(previous, ExploringPolicy) or not self._policy.inherit(previous._policy):
            return False
        self._rng = previous._rng
        return True


def exploring(policy: Successor, signature: Signature, *, noise: float, seed: int) -> Successor:
    """A policy with noise on its actions, or itself where there is none to add."""
    if noise == 0:
        return policy
    return ExploringPolicy(policy, signature, noise=noise, seed=seed)


class RandomCommands:
    """Commands for a robot: random ones, and those on the way to rest.

    None is out of the range, and none changes faster than is allowed: neither from one to the next,
    nor from what was in force before the first.

    Attributes:
        last: (A,) the newest command; None before the first.
    """

    def __init__(
        self,
        low: NDArray[np.floating],
        high: NDArray[np.floating],
        max_rate: NDArray[np.floating],
        draw: Callable[[int, int], Array],
        *,
        first: int = 0,
    ) -> None:
        """Command nothing yet.

        Args:
            low: (A,) least.
            high: (A,) greatest.
            max_rate: (A,) largest change per second, infinite where there is none.
            draw: The random action (A,) of an episode and a step, as `RandomPolicy.action`.
            first: Number of the first command, so that a run that goes on draws others.
        """
        self._low, self._high = np.asarray(low, np.float64), np.asarray(high, np.float64)
        self._max_rate = np.asarray(max_rate, np.float64)
        self._draw = draw
        self._count = first
        self.last: NDArray[np.float64] | None = None

    def begin(self, at: NDArray[np.floating]) -> None:
        """Take (A,) what is in force, from where the first command leads on."""
        self.last = np.clip(np.asarray(at, np.float64), self._low, self._high)

    def end(self) -> None:
        """Forget it: others command now."""
        self.last = None

    def explore(self, seconds: float) -> NDArray[np.float64]:
        """The next random command (A,), `seconds` after the last."""
        target = self._draw(*divmod(self._count, _NOISE_STEPS))
        self._count += 1
        return self.towards(target, seconds)

    def towards(self, target: NDArray[np.floating], seconds: float) -> NDArray[np.float64]:
        """The command (A,) that leads to another one, as far as `seconds` allow."""
        assert self.last is not None  # it has begun
        most = np.full(len(self._max_rate), np.inf)
        bounded = np.isfinite(self._max_rate)  # infinity times no time at all would be no number
        most[bounded] = self._max_rate[bounded] * max(0.0, seconds)
        change = np.clip(np.asarray(target, np.float64) - self.last, -most, most)
        self.last = np.clip(self.last + change, self._low, self._high)
        return self.last
