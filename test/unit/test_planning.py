"""Planners against problems whose answer is known, and what is particular to each."""

from __future__ import annotations

from itertools import product
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from planner_contract import (
    GOAL,
    HALF_RANGE,
    HIGH,
    LOW,
    PlannerContract,
    Recorder,
    contains,
    quadratic,
)
from scipy.linalg import solve_discrete_are

from planet_ros.planning import (
    KINDS,
    AnyPlannerSettings,
    Cem,
    CemSettings,
    Icem,
    IcemSettings,
    Plan,
    Planner,
    PlanningError,
    make_planner,
)
from planet_ros.planning.planner import Evaluate


class TestCem(PlannerContract):
    def make(self, low: Any, high: Any, *, seed: int, **sizes: int) -> Planner:
        return make_planner(CemSettings(**sizes), low, high, seed=seed)


class TestIcem(PlannerContract):
    execute: Literal["best", "mean"] = "best"

    def make(self, low: Any, high: Any, *, seed: int, **sizes: int) -> Planner:
        settings = IcemSettings(**sizes, execute=self.execute)
        return make_planner(settings, low, high, seed=seed)


class TestIcemThatExecutesTheMean(TestIcem):
    execute = "mean"

    def check_sole(self, plan: Plan, sole: list[NDArray[np.float32]]) -> None:
        assert np.isfinite(plan.actions).all()  # and momentum mixes it with earlier means


def small(seed: int = 0, **changes: Any) -> Icem:
    """iCEM, quick enough for tests that are not about quality."""
    few = {"horizon": 5, "candidates": 20, "elites": 4, "iterations": 3, **changes}
    return Icem(LOW, HIGH, IcemSettings(**few), seed=seed)


# Quality


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


@pytest.mark.parametrize(
    "settings",
    [
        CemSettings(horizon=8, candidates=400, elites=40, iterations=20),
        # Red noise and few, mostly elite candidates are slow to find what changes step by step.
        IcemSettings(
            horizon=8,
            candidates=400,
            elites=40,
            iterations=20,
            population_decay=1.0,
            noise_beta=1.0,
        ),
    ],
    ids=["cem", "icem"],
)
@pytest.mark.parametrize("state", [(1.0, 0.0), (-0.5, 1.2)])
def test_first_action_is_that_of_the_linear_quadratic_regulator(
    settings: AnyPlannerSettings, state: tuple[float, float]
) -> None:
    problem, start = LinearQuadratic(), np.array(state)
    planner = make_planner(settings, [-6.0], [6.0], seed=2)
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
        planner = Icem([-6.0], [6.0], IcemSettings(), seed=seed)
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

    settings = CemSettings(4, candidates, elites, iterations)
    plan = Cem(low, high, settings, seed=seed).plan(evaluate)

    np.testing.assert_allclose(plan.actions, mean, atol=1e-6)
    assert plan.expected_return == pytest.approx(np.mean([returns[n] for n in best]))
    assert plan.candidates == candidates * iterations
    assert plan.elite_spread == pytest.approx(np.mean((np.array(deviation) - 1e-6) / 2.0))


def test_cem_starts_at_zero_or_the_bound_nearest_to_it() -> None:
    seen: list[NDArray[np.float32]] = []

    def evaluate(actions: NDArray[np.float32]) -> NDArray[np.float64]:
        seen.append(actions.copy())
        return np.zeros(len(actions))

    settings = CemSettings(horizon=2, candidates=20_000, iterations=1)
    Cem([-1.0, 2.0, -1.0], [1.0, 4.0, 9.0], settings, seed=0).plan(evaluate)

    # Half of all Gaussian draws lie below the mean, and clipping does not move the median.
    np.testing.assert_allclose(np.median(seen[0], axis=(0, 1)), [0.0, 2.0, 0.0], atol=0.1)


# The warm start, elites and population of iCEM


def test_icem_keeps_its_warm_start_over_an_error() -> None:
    goal = quadratic(GOAL, HALF_RANGE)
    planner = small()
    before = planner.plan(goal)
    with pytest.raises(PlanningError):
        planner.plan(lambda actions: np.full(len(actions), np.nan))
    after = planner.plan(goal)
    assert np.isfinite(after.actions).all()
    # The warm start survived the failed tick.
    assert before.expected_return is not None and after.expected_return is not None
    assert after.expected_return > before.expected_return


