"""The terms of the evidence lower bound, as functions of Gaussians.

Hafner et al. 2019 (arXiv 1811.04551), equation 3 for the bound and equation 7 for latent
overshooting. All Gaussians are diagonal; all divergences are in nats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Gaussian(NamedTuple):
    """A diagonal Gaussian: `mean` and standard deviation `std`, both (..., S)."""

    mean: Tensor
    std: Tensor

    def detach(self) -> Gaussian:
        """The same distribution, cut off from the gradient."""
        return Gaussian(self.mean.detach(), self.std.detach())


def kl_divergence(posterior: Gaussian, prior: Gaussian) -> Tensor:
    """KL(posterior ‖ prior) in nats, summed over dimensions: (..., S) → (...)."""
    ratio = posterior.std / prior.std
    distance = (posterior.mean - prior.mean) / prior.std
    return (0.5 * (ratio.square() + distance.square() - 1) - torch.log(ratio)).sum(dim=-1)


def balanced_kl(posterior: Gaussian, prior: Gaussian, balance: float) -> Tensor:
    """KL(posterior ‖ prior), with the gradient shared out between the two.

    Args:
        posterior: (..., S).
        prior: (..., S).
        balance: Share of the gradient that goes to the prior, from 0 to 1. 0.5 is the plain KL;
            more makes the prior learn faster than the posterior gives way to it (Hafner et al.
            2021, arXiv 2010.02193, algorithm 2, whose two terms are half as large as these).

    Returns:
        (...) with the value of `kl_divergence`, whatever the balance.
    """
    if balance == 0.5:
        return kl_divergence(posterior, prior)
    return kl_divergence(
        Gaussian(*(_scale_gradient(value, 2 * (1 - balance)) for value in posterior)),
        Gaussian(*(_scale_gradient(value, 2 * balance) for value in prior)),
    )


def _scale_gradient(value: Tensor, factor: float) -> Tensor:
    constant = value.detach()
    return constant + factor * (value - constant)


def with_free_nats(kl: Tensor, free_nats: float) -> Tensor:
    """Divergences of less than `free_nats` count as that much and have no gradient; (...) each."""
    return kl.clamp(min=free_nats) if free_nats > 0 else kl


def gaussian_error(mean: Tensor, target: Tensor, std: float) -> Tensor:
    """Negative log-likelihood of `target` (..., D) under N(mean, std²), summed: (...).

    Without the constant D·log(std·√2π), so that a perfect prediction costs nothing.
    """
    return ((target - mean) / std).square().sum(dim=-1) / 2


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of values (…) where the mask (…) is 1; 0 where it is 0 everywhere."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def latent_overshooting(
    step: Callable[[Tensor, Tensor], tuple[Tensor, Gaussian]],
    state: Tensor,
    inputs: Tensor,
    posterior: Gaussian,
    mask: Tensor,
    distance: int,
    divergence: Callable[[Gaussian, Gaussian], Tensor],
) -> Tensor:
    """Divergence of posteriors from priors that look several steps ahead (equation 7).

    From every state of a sequence the prior is rolled forward, and after d steps compared with
    the posterior d steps later, which is taken as it is (no gradient). All starts are rolled
    together::

        posteriors   q0   q1   q2   q3            D = 3
        d = 1           ╲    ╲    ╲               (part of the bound already: not counted here)
        d = 2             p2   p3                 KL(q2 ‖ p2), KL(q3 ‖ p3)
        d = 3                  p3                 KL(q3 ‖ p3)

    Args:
        step: Takes states (t, B, F) and inputs (t, B, I) one step on by the prior; gives the
            following states (t, B, F), sampled, and the prior they were drawn from (t, B, S).
        state: (T, B, F) after each observation.
        inputs: (T - 1, B, I); entry t leads from state t to state t + 1.
        posterior: (T, B, S) after each observation.
        mask: (T, B), 0 where nothing was observed any more, else 1.
        distance: Steps D to look ahead; 0 and 1 give zero.
        divergence: Of the posterior from the prior, (t, B, S) → (t, B), in nats.

    Returns:
        Scalar, (1 / D) Σ over d = 2 … D of the mean divergence at distance d.
    """
    total = torch.zeros((), device=state.device)
    target = posterior.detach()
    steps = min(distance, len(inputs))
    for ahead in range(1, steps + 1):
        state, prior = step(state[:-1], inputs[ahead - 1 :])
        # State i has come from start i to time i + ahead; the last start falls off each time.
        if ahead > 1:
            kl = divergence(Gaussian(target.mean[ahead:], target.std[ahead:]), prior)
            total = total + masked_mean(kl, mask[ahead:])
    return total / max(distance, 1)
