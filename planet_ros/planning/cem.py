"""The cross-entropy method of the notebook, the reference for every other planner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .planner import Evaluate, Plan
from .population import MIN_STD, Bounds, best_first, check_sizes, refit, relative_spread, score


@dataclass(frozen=True)
class CemSettings:
    """Settings of `Cem`; the defaults are the notebook's.

    Attributes:
        horizon: Steps H of a plan.
        candidates: Sequences N drawn in each iteration.
        elites: The best of them, which the distribution is refitted to.
        iterations: Rounds of drawing and refitting.

    Raises:
        ValueError: A size is below 1, or there are more elites than candidates.
    """

    horizon: int = 12
    candidates: int = 1000
    elites: int = 100
    iterations: int = 10

    def __post_init__(self) -> None:
        check_sizes(self.horizon, self.candidates, self.elites, self.iterations)


class Cem:
    """Cross-entropy method as in the notebook's ``cem_planner``.

    The planner of Hafner et al. 2019, Learning Latent Dynamics for Planning from Pixels.

    Each plan begins anew with mean 0 and a standard deviation of half the range; each iteration
    draws Gaussian sequences, clips them, and refits to the best. The plan is the mean of the last
    elites. Where a range does not contain 0, the first mean is the bound nearest to it; the
    notebook does not foresee that.

    Unlike the notebook, non-finite candidates are never elites, and a single elite gives no NaN.
    """

    def __init__(
        self, low: ArrayLike, high: ArrayLike, settings: CemSettings, *, seed: int
    ) -> None:
        """Take bounds (A,) in the units of the actions, and settings.

        Raises ValueError for bounds that are not finite with ``low < high``.
        """
        self._bounds = Bounds.checked(low, high)
        self.low: NDArray[np.float32] = self._bounds.low
        self.high: NDArray[np.float32] = self._bounds.high
        self.horizon = settings.horizon
        self._candidates = settings.candidates
        self._elites = settings.elites
        self._iterations = settings.iterations
        self.reset(seed)

    def reset(self, seed: int | None = None) -> None:
        """Start the random numbers anew if ``seed`` is given; there is no warm start to drop."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)

    def plan(self, evaluate: Evaluate) -> Plan:
        """Plan without memory of earlier ticks; see `Planner.plan`."""
        shape = (self.horizon, len(self.low))
        mean = self._bounds.clip(np.zeros(shape)).astype(np.float64)
        std = np.broadcast_to(self._bounds.half_range, shape)
        for _ in range(self._iterations):
            noise = self._rng.standard_normal((self._candidates, *shape))
            candidates = self._bounds.clip(mean + std * noise)
            returns = score(evaluate, candidates)
            elites = best_first(returns, self._elites)
            mean, spread = refit(candidates[elites])
            std = spread + MIN_STD
        return Plan(
            actions=self._bounds.clip(mean),
            expected_return=float(returns[elites].mean()),
            elite_spread=relative_spread(spread, self._bounds),
            candidates=self._candidates * self._iterations,
        )
