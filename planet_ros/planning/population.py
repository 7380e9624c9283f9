"""The steps that every sampling planner is made of: bounds, draw, score, rank, refit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .planner import Evaluate, PlanningError

MIN_STD = 1e-6
"""Added to refitted deviations, as in the notebook: a distribution never becomes a point."""


@dataclass(frozen=True)
class Bounds:
    """Range of each action dimension: ``low``, ``high`` (A,) float32, ``half_range`` float64."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    half_range: NDArray[np.float64]

    @classmethod
    def checked(cls, low: ArrayLike, high: ArrayLike) -> Bounds:
        """Bounds rounded to float32, the precision in which candidates are evaluated.

        Raises ValueError unless both are (A,) with A >= 1, finite and ``low < high`` in every
        dimension; the message names the first dimension that is not.
        """
        with np.errstate(
            over="ignore"
        ):  # Too large for float32 becomes infinite, which is reported below.
            low32 = np.array(low, dtype=np.float32)
            high32 = np.array(high, dtype=np.float32)
        if low32.ndim != 1 or low32.shape != high32.shape or low32.size == 0:
            raise ValueError(
                f"action bounds: found shapes low {low32.shape} and high {high32.shape}, "
                "expected the same (A,) for both with A >= 1"
            )
        for dimension, (lowest, highest) in enumerate(zip(low32, high32, strict=True)):
            if not (np.isfinite(lowest) and np.isfinite(highest) and lowest < highest):
                raise ValueError(
                    f"action bounds, dimension {dimension}: found low {lowest} and high {highest}, "
                    "expected finite float32 numbers with low < high"
                )
        return cls(low32, high32, (high32.astype(np.float64) - low32) / 2.0)

    def clip(self, actions: NDArray[np.float64]) -> NDArray[np.float32]:
        """Actions (..., A) within the bounds, as a new C-contiguous float32 array."""
        # In this order: rounding to float32 cannot leave bounds that are float32 themselves, and
        # nothing overflows.
        return np.minimum(np.maximum(actions, self.low), self.high).astype(np.float32, order="C")


def check_sizes(horizon: int, candidates: int, elites: int, iterations: int) -> None:
    """Raise ValueError unless all are at least 1 and there are no more elites than candidates."""
    sizes = {
        "horizon": horizon,
        "candidates": candidates,
        "elites": elites,
        "iterations": iterations,
    }
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}: found {size}, expected at least 1")
    if elites > candidates:
        raise ValueError(f"elites: found {elites}, expected at most candidates ({candidates})")


def score(evaluate: Evaluate, candidates: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns (N,) of candidates (N, H, A). Raises PlanningError for any other shape."""
    returns = np.asarray(evaluate(candidates), dtype=np.float64)
    if returns.shape != (len(candidates),):
        raise PlanningError(
            f"returns of {len(candidates)} candidates: found shape {returns.shape}, "
            f"expected ({len(candidates)},): one number for each candidate"
        )
    return returns


def best_first(returns: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Indices of the ``count`` highest finite returns of (N,), best first.

    Among equals the earlier comes first. Fewer where fewer are finite: neither NaN nor an infinity
    of either sign is ever among them. Raises PlanningError if none is finite.
    """
    finite = np.isfinite(returns)
    usable = int(np.count_nonzero(finite))
    if usable == 0:
        raise PlanningError(
            f"all {len(returns)} candidates have a non-finite return "
            f"({np.count_nonzero(np.isnan(returns))} NaN, "
            f"{np.count_nonzero(returns == np.inf)} +inf, "
            f"{np.count_nonzero(returns == -np.inf)} -inf), expected at least one finite: "
            "look at the belief or observation that the model was given, then at the rewards, "
            "continues and disagreement that it predicts"
        )
    # A full stable sort and no argpartition: which of two equals is an elite must not depend on the
    # partition.
    order = np.argsort(np.where(finite, -returns, np.inf), kind="stable")
    return order[: min(count, usable)]


def refit(elites: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and unbiased standard deviation (H, A) of elites (K, H, A); 0 for a single one."""
    mean: NDArray[np.float64] = elites.mean(axis=0, dtype=np.float64)
    if len(elites) == 1:
        return mean, np.zeros_like(mean)
    deviations = elites - mean
    return mean, np.sqrt(np.square(deviations).sum(axis=0) / (len(elites) - 1))


def relative_spread(std: NDArray[np.float64], bounds: Bounds) -> float:
    """Mean over steps and dimensions of deviations (H, A) as fractions of half the range."""
    return float((std / bounds.half_range).mean())
