"""Every policy keeps the protocol; and what each of them does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from arrays import float32
from numpy.typing import NDArray
from own_planner import Mppi, make_mppi

from planet_ros.bundle.runtime import Rollouts, load_bundle
from planet_ros.config import PlannerSettings
from planet_ros.control.exploration import ExploringPolicy, RandomPolicy, exploring
from planet_ros.control.policy import Interruptible, PlanningPolicy, Policy, Successor
from planet_ros.data import ActionPart, ObservationPart, Parts, Signature
from planet_ros.errors import UserError
from planet_ros.planning import Plan, PlanningError
from planet_ros.training.collect import TimedPolicy

Array = NDArray[np.float32]
Make = Callable[[int], Policy]

SIGNATURE = Signature(
    (ObservationPart("observation", (2,)), ObservationPart("more", (1,))),
    (ActionPart("left", -2.0, 2.0), ActionPart("right", 1.0, 4.0)),
    0.05,
)
SETTINGS = PlannerSettings(horizon=4, candidates=16, elites=4, iterations=2)


class Adding:
    """A model whose belief is the sum of all that it was given, so that order and memory show."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.actions: list[Array] = []

    def initial_belief(self) -> Array:
        return np.zeros(2, dtype=np.float32)

    def observe(self, belief: Array, action: Array, observation: Parts) -> Array:
        self.actions.append(action.copy())
        return belief + action + observation["observation"] + observation["more"]

    def imagine(self, belief: Array, actions: Array, goal: Array | None = None) -> Rollouts:
        distance = actions - np.tanh(belief)
        return Rollouts(-self.scale * np.square(distance).sum(axis=-1))


def planning(seed: int, model: Adding | None = None) -> PlanningPolicy:
    return PlanningPolicy(model or Adding(), SIGNATURE, SETTINGS, seed=seed)


def planning_with_mppi(seed: int) -> PlanningPolicy:
    return PlanningPolicy(Adding(), SIGNATURE, SETTINGS, seed=seed, make_planner=make_mppi)


POLICIES: dict[str, Make] = {
    "planning": planning,
    "planning with own_planner": planning_with_mppi,
    "exploring": lambda seed: ExploringPolicy(planning(seed), SIGNATURE, noise=0.3, seed=seed),
    "random": lambda seed: RandomPolicy(SIGNATURE, seed=0),
    "coloured": lambda seed: RandomPolicy(SIGNATURE, seed=0, beta=2.0),
    "timed": lambda seed: TimedPolicy(planning(seed)),
}


@pytest.fixture(params=sorted(POLICIES))
def make(request: pytest.FixtureRequest) -> Make:
    return POLICIES[request.param]


def seen(*numbers: float) -> Parts:
    return {"observation": float32(numbers[:2]), "more": float32(numbers[2:])}


def episode(policy: Policy, steps: int = 6) -> Array:
    """Actions (steps, A) of a policy that always has its way."""
    actions = []
    for step in range(steps):
        action = policy.act(seen(0.1 * step, -0.2, 0.3)).actions[0]
        policy.took(action)
        actions.append(action)
    return np.array(actions)


class TestContract:
    def test_plan_holds_actions_within_the_range_in_float32(self, make: Make) -> None:
        policy = make(1)
        policy.reset(1)
        for _ in range(20):
            actions = policy.act(seen(5, -5, 1)).actions
            assert actions.dtype == np.float32
            assert actions.ndim == 2 and len(actions) >= 1
            assert (actions >= SIGNATURE.low).all() and (actions <= SIGNATURE.high).all()
            policy.took(actions[0])

    def test_seed_of_a_reset_says_how_an_episode_goes(self, make: Make) -> None:
        policy = make(1)
        policy.reset(7)
        first = episode(policy)
        policy.reset(8)
        assert not np.array_equal(episode(policy), first)
        policy.reset(7)
        np.testing.assert_array_equal(episode(policy), first)

    def test_new_one_with_the_same_seed_is_the_same(self, make: Make) -> None:
        one, other = make(3), make(3)
        one.reset(3)
        other.reset(3)
        np.testing.assert_array_equal(episode(one), episode(other))

    def test_what_it_is_told_and_shown_is_left_as_it_is(self, make: Make) -> None:
        policy, observation = make(1), seen(1, 2, 3)
        copies = {name: value.copy() for name, value in observation.items()}
        policy.reset(0)
        plan = policy.act(observation)
        action = plan.actions[0].copy()
        policy.took(plan.actions[0])
        policy.act(observation)
        for name, value in observation.items():
            np.testing.assert_array_equal(value, copies[name])
        np.testing.assert_array_equal(plan.actions[0], action)

    def test_reset_without_a_seed_forgets_and_draws_on(self, make: Make) -> None:
        policy = make(1)
        policy.reset(1)
        first = episode(policy)
        policy.reset()
        second = episode(policy)
        assert not np.array_equal(first, second)


