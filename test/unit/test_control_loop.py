"""The control loop: what is commanded when all is well, and whenever it is not."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from arrays import float32
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from planet_ros.bundle.export import BundleExporter
from planet_ros.bundle.runtime import Bundle, Rollouts, load_bundle
from planet_ros.config import ControllerSettings, PlannerSettings, WorldModelSettings
from planet_ros.control.events import Command, Observation, Origin
from planet_ros.control.latency import Latency
from planet_ros.control.limits import Limits, SafeSpell, check_allowed
from planet_ros.control.loop import ControlLoop
from planet_ros.control.policy import BeliefModel, PlanningPolicy
from planet_ros.data import ActionPart, ObservationPart, Parts, Signature
from planet_ros.errors import UserError
from planet_ros.interface.safe import Hold, SafeCommand
from planet_ros.models import Ensemble
from planet_ros.planning import Plan

Array = NDArray[np.float32]

HORIZON = 5
SEED = 3
STALE_S = 0.25
PERIOD_S = 0.05
PATIENCE_S = 60.0
"""How long a test waits for another thread before it gives up; far more than is ever needed."""


def make_bundle(folder: Path, low: list[float], high: list[float], weights: int = 0) -> Bundle:
    torch.manual_seed(weights)
    actions = enumerate(zip(low, high, strict=True))
    signature = Signature(
        (ObservationPart("observation", (2,)),),
        tuple(ActionPart(f"action_{index}", *ends) for index, ends in actions),
        PERIOD_S,
    )
    model = Ensemble(signature, WorldModelSettings(members=2, hidden_sizes=[8]))
    BundleExporter(model, HORIZON).export(
        folder,
        {
            "model_kind": "ensemble",
            "horizon": HORIZON,
            "signature": signature,
            "planner": PlannerSettings(horizon=HORIZON, candidates=12, elites=3, iterations=2),
        },
    )
    return load_bundle(folder)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "model", [-2, 1], [2, 4])


@pytest.fixture(scope="module")
def relearned(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same shapes, other weights."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "model", [-2, 1], [2, 4], weights=1)


@pytest.fixture(scope="module")
def one_action(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "model", [-9], [-5])


class Watched:
    """A bundle's model that a test can hold up, make fail and ask what it was given."""

    def __init__(self, model: BeliefModel) -> None:
        self._model = model
        self.gate = threading.Event()
        self.gate.set()
        self.value: float | None = None
        self.error: Exception | None = None
        self.error_at: Array | None = None
        self.entered = threading.Event()
        self.seen: list[tuple[Array, Array, Array]] = []
        self.done = 0

    def initial_belief(self) -> Array:
        return self._model.initial_belief()

    def observe(self, belief: Array, action: Array, observation: Parts) -> Array:
        vector = observation["observation"]
        self.seen.append((belief.copy(), action.copy(), vector.copy()))
        self.entered.set()
        assert self.gate.wait(PATIENCE_S)
        here = self.error_at is None or np.array_equal(self.error_at, vector)
        if self.error is not None and here:
            raise self.error
        result = self._model.observe(belief, action, observation)
        self.done += 1
        return result

    def imagine(self, belief: Array, actions: Array, goal: Array | None = None) -> Rollouts:
        rollouts = self._model.imagine(belief, actions, goal)
        if self.value is not None:
            return rollouts._replace(rewards=np.full_like(rollouts.rewards, self.value))
        return rollouts


