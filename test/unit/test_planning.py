"""Planners against problems whose answer is known, and the rules that hold for every plan."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import solve_discrete_are

from planet_ros.planning import (
    Cem,
    Icem,
    Plan,
    Planner,
    PlanningError,
    candidate_returns,
    make_planner,
)
from planet_ros.planning.noise import colored_noise
from planet_ros.planning.planner import Evaluate
from planet_ros.planning.population import Bounds, best_first, refit

KINDS = ["cem", "icem"]
LOW = np.array([-1.0, 0.5, -30.0])
HIGH = np.array([1.0, 0.9, 10.0])


def quadratic(target: NDArray[np.float64], scale: NDArray[np.float64]) -> Evaluate:
    """Highest, with return 0, where every action is ``target`` (A,) or (H, A)."""

    def evaluate(actions: NDArray[np.float32]) -> NDArray[np.float64]:
        return -np.square((actions - target) / scale).sum(axis=(1, 2))

    return evaluate


def small(kind: str, seed: int = 0, **settings: Any) -> Planner:
    """A planner quick enough for tests that are not about quality."""
    return make_planner(
        kind,
        LOW,
        HIGH,
        seed=seed,
        **{"horizon": 5, "candidates": 20, "elites": 4, "iterations": 3, **settings},
    )


def assert_same(one: Plan, other: Plan) -> None:
    np.testing.assert_array_equal(one.actions, other.actions)
    assert (one.expected_return, one.elite_spread, one.candidates) == (
        other.expected_return,
        other.elite_spread,
        other.candidates,
    )


# Quality


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "target",
    [(0.3, 0.6, -20.0), (1.0, 0.5, 10.0), (3.0, -1.0, 40.0)],
    ids=["inside", "on the bound", "outside"],
)
def test_quadratic_optimum_is_found(kind: str, target: tuple[float, ...]) -> None:
    goal = np.array(target)
    half_range = (HIGH - LOW) / 2.0
    planner = make_planner(
        kind, LOW, HIGH, seed=1, horizon=6, candidates=300, elites=30, iterations=15
    )

    # Several ticks, because iCEM is made to go on from its last plan; to CEM they are the same.
    for _ in range(4):
        plan = planner.plan(quadratic(goal, half_range))

    error = np.abs(plan.actions - np.clip(goal, LOW, HIGH)) / half_range
    assert error.max() < 0.04
    assert plan.elite_spread < 0.02


class LinearQuadratic:
    """A double integrator with quadratic costs, whose best actions are known."""

    dynamics, control = np.array([[1.0, 0.2], [0.0, 1.0]]), np.array([[0.02], [0.2]])
    state_cost, action_cost = np.diag([1.0, 0.1]), np.array([[0.1]])
    cost_to_go = solve_discrete_are(dynamics, control, state_cost, action_cost)
    gain = np.linalg.solve(
        action_cost + control.T @ cost_to_go @ control, control.T @ cost_to_go @ dynamics
    )

    def step(
        self, states: NDArray[np.float64], actions: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """States (N, 2) after actions (N, 1), and what the step cost (N,)."""
        cost = ((states @ self.state_cost) * states).sum(axis=1)
        cost += self.action_cost[0, 0] * actions[:, 0] ** 2
        return states @ self.dynamics.T + actions @ self.control.T, cost

    def optimal_cost(self, states: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cost (N,) from states (N, 2) for all time."""
        return ((states @ self.cost_to_go) * states).sum(axis=1)

    def returns_from(self, state: NDArray[np.float64]) -> Evaluate:
        """With the cost-to-go added, a finite horizon has the same optimum as the infinite one."""

        def evaluate(actions: NDArray[np.float32]) -> NDArray[np.float64]:
            states = np.tile(state, (len(actions), 1))
            total = np.zeros(len(actions))
            for action in actions.astype(np.float64).swapaxes(0, 1):
                states, cost = self.step(states, action)
                total += cost
            return -(total + self.optimal_cost(states))

        return evaluate


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", [(1.0, 0.0), (-0.5, 1.2)])
def test_first_action_is_that_of_the_linear_quadratic_regulator(
    kind: str, state: tuple[float, float]
) -> None:
    problem, start = LinearQuadratic(), np.array(state)
    # Red noise and few, mostly elite candidates are slow to find what changes from step to step.
    extra = {"population_decay": 1.0, "noise_beta": 1.0} if kind == "icem" else {}
    planner = make_planner(
        kind, [-6.0], [6.0], seed=2, horizon=8, candidates=400, elites=40, iterations=20, **extra
    )
    # Several ticks from the same state, because iCEM is made to go on from its last plan.
    for _ in range(4):
        plan = planner.plan(problem.returns_from(start))

    best_action = -(problem.gain @ start)[0]
    assert abs(best_action) > 1.5
    assert plan.actions[0, 0] == pytest.approx(best_action, abs=0.05)
    optimum = problem.optimal_cost(start[np.newaxis])[0]
    assert plan.expected_return == pytest.approx(-optimum, rel=0.01)