class TestPlanning:
    def test_observation_comes_after_the_action_that_was_really_sent(self) -> None:
        model = Adding()
        policy = planning(0, model)
        policy.act(seen(1, 1, 1))
        sent = float32([0.5, 2])  # not what was planned
        policy.took(sent)
        policy.act(seen(1, 1, 1))
        np.testing.assert_array_equal(model.actions, [SIGNATURE.middle, sent])

    def test_after_a_reset_nothing_was_done_yet(self) -> None:
        model = Adding()
        policy = planning(0, model)
        policy.act(seen(1, 1, 1))
        policy.took(float32([2, 4]))
        policy.reset()
        policy.act(seen(1, 1, 1))
        np.testing.assert_array_equal(model.actions[-1], [0, 2.5])

    def test_what_was_sent_acts_first_where_commands_are_late(self) -> None:
        class Recording(Adding):
            imagined: list[Array]

            def imagine(self, belief: Array, actions: Array, goal: Array | None = None) -> Rollouts:
                self.imagined.append(actions.copy())
                return super().imagine(belief, actions)

        model = Recording()
        model.imagined = []
        policy = PlanningPolicy(model, replace(SIGNATURE, delay_periods=2), SETTINGS, seed=0)
        policy.reset(0)
        sent = [float32([k, 1 + k]) for k in (0.25, 0.5, 0.75)]
        for action in sent:
            policy.act(seen(0, 0, 0))
            policy.took(action)
        model.imagined.clear()
        plan = policy.act(seen(0, 0, 0))
        # The oldest acts between the last observation and this one; the others are on their way.
        np.testing.assert_array_equal(model.actions[-1], sent[0])
        for actions in model.imagined:
            assert actions.shape[1:] == (SETTINGS.horizon, 2)
            np.testing.assert_array_equal(actions[:, 0], np.tile(sent[1], (len(actions), 1)))
            np.testing.assert_array_equal(actions[:, 1], np.tile(sent[2], (len(actions), 1)))
        best = max(
            model.imagined[-1],
            key=lambda one: model.imagine(policy._belief, one[None]).rewards[0].sum(),
        )
        np.testing.assert_array_equal(plan.actions[:2], best[2:])
        # Who watches is told the same.
        np.testing.assert_array_equal(plan.acting, best)
        np.testing.assert_array_equal(plan.belief, policy._belief)

    def test_delay_beyond_the_horizon_is_refused(self) -> None:
        late = replace(SIGNATURE, delay_periods=SETTINGS.horizon)
        with pytest.raises(UserError, match="expected more than the 4 periods"):
            PlanningPolicy(Adding(), late, SETTINGS, seed=0)

    def test_plans_change_no_faster_than_is_allowed(self) -> None:
        class Greedy(Adding):
            """Wants the most, and looks at what it is asked about."""

            def imagine(self, belief: Array, actions: Array, goal: Array | None = None) -> Rollouts:
                assert (np.abs(np.diff(actions[..., 0], axis=1)) <= 0.1 + 1e-6).all()
                return Rollouts(actions.sum(axis=-1))

        slow = ActionPart("left", -2.0, 2.0, max_rate=2.0)  # 0.1 in a period
        signature = replace(SIGNATURE, action=(slow, SIGNATURE.action[1]))
        policy = PlanningPolicy(Greedy(), signature, SETTINGS, seed=0)
        policy.took(float32([-1.0, 2.0]))
        sent = [-1.0]
        for _ in range(8):
            plan = policy.act(seen(0, 0, 0))
            steps = np.diff([sent[-1], *plan.actions[:, 0]])
            assert (np.abs(steps) <= 0.1 + 1e-6).all()
            policy.took(plan.actions[0])
            sent.append(float(plan.actions[0, 0]))
        assert sent[-1] > -0.4  # and it goes as fast as it may

    def test_successor_goes_on_with_belief_warm_start_and_random_numbers(self) -> None:
        """The same model again, put in place within an episode, changes nothing."""
        whole = episode(planning(5), steps=6)
        policy = planning(5)
        first = episode(policy, steps=3)
        successor = planning(9)
        assert successor.inherit(policy)
        rest = []
        for step in range(3, 6):
            action = successor.act(seen(0.1 * step, -0.2, 0.3)).actions[0]
            successor.took(action)
            rest.append(action)
        np.testing.assert_array_equal(np.concatenate([first, rest]), whole)

    @pytest.mark.parametrize(
        "other",
        [
            RandomPolicy(SIGNATURE, seed=0),
            PlanningPolicy(Adding(), SIGNATURE, PlannerSettings(horizon=4), seed=0),
            planning_with_mppi(0),
        ],
        ids=["kind", "settings", "planner"],
    )
    def test_successor_of_something_else_begins_anew(self, other: Policy) -> None:
        other.reset(0)
        episode(other)
        policy = planning(4)
        assert not policy.inherit(other)
        np.testing.assert_array_equal(episode(policy), episode(planning(4)))

    def test_penalty_and_discount_weigh_the_candidates(self) -> None:
        class Quarrelling(Adding):
            """Rewards large actions, and disagrees on them the more."""

            def imagine(self, belief: Array, actions: Array, goal: Array | None = None) -> Rollouts:
                size = actions.sum(axis=-1)
                return Rollouts(size, disagreement=np.square(size - 1))

        settings = SETTINGS.model_copy(update={"disagreement_penalty": 100.0, "candidates": 200})
        bold = PlanningPolicy(Quarrelling(), SIGNATURE, SETTINGS, seed=0)
        careful = PlanningPolicy(Quarrelling(), SIGNATURE, settings, seed=0)
        assert bold.act(seen(0, 0, 0)).actions[0].sum() > 3
        assert careful.act(seen(0, 0, 0)).actions[0].sum() < 2

    def test_planner_of_ones_own_goes_on_in_its_successor(self) -> None:
        whole = episode(planning_with_mppi(5), steps=4)
        policy, successor = planning_with_mppi(5), planning_with_mppi(9)
        first = episode(policy, steps=3)
        assert successor.inherit(policy)
        action = successor.act(seen(0.1 * 3, -0.2, 0.3)).actions[0]
        np.testing.assert_array_equal([*first, action], whole)

    def test_planner_of_another_horizon_than_its_settings_is_refused(self) -> None:
        def far_sighted(settings: PlannerSettings, signature: Signature, seed: int) -> Mppi:
            longer = settings.model_copy(update={"horizon": settings.horizon + 3})
            return make_mppi(longer, signature, seed)

        with pytest.raises(UserError, match=r"planner\.horizon: found 7 .*, expected 4"):
            PlanningPolicy(Adding(), SIGNATURE, SETTINGS, seed=0, make_planner=far_sighted)

    def test_other_horizon_than_the_graphs_is_refused(self, tiny_run: Path) -> None:
        bundle = load_bundle(tiny_run / "model")
        with pytest.raises(UserError, match=r"planner\.horizon: found 9.*exported with horizon 4"):
            PlanningPolicy.of(bundle, 0, SETTINGS.model_copy(update={"horizon": 9}))