class Twin:
    """What a loop is expected to compute: a policy of its own that takes the same steps."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._policy = PlanningPolicy.of(bundle, SEED)
        self.reset, self.took = self._policy.reset, self._policy.took

    def act(self, vector: NDArray[np.floating]) -> Plan:
        """Plan, and be told that the plan was followed."""
        plan = self._policy.act({"observation": float32(vector)})
        self._policy.took(plan.actions[0])
        return plan

    def use(self, model: BeliefModel) -> None:
        """Go on with another model."""
        newest = PlanningPolicy.of(self.bundle, SEED, model=model)
        assert newest.inherit(self._policy)
        self._policy = newest
        self.reset, self.took = newest.reset, newest.took


class Rig:
    """A loop with a clock that stands still unless told, and a model under control."""

    def __init__(self, bundle: Bundle, **values: Any) -> None:
        values = {"stale_timeout_s": STALE_S, **values}
        self.now = 100.0
        self.lacking = ""
        self.ready = threading.Event()
        self.model = Watched(bundle.model)
        self.bundle = replace(bundle, model=self.model)  # type: ignore[arg-type]
        self.loop = ControlLoop(
            ControllerSettings(**values),
            seed=SEED,
            clock=lambda: self.now,
            notify=self.ready.set,
            lacking=lambda: self.lacking,
        )
        self.stamp_ns = 10**18
        self.twin = Twin(bundle)

    def use(self) -> Rig:
        self.loop.use(self.bundle)
        return self

    def observation(self, *vector: float, stamp_ns: int | None = None, **fields: Any) -> Any:
        """The next observation, a period later than the one before unless its stamp is given."""
        self.stamp_ns = self.stamp_ns + int(PERIOD_S * 1e9) if stamp_ns is None else stamp_ns
        parts = {"observation": float32(vector or (0.5, -1))}
        return Observation(parts, self.now, self.stamp_ns, **fields)

    def observe(self, *vector: float, **fields: Any) -> Command | None:
        return self.loop.observe(self.observation(*vector, **fields))

    def tick(self) -> Command | None:
        """A period passes."""
        self.now += PERIOD_S
        return self.loop.tick()

    def finish(self) -> Command | None:
        """Let the plan under way be made, and take it over."""
        self.model.gate.set()
        assert self.ready.wait(PATIENCE_S)
        self.ready.clear()
        return self.loop.finished()

    def hold(self) -> None:
        """Let the next plan, or the one under way, last until `finish`."""
        self.model.gate.clear()

    def step(self, *vector: float, **fields: Any) -> Command | None:
        """One period of the timer in which all is well."""
        self.observe(*vector, **fields)
        assert self.tick() is None
        return self.finish()

    def answer(self, *vector: float, **fields: Any) -> Command | None:
        """One observation of lock-step in which all is well."""
        assert self.observe(*vector, **fields) is None
        return self.finish()


@pytest.fixture
def make_rig(bundle: Bundle) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(of: Bundle = bundle, **values: Any) -> Rig:
        rigs.append(Rig(of, **values))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.model.gate.set()
        rig.loop.close()


@pytest.fixture
def timer(make_rig: Callable[..., Rig]) -> Rig:
    return make_rig(trigger="timer", max_missed=3).use()


@pytest.fixture
def lock_step(make_rig: Callable[..., Rig]) -> Rig:
    return make_rig(trigger="observation").use()


def assert_command(
    command: Command | None, action: Any, origin: Origin, reason: str | None = None
) -> None:
    assert command is not None
    assert command.origin is origin, command
    np.testing.assert_array_equal(command.action, np.float32(action))
    if reason is not None:
        assert reason in command.reason
        assert bool(reason) == bool(command.reason)


SAFE = [0, 1]  # zeros, moved into the range


# ── without a model, and before anything was seen ────────────────────────────────────────────


@pytest.mark.parametrize("trigger", ["timer", "observation"])
def test_nothing_is_said_before_there_is_a_model(
    make_rig: Callable[..., Rig], trigger: str
) -> None:
    rig = make_rig(trigger=trigger)
    assert rig.observe() is None
    assert rig.tick() is None
    assert rig.loop.finished() is None
    assert rig.loop.safe_command("the end") is None
    assert rig.loop.counters.commands == 0


def test_timer_sends_the_safe_command_until_an_observation_arrives(timer: Rig) -> None:
    for _ in range(3):
        command = timer.tick()
        assert_command(
            command, SAFE, Origin.SAFE, "no observation that can be used has arrived yet"
        )
        assert command is not None
        assert command.stamp_ns == 0
    assert timer.model.seen == []
    assert vars(timer.loop.counters) == {
        "commands": 3,
        "safe_commands": 3,
        "missed_deadlines": 0,
        "failed_plans": 0,
        "stale_spells": 1,
    }
    assert_command(timer.step(), timer.twin.act(float32([0.5, -1])).actions[0], Origin.PLAN)


def test_lock_step_waits_in_silence_for_the_first_observation(lock_step: Rig) -> None:
    for _ in range(20):
        assert lock_step.tick() is None


@pytest.mark.parametrize("trigger", ["timer", "observation"])
def test_observation_from_before_the_model_is_not_used(
    make_rig: Callable[..., Rig], trigger: str
) -> None:
    rig = make_rig(trigger=trigger)
    observation = rig.observation(1, 1)
    rig.loop.observe(observation)
    rig.use()
    assert rig.model.seen == []
    if trigger == "timer":
        assert_command(rig.tick(), SAFE, Origin.SAFE, "no observation")
    else:  # repeated by the simulation, it is answered
        assert rig.loop.observe(observation) is None
        assert_command(rig.finish(), rig.twin.act(float32([1, 1])).actions[0], Origin.PLAN, "")


# ── plans in time ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["timer", "lock_step"])
def test_commands_are_those_of_an_agent_that_sees_the_same(
    name: str, request: pytest.FixtureRequest
) -> None:
    rig: Rig = request.getfixturevalue(name)
    rng = np.random.default_rng(0)
    for count in range(1, 9):
        vector = rng.normal(size=2).astype(np.float32)
        command = rig.step(*vector) if name == "timer" else rig.answer(*vector)
        assert_command(command, rig.twin.act(vector).actions[0], Origin.PLAN, "")
        assert command is not None
        assert command.stamp_ns == rig.stamp_ns
        assert rig.loop.counters.commands == count
    assert rig.loop.counters.safe_commands == rig.loop.counters.missed_deadlines == 0


def test_filter_is_told_what_was_believed_what_was_sent_and_what_is_seen(lock_step: Rig) -> None:
    vectors = [float32([0.1 * step, 1]) for step in range(4)]
    sent = [lock_step.answer(*vector) for vector in vectors]
    for step, (belief, action, seen) in enumerate(lock_step.model.seen):
        np.testing.assert_array_equal(seen, vectors[step])
        if step > 0:
            command = sent[step - 1]
            assert command is not None
            np.testing.assert_array_equal(action, command.action)
            np.testing.assert_array_equal(belief, vectors[step - 1])  # the ensemble's belief


def test_nothing_is_taken_over_before_the_plan_is_ready(timer: Rig) -> None:
    assert timer.loop.finished() is None
    timer.hold()
    timer.observe()
    timer.tick()
    assert timer.loop.finished() is None
    assert timer.finish() is not None
    assert timer.loop.finished() is None


def test_who_watches_sees_each_plan_with_its_own_bundle_and_observation(
    lock_step: Rig, relearned: Bundle
) -> None:
    loop = lock_step.loop
    assert loop.made is None
    lock_step.answer()
    before = loop.made
    assert before is not None
    assert (before.bundle, before.stamp_ns) == (lock_step.bundle, lock_step.stamp_ns)
    lock_step.hold()
    lock_step.observe()
    loop.use(relearned)
    command = lock_step.finish()
    made = loop.made
    assert made is not None and made is not before and loop.bundle is relearned
    assert (made.bundle, made.stamp_ns) == (lock_step.bundle, lock_step.stamp_ns)
    assert command is not None
    np.testing.assert_array_equal(made.plan.actions[0], command.action)


def test_a_plan_that_nobody_goes_by_is_not_shown(timer: Rig) -> None:
    timer.step()
    before = timer.loop.made
    timer.hold()
    timer.observe()
    timer.tick()
    timer.observe(first=True)  # what the plan builds on no longer holds
    timer.finish()
    assert timer.loop.made is before


def test_two_ticks_on_one_observation_make_two_plans(timer: Rig) -> None:
    timer.step(1, 2)
    assert timer.tick() is None
    timer.twin.act(float32([1, 2]))
    assert_command(timer.finish(), timer.twin.act(float32([1, 2])).actions[0], Origin.PLAN, "")


def test_duration_of_planning_is_measured_on_the_clock(timer: Rig) -> None:
    assert timer.loop.planning.milliseconds() == {}
    timer.hold()
    timer.observe()
    timer.tick()
    assert timer.model.entered.wait(PATIENCE_S)  # it has begun; the clock may move
    timer.now += 0.03
    timer.finish()
    assert timer.loop.planning.milliseconds()["max"] == pytest.approx(30)


def test_latency_forgets_what_is_older_than_its_window() -> None:
    latency = Latency(window=100)
    for seconds in [9.0] * 50 + [k / 1000 for k in range(101)]:
        latency.add(seconds)
    assert latency.milliseconds() == pytest.approx({"p50": 50.5, "p99": 99.01, "max": 100.0})


# ── staleness ────────────────────────────────────────────────────────────────────────────────


def test_stale_observation_gives_the_safe_command_just_past_the_limit(timer: Rig) -> None:
    received = timer.now
    timer.step()
    timer.now = received + STALE_S
    assert timer.loop.tick() is None
    timer.finish()
    timer.now = math.nextafter(received + STALE_S, math.inf)
    command = timer.loop.tick()
    assert_command(command, SAFE, Origin.SAFE, "is 0.250 s old, limit 0.25 s")
    assert command is not None
    assert command.stamp_ns == timer.stamp_ns
    assert len(timer.model.seen) == 2


def test_after_a_stale_spell_acting_resumes_by_itself_with_a_fresh_belief(timer: Rig) -> None:
    timer.step(3, 4)
    timer.twin.act(float32([3, 4]))
    timer.now += 1
    for _ in range(5):
        assert_command(timer.tick(), SAFE, Origin.SAFE)
    assert timer.loop.counters.stale_spells == 1
    # The stamp has not jumped: it is the age of what arrived that made it stale.
    command = timer.step(5, 6)
    belief, action, seen = timer.model.seen[-1]
    np.testing.assert_array_equal(belief, [0, 0])
    np.testing.assert_array_equal(action, [0, 2.5])
    np.testing.assert_array_equal(seen, [5, 6])
    timer.twin.reset()
    assert_command(command, timer.twin.act(float32([5, 6])).actions[0], Origin.PLAN, "")
    timer.now += 1
    assert_command(timer.tick(), SAFE, Origin.SAFE)
    assert timer.loop.counters.stale_spells == 2


def test_source_that_repeats_itself_is_stale_as_if_it_were_silent(timer: Rig) -> None:
    timer.step()
    again = timer.observation()
    timer.loop.observe(again)
    timer.tick()
    timer.finish()
    commands = []
    for _ in range(10):
        timer.loop.observe(again)  # received when it was first said, as the assembly gives it
        commands.append(timer.tick())
        if timer.ready.wait(0.2):
            commands.append(timer.finish())
    assert commands[-1] is not None and commands[-1].origin is Origin.SAFE
    assert "limit 0.25 s" in commands[-1].reason
    assert timer.loop.counters.stale_spells == 1
    assert timer.step() is not None
    assert timer.loop.counters.stale_spells == 1


def test_time_that_a_plan_takes_is_not_that_of_a_simulated_clock(bundle: Bundle) -> None:
    ready, steady = threading.Event(), iter(range(100))
    loop = ControlLoop(
        ControllerSettings(trigger="timer"),
        seed=0,
        clock=lambda: 0.0,
        stopwatch=lambda: float(next(steady)),
        notify=ready.set,
    )
    loop.use(bundle)
    loop.observe(Observation({"observation": float32([0.5, -1])}, 0.0, 1))
    loop.tick()
    assert ready.wait(PATIENCE_S)
    loop.finished()
    assert loop.planning.milliseconds()["max"] == 1000
    loop.close()


def test_plan_that_becomes_ready_in_a_stale_spell_is_not_sent(timer: Rig) -> None:
    timer.hold()
    timer.observe()
    timer.tick()
    timer.now += 1
    assert_command(timer.tick(), SAFE, Origin.SAFE, "limit")
    assert timer.finish() is None
    assert_command(timer.tick(), SAFE, Origin.SAFE, "limit")
    assert_command(timer.step(2, 2), after_a_void_plan(timer), Origin.PLAN, "")
    assert len(timer.model.seen) == 2  # nothing was planned for what is stale


def after_a_void_plan(rig: Rig) -> Array:
    """What the twin does at (2, 2) after a plan that came to nothing."""
    rig.twin.act(float32([0.5, -1]))
    rig.twin.reset()
    return rig.twin.act(float32([2, 2])).actions[0]


def test_plan_from_before_a_stale_spell_is_not_sent_after_it_either(timer: Rig) -> None:
    timer.hold()
    timer.observe(1, 1)
    timer.tick()
    timer.now += 1
    assert_command(timer.tick(), SAFE, Origin.SAFE, "limit")
    timer.observe(2, 2)
    assert timer.finish() is None  # a plan from the new observation is begun instead
    timer.twin.act(float32([1, 1]))
    timer.twin.reset()
    assert timer.finish() is None  # this period has had its command
    np.testing.assert_array_equal(timer.model.seen[-1][0], [0, 0])
    timer.twin.act(float32([2, 2]))
    timer.twin.took(float32(SAFE))
    timer.observe(3, 3)
    assert timer.tick() is None
    assert_command(timer.finish(), timer.twin.act(float32([3, 3])).actions[0], Origin.PLAN, "")


def test_lock_step_says_only_once_that_the_observation_is_stale(lock_step: Rig) -> None:
    lock_step.answer()
    lock_step.now += 2 * STALE_S
    command = lock_step.tick()
    assert_command(command, SAFE, Origin.SAFE, "limit 0.25 s")
    for _ in range(10):
        assert lock_step.tick() is None
    assert lock_step.loop.counters.stale_spells == 1
    assert lock_step.answer() is not None
    lock_step.now += 2 * STALE_S
    assert_command(lock_step.tick(), SAFE, Origin.SAFE, "limit")
    assert lock_step.loop.counters.stale_spells == 2


def test_lock_step_waits_for_a_plan_however_long_it_takes(lock_step: Rig) -> None:
    lock_step.hold()
    lock_step.observe(1, 2)
    for _ in range(100):
        assert lock_step.tick() is None
    assert_command(
        lock_step.finish(), lock_step.twin.act(float32([1, 2])).actions[0], Origin.PLAN, ""
    )
    assert lock_step.loop.counters.missed_deadlines == 0


def test_lock_step_keeps_its_belief_while_simulated_time_stands_still(lock_step: Rig) -> None:
    lock_step.answer(1, 2)
    lock_step.now += 3600
    lock_step.tick()
    lock_step.answer(3, 4)
    np.testing.assert_array_equal(lock_step.model.seen[-1][0], [1, 2])


# ── late plans ───────────────────────────────────────────────────────────────────────────────


def test_late_plan_is_bridged_by_the_last_one_and_then_by_the_safe_command(timer: Rig) -> None:
    timer.loop.observe(timer.observation(1, 1))
    plan = timer.twin.act(float32([1, 1])).actions
    timer.tick()
    assert_command(timer.finish(), plan[0], Origin.PLAN, "")
    timer.hold()
    timer.observe(2, 2)
    assert timer.tick() is None
    # Entry 1 was due a period ago, when the new plan could still have come in time.
    for missed, entry in ((1, 2), (2, 3)):
        timer.observe(2, 2)
        assert_command(timer.tick(), plan[entry], Origin.LATE_PLAN, "the plan is late")
        assert timer.loop.counters.missed_deadlines == missed
    for missed in (3, 4):
        timer.observe(2, 2)
        assert_command(timer.tick(), SAFE, Origin.SAFE, "the plan is late; the last plan is")
        assert timer.loop.counters.missed_deadlines == missed
    timer.finish()
    assert len(timer.model.seen) == 2  # never more than one plan at a time


def test_first_plan_that_is_late_leaves_the_safe_command(timer: Rig) -> None:
    timer.hold()
    timer.observe()
    assert timer.tick() is None
    assert_command(timer.tick(), SAFE, Origin.SAFE, "the plan is late")


def test_plan_that_comes_late_goes_on_at_the_entry_that_is_due(timer: Rig) -> None:
    timer.hold()
    timer.observe(1, 1)
    timer.tick()
    timer.tick()
    timer.tick()
    plan = timer.twin.act(float32([1, 1])).actions
    assert timer.finish() is None  # the tick has sent its command: one a period
    # Plans are late: the entry due is sent at the tick, before the next plan is ready.
    timer.observe(2, 2)
    assert_command(timer.tick(), plan[3], Origin.LATE_PLAN, "plans are late")
    assert timer.finish() is None
    np.testing.assert_array_equal(timer.model.seen[-1][1], plan[3])  # what was sent before it
    # In time again: the tick waits for its plan.
    timer.observe(3, 3)
    assert timer.tick() is None
    assert timer.finish() is not None


def test_plan_that_comes_later_than_max_missed_is_not_sent(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(max_missed=1).use()
    rig.hold()
    rig.observe()
    for _ in range(3):
        rig.tick()
    assert rig.finish() is None
    assert_command(rig.tick(), SAFE, Origin.SAFE, "plans are late; the last plan is 3 periods old")


def test_no_entry_is_taken_from_beyond_the_horizon(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(max_missed=100).use()
    plan = rig.twin.act(float32([0.5, -1])).actions
    rig.step()
    rig.hold()
    rig.tick()
    for entry in range(2, HORIZON):
        rig.observe()
        assert_command(rig.tick(), plan[entry], Origin.LATE_PLAN)
    rig.observe()
    assert_command(rig.tick(), SAFE, Origin.SAFE, f"is {HORIZON} periods old")


# ── models that fail ─────────────────────────────────────────────────────────────────────────


def break_down(rig: Rig, how: str) -> None:
    if how == "error":
        rig.model.error = RuntimeError("onnxruntime gave up")
    else:
        rig.model.value = float(how)


@pytest.mark.parametrize("how", ["nan", "inf", "-inf", "error"])
def test_model_that_fails_is_bridged_for_max_missed_periods(timer: Rig, how: str) -> None:
    plan = timer.twin.act(float32([0.5, -1])).actions
    timer.step()
    break_down(timer, how)
    for entry in (1, 2, 3):
        command = timer.step()
        assert_command(command, plan[entry], Origin.LATE_PLAN, "planning failed")
        assert command is not None
        assert command.stamp_ns == timer.stamp_ns
    for _ in range(3):
        assert_command(timer.step(), SAFE, Origin.SAFE, "planning failed")
    counters = timer.loop.counters
    assert (counters.failed_plans, counters.commands, counters.safe_commands) == (6, 7, 3)


@pytest.mark.parametrize("how", ["nan", "error"])
def test_model_that_never_worked_leaves_the_safe_command(timer: Rig, how: str) -> None:
    break_down(timer, how)
    for failed in (1, 2):
        assert_command(timer.step(), SAFE, Origin.SAFE, "planning failed")
        assert timer.loop.counters.failed_plans == failed


@pytest.mark.parametrize("name", ["timer", "lock_step"])
def test_after_a_failure_acting_resumes_with_a_fresh_belief(
    name: str, request: pytest.FixtureRequest
) -> None:
    rig: Rig = request.getfixturevalue(name)
    act = rig.step if name == "timer" else rig.answer
    act(1, 1)
    rig.model.value = float("nan")
    act(2, 2)
    rig.model.value = None
    assert_command(act(3, 3), act_after_failure(rig), Origin.PLAN, "")
    np.testing.assert_array_equal(rig.model.seen[-1][0], [0, 0])


def act_after_failure(rig: Rig) -> Array:
    """What the twin does at (3, 3) after (1, 1) and a plan at (2, 2) that failed."""
    rig.twin.act(float32([1, 1]))
    model = rig.twin.bundle.model
    failing = Watched(model)
    failing.value = float("nan")
    rig.twin.use(failing)
    with pytest.raises(Exception, match="finite"):
        rig.twin.act(float32([2, 2]))
    rig.twin.use(model)
    rig.twin.reset()
    return rig.twin.act(float32([3, 3])).actions[0]


def test_late_failure_leaves_the_entry_that_is_due(timer: Rig) -> None:
    plan = timer.twin.act(float32([0.5, -1])).actions
    timer.step()
    timer.hold()
    timer.model.error = RuntimeError("gave up")
    timer.observe()
    timer.tick()
    assert_command(timer.tick(), plan[2], Origin.LATE_PLAN, "the plan is late")
    assert timer.finish() is None
    assert timer.loop.failure == "planning failed: gave up"
    assert_command(timer.tick(), plan[3], Origin.LATE_PLAN)


def test_lock_step_answers_a_failure_with_the_safe_command_at_once(lock_step: Rig) -> None:
    lock_step.answer()
    lock_step.model.value = float("nan")
    command = lock_step.answer()
    assert_command(command, SAFE, Origin.SAFE, "planning failed")
    assert command is not None
    assert command.stamp_ns == lock_step.stamp_ns


def test_failure_answers_its_own_observation_and_the_newer_one_is_planned_for(
    lock_step: Rig,
) -> None:
    lock_step.answer()
    lock_step.hold()
    lock_step.observe(1, 1)
    asked = lock_step.stamp_ns
    lock_step.model.error, lock_step.model.error_at = RuntimeError("gave up"), float32([1, 1])
    lock_step.observe(2, 2)
    command = lock_step.finish()
    assert_command(command, SAFE, Origin.SAFE, "gave up")
    assert command is not None
    assert command.stamp_ns == asked
    command = lock_step.finish()
    assert command is not None
    assert (command.origin, command.stamp_ns) == (Origin.PLAN, lock_step.stamp_ns)
    np.testing.assert_array_equal(lock_step.model.seen[-1][2], [2, 2])


# ── resets and jumps of time ─────────────────────────────────────────────────────────────────

JUMPS: dict[str, Callable[[Rig], dict[str, Any]]] = {
    "first of an episode": lambda rig: {"first": True},
    "backwards": lambda rig: {"stamp_ns": rig.stamp_ns - 1},
    "far forwards": lambda rig: {"stamp_ns": rig.stamp_ns + int(STALE_S * 1e9) + 1},
}


@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("name", ["timer", "lock_step"])
def test_jump_drops_belief_and_warm_start(
    name: str, jump: str, request: pytest.FixtureRequest
) -> None:
    rig: Rig = request.getfixturevalue(name)
    act = rig.step if name == "timer" else rig.answer
    for _ in range(3):
        act(1, 2)
        rig.twin.act(float32([1, 2]))
    command = act(3, 4, **JUMPS[jump](rig))
    belief, action, _ = rig.model.seen[-1]
    np.testing.assert_array_equal(belief, [0, 0])
    np.testing.assert_array_equal(action, [0, 2.5])  # the middle of the range
    rig.twin.reset()
    assert_command(command, rig.twin.act(float32([3, 4])).actions[0], Origin.PLAN, "")
    # Once: the next one follows on.
    assert_command(act(5, 6), rig.twin.act(float32([5, 6])).actions[0], Origin.PLAN, "")


def test_gap_up_to_the_limit_is_no_jump(lock_step: Rig) -> None:
    lock_step.answer(1, 2)
    lock_step.answer(3, 4, stamp_ns=lock_step.stamp_ns + int(STALE_S * 1e9))
    np.testing.assert_array_equal(lock_step.model.seen[-1][0], [1, 2])


@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("name", ["timer", "lock_step"])
def test_plan_under_way_is_void_after_a_jump(
    name: str, jump: str, request: pytest.FixtureRequest
) -> None:
    rig: Rig = request.getfixturevalue(name)
    rig.hold()
    rig.observe(1, 1)
    if name == "timer":
        assert rig.tick() is None
    rig.twin.act(float32([1, 1]))
    rig.observe(2, 2, **JUMPS[jump](rig))
    assert rig.finish() is None
    rig.twin.reset()
    command = rig.finish()
    assert_command(command, rig.twin.act(float32([2, 2])).actions[0], Origin.PLAN, "")
    assert command is not None
    assert command.stamp_ns == rig.stamp_ns


@pytest.mark.parametrize("jump", JUMPS)
def test_last_plan_does_not_bridge_a_jump(timer: Rig, jump: str) -> None:
    timer.step()
    timer.hold()
    timer.observe()
    timer.tick()
    assert_command(timer.tick(), timer.twin.act(float32([0.5, -1])).actions[2], Origin.LATE_PLAN)
    timer.observe(2, 2, **JUMPS[jump](timer))
    assert_command(timer.tick(), SAFE, Origin.SAFE, "the plan is late")


def test_plan_that_is_late_after_a_jump_is_not_bridged_by_one_from_before(timer: Rig) -> None:
    timer.hold()
    timer.observe()
    timer.tick()
    timer.tick()
    assert timer.finish() is None
    timer.hold()
    timer.observe(2, 2, first=True)
    assert timer.tick() is None  # plans are late, but there is nothing to bridge with
    assert_command(timer.tick(), SAFE, Origin.SAFE, "the plan is late")


# ── one command for each observation ─────────────────────────────────────────────────────────


def test_newest_of_two_observations_that_arrive_while_planning_is_answered(
    lock_step: Rig,
) -> None:
    lock_step.hold()
    observations = [lock_step.observation(k, k) for k in range(3)]
    for observation in observations:
        assert lock_step.loop.observe(observation) is None
    first, second = lock_step.finish(), lock_step.finish()
    assert_command(first, lock_step.twin.act(float32([0, 0])).actions[0], Origin.PLAN, "")
    assert_command(second, lock_step.twin.act(float32([2, 2])).actions[0], Origin.PLAN, "")
    assert first is not None
    assert second is not None
    assert [first.stamp_ns, second.stamp_ns] == [observations[k].stamp_ns for k in (0, 2)]
    assert lock_step.tick() is None
    assert len(lock_step.model.seen) == 2


def test_repeated_observation_gets_the_same_answer_without_another_plan(lock_step: Rig) -> None:
    observation = lock_step.observation(1, 2, first=True)
    lock_step.loop.observe(observation)
    command = lock_step.finish()
    for _ in range(3):
        assert lock_step.loop.observe(observation) is command
    assert len(lock_step.model.seen) == 1
    assert lock_step.loop.counters.commands == 1
    lock_step.twin.act(float32([1, 2]))
    expected = lock_step.twin.act(float32([3, 4])).actions[0]
    assert_command(lock_step.answer(3, 4), expected, Origin.PLAN, "")


@pytest.mark.parametrize("episode", [0, 7, None])
def test_episode_of_a_number_has_the_random_numbers_of_its_own(
    lock_step: Rig, episode: int | None
) -> None:
    """So that it comes out as when the same bundle is evaluated, whatever was before it."""
    for vector in ((1, 1), (2, 2)):
        lock_step.answer(*vector)
        lock_step.twin.act(float32(vector))
    lock_step.twin.reset(None if episode is None else SEED + episode)
    for index, shown in enumerate(((0.5, 2), (1, -1))):
        expected = lock_step.twin.act(float32(shown)).actions[0]
        command = lock_step.answer(*shown, first=index == 0, episode=episode)
        assert_command(command, expected, Origin.PLAN, "")


def test_observation_repeated_while_it_is_planned_for_gets_one_answer(lock_step: Rig) -> None:
    lock_step.answer()
    lock_step.hold()
    observation = lock_step.observation(1, 2, first=True)
    for _ in range(3):
        assert lock_step.loop.observe(observation) is None
    command = lock_step.finish()
    assert command is not None
    assert lock_step.loop.observe(observation) is command
    assert len(lock_step.model.seen) == 2


def test_failure_that_is_asked_again_stays_the_safe_command(lock_step: Rig) -> None:
    observation = lock_step.observation(1, 2)
    lock_step.model.value = float("nan")
    lock_step.loop.observe(observation)
    command = lock_step.finish()
    lock_step.model.value = None
    assert lock_step.loop.observe(observation) is command


@given(
    events=st.lists(st.sampled_from(["new", "again", "plan", "tick", "fail", "work"]), max_size=30)
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_observation_is_answered_twice_and_the_newest_always_is(
    bundle: Bundle, events: list[str]
) -> None:
    rig = Rig(bundle, trigger="observation", stale_timeout_s=3600.0).use()
    answered: list[int] = []
    under_way: int | None = None
    newest: Any = None

    def finish() -> None:
        nonlocal under_way
        command = rig.finish()
        assert command is not None
        assert command.stamp_ns == under_way
        assert (rig.bundle.manifest.signature.low <= command.action).all()
        assert (command.action <= rig.bundle.manifest.signature.high).all()
        answered.append(command.stamp_ns)
        under_way = newest.stamp_ns if newest.stamp_ns != command.stamp_ns else None

    try:
        for event in events:
            rig.hold()
            if event == "new" or (event == "again" and newest is None):
                newest = rig.observation()
                assert rig.loop.observe(newest) is None
                under_way = newest.stamp_ns if under_way is None else under_way
            elif event == "again":
                command = rig.loop.observe(newest)
                assert (command is None) == (under_way is not None)
                assert command is None or command.stamp_ns == newest.stamp_ns
            elif event == "plan" and under_way is not None:
                finish()
            elif event == "tick":
                assert rig.tick() is None
            elif event in ("fail", "work"):
                rig.model.value = float("nan") if event == "fail" else None
        while under_way is not None:
            finish()
    finally:
        rig.model.gate.set()
        rig.loop.close()
    assert answered == sorted(set(answered))
    assert newest is None or answered[-1] == newest.stamp_ns


# ── other models ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["timer", "lock_step"])
def test_relearned_model_keeps_belief_warm_start_and_random_numbers(
    name: str, relearned: Bundle, request: pytest.FixtureRequest
) -> None:
    rig: Rig = request.getfixturevalue(name)
    act = rig.step if name == "timer" else rig.answer
    act(1, 2)
    rig.twin.act(float32([1, 2]))
    rig.loop.use(relearned)
    assert rig.loop.bundle is relearned
    rig.twin.use(relearned.model)
    for vector in ((3, 4), (5, 6)):
        expected = rig.twin.act(float32(vector)).actions[0]
        assert_command(act(*vector), expected, Origin.PLAN, "")


def test_plan_under_way_is_finished_with_the_model_it_began_with(
    lock_step: Rig, relearned: Bundle
) -> None:
    lock_step.hold()
    lock_step.observe(1, 2)
    lock_step.loop.use(relearned)
    assert lock_step.loop.bundle is lock_step.bundle
    expected = lock_step.twin.act(float32([1, 2])).actions[0]
    assert_command(lock_step.finish(), expected, Origin.PLAN, "")
    assert lock_step.loop.bundle is relearned
    lock_step.twin.use(relearned.model)
    expected = lock_step.twin.act(float32([3, 4])).actions[0]
    assert_command(lock_step.answer(3, 4), expected, Origin.PLAN, "")
    assert len(lock_step.model.seen) == 1


def test_newest_of_two_models_that_arrive_while_planning_is_used(
    lock_step: Rig, relearned: Bundle, one_action: Bundle
) -> None:
    lock_step.hold()
    lock_step.observe(1, 2)
    lock_step.loop.use(one_action)
    lock_step.loop.use(relearned)
    assert lock_step.finish() is not None
    assert lock_step.loop.bundle is relearned


def test_model_with_other_actions_starts_afresh(timer: Rig, one_action: Bundle) -> None:
    timer.step(1, 2)
    timer.loop.use(one_action)
    command = timer.tick()
    assert_command(command, [-5], Origin.SAFE, "no observation")  # the end of the range nearest 0
    timer.twin = Twin(one_action)
    timer.observe(3, 4)
    assert timer.tick() is None
    assert_command(timer.finish(), timer.twin.act(float32([3, 4])).actions[0], Origin.PLAN, "")


@pytest.mark.parametrize("name", ["timer", "lock_step"])
@pytest.mark.parametrize("fails", [False, True])
def test_plan_of_a_model_with_other_actions_is_void(
    name: str, fails: bool, one_action: Bundle, request: pytest.FixtureRequest
) -> None:
    rig: Rig = request.getfixturevalue(name)
    rig.hold()
    rig.observe(1, 2)
    rig.tick()
    rig.model.value = float("nan") if fails else None
    rig.loop.use(one_action)
    assert rig.finish() is None
    assert rig.loop.bundle is one_action
    assert rig.loop.counters.failed_plans == int(fails)


def test_repeated_observation_is_not_answered_by_the_command_of_a_model_with_other_actions(
    lock_step: Rig, one_action: Bundle
) -> None:
    observation = lock_step.observation(1, 2)
    lock_step.loop.observe(observation)
    lock_step.finish()
    watched = Watched(one_action.model)
    lock_step.loop.use(replace(one_action, model=watched))  # type: ignore[arg-type]
    watched.gate.clear()
    assert lock_step.loop.observe(observation) is None
    assert lock_step.loop.observe(observation) is None
    watched.gate.set()
    expected = Twin(one_action).act(float32([1, 2])).actions[0]
    assert_command(lock_step.finish(), expected, Origin.PLAN, "")


@pytest.mark.parametrize("busy", [False, True])
def test_model_that_the_safe_command_does_not_fit_is_refused_and_the_old_one_stays(
    make_rig: Callable[..., Rig], one_action: Bundle, busy: bool
) -> None:
    rig = make_rig(trigger="observation", safe_command=[1.0, 3.0]).use()
    if busy:
        rig.hold()
        rig.observe(1, 2)
    with pytest.raises(UserError, match=r"safe_command: found 2 values, expected 1"):
        rig.loop.use(one_action)
    if not busy:
        rig.observe(1, 2)
    expected = rig.twin.act(float32([1, 2])).actions[0]
    assert_command(rig.finish(), expected, Origin.PLAN, "")
    assert rig.loop.bundle is rig.bundle
    assert_command(rig.loop.safe_command("the end"), [1, 3], Origin.SAFE, "the end")


@pytest.mark.parametrize("busy", [False, True])
def test_model_that_cannot_be_planned_with_is_refused_and_the_old_one_stays(
    lock_step: Rig, bundle: Bundle, busy: bool
) -> None:
    planner = bundle.manifest.planner.model_copy(update={"horizon": HORIZON + 1})
    bad = replace(bundle, manifest=bundle.manifest.model_copy(update={"planner": planner}))
    if busy:
        lock_step.hold()
        lock_step.observe(1, 2)
    with pytest.raises(UserError, match=r"planner\.horizon"):
        lock_step.loop.use(bad)
    if not busy:
        lock_step.observe(1, 2)
    expected = lock_step.twin.act(float32([1, 2])).actions[0]
    assert_command(lock_step.finish(), expected, Origin.PLAN, "")
    assert lock_step.loop.bundle is lock_step.bundle
    assert_command(lock_step.loop.safe_command("the end"), SAFE, Origin.SAFE)


def test_safe_command_that_does_not_fit_the_first_model_is_an_error(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(safe_command=[0.0, 0.0])  # the second must be at least 1
    with pytest.raises(UserError, match=r"controller.safe_command: found \[0.0, 0.0\]"):
        rig.use()
    assert rig.loop.safe_command("the end") is None


# ── limits ───────────────────────────────────────────────────────────────────────────────────


def plan_of(actions: Any) -> Callable[..., Plan]:
    return lambda self, observation: Plan(float32(actions), 0.0, 0.0, 1)


@pytest.mark.parametrize("name", ["timer", "lock_step"])
def test_commands_are_moved_into_their_range(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig: Rig = request.getfixturevalue(name)
    monkeypatch.setattr(PlanningPolicy, "act", plan_of([[-7, 9]] * HORIZON))
    command = rig.step() if name == "timer" else rig.answer()
    assert_command(command, [-2, 4], Origin.PLAN, "")
    assert command is not None
    assert command.action.dtype == np.float32


@pytest.mark.parametrize("name", ["timer", "lock_step"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_command_that_is_not_finite_is_replaced_by_the_safe_one(
    name: str, value: float, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig: Rig = request.getfixturevalue(name)
    monkeypatch.setattr(PlanningPolicy, "act", plan_of([[0, value]] * HORIZON))
    command = rig.step() if name == "timer" else rig.answer()
    assert_command(command, SAFE, Origin.SAFE, "not finite")
    assert command is not None
    assert command.stamp_ns == rig.stamp_ns


PINNED = Signature(
    (ObservationPart("observation", (2,)), ObservationPart("eye", (4, 4, 3), "image", "uint8")),
    (ActionPart("torque", -2, 2, "N m", max_rate=40), ActionPart("steer", 1, 4)),
    0.05,
)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"action": PINNED.action[:1]}, "found 1 numbers of action, expected 2"),
        (
            {"action": tuple(ActionPart(f"a{i}", -2, 2) for i in range(50))},
            "found 50 numbers of action, expected 2",
        ),
        (
            {"action": (ActionPart("torque", -1e6, 1e6), PINNED.action[1])},
            "found the action 'torque' from -1e+06 to 1e+06, expected it within -2 to 2",
        ),
        (
            {"action": (PINNED.action[0], ActionPart("steer", 0.999, 4))},
            "found the action 'steer' from 0.999 to 4, expected it within 1 to 4",
        ),
        ({"observation": PINNED.observation[:1]}, "found no 'eye'"),
        (
            {"observation": (ObservationPart("observation", (3,)), PINNED.observation[1])},
            "found 'observation' of float32 [3], expected 'observation' of float32 [2]",
        ),
        (
            {"action": (ActionPart("torque", -2, 2, max_rate=41), PINNED.action[1])},
            "found the action 'torque' with a change of 41 per second, expected at most 40",
        ),
        (
            {"action": (ActionPart("torque", -2, 2), PINNED.action[1])},
            "found the action 'torque' with a change of any size per second",
        ),
        ({"period_s": 0.5}, "found a period of 0.5 s, expected 0.05 s"),
        ({"period_s": 0.001}, "found a period of 0.001 s, expected 0.05 s"),
        ({"period_s": 60}, "found a period of 60 s, expected 0.05 s"),
    ],
)
def test_model_that_asks_for_more_than_is_allowed_is_refused(
    changes: dict[str, Any], found: str
) -> None:
    with pytest.raises(UserError) as caught:
        check_allowed(PINNED, replace(PINNED, **changes), "/a/bundle")
    assert str(caught.value).startswith(f"/a/bundle: {found}")


@pytest.mark.parametrize("factor", [1, 1.0001])
def test_model_that_asks_for_no_more_is_allowed_whatever_its_names(factor: float) -> None:
    narrower = (ActionPart("other", -1.5, 2, max_rate=40), ActionPart("names", 1, 3.5, "m"))
    wanted = replace(PINNED, action=narrower, period_s=0.05 * factor)
    check_allowed(PINNED, wanted, "/a/bundle")
    check_allowed(PINNED, PINNED, "/a/bundle")


def test_limits_know_a_safe_command_within_the_range() -> None:
    low, high = float32([-1, 2, -3]), float32([1, 3, -2])
    np.testing.assert_array_equal(SafeCommand.at_once(low, high).constant, [0, 2, -2])
    np.testing.assert_array_equal(SafeCommand.at_once(low, high, [1, 3, -3]).constant, [1, 3, -3])
    for wrong in ([1.1, 2, -2], [0, 2], [np.nan, 2, -2]):
        with pytest.raises(UserError, match=r"bridge\.safe_command: found"):
            SafeCommand.at_once(low, high, wrong, "bridge.safe_command")


def test_safe_command_is_held_as_it_was_measured_or_reached_in_a_while() -> None:
    safe = SafeCommand(float32([0, np.nan, 1]), np.array([0.5, 0, 0]), (Hold((1,), "elbow"),))
    measured = {"elbow": np.array([0.7])}
    spell = SafeSpell(safe, 10.0, float32([2, 0, 0]), measured.get)
    measured["elbow"] = np.array([9.0])  # it has sunk since
    assert spell.command(10.0) == pytest.approx([2, 0.7, 1])
    assert spell.command(10.25) == pytest.approx([1, 0.7, 1])
    assert spell.command(11.0) == pytest.approx([0, 0.7, 1])
    unseen = SafeSpell(safe, 10.0, float32([2, -1, 0]), lambda field: None)
    assert unseen.command(11.0) == pytest.approx([0, -1, 1])  # what it was sent to last
    assert SafeSpell(safe, 10.0, None, lambda field: None).command(10.0) is None


def test_commands_are_near_enough_to_the_one_before() -> None:
    limits = Limits(float32([-1, -1]), float32([1, 1]), float32([0.1, np.inf]))
    assert limits.apply(float32([1, 1])) == pytest.approx([1, 1])
    assert limits.apply(float32([1, 5]), float32([0.5, -1])) == pytest.approx([0.6, 1])
    assert limits.apply(float32([-9, 0]), float32([-0.95, -1])) == pytest.approx([-1, 0])


# ── the end ──────────────────────────────────────────────────────────────────────────────────


def test_last_command_is_the_safe_one_even_while_planning(timer: Rig) -> None:
    timer.hold()
    timer.observe()
    timer.tick()
    command = timer.loop.safe_command("deactivated")
    assert_command(command, SAFE, Origin.SAFE, "deactivated")
    assert command is not None
    assert command.stamp_ns == timer.stamp_ns


def test_close_waits_for_the_plan_under_way(timer: Rig) -> None:
    timer.hold()
    timer.observe()
    timer.tick()
    assert timer.model.entered.wait(PATIENCE_S)
    done_when_closed: list[int] = []

    def close() -> None:
        timer.loop.close()
        done_when_closed.append(timer.model.done)

    closing = threading.Thread(target=close)
    closing.start()
    closing.join(0.05)  # time to be wrong in
    assert closing.is_alive()
    timer.model.gate.set()
    closing.join(PATIENCE_S)
    assert done_when_closed == [1]
    assert timer.loop._job is not None
    assert timer.loop._job.outcome is not None


def test_a_plan_that_takes_long_is_not_waited_for(
    timer: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planet_ros.control.loop.CLOSE_LIMIT_S", 0.05)
    timer.hold()
    timer.observe()
    timer.tick()
    assert timer.model.entered.wait(PATIENCE_S)
    assert not timer.loop.close()
    timer.model.gate.set()
    assert timer.loop.close()
    assert not timer.ready.is_set()  # nobody is told who may be gone


# ── observations of several parts ────────────────────────────────────────────────────────────


def test_safe_command_says_which_part_is_lacking(timer: Rig) -> None:
    timer.lacking = "nothing new on 'image'"
    reason = "no observation that can be used has arrived yet: nothing new on 'image'"
    assert_command(timer.tick(), SAFE, Origin.SAFE, reason)
    timer.step()
    timer.now += 2 * STALE_S
    assert_command(timer.tick(), SAFE, Origin.SAFE, f"limit {STALE_S:g} s: nothing new on 'image'")


def test_newer_part_of_the_same_stamp_is_planned_with_after_the_plan_under_way(timer: Rig) -> None:
    """A frame that arrives with an earlier stamp than the vector has: the newest stays that."""
    timer.hold()
    timer.observe(0.5, -1)
    assert timer.tick() is None
    timer.observe(0.25, 1, stamp_ns=timer.stamp_ns)
    timer.finish()
    timer.tick()
    timer.finish()
    np.testing.assert_array_equal([seen[2] for seen in timer.model.seen], [[0.5, -1], [0.25, 1]])


# ── what was sent ────────────────────────────────────────────────────────────────────────────


def test_policy_is_told_what_was_sent_in_place_of_a_plan_that_was_late(timer: Rig) -> None:
    """A period had its command from the plan before, when the late plan became ready."""
    timer.step(1, 1)
    plan = timer.twin.act(float32([1, 1])).actions
    timer.hold()
    timer.observe(2, 2)
    assert timer.tick() is None
    assert_command(timer.tick(), plan[2], Origin.LATE_PLAN)
    assert timer.finish() is None
    timer.observe(3, 3)
    timer.tick()
    timer.finish()
    np.testing.assert_array_equal(timer.model.seen[1][1], plan[0])
    assert not np.array_equal(timer.model.seen[2][1], plan[0])


def test_waiting_is_a_lock_step_source_that_takes_its_time_and_nothing_else(
    timer: Rig, lock_step: Rig
) -> None:
    for rig in (timer, lock_step):
        assert not rig.loop.waiting
    lock_step.answer()
    timer.step()
    for rig in (timer, lock_step):
        assert not rig.loop.waiting
        rig.now += 2 * STALE_S
        assert_command(rig.tick(), SAFE, Origin.SAFE, "limit")
    assert lock_step.loop.waiting
    assert not timer.loop.waiting
    lock_step.observe(2, 2)
    assert not lock_step.loop.waiting