def test_icem_with_its_defaults_regulates_with_small_actions() -> None:
    """The best actions are a third of the range and fade to nothing; noise must not take over."""
    problem = LinearQuadratic()
    ratios = []
    for state, seed in product([(1.0, 0.0), (-0.5, 1.2), (2.0, -1.0)], range(4)):
        states, total = np.array([state]), 0.0
        optimum = problem.optimal_cost(states)[0]
        planner = Icem([-6.0], [6.0], seed=seed)
        for _ in range(40):
            plan = planner.plan(problem.returns_from(states[0]))
            states, cost = problem.step(states, plan.actions[:1].astype(np.float64))
            total += cost[0]
        ratios.append((total + problem.optimal_cost(states)[0]) / optimum)
    assert min(ratios) >= 1.0 - 1e-9
    assert np.mean(ratios) < 2.5


def test_cem_is_the_method_of_the_notebook() -> None:
    low, high, shape = np.array([-2.0, -1.0]), np.array([2.0, 3.0]), (4, 2)
    candidates, elites, iterations, seed = 30, 6, 5, 11
    # Steep, so that many draws are clipped, and not the same in every step.
    evaluate = quadratic(np.linspace(-2.5, 2.5, 8).reshape(shape), np.ones(2))

    rng = np.random.default_rng(seed)
    mean = [[0.0, 0.0] for _ in range(4)]
    deviation = [[2.0, 2.0] for _ in range(4)]
    for _ in range(iterations):
        noise = rng.standard_normal((candidates, *shape))
        drawn = np.empty((candidates, *shape), dtype=np.float32)
        for n, k, d in np.ndindex(candidates, *shape):
            value = mean[k][d] + deviation[k][d] * noise[n, k, d]
            drawn[n, k, d] = min(max(value, low[d]), high[d])
        returns = [float(evaluate(drawn[n : n + 1])[0]) for n in range(candidates)]
        best = sorted(range(candidates), key=lambda n: returns[n], reverse=True)[:elites]
        for k, d in np.ndindex(*shape):
            values = [float(drawn[n, k, d]) for n in best]
            mean[k][d] = sum(values) / elites
            variance = sum((value - mean[k][d]) ** 2 for value in values) / (elites - 1)
            deviation[k][d] = variance**0.5 + 1e-6

    plan = Cem(
        low, high, horizon=4, candidates=candidates, elites=elites, iterations=iterations, seed=seed
    ).plan(evaluate)

    np.testing.assert_allclose(plan.actions, mean, atol=1e-6)
    assert plan.expected_return == pytest.approx(np.mean([returns[n] for n in best]))
    assert plan.candidates == candidates * iterations
    assert plan.elite_spread == pytest.approx(np.mean((np.array(deviation) - 1e-6) / 2.0))


def test_cem_starts_at_zero_or_the_bound_nearest_to_it() -> None:
    seen: list[NDArray[np.float32]] = []

    def evaluate(actions: NDArray[np.float32]) -> NDArray[np.float64]:
        seen.append(actions.copy())
        return np.zeros(len(actions))

    Cem(
        [-1.0, 2.0, -1.0], [1.0, 4.0, 9.0], horizon=2, candidates=20_000, iterations=1, seed=0
    ).plan(evaluate)

    # Half of all Gaussian draws lie below the mean, and clipping does not move the median.
    np.testing.assert_allclose(np.median(seen[0], axis=(0, 1)), [0.0, 2.0, 0.0], atol=0.1)


