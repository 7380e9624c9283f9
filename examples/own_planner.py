"""A planner of one's own: MPPI, which weighs candidates by the exponential of their return.

    python examples/own_planner.py --output runs/mppi

docs/own_planner.md explains it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from own_environment import LEARNING, SPEC, output_folder, report, returns

from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import PlannerSettings, settings_from
from planet_ros.control.exploration import RandomPolicy
from planet_ros.control.policy import PlanningPolicy
from planet_ros.data import Signature
from planet_ros.environments import Environment
from planet_ros.planning import Plan
from planet_ros.planning.planner import Evaluate
from planet_ros.planning.population import (
    MIN_STD,
    Bounds,
    best_first,
    check_sizes,
    relative_spread,
    score,
)
from planet_ros.training.loop import train


@dataclass(frozen=True)
class MppiSettings:
    """Settings of `Mppi`.

    Attributes:
        horizon: Steps H of a plan.
        candidates: Sequences drawn in each iteration.
        elites: The best of them, which are weighed; the others count for nothing.
        iterations: Rounds of drawing and weighing.
        temperature: Of the weights, in standard deviations of the elites' returns, more than 0:
            small follows the best alone, large makes all elites equal, as in CEM.

    Raises:
        ValueError: A setting is out of its range, or there are more elites than candidates.
    """

    horizon: int = 20
    candidates: int = 40
    elites: int = 10
    iterations: int = 3
    temperature: float = 2.0

    def __post_init__(self) -> None:
        check_sizes(self.horizon, self.candidates, self.elites, self.iterations)
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature: found {self.temperature}, expected more than 0")


class Mppi:
    """Model predictive path integral control, with a deviation that is fitted as in CEM.

    Williams et al. 2017, Information Theoretic MPC for Model-Based Reinforcement Learning; elites
    and the fitted deviation as in TD-MPC (Hansen et al. 2022, arXiv 2203.04955, algorithm 1).
    """

    def __init__(
        self, low: ArrayLike, high: ArrayLike, settings: MppiSettings, *, seed: int
    ) -> None:
        """Take bounds (A,) in the units of the actions; ValueError where they are none."""
        self._bounds = Bounds.checked(low, high)
        self.low, self.high = self._bounds.low, self._bounds.high
        self.horizon = settings.horizon
        self._settings = settings
        self.reset(seed)

    def reset(self, seed: int | None = None) -> None:
        """Drop the warm start; with a seed also start the random numbers anew."""
        self._warm: NDArray[np.float64] | None = None
        if seed is not None:
            self._rng = np.random.default_rng(seed)

    def plan(self, evaluate: Evaluate) -> Plan:
        """Plan one tick, from the last plan moved on by one step; see `Planner.plan`."""
        settings, shape = self._settings, (self.horizon, len(self.low))
        if self._warm is None:
            mean = np.broadcast_to(self.low + self._bounds.half_range, shape)
        else:
            mean = np.concatenate([self._warm[1:], self._warm[-1:]])
        std = np.broadcast_to(self._bounds.half_range, shape)
        for _ in range(settings.iterations):
            noise = self._rng.standard_normal((settings.candidates, *shape))
            candidates = self._bounds.clip(mean + std * noise)
            found = score(evaluate, candidates)  # PlanningError for a wrong shape
            best = best_first(found, settings.elites)  # finite ones alone; PlanningError: none is
            weights = _weights(found[best], settings.temperature)[:, None, None]
            elites = candidates[best]
            mean = (weights * elites).sum(axis=0)
            spread = np.sqrt((weights * np.square(elites - mean)).sum(axis=0))
            std = spread + MIN_STD
        self._warm = mean  # only now: after an error the old one is still whole
        return Plan(
            actions=self._bounds.clip(mean),
            expected_return=float((weights[:, 0, 0] * found[best]).sum()),
            elite_spread=relative_spread(spread, self._bounds),
            candidates=settings.candidates * settings.iterations,
        )


def _weights(found: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Weights (K,), which sum to 1, of returns (K,), the highest first."""
    # In units of their own spread, so that the temperature is right for any reward; and the highest
    # is taken off first, for exp(1000) is infinite.
    scale = found.std() * temperature
    weights = np.exp((found - found[0]) / scale) if scale > 0 else np.ones(len(found))
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def make_mppi(settings: PlannerSettings, signature: Signature, seed: int) -> Mppi:
    """What `PlanningPolicy` takes; the horizon is the one that the bundle was exported with."""
    own = MppiSettings(horizon=settings.horizon)
    return Mppi(signature.low, signature.high, own, seed=seed)


def main() -> None:
    """Learn the cart of own_environment.py, then plan in its model with MPPI."""
    settings = {
        **LEARNING,
        "training.output": output_folder("Plan with a planner of one's own."),
        "training.steps": 300,
    }
    environment = Environment(SPEC)
    report("random actions", returns(RandomPolicy(environment.signature, seed=0), environment))

    bundle = load_bundle(train(settings_from(settings)).bundle)

    policy = PlanningPolicy.of(bundle, seed=0, make_planner=make_mppi)
    report("planned with MPPI", returns(policy, environment))
    print(f"bundle: {bundle.path}")


if __name__ == "__main__":
    main()
