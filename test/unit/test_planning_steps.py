"""The steps that planners are made of: ranking, refitting, bounds, noise, and returns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from planet_ros.planning import PlanningError, candidate_returns
from planet_ros.planning.noise import colored_noise
from planet_ros.planning.population import Bounds, best_first, refit


@given(
    returns=st.lists(
        st.one_of(st.sampled_from([0.0, 1.0, np.nan, np.inf, -np.inf]), st.floats(-9.0, 9.0)),
        min_size=1,
        max_size=30,
    ),
    count=st.integers(1, 30),
)
def test_best_first_is_a_stable_sort_of_what_is_finite(returns: list[float], count: int) -> None:
    finite = [n for n, value in enumerate(returns) if np.isfinite(value)]
    if not finite:
        with pytest.raises(PlanningError):
            best_first(np.array(returns), count)
        return
    expected = sorted(finite, key=lambda n: -returns[n])[:count]
    assert best_first(np.array(returns), count).tolist() == expected


def test_refit_is_mean_and_unbiased_deviation() -> None:
    elites = np.random.default_rng(0).normal(50.0, 2.0, (7, 4, 3)).astype(np.float32)
    mean, deviation = refit(elites)
    np.testing.assert_allclose(mean, elites.astype(np.float64).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(deviation, elites.astype(np.float64).std(axis=0, ddof=1), rtol=1e-9)


def test_bounds_survive_the_extremes_of_float32() -> None:
    limit = float(np.finfo(np.float32).max)
    wide = Bounds.checked([-limit], [limit])
    with np.errstate(all="raise"):
        clipped = wide.clip(np.array([[1e300], [-1e300]]))
    assert clipped.ravel().tolist() == [limit, -limit]


# Coloured noise


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("horizon", [1, 2, 7, 20])
def test_noise_has_unit_variance_at_every_step(beta: float, horizon: int) -> None:
    noise = colored_noise(beta, (20_000, horizon, 2), np.random.default_rng(0))
    assert noise.shape == (20_000, horizon, 2)
    np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=0.04)
    np.testing.assert_allclose(noise.var(axis=0), 1.0, atol=0.06)
    # Dimensions do not move together.
    products = (noise[..., 0] * noise[..., 1]).mean(axis=0)
    np.testing.assert_allclose(products, 0.0, atol=0.04)


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("horizon", [64, 65])
def test_noise_spectrum_falls_as_asked(beta: float, horizon: int) -> None:
    noise = colored_noise(beta, (4000, horizon, 1), np.random.default_rng(1))[..., 0]
    power = np.square(np.abs(np.fft.rfft(noise, axis=1))).mean(axis=0)[1:]
    slope, _ = np.polyfit(np.log(np.arange(1, len(power) + 1)), np.log(power), 1)
    assert slope == pytest.approx(-beta, abs=0.05)


def test_noise_with_beta_zero_is_white() -> None:
    noise = colored_noise(0.0, (50_000, 6, 1), np.random.default_rng(2))[..., 0]
    np.testing.assert_allclose(noise.T @ noise / len(noise), np.eye(6), atol=0.025)
    assert (noise**4).mean() == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("beta", [-0.1, np.nan, np.inf])
def test_noise_refuses_a_bad_exponent(beta: float) -> None:
    with pytest.raises(ValueError, match="beta"):
        colored_noise(beta, (2, 3, 1), np.random.default_rng(0))


# Returns


def literal_returns(
    rewards: NDArray[Any],
    continues: NDArray[Any],
    disagreement: NDArray[Any],
    discount: float,
    penalty: float,
) -> list[float]:
    totals = []
    for n in range(rewards.shape[0]):
        total = 0.0
        for k in range(rewards.shape[1]):
            alive = 1.0
            for j in range(k):
                alive *= float(continues[n, j])
            total += (
                discount**k * alive * (float(rewards[n, k]) - penalty * float(disagreement[n, k]))
            )
        totals.append(total)
    return totals


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("horizon", [1, 2, 9])
@pytest.mark.parametrize(("discount", "penalty"), [(1.0, 0.0), (0.9, 0.7), (0.0, 0.3)])
def test_returns_are_those_of_the_formula(
    dtype: type[np.floating[Any]], horizon: int, discount: float, penalty: float
) -> None:
    rng = np.random.default_rng(horizon)
    rewards = rng.normal(size=(8, horizon)).astype(dtype)
    continues = rng.uniform(size=(8, horizon)).astype(dtype)
    continues[0, 0] = 0.0
    disagreement = rng.uniform(size=(8, horizon)).astype(dtype)
    copies = [array.copy() for array in (rewards, continues, disagreement)]

    returns = candidate_returns(rewards, continues, disagreement, discount, penalty)

    np.testing.assert_allclose(
        returns,
        literal_returns(rewards, continues, disagreement, discount, penalty),
        rtol=1e-9,
        atol=1e-12,
    )
    for array, copy in zip((rewards, continues, disagreement), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_the_reward_of_the_step_that_ends_the_episode_counts_and_later_ones_do_not() -> None:
    rewards = np.array([[1.0, 10.0, 100.0]])
    continues = np.array([[1.0, 0.0, 1.0]])
    assert candidate_returns(rewards, continues, np.zeros((1, 3)), 1.0, 0.0)[0] == 11.0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_non_finite_predictions_stay_non_finite(poison: float) -> None:
    ones = np.ones((3, 4))
    poisoned = ones.copy()
    poisoned[1, 2] = poison
    ended = ones.copy()
    ended[:, 0] = 0.0
    for returns in (
        candidate_returns(poisoned, ones, ones, 0.9, 0.5),
        candidate_returns(poisoned, ended, ones, 0.9, 0.5),
        candidate_returns(ones, poisoned, ones, 0.9, 0.0),
        candidate_returns(ones, ones, poisoned, 0.9, 0.5),
    ):
        assert np.isfinite(returns).tolist() == [True, False, True]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_disagreement_is_not_read_without_a_penalty(poison: float) -> None:
    ones = np.ones((2, 3))
    assert candidate_returns(ones, ones, np.full((2, 3), poison), 1.0, 0.0).tolist() == [3.0, 3.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("discount", "penalty"), [(1.0, 0.0), (0.97, 0.7), (0.0, 0.3)])
@pytest.mark.parametrize("horizon", [1, 2, 21])
def test_what_a_model_does_not_say_is_that_it_goes_on_and_agrees_to_the_last_bit(
    dtype: type[np.floating[Any]], discount: float, penalty: float, horizon: int
) -> None:
    rng = np.random.default_rng(horizon)
    rewards, continues, disagreement = rng.uniform(size=(3, 40, horizon)).astype(dtype)
    rewards[3, horizon // 2], rewards[4, 0] = np.inf, np.nan
    ones, zeros = np.ones_like(rewards), np.zeros_like(rewards)
    for said, meant in (
        ((None, None), (ones, zeros)),
        ((continues, None), (continues, zeros)),
        ((None, disagreement), (ones, disagreement)),
    ):
        found = candidate_returns(rewards, said[0], said[1], discount, penalty)
        expected = candidate_returns(rewards, meant[0], meant[1], discount, penalty)
        assert found.tobytes() == expected.tobytes()


def test_returns_refuse_bad_input() -> None:
    ones = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"continues \(2, 2\)"):
        candidate_returns(ones, ones[:, :2], ones, 1.0, 0.0)
    with pytest.raises(ValueError, match=r"rewards \(2, 3\), disagreement \(1, 3\)"):
        candidate_returns(ones, None, ones[:1], 1.0, 0.0)
    with pytest.raises(ValueError, match=r"rewards \(3,\)"):
        candidate_returns(ones[0], None, None, 1.0, 0.0)
    with pytest.raises(ValueError, match="discount"):
        candidate_returns(ones, ones, ones, 1.1, 0.0)
    with pytest.raises(ValueError, match="penalty"):
        candidate_returns(ones, ones, ones, 1.0, -0.1)
    with pytest.raises(ValueError, match="penalty"):
        candidate_returns(ones, ones, ones, 1.0, np.nan)