# Non-finite returns


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("execute", ["best", "mean"])
def test_non_finite_candidates_are_never_chosen(kind: str, poison: float, execute: str) -> None:
    """The forbidden half holds the optimum: a planner that let any of it in would go there."""

    def evaluate(actions: NDArray[np.float32]) -> NDArray[np.float64]:
        returns = 100.0 * actions[:, 0, 0].astype(np.float64) - 1000.0
        return np.where(actions[:, 0, 0] > 0.0, poison, returns)

    extra: dict[str, Any] = {"execute": execute} if kind == "icem" else {}
    planner = small(kind, candidates=60, elites=12, **extra)
    for _ in range(3):
        plan = planner.plan(evaluate)
        assert plan.actions[0, 0] <= 0.0
        assert np.isfinite(plan.actions).all()
        assert np.isfinite(plan.expected_return) and plan.expected_return <= -1000.0
        assert np.isfinite(plan.elite_spread)


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_finite_candidates_than_elites(kind: str) -> None:
    """Only one candidate of each iteration is finite: it alone is elite, and nothing is NaN."""
    sole: list[NDArray[np.float32]] = []

    def evaluate(actions: NDArray[np.float32]) -> NDArray[np.float64]:
        sole.append(actions[-1].copy())
        returns = np.full(len(actions), np.nan)
        returns[-1] = -5.0
        return returns

    plan = small(kind).plan(evaluate)
    np.testing.assert_array_equal(plan.actions, sole[-1])
    assert plan.expected_return == -5.0
    assert plan.elite_spread == 0.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_nothing_finite_is_an_error(kind: str, poison: float) -> None:
    with pytest.raises(PlanningError, match=r"all 20 candidates.*non-finite.*look at"):
        small(kind).plan(lambda actions: np.full(len(actions), poison))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [lambda n: (n, 1), lambda n: (n - 1,), lambda n: ()])
def test_a_wrong_shape_is_an_error(kind: str, wrong: Callable[[int], tuple[int, ...]]) -> None:
    with pytest.raises(PlanningError, match=r"found shape \(.*expected \(20,\)"):
        small(kind).plan(lambda actions: np.zeros(wrong(len(actions))))


def test_icem_plans_again_after_an_error() -> None:
    goal = quadratic(np.array([0.3, 0.6, -20.0]), (HIGH - LOW) / 2.0)
    planner = small("icem")
    before = planner.plan(goal)
    with pytest.raises(PlanningError):
        planner.plan(lambda actions: np.full(len(actions), np.nan))
    after = planner.plan(goal)
    assert np.isfinite(after.actions).all()
    # The warm start survived the failed tick.
    assert after.expected_return > before.expected_return


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


# One elite, bounds, seeds


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("candidates", [1, 2, 10])
def test_one_elite_gives_no_nan(kind: str, candidates: int) -> None:
    planner = small(kind, candidates=candidates, elites=1, iterations=4)
    for _ in range(2):
        plan = planner.plan(quadratic(np.array([0.3, 0.6, -20.0]), np.ones(3)))
        assert np.isfinite(plan.actions).all() and np.isfinite(plan.expected_return)
        assert plan.elite_spread == 0.0


