"""What holds for every planner: derive a class of tests from `PlannerContract` for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from planet_ros.planning import Plan, Planner, PlanningError
from planet_ros.planning.planner import Evaluate

LOW = np.array([-1.0, 0.5, -30.0])
HIGH = np.array([1.0, 0.9, 10.0])
HALF_RANGE = (HIGH - LOW) / 2.0
GOAL = np.array([0.3, 0.6, -20.0])


def quadratic(target: NDArray[np.float64], scale: NDArray[np.float64]) -> Evaluate:
    """Highest, with return 0, where every action is ``target`` (A,) or (H, A)."""

    def evaluate(actions: NDArray[np.float32]) -> NDArray[np.float64]:
        return -np.square((actions - target) / scale).sum(axis=(1, 2))

    return evaluate


def assert_same(one: Plan, other: Plan) -> None:
    np.testing.assert_array_equal(one.actions, other.actions)
    assert (one.expected_return, one.elite_spread, one.candidates) == (
        other.expected_return,
        other.elite_spread,
        other.candidates,
    )


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


@st.composite
def bounds(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    size = draw(st.integers(1, 4))
    low = np.array(draw(st.lists(st.floats(-1e6, 1e6), min_size=size, max_size=size)))
    width = np.array(draw(st.lists(st.floats(1e-3, 1e6), min_size=size, max_size=size)))
    return low, low + np.maximum(width, np.abs(low) * 1e-6)


class PlannerContract:
    """The rules, and that plans are good."""

    def make(self, low: Any, high: Any, *, seed: int, **sizes: int) -> Planner:
        """The planner with sizes of ``horizon``, ``candidates``, ``elites`` and ``iterations``."""
        raise NotImplementedError

    def small(self, seed: int = 0, **sizes: int) -> Planner:
        """One quick enough for tests that are not about quality."""
        few = {"horizon": 5, "candidates": 20, "elites": 4, "iterations": 3, **sizes}
        return self.make(LOW, HIGH, seed=seed, **few)

    # Quality

    @pytest.mark.parametrize(
        "target",
        [(0.3, 0.6, -20.0), (1.0, 0.5, 10.0), (3.0, -1.0, 40.0)],
        ids=["inside", "on the bound", "outside"],
    )
    def test_quadratic_optimum_is_found(self, target: tuple[float, ...]) -> None:
        goal = np.array(target)
        planner = self.make(LOW, HIGH, seed=1, horizon=6, candidates=300, elites=30, iterations=15)
        # Several ticks: some go on from their last plan; to others they are the same.
        for _ in range(4):
            plan = planner.plan(quadratic(goal, HALF_RANGE))
        error = np.abs(plan.actions - np.clip(goal, LOW, HIGH)) / HALF_RANGE
        assert error.max() < 0.04
        assert plan.elite_spread is not None and plan.elite_spread < 0.02

    # Candidates and bounds

    @settings(
        deadline=None, max_examples=40, suppress_health_check=[HealthCheck.differing_executors]
    )
    @given(
        limits=bounds(),
        horizon=st.integers(1, 6),
        candidates=st.integers(1, 12),
        iterations=st.integers(1, 3),
        seed=st.integers(0, 2**32),
        data=st.data(),
    )
    def test_candidates_and_plans_stay_within_the_bounds(
        self,
        limits: tuple[NDArray[np.float64], NDArray[np.float64]],
        horizon: int,
        candidates: int,
        iterations: int,
        seed: int,
        data: st.DataObject,
    ) -> None:
        low, high = (bound.astype(np.float32) for bound in limits)
        rng = np.random.default_rng(seed)
        asked: list[int] = []

        def evaluate(actions: NDArray[np.float32]) -> NDArray[np.float64]:
            asked.append(len(actions))
            assert actions.dtype == np.float32 and actions.flags.c_contiguous
            assert actions.shape == (len(actions), horizon, len(low))
            assert (actions >= low).all() and (actions <= high).all()
            # Half towards one corner, so that means are driven onto the bounds as well.
            corner = rng.random(len(actions)) < 0.5
            return np.where(corner, actions.sum(axis=(1, 2)), rng.normal(size=len(actions)))

        elites = data.draw(st.integers(1, candidates))
        planner = self.make(
            *limits,
            seed=seed,
            horizon=horizon,
            candidates=candidates,
            elites=elites,
            iterations=iterations,
        )
        assert planner.horizon == horizon
        np.testing.assert_array_equal(planner.low, low)
        np.testing.assert_array_equal(planner.high, high)
        for _ in range(2):
            asked.clear()
            plan = planner.plan(evaluate)
            assert plan.actions.shape == (horizon, len(low)) and plan.actions.dtype == np.float32
            assert (plan.actions >= low).all() and (plan.actions <= high).all()
            assert plan.elite_spread is not None and plan.elite_spread >= 0.0
            assert plan.candidates == sum(asked)

    def test_each_dimension_has_its_own_range(self) -> None:
        record = Recorder(quadratic(GOAL, HALF_RANGE))
        self.small(candidates=200).plan(record)
        first = record.asked[0]
        # Near both of its ends, whatever those of the others: no range is shared or mixed up.
        assert (first.max(axis=(0, 1)) > HIGH - 0.2 * HALF_RANGE).all()
        assert (first.min(axis=(0, 1)) < LOW + 0.2 * HALF_RANGE).all()

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
    def test_bad_bounds_are_named(self, low: Any, high: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            self.make(low, high, seed=0)

    # Returns

    @pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
    def test_non_finite_candidates_are_never_chosen(self, poison: float) -> None:
        """The forbidden half holds the optimum: a planner that let any in would go there."""

        def evaluate(actions: NDArray[np.float32]) -> NDArray[np.float64]:
            returns = 100.0 * actions[:, 0, 0].astype(np.float64) - 1000.0
            return np.where(actions[:, 0, 0] > 0.0, poison, returns)

        planner = self.small(candidates=60, elites=12)
        for _ in range(3):
            plan = planner.plan(evaluate)
            assert plan.actions[0, 0] <= 0.0
            assert np.isfinite(plan.actions).all()
            assert plan.expected_return is not None and plan.elite_spread is not None
            assert np.isfinite(plan.expected_return) and plan.expected_return <= -1000.0
            assert np.isfinite(plan.elite_spread)

    def test_fewer_finite_candidates_than_elites_leave_those(self) -> None:
        """Only one candidate of each iteration is finite: it alone is elite, and nothing is NaN."""
        sole: list[NDArray[np.float32]] = []

        def evaluate(actions: NDArray[np.float32]) -> NDArray[np.float64]:
            sole.append(actions[-1].copy())
            returns = np.full(len(actions), np.nan)
            returns[-1] = -5.0
            return returns

        plan = self.small().plan(evaluate)
        self.check_sole(plan, sole)
        assert plan.expected_return == -5.0
        assert plan.elite_spread == 0.0

    def check_sole(self, plan: Plan, sole: list[NDArray[np.float32]]) -> None:
        """What a plan is where each iteration had but one candidate to go by."""
        np.testing.assert_array_equal(plan.actions, sole[-1])

    @pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
    def test_nothing_finite_is_an_error(self, poison: float) -> None:
        with pytest.raises(PlanningError, match=r"all 20 candidates.*non-finite.*look at"):
            self.small().plan(lambda actions: np.full(len(actions), poison))

    @pytest.mark.parametrize("wrong", [lambda n: (n, 1), lambda n: (n - 1,), lambda n: ()])
    def test_a_wrong_shape_is_an_error(self, wrong: Callable[[int], tuple[int, ...]]) -> None:
        with pytest.raises(PlanningError, match=r"found shape \(.*expected \(20,\)"):
            self.small().plan(lambda actions: np.zeros(wrong(len(actions))))

    @pytest.mark.parametrize("poison", [np.nan, np.inf])
    def test_a_plan_after_an_error_is_a_plan(self, poison: float) -> None:
        goal = quadratic(GOAL, HALF_RANGE)
        planner = self.small()
        planner.plan(goal)
        with pytest.raises(PlanningError):
            planner.plan(lambda actions: np.full(len(actions), poison))
        plan = planner.plan(goal)
        assert np.isfinite(plan.actions).all()
        assert (plan.actions >= planner.low).all() and (plan.actions <= planner.high).all()
        assert plan.expected_return is not None and np.isfinite(plan.expected_return)

    @pytest.mark.parametrize("candidates", [1, 2, 10])
    def test_one_elite_gives_no_nan(self, candidates: int) -> None:
        planner = self.small(candidates=candidates, elites=1, iterations=4)
        for _ in range(2):
            plan = planner.plan(quadratic(GOAL, np.ones(3)))
            assert np.isfinite(plan.actions).all()
            assert plan.expected_return is not None and np.isfinite(plan.expected_return)
            assert plan.elite_spread == 0.0

    # Memory and random numbers

    def test_the_same_seed_gives_the_same_plans(self) -> None:
        goal = quadratic(GOAL, np.ones(3))
        one, same, other = self.small(seed=5), self.small(seed=5), self.small(seed=6)
        firsts = [one.plan(goal) for _ in range(3)]
        for first in firsts:
            assert_same(first, same.plan(goal))
        assert not np.array_equal(firsts[0].actions, other.plan(goal).actions)

    def test_reset_with_a_seed_leaves_nothing_of_earlier_ticks(self) -> None:
        goal, elsewhere = quadratic(GOAL, np.ones(3)), quadratic(-GOAL, np.ones(3))
        planner, fresh = self.small(seed=5), self.small(seed=7)
        for _ in range(3):
            planner.plan(elsewhere)
        planner.reset(7)
        for _ in range(3):
            assert_same(planner.plan(goal), fresh.plan(goal))

    def test_reset_without_a_seed_goes_on_with_the_random_numbers(self) -> None:
        goal = quadratic(GOAL, np.ones(3))
        planner = self.small()
        first = planner.plan(goal)
        planner.reset()
        assert not np.array_equal(first.actions, planner.plan(goal).actions)

    def test_a_plan_and_candidates_that_are_kept_do_not_change_with_the_next(self) -> None:
        kept: list[NDArray[np.float32]] = []
        copies: list[NDArray[np.float32]] = []

        def evaluate(actions: NDArray[np.float32]) -> NDArray[np.float64]:
            kept.append(actions)
            copies.append(actions.copy())
            return quadratic(GOAL, np.ones(3))(actions)

        planner, twin = self.small(), self.small()
        plan, _ = planner.plan(evaluate), twin.plan(evaluate)
        before = plan.actions.copy()
        assert_same(planner.plan(evaluate), twin.plan(evaluate))
        np.testing.assert_array_equal(plan.actions, before)
        for array, copy in zip(kept, copies, strict=True):
            np.testing.assert_array_equal(array, copy)

    def test_what_is_done_to_a_plan_does_not_change_the_next(self) -> None:
        goal = quadratic(GOAL, np.ones(3))
        planner, twin = self.small(), self.small()
        twin.plan(goal)
        planner.plan(goal).actions[:] = 0.0
        assert_same(planner.plan(goal), twin.plan(goal))

    def test_numpys_global_generator_is_left_alone(self) -> None:
        np.random.seed(3)
        expected = np.random.random()
        np.random.seed(3)
        self.small().plan(quadratic(np.zeros(3), np.ones(3)))
        assert np.random.random() == expected
