"""The improved cross-entropy method: as good with few enough candidates to plan every tick."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .noise import colored_noise
from .planner import Evaluate, Plan
from .population import MIN_STD, Bounds, best_first, check_sizes, refit, relative_spread, score


@dataclass(frozen=True)
class IcemSettings:
    """Settings of `Icem`.

    Attributes:
        horizon: Steps H of a plan.
        candidates: Sequences drawn in the first iteration; iteration i draws ``candidates *
            population_decay**-i``, but no fewer than two for each elite (and never more than
            ``candidates``). Kept elites, and the mean in the first iteration (unless there is no
            warm start) and the last, come on top.
        elites: The best sequences, which the distribution is refitted to.
        iterations: Rounds of drawing and refitting.
        noise_beta: Exponent of the noise, see `colored_noise`; 0 is white, at least 0.
        population_decay: At least 1.
        keep_elites_fraction: 0 to 1, of the elites; rounded up.
        momentum: Weight of the old mean and deviation in the new, 0 or more, less than 1.
        initial_std: Standard deviation at the start of each tick, as a fraction of half the range,
            more than 0. Less makes finer plans, more finds bold ones with fewer candidates.
        execute: ``best``, the best sequence of the last iteration, or ``mean``, the mean after it.
            The best one overfits a learned model sooner.

    Raises:
        ValueError: A setting is out of its range, or there are more elites than candidates.
    """

    horizon: int = 20
    candidates: int = 40
    elites: int = 8
    iterations: int = 3
    noise_beta: float = 2.0
    population_decay: float = 1.25
    keep_elites_fraction: float = 0.3
    momentum: float = 0.1
    initial_std: float = 0.5
    execute: Literal["best", "mean"] = "best"

    def __post_init__(self) -> None:
        check_sizes(self.horizon, self.candidates, self.elites, self.iterations)
        kept = self.keep_elites_fraction
        _check(self.noise_beta >= 0.0, "noise_beta", self.noise_beta, "at least 0")
        _check(
            self.population_decay >= 1.0, "population_decay", self.population_decay, "at least 1"
        )
        _check(0.0 <= kept <= 1.0, "keep_elites_fraction", kept, "0 to 1")
        _check(0.0 <= self.momentum < 1.0, "momentum", self.momentum, "0 or more, less than 1")
        _check(self.initial_std > 0.0, "initial_std", self.initial_std, "more than 0")
        if self.execute not in ("best", "mean"):
            raise ValueError(f"execute: found {self.execute!r}, expected 'best' or 'mean'")


class Icem:
    """The improved cross-entropy method, iCEM.

    Pinneri et al. 2020, Sample-efficient Cross-Entropy Method for Real-time Planning, arXiv
    2008.06389, algorithm 1.

    To the cross-entropy method it adds: coloured noise; a warm start, last tick's mean moved on by
    one step; elites kept between iterations and, moved on likewise, between ticks; a population
    that shrinks; the mean as a candidate of the last iteration; momentum on the refit; the best
    sequence executed, or the mean.

    Unlike the paper, an elite that moves on repeats its last action, where the paper draws a random
    one, and the mean that has moved on is a candidate of the first iteration too. On a linear
    quadratic problem whose best actions are small for their range, this makes up for most of what
    the noise costs; where the range is used to the full, it changes nothing.
    """

    def __init__(
        self, low: ArrayLike, high: ArrayLike, settings: IcemSettings, *, seed: int
    ) -> None:
        """Take bounds (A,) in the units of the actions, and settings.

        Raises ValueError for bounds that are not finite with ``low < high``.
        """
        self._bounds = Bounds.checked(low, high)
        self.low: NDArray[np.float32] = self._bounds.low
        self.high: NDArray[np.float32] = self._bounds.high
        self.horizon = settings.horizon
        decay = settings.population_decay
        self._populations = [
            min(settings.candidates, max(int(settings.candidates * decay**-i), 2 * settings.elites))
            for i in range(settings.iterations)
        ]
        self._elites = settings.elites
        self._kept = math.ceil(settings.keep_elites_fraction * settings.elites)
        self._noise_beta = settings.noise_beta
        self._momentum = settings.momentum
        self._execute = settings.execute
        shape = (self.horizon, len(self.low))
        middle = self.low + self._bounds.half_range
        self._first_mean = np.broadcast_to(middle, shape)
        self._first_std = np.broadcast_to(settings.initial_std * self._bounds.half_range, shape)
        self.reset(seed)

    def reset(self, seed: int | None = None) -> None:
        """Drop mean and elites of the last tick; with ``seed`` start the random numbers anew."""
        self._warm: tuple[NDArray[np.float64], NDArray[np.float32]] | None = None
        if seed is not None:
            self._rng = np.random.default_rng(seed)

    def plan(self, evaluate: Evaluate) -> Plan:
        """Plan one tick from where the last one ended, moved on by one step; see `Planner.plan`.

        A call that raises counts as a tick too: the warm start has moved on, and is otherwise as it
        was.
        """
        resumed = self._warm is not None
        mean, kept = self._begin()
        std = self._first_std
        evaluated = 0
        for iteration, population in enumerate(self._populations):
            noise = colored_noise(self._noise_beta, (population, *mean.shape), self._rng)
            drawn = self._bounds.clip(mean + std * noise)
            # What is already known to be good goes first, for the first of equals wins.
            candidates = np.concatenate([kept, drawn])
            if iteration == len(self._populations) - 1 or (iteration == 0 and resumed):
                candidates = np.concatenate([self._bounds.clip(mean)[np.newaxis], candidates])
            returns = score(evaluate, candidates)
            evaluated += len(candidates)
            best = best_first(returns, self._elites)
            elites = candidates[best]
            kept = elites[: self._kept]
            elite_mean, spread = refit(elites)
            mean = self._momentum * mean + (1.0 - self._momentum) * elite_mean
            std = self._momentum * std + (1.0 - self._momentum) * spread + MIN_STD
        self._warm = mean, kept
        if self._execute == "best":
            actions, expected_return = elites[0].copy(), float(returns[best[0]])
        else:
            actions, expected_return = self._bounds.clip(mean), float(returns[best].mean())
        return Plan(actions, expected_return, relative_spread(spread, self._bounds), evaluated)

    def _begin(self) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Mean (H, A) and kept elites (K, H, A) for the first iteration of this tick."""
        if self._warm is None:
            return self._first_mean, np.empty((0, *self._first_mean.shape), dtype=np.float32)
        old_mean, old_kept = self._warm
        mean = np.concatenate([old_mean[1:], old_mean[-1:]])
        kept = np.concatenate([old_kept[:, 1:], old_kept[:, -1:]], axis=1)
        self._warm = mean, kept
        return mean, kept


def _check(valid: bool, name: str, found: float, expected: str) -> None:
    if not (valid and math.isfinite(found)):
        raise ValueError(f"{name}: found {found}, expected a finite number, {expected}")
