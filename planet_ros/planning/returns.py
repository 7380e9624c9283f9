"""From what a model expects of each step to one number for each candidate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def candidate_returns(
    rewards: NDArray[Any],
    continues: NDArray[Any] | None,
    disagreement: NDArray[Any] | None,
    discount: float,
    disagreement_penalty: float,
) -> NDArray[np.float64]:
    """Discounted return of each candidate, less a penalty where the models disagree.

    ``sum_k discount^k * prod_{j<k} continues_j * (rewards_k - disagreement_penalty *
    disagreement_k)``: the reward of step k counts as far as the episode had not ended before it, so
    the step that ends it still counts in full.

    rewards, continues (probability that the episode goes on after the step, 0 to 1; None: it always
    does), disagreement (in the unit of the reward, at least 0; None: there is none): (N, H).
    discount: 0 to 1. disagreement_penalty: at least 0; at 0 ``disagreement`` is not read. Gives
    (N,), float64. NaN and infinity in a term give a non-finite return, even after the end of the
    episode: a model that predicts them is not to be trusted on that candidate.

    Raises ValueError for shapes that are not the same (N, H), or a discount or penalty out of
    range.
    """
    shape = rewards.shape
    if (
        rewards.ndim != 2
        or (continues is not None and continues.shape != shape)
        or (disagreement is not None and disagreement.shape != shape)
    ):
        given = {"rewards": rewards, "continues": continues, "disagreement": disagreement}
        found = [f"{name} {array.shape}" for name, array in given.items() if array is not None]
        raise ValueError(f"found shapes {', '.join(found)}, expected the same (N, H) for all")
    if not 0.0 <= discount <= 1.0:
        raise ValueError(f"discount: found {discount}, expected 0 to 1")
    if not (math.isfinite(disagreement_penalty) and disagreement_penalty >= 0.0):
        raise ValueError(
            f"disagreement_penalty: found {disagreement_penalty}, expected finite and at least 0"
        )
    candidates, horizon = shape
    # Where every episode goes on, one row of weights is that of all candidates.
    weights = np.ones((1 if continues is None else candidates, horizon))
    if continues is not None:
        weights[:, 1:] = continues[:, :-1]
    # Non-finite numbers are expected here and are the planner's to judge; warnings would only flood
    # the log.
    with np.errstate(invalid="ignore", over="ignore"):
        if horizon > 1:
            weights[:, 1:] *= discount
        np.cumprod(weights, axis=1, out=weights)
        gains = rewards.astype(np.float64)
        # Not merely multiplied by zero: 0 * inf is NaN.
        if disagreement is not None and disagreement_penalty > 0.0:
            gains -= disagreement_penalty * disagreement.astype(np.float64)
        gains *= weights
        returns: NDArray[np.float64] = gains.sum(axis=1)
    return returns