class TestExploration:
    def test_noise_has_the_size_asked_for_in_halves_of_each_range(self) -> None:
        wide = Signature(
            SIGNATURE.observation, (ActionPart("a", -1e3, 1e3), ActionPart("b", -10, 10)), 0.05
        )

        class Still:
            def reset(self, seed: int | None = None) -> None: ...
            def act(self, observation: Parts) -> Plan:
                return Plan(np.zeros((3, 2), dtype=np.float32))

            def took(self, action: Array) -> None: ...
            def inherit(self, previous: Policy) -> bool:
                return False

        policy = ExploringPolicy(Still(), wide, noise=0.1, seed=0)
        plans = np.array([policy.act({}).actions for _ in range(4000)])
        np.testing.assert_allclose(plans[:, 0].std(axis=0), [100, 1], rtol=0.05)
        np.testing.assert_allclose(plans[:, 0].mean(axis=0) / [100, 1], 0, atol=0.08)
        assert not plans[:, 1:].any()  # what is due later is left alone

    def test_successor_draws_on(self) -> None:
        def fresh(seed: int) -> Successor:
            return exploring(planning(seed), SIGNATURE, noise=0.3, seed=seed)

        whole = episode(fresh(5), steps=6)
        policy, successor = fresh(5), fresh(9)
        first = episode(policy, steps=3)
        assert successor.inherit(policy)
        rest = [
            successor.act(seen(0.1 * step, -0.2, 0.3)).actions[0]
            for step in range(3, 4)  # the next one alone: it was told nothing since
        ]
        np.testing.assert_array_equal(np.concatenate([first, rest]), whole[:4])

    def test_without_noise_it_is_the_policy_itself(self) -> None:
        policy = planning(0)
        assert exploring(policy, SIGNATURE, noise=0.0, seed=0) is policy


