"""The terms of the evidence lower bound: known answers, and gradients that go where they should."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from planet_ros.models.objective import (
    Gaussian,
    balanced_kl,
    gaussian_error,
    kl_divergence,
    latent_overshooting,
    with_free_nats,
)


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    torch.manual_seed(0)


def random_gaussian(*shape: int, gradient: bool = False) -> Gaussian:
    mean = torch.randn(shape, dtype=torch.float64)
    std = torch.rand(shape, dtype=torch.float64) + 0.05
    return Gaussian(mean.requires_grad_(gradient), std.requires_grad_(gradient))


def as_distribution(gaussian: Gaussian) -> Independent:
    return Independent(Normal(*gaussian), 1)


class TestKl:
    def test_is_that_of_torch(self) -> None:
        posterior, prior = random_gaussian(7, 5, 3), random_gaussian(7, 5, 3)
        expected = torch.distributions.kl_divergence(
            as_distribution(posterior), as_distribution(prior)
        )
        torch.testing.assert_close(kl_divergence(posterior, prior), expected)

    def test_of_a_distribution_from_itself_is_nothing(self) -> None:
        one = random_gaussian(4, 3, gradient=True)
        kl = kl_divergence(one, one.detach())
        torch.testing.assert_close(kl, torch.zeros_like(kl))
        for gradient in torch.autograd.grad(kl.sum(), one):
            torch.testing.assert_close(gradient, torch.zeros_like(gradient))

    def test_by_hand(self) -> None:
        far = Gaussian(torch.tensor([3.0]), torch.tensor([1.0]))
        wide = Gaussian(torch.tensor([0.0]), torch.tensor([2.0]))
        standard = Gaussian(torch.tensor([0.0]), torch.tensor([1.0]))
        assert float(kl_divergence(far, standard)) == pytest.approx(4.5)
        assert float(kl_divergence(wide, standard)) == pytest.approx(1.5 - 0.6931472)


class TestBalance:
    @pytest.mark.parametrize("balance", [0.0, 0.2, 0.5, 0.8, 1.0])
    def test_shares_out_the_gradient_and_keeps_the_value(self, balance: float) -> None:
        posterior, prior = (random_gaussian(6, 3, gradient=True) for _ in range(2))
        plain = kl_divergence(posterior, prior)
        plain_gradients = torch.autograd.grad(plain.sum(), [*posterior, *prior])
        balanced = balanced_kl(posterior, prior, balance)
        gradients = torch.autograd.grad(balanced.sum(), [*posterior, *prior])
        torch.testing.assert_close(balanced, plain)
        shares = [2 * (1 - balance)] * 2 + [2 * balance] * 2
        for found, whole, share in zip(gradients, plain_gradients, shares, strict=True):
            torch.testing.assert_close(found, share * whole)


class TestFreeNats:
    def test_only_what_is_above_costs_more_and_teaches(self) -> None:
        kl = torch.tensor([0.2, 0.9, 1.1, 5.0], requires_grad=True)
        charged = with_free_nats(kl, 1.0)
        assert charged.tolist() == pytest.approx([1.0, 1.0, 1.1, 5.0])
        (gradient,) = torch.autograd.grad(charged.sum(), kl)
        assert gradient.tolist() == [0.0, 0.0, 1.0, 1.0]

    def test_none_is_the_plain_divergence(self) -> None:
        kl = torch.tensor([0.0, 0.5, 3.0])
        assert torch.equal(with_free_nats(kl, 0.0), kl)


def test_error_is_the_likelihood_without_its_constant() -> None:
    mean, target = torch.randn(9, 2, dtype=torch.float64), torch.randn(9, 2, dtype=torch.float64)
    std = 0.3
    exact = -Normal(mean, std).log_prob(target).sum(dim=-1)
    constant = -Normal(mean, std).log_prob(mean).sum(dim=-1)
    torch.testing.assert_close(gaussian_error(mean, target, std), exact - constant)
    assert (gaussian_error(mean, mean, std) == 0).all()


class TestOvershooting:
    """A sequence of 6 states of 2 sequences; the transition is deterministic, so that the rollout
    of all starts together can be compared with one start after the other."""

    LENGTH, BATCH = 6, 2

    @pytest.fixture
    def weights(self) -> tuple[Tensor, Tensor]:
        return (
            torch.randn(3, 3, dtype=torch.float64, requires_grad=True),
            torch.randn(1, 3, dtype=torch.float64, requires_grad=True),
        )

    @staticmethod
    def step(
        weights: tuple[Tensor, Tensor], state: Tensor, drive: Tensor
    ) -> tuple[Tensor, Gaussian]:
        following = torch.tanh(state @ weights[0] + drive @ weights[1])
        return following, Gaussian(following, 0.1 + following.square())

    @pytest.mark.parametrize("distance", [0, 1, 2, 3, 5, 50])
    def test_is_a_double_loop_over_starts_and_distances(
        self, weights: tuple[Tensor, Tensor], distance: int
    ) -> None:
        state = torch.randn(self.LENGTH, self.BATCH, 3, dtype=torch.float64)
        drive = torch.randn(self.LENGTH - 1, self.BATCH, 1, dtype=torch.float64)
        posterior = random_gaussian(self.LENGTH, self.BATCH, 3)
        found = latent_overshooting(
            lambda state, drive: self.step(weights, state, drive),
            state,
            drive,
            posterior,
            torch.ones(posterior.mean.shape[:2]),
            distance,
            kl_divergence,
        )

        expected = torch.zeros((), dtype=torch.float64)
        for ahead in range(2, distance + 1):
            divergences = []
            for target in range(ahead, self.LENGTH):
                for sequence in range(self.BATCH):
                    now = state[target - ahead, sequence]
                    for time in range(target - ahead, target):
                        now, prior = self.step(weights, now, drive[time, sequence])
                    goal = Gaussian(
                        posterior.mean[target, sequence], posterior.std[target, sequence]
                    )
                    divergences.append(kl_divergence(goal, prior))
            if divergences:
                expected = expected + torch.stack(divergences).mean()
        expected = expected / max(distance, 1)
        torch.testing.assert_close(found.double(), expected)
        if distance > 1:
            for one, other in zip(
                torch.autograd.grad(found, weights),
                torch.autograd.grad(expected, weights),
                strict=True,
            ):
                torch.testing.assert_close(one, other)

    def test_does_not_pull_at_the_posterior_it_is_compared_with(
        self, weights: tuple[Tensor, Tensor]
    ) -> None:
        state = torch.randn(self.LENGTH, self.BATCH, 3, dtype=torch.float64, requires_grad=True)
        drive = torch.randn(self.LENGTH - 1, self.BATCH, 1, dtype=torch.float64)
        posterior = random_gaussian(self.LENGTH, self.BATCH, 3, gradient=True)
        latent_overshooting(
            lambda state, drive: self.step(weights, state, drive),
            state,
            drive,
            posterior,
            torch.ones(posterior.mean.shape[:2]),
            3,
            kl_divergence,
        ).backward()
        assert posterior.mean.grad is None
        assert posterior.std.grad is None
        assert state.grad is not None
        # The last two states have nothing two steps after them to be compared with.
        assert (state.grad[:-2] != 0).all()
        assert (state.grad[-2:] == 0).all()