def test_refit_is_mean_and_unbiased_deviation() -> None:
    elites = np.random.default_rng(0).normal(50.0, 2.0, (7, 4, 3)).astype(np.float32)
    mean, deviation = refit(elites)
    np.testing.assert_allclose(mean, elites.astype(np.float64).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(deviation, elites.astype(np.float64).std(axis=0, ddof=1), rtol=1e-9)


@st.composite
def bounds(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    size = draw(st.integers(1, 4))
    low = np.array(draw(st.lists(st.floats(-1e6, 1e6), min_size=size, max_size=size)))
    width = np.array(draw(st.lists(st.floats(1e-3, 1e6), min_size=size, max_size=size)))
    return low, low + np.maximum(width, np.abs(low) * 1e-6)


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(KINDS),
    limits=bounds(),
    horizon=st.integers(1, 6),
    candidates=st.integers(1, 12),
    iterations=st.integers(1, 3),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_candidates_and_plans_stay_within_the_bounds(
    kind: str,
    limits: tuple[NDArray[np.float64], NDArray[np.float64]],
    horizon: int,
    candidates: int,
    iterations: int,
    seed: int,
    data: st.DataObject,
) -> None:
    low, high = (bound.astype(np.float32) for bound in limits)
    elites = data.draw(st.integers(1, candidates))
    rng = np.random.default_rng(seed)
    evaluated = 0

    def evaluate(actions: NDArray[np.float32]) -> NDArray[np.float64]:
        nonlocal evaluated
        evaluated += len(actions)
        assert actions.dtype == np.float32 and actions.flags.c_contiguous
        assert actions.shape == (len(actions), horizon, len(low))
        assert (actions >= low).all() and (actions <= high).all()
        # Half towards one corner, so that means are driven onto the bounds as well.
        return np.where(
            rng.random(len(actions)) < 0.5, actions.sum(axis=(1, 2)), rng.normal(size=len(actions))
        )

    planner = make_planner(
        kind,
        *limits,
        seed=seed,
        horizon=horizon,
        candidates=candidates,
        elites=elites,
        iterations=iterations,
    )
    for _ in range(2):
        evaluated = 0
        plan = planner.plan(evaluate)
        assert plan.actions.shape == (horizon, len(low)) and plan.actions.dtype == np.float32
        assert (plan.actions >= low).all() and (plan.actions <= high).all()
        assert plan.elite_spread >= 0.0
        assert plan.candidates == evaluated


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_plans(kind: str) -> None:
    goal = quadratic(np.array([0.3, 0.6, -20.0]), np.ones(3))
    one, same, other = small(kind, seed=5), small(kind, seed=5), small(kind, seed=6)
    firsts = [one.plan(goal) for _ in range(3)]
    for first in firsts:
        assert_same(first, same.plan(goal))
    assert not np.array_equal(firsts[0].actions, other.plan(goal).actions)

    one.reset(5)
    for first in firsts:
        assert_same(first, one.plan(goal))


@pytest.mark.parametrize("kind", KINDS)
def test_reset_without_a_seed_goes_on_with_the_random_numbers(kind: str) -> None:
    goal = quadratic(np.array([0.3, 0.6, -20.0]), np.ones(3))
    planner = small(kind)
    first = planner.plan(goal)
    planner.reset()
    assert not np.array_equal(first.actions, planner.plan(goal).actions)


@pytest.mark.parametrize("kind", KINDS)
def test_planners_leave_numpys_global_generator_alone(kind: str) -> None:
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    small(kind).plan(quadratic(np.zeros(3), np.ones(3)))
    assert np.random.random() == expected


# The warm start, elites and population of iCEM


class Recorder:
    """An evaluate function that keeps what it was asked."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self.asked: list[NDArray[np.float32]] = []

    def __call__(self, actions: NDArray[np.float32]) -> NDArray[Any]:
        self.asked.append(actions.copy())
        return self._evaluate(actions)


def contains(population: NDArray[np.float32], sequence: NDArray[np.float32]) -> bool:
    """Whether ``sequence`` is one of the population, to the last bit."""
    return bool((population == sequence).all(axis=(1, 2)).any())


def test_icem_keeps_its_best_between_iterations_and_ticks_and_drops_them_on_reset() -> None:
    target = np.random.default_rng(0).uniform(LOW, HIGH, (5, 3))
    goal = quadratic(target, (HIGH - LOW) / 2.0)
    record = Recorder(goal)
    planner = small("icem")

    plan = planner.plan(record)
    best_of_first = record.asked[0][np.argmax(goal(record.asked[0]))]
    assert contains(record.asked[1], best_of_first)
    assert plan.expected_return == max(goal(asked).max() for asked in record.asked)

    record.asked.clear()
    planner.plan(record)
    moved_on = np.concatenate([plan.actions[1:], plan.actions[-1:]])
    assert contains(record.asked[0], moved_on)

    again = Recorder(goal)
    planner.reset()
    planner.plan(again)
    assert not contains(again.asked[0], moved_on)
    # Two kept elites and the mean come on top, where there are any.
    assert len(again.asked[0]) == 20 and len(record.asked[0]) == 23


def test_icem_starts_from_the_mean_moved_on_by_one_step() -> None:
    """It is a candidate itself, and the others are drawn around it."""
    target = np.array([-0.8, -0.4, 0.0, 0.4, 0.8])[:, np.newaxis]
    # White noise, because coloured noise is slow to find what changes from step to step.
    planner = Icem(
        [-1.0],
        [1.0],
        horizon=5,
        candidates=400,
        elites=40,
        iterations=8,
        noise_beta=0.0,
        execute="mean",
        seed=0,
    )
    plan = planner.plan(quadratic(target, np.ones(1)))
    np.testing.assert_allclose(plan.actions, target, atol=0.05)

    record = Recorder(quadratic(target, np.ones(1)))
    planner.plan(record)
    moved_on = [-0.4, 0.0, 0.4, 0.8, 0.8]
    np.testing.assert_allclose(record.asked[0][0, :, 0], moved_on, atol=0.05)
    np.testing.assert_allclose(np.median(record.asked[0][-400:, :, 0], axis=0), moved_on, atol=0.1)


def test_icem_population_shrinks_to_two_for_each_elite_and_adds_the_mean_last() -> None:
    record = Recorder(quadratic(np.zeros(3), np.ones(3)))
    planner = Icem(
        LOW,
        HIGH,
        candidates=40,
        elites=10,
        iterations=5,
        population_decay=1.25,
        keep_elites_fraction=0.3,
        seed=0,
    )
    plan = planner.plan(record)
    assert [len(asked) for asked in record.asked] == [40, 32 + 3, 25 + 3, 20 + 3, 20 + 3 + 1]
    assert plan.candidates == sum(len(asked) for asked in record.asked)


def test_icem_executes_the_best_or_the_mean() -> None:
    goal = quadratic(np.array([0.3, 0.6, -20.0]), (HIGH - LOW) / 2.0)
    record = Recorder(goal)
    best = small("icem", execute="best").plan(record)
    mean = small("icem", execute="mean").plan(goal)
    assert contains(record.asked[-1], best.actions)
    assert not contains(record.asked[-1], mean.actions)
    assert goal(best.actions[np.newaxis])[0] == best.expected_return
    assert mean.expected_return < best.expected_return


def test_a_plan_is_not_changed_by_the_next() -> None:
    goal = quadratic(np.array([0.3, 0.6, -20.0]), np.ones(3))
    planner = small("icem")
    plan = planner.plan(goal)
    before = plan.actions.copy()
    plan.actions[:] = 0.0
    twin = small("icem")
    twin.plan(goal)
    assert_same(planner.plan(goal), twin.plan(goal))
    assert not np.array_equal(before, plan.actions)


# Construction


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        ([-1.0, 2.0], [1.0, 2.0], "dimension 1"),
        ([-1.0, np.nan], [1.0, 2.0], "dimension 1"),
        ([-np.inf, 0.0], [1.0, 2.0], "dimension 0"),
        ([0.0], [1e300], "dimension 0"),
        ([1.0], [1.0 + 1e-12], "dimension 0"),
        ([-1.0], [1.0, 2.0], r"shapes low \(1,\) and high \(2,\)"),
        (-1.0, 1.0, "shapes"),
        ([], [], "shapes"),
    ],
)
def test_bad_bounds_are_named(kind: str, low: Any, high: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_planner(kind, low, high, seed=0)


@pytest.mark.parametrize(
    ("kind", "setting", "value"),
    [
        (kind, name, 0)
        for kind in KINDS
        for name in ("horizon", "candidates", "elites", "iterations")
    ]
    + [(kind, "elites", 2000) for kind in KINDS]
    + [
        ("icem", "noise_beta", -1.0),
        ("icem", "noise_beta", np.nan),
        ("icem", "population_decay", 0.9),
        ("icem", "keep_elites_fraction", 1.1),
        ("icem", "momentum", 1.0),
        ("icem", "initial_std", 0.0),
        ("icem", "initial_std", np.inf),
        ("icem", "execute", "worst"),
    ],
)
def test_settings_out_of_range_are_named(kind: str, setting: str, value: Any) -> None:
    with pytest.raises(ValueError, match=setting):
        make_planner(kind, LOW, HIGH, seed=0, **{setting: value})


def test_make_planner_knows_its_kinds_and_their_settings() -> None:
    assert isinstance(make_planner("cem", LOW, HIGH, seed=0), Cem)
    assert isinstance(make_planner("icem", LOW, HIGH, seed=0, horizon=7), Icem)
    with pytest.raises(ValueError, match=r"'mppi'.*cem, icem"):
        make_planner("mppi", LOW, HIGH, seed=0)
    with pytest.raises(TypeError, match="noise_beta"):
        make_planner("cem", LOW, HIGH, seed=0, noise_beta=2.0)


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


def test_returns_refuse_bad_input() -> None:
    ones = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"continues \(2, 2\)"):
        candidate_returns(ones, ones[:, :2], ones, 1.0, 0.0)
    with pytest.raises(ValueError, match="discount"):
        candidate_returns(ones, ones, ones, 1.1, 0.0)
    with pytest.raises(ValueError, match="penalty"):
        candidate_returns(ones, ones, ones, 1.0, -0.1)
    with pytest.raises(ValueError, match="penalty"):
        candidate_returns(ones, ones, ones, 1.0, np.nan)