class TestRandom:
    def test_actions_depend_on_the_numbers_of_episode_and_step_alone(self) -> None:
        policy = RandomPolicy(SIGNATURE, seed=4)
        policy.reset(4 + 2)
        acted = episode(policy, steps=3)
        other = RandomPolicy(SIGNATURE, seed=4)
        np.testing.assert_array_equal([other.action(2, index) for index in range(3)], acted)
        rng = np.random.default_rng([4, 0, 2, 1])
        np.testing.assert_array_equal(
            acted[1], rng.uniform(SIGNATURE.low, SIGNATURE.high).astype(np.float32)
        )

    def test_reset_without_a_seed_is_the_next_episode(self) -> None:
        policy = RandomPolicy(SIGNATURE, seed=4)
        policy.reset(4)
        policy.reset()
        np.testing.assert_array_equal(policy.act({}).actions[0], policy.action(1, 0))

    @pytest.mark.parametrize("beta", [0.0, 2.0])
    def test_actions_fill_their_range(self, beta: float) -> None:
        policy = RandomPolicy(SIGNATURE, seed=0, beta=beta)
        actions = np.array([policy.action(e, i) for e in range(40) for i in range(25)])
        for low, high, values in zip(SIGNATURE.low, SIGNATURE.high, actions.T, strict=True):
            assert low <= values.min() < low + 0.05 * (high - low)
            assert high - 0.05 * (high - low) < values.max() <= high


class TestInterruptible:
    def test_it_is_the_model_until_it_is_to_stop(self) -> None:
        stop = Event()
        plain, policy = planning(3), planning(3)
        policy._model = Interruptible(Adding(), stop)
        np.testing.assert_array_equal(episode(policy, steps=3), episode(plain, steps=3))
        stop.set()
        with pytest.raises(PlanningError, match="not wanted any more"):
            episode(policy, steps=1)

    def test_a_plan_ends_between_two_rounds(self) -> None:
        stop, rounds = Event(), []

        class Slow(Adding):
            def imagine(self, belief: Array, actions: Array, goal: Array | None = None) -> Rollouts:
                rounds.append(len(actions))
                stop.set()
                return super().imagine(belief, actions, goal)

        settings = SETTINGS.model_copy(update={"iterations": 1000})
        policy = PlanningPolicy(Interruptible(Slow(), stop), SIGNATURE, settings, seed=0)
        with pytest.raises(PlanningError, match="not wanted any more"):
            episode(policy, steps=1)
        assert len(rounds) == 1