def test_icem_keeps_its_best_between_iterations_and_ticks_and_drops_them_on_reset() -> None:
    target = np.random.default_rng(0).uniform(LOW, HIGH, (5, 3))
    goal = quadratic(target, HALF_RANGE)
    record = Recorder(goal)
    planner = small()

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
    settings = IcemSettings(
        horizon=5, candidates=400, elites=40, iterations=8, noise_beta=0.0, execute="mean"
    )
    planner = Icem([-1.0], [1.0], settings, seed=0)
    plan = planner.plan(quadratic(target, np.ones(1)))
    np.testing.assert_allclose(plan.actions, target, atol=0.05)

    record = Recorder(quadratic(target, np.ones(1)))
    planner.plan(record)
    moved_on = [-0.4, 0.0, 0.4, 0.8, 0.8]
    np.testing.assert_allclose(record.asked[0][0, :, 0], moved_on, atol=0.05)
    np.testing.assert_allclose(np.median(record.asked[0][-400:, :, 0], axis=0), moved_on, atol=0.1)


def test_icem_population_shrinks_to_two_for_each_elite_and_adds_the_mean_last() -> None:
    record = Recorder(quadratic(np.zeros(3), np.ones(3)))
    settings = IcemSettings(
        candidates=40,
        elites=10,
        iterations=5,
        population_decay=1.25,
        keep_elites_fraction=0.3,
    )
    planner = Icem(LOW, HIGH, settings, seed=0)
    plan = planner.plan(record)
    assert [len(asked) for asked in record.asked] == [40, 32 + 3, 25 + 3, 20 + 3, 20 + 3 + 1]
    assert plan.candidates == sum(len(asked) for asked in record.asked)


def test_icem_executes_the_best_or_the_mean() -> None:
    goal = quadratic(GOAL, HALF_RANGE)
    record = Recorder(goal)
    best = small(execute="best").plan(record)
    mean = small(execute="mean").plan(goal)
    assert contains(record.asked[-1], best.actions)
    assert not contains(record.asked[-1], mean.actions)
    assert goal(best.actions[np.newaxis])[0] == best.expected_return
    assert mean.expected_return is not None and best.expected_return is not None
    assert mean.expected_return < best.expected_return


def test_icem_prefers_what_it_knows_among_equals() -> None:
    record = Recorder(lambda actions: np.zeros(len(actions)))
    planner = small()
    planner.plan(record)
    first, second, last = record.asked
    # Two of the four elites are kept.
    np.testing.assert_array_equal(second[:2], first[:2])
    np.testing.assert_array_equal(last[1:3], first[:2])
    record.asked.clear()
    plan = planner.plan(record)
    np.testing.assert_array_equal(plan.actions, record.asked[-1][0])  # the mean


# Settings


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
        KINDS[kind](**{setting: value})


def test_settings_make_the_planner_that_they_are_of() -> None:
    cem = make_planner(CemSettings(horizon=3), LOW, HIGH, seed=0)
    icem = make_planner(IcemSettings(horizon=7), LOW, HIGH, seed=0)
    assert isinstance(cem, Cem) and cem.horizon == 3
    assert isinstance(icem, Icem) and icem.horizon == 7
    with pytest.raises(TypeError, match=r"found settings of dict, expected.*CemSettings"):
        make_planner({}, LOW, HIGH, seed=0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="noise_beta"):
        CemSettings(noise_beta=2.0)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("kind", "action", "expected_return", "spread", "candidates"),
    [
        ("cem", [-0.06781487, 0.60453379, -21.11053848], -2.31823986, 0.26558533, 60),
        ("icem", [0.24604405, 0.65463990, -14.13687897], -0.85488207, 0.12823627, 56),
    ],
)
def test_plans_are_those_of_earlier_versions(
    kind: str, action: list[float], expected_return: float, spread: float, candidates: int
) -> None:
    """A run that is repeated with a newer version acts as it did."""
    settings = KINDS[kind](horizon=5, candidates=20, elites=4, iterations=3)
    planner = make_planner(settings, LOW, HIGH, seed=3)
    planner.plan(quadratic(GOAL, HALF_RANGE))
    plan = planner.plan(quadratic(GOAL, HALF_RANGE))
    np.testing.assert_allclose(plan.actions[0], action, rtol=1e-5)
    assert plan.expected_return == pytest.approx(expected_return, rel=1e-6)
    assert plan.elite_spread == pytest.approx(spread, rel=1e-5)
    assert plan.candidates == candidates
