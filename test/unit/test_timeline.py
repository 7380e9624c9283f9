"""Steps out of messages, whoever sent them, and out of whatever comes in their place."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import plain_messages as plain
import pytest
from arrays import float32
from hypothesis import given, settings
from hypothesis import strategies as st

from planet_ros.data import Step
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.interface.timeline import CHECKS, Timeline
from planet_ros.messages.vectors import vector_message

PERIOD = 50_000_000
STATES, COMMANDS = "joint_states", "effort/commands"
JOINT: dict[str, Any] = {
    "name": "joint",
    "topic": STATES,
    "type": "sensor_msgs/msg/JointState",
    "fields": ["position[hinge]"],
}
EFFORT: dict[str, Any] = {
    "topic": COMMANDS,
    "type": "std_msgs/msg/Float64MultiArray",
    "fields": [{"path": "data[0]", "low": -2, "high": 2}],
}
REWARD = {"kind": "topic", "topic": "reward", "type": "std_msgs/msg/Float64"}


def timeline(together: bool = False, **document: Any) -> Timeline:
    quadratic = {"kind": "quadratic", "observation": [{"field": "position[hinge]", "weight": 1}]}
    fields = {"period_s": 0.05, "observation": [JOINT], "action": [EFFORT], "reward": quadratic}
    interface = Interface.model_validate({**fields, **document})
    return Timeline(interface, plain.make, together=together)


def state(position: float, stamp_ns: int = 0, velocity: float | None = None) -> plain.JointState:
    message = plain.JointState(name=["other", "hinge"], position=[99.0, position])
    if velocity is not None:
        message.velocity = [99.0, velocity]
    message.header.stamp = plain.Time(*divmod(stamp_ns, 10**9))
    return message


def effort(value: float, stamp_ns: int | None = None) -> Any:
    if stamp_ns is not None:
        return vector_message(plain.make, "action", np.array([value]), stamp_ns)
    message = plain.make("std_msgs/msg/Float64MultiArray")
    message.data = [value]
    return message


def seen(steps: list[Step]) -> list[tuple[int, float, float]]:
    return [
        (one.index, round(float(one.observation["joint"][0]), 3), round(float(one.action[0]), 3))
        for one in steps
    ]


def drive(
    line: Timeline, periods: int, *, first: int = 0, latency_ns: int = 5_000_000, rate: int = 4
) -> None:
    """A robot that says `rate` times a period where it is, and someone who commands in each.

    The position counts periods, and so does the command: n / 100 is sent in the n-th.
    """
    for number in range(first, first + periods):
        for part in range(rate):
            now = number * PERIOD + part * PERIOD // rate
            line.take(STATES, state(number + part / rate, now + 1), now)
            if part == 0:
                line.take(COMMANDS, effort(number / 100), now + latency_ns)


# ── every period ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("latency_ns", [1_000_000, 5_000_000, 12_000_000])
def test_steps_have_the_newest_state_and_the_command_in_force(latency_ns: int) -> None:
    line = timeline()
    drive(line, 6, latency_ns=latency_ns)
    steps = line.steps()
    # The clock begins with the first message: ticks fall on those that come at whole periods, and
    # what is received at that very time is newer.
    assert seen(steps) == [(0, 0.75, 0.0), *((k, k + 0.75, k / 100) for k in range(1, 5))]
    assert [step.stamp_ns for step in steps] == [PERIOD * k for k in range(1, 6)]
    assert line.counters.steps == 4


def test_it_is_the_same_whoever_commands_and_values_are_within_the_range() -> None:
    line = timeline()
    drive(line, 3)
    line.take(COMMANDS, effort(50.0), 3 * PERIOD + 1)
    line.take(STATES, state(3.5), 3 * PERIOD + 2)
    line.take(STATES, state(4.0), 4 * PERIOD)
    assert seen(line.steps())[-1] == (3, 3.5, 2.0)


def test_a_command_holds_until_the_next_unless_the_robot_forgets_it() -> None:
    for timeout_s, expected in ((0.0, 6), (0.12, 1)):
        line = timeline(action=[{**EFFORT, "timeout_s": timeout_s}])
        line.take(COMMANDS, effort(1.0), 0)
        for number in range(8):
            line.take(STATES, state(number, number + 1), number * PERIOD)
        steps = line.steps()
        assert {float(step.action[0]) for step in steps[1:]} == {1.0}
        assert len(steps) - 1 == expected
    # The first tick is a period after the first message; the command is old in the third.
    assert line.counters.cuts == {"no command was heard": 1}


def test_joints_may_be_commanded_one_by_one() -> None:
    arm = {
        "topic": "arm",
        "type": "sensor_msgs/msg/JointState",
        "fields": [{"path": "position[a, b]", "low": -3, "high": 3}],
        "constants": {"name": ["a", "b"]},
    }
    line = timeline(action=[arm])
    line.take("arm", plain.JointState(name=["b"], position=[2.0]), 0)
    for number in range(4):
        line.take(STATES, state(number, number + 1), number * PERIOD)
    assert line.steps() == []  # nobody knows what the other one does
    line.take("arm", plain.JointState(name=["a", "c"], position=[1.0, 9.0]), 4 * PERIOD - 1)
    for number in range(4, 8):
        line.take(STATES, state(number, number + 1), number * PERIOD)
    assert {tuple(step.action) for step in line.steps() if step.index} == {(1.0, 2.0)}


def test_a_part_that_is_silent_cuts_and_is_named() -> None:
    line = timeline()
    drive(line, 4)
    for number in range(4, 14):
        line.take(COMMANDS, effort(0.0), number * PERIOD)
    drive(line, 4, first=14)
    (reason,) = line.counters.cuts
    assert reason == "nothing new of joint"
    indices = [step.index for step in line.steps()]
    assert indices.count(0) == 2
    assert line.lacking(14 * PERIOD) == [] and line.lacking(30 * PERIOD) == ["joint"]


def test_a_state_that_is_repeated_grows_old() -> None:
    line = timeline()
    drive(line, 3)
    frozen = state(2.75, 3 * PERIOD)
    for number in range(3, 20):
        line.take(STATES, frozen, number * PERIOD)
        line.take(COMMANDS, effort(0.0), number * PERIOD)
    assert line.lacking(20 * PERIOD) == ["joint"]
    assert "nothing new of joint" in line.counters.cuts


@pytest.mark.parametrize("jump_ns", [-10 * PERIOD, 100 * PERIOD])
def test_stamps_that_jump_cut(jump_ns: int) -> None:
    line = timeline()
    drive(line, 4)
    for number in range(4, 8):
        now = number * PERIOD
        line.take(STATES, state(100 + number, now + jump_ns), now)
        line.take(COMMANDS, effort(0.5), now + 1)
    line.advance(8 * PERIOD)
    steps = line.steps()
    assert line.counters.cuts == {"stamps jump": 1}
    joined = [
        (before, after)
        for before, after in zip(seen(steps), seen(steps)[1:], strict=False)
        if after[0] > 0 and abs(after[1] - before[1]) > 2
    ]
    assert joined == []


def test_time_that_goes_back_cuts_and_begins_anew() -> None:
    line = timeline()
    drive(line, 4, first=1000)
    drive(line, 4)
    steps = line.steps()
    assert line.counters.cuts == {"time went back": 1}
    assert [step.index for step in steps].count(0) == 2
    assert seen(steps)[-1][1] == 2.75


def test_who_was_away_does_not_make_up_what_happened_meanwhile() -> None:
    line = timeline()
    drive(line, 4)
    line.advance(10**6 * PERIOD)
    assert line.counters.ticks < 10
    assert "nothing was heard" in line.counters.cuts


@pytest.mark.parametrize("delay", [1, 2])
def test_commands_are_shifted_by_the_delay(delay: int) -> None:
    line = timeline(delay_periods=delay)
    drive(line, 8)
    steps = [one for one in seen(line.steps()) if one[0] > 0]
    assert steps
    assert all(action == pytest.approx((int(at) - delay) / 100) for _, at, action in steps)


# ── reward and end ───────────────────────────────────────────────────────────────────────────────


def test_the_reward_is_the_newest_on_its_topic() -> None:
    line = timeline(reward=REWARD)
    for number in range(5):
        now = number * PERIOD
        line.take(STATES, state(number, now + 1), now)
        line.take(COMMANDS, effort(0.0), now + 1)
        if number:
            line.take("reward", SimpleNamespace(data=float(number)), now + 2)
    line.advance(5 * PERIOD)
    steps = line.steps()
    assert [step.reward for step in steps if step.index] == [1.0, 2.0, 3.0, 4.0]


def test_a_condition_ends_the_episode_on_what_was_measured() -> None:
    angle = {**JOINT, "fields": [{"path": "position[hinge]", "encoding": "angle"}]}
    line = timeline(observation=[angle], end={"condition": "abs(position[hinge]) > 3.5"})
    drive(line, 7)
    steps = line.steps()
    assert [step.terminated for step in steps[:5]] == [False, False, False, True, False]
    assert [step.index for step in steps[:5]] == [0, 1, 2, 3, 0]


def test_a_topic_ends_the_episode_once() -> None:
    line = timeline(end={"topic": "fallen"})
    drive(line, 3)
    line.take("fallen", SimpleNamespace(data=True), 3 * PERIOD - 1)
    drive(line, 4, first=3)
    assert [step.terminated for step in line.steps()].count(True) == 1


def test_a_condition_on_what_is_not_seen_is_refused_with_what_is() -> None:
    with pytest.raises(UserError, match=r"position\[hinge\]"):
        timeline(end={"condition": "position[pole] > 1"})


def test_the_goal_is_a_part_of_what_is_seen_and_never_stale() -> None:
    goal = {
        "topic": "goal",
        "type": "geometry_msgs/msg/PoseStamped",
        "fields": ["pose.position.x", "pose.position.y"],
    }
    line = timeline(goal=goal)
    drive(line, 3)
    assert line.steps() == [] and line.lacking(3 * PERIOD) == ["goal"]
    pose = plain.PoseStamped()
    pose.pose.position.x = 7.0
    line.take("goal", pose, 3 * PERIOD - 1)
    drive(line, 60, first=3)
    steps = line.steps()
    assert len(steps) > 50 and line.counters.cuts == {}
    np.testing.assert_array_equal(steps[-1].observation["goal"], float32([7, 0]))


# ── together ─────────────────────────────────────────────────────────────────────────────────────


def lock_step(line: Timeline, stamps: range, order: str = "state first") -> None:
    """States of each stamp and the commands that answer them; the clock of receipt says nothing."""
    for number in stamps:
        stamp = number * PERIOD
        said = [(STATES, state(number, stamp)), (COMMANDS, effort(number / 100, stamp))]
        if order == "command late":
            said = [(STATES, state(number, stamp))]
            if number > stamps.start:
                late = stamp - PERIOD
                said.append((COMMANDS, effort((number - 1) / 100, late)))
        for topic, message in said:
            line.take(topic, message, 1)


@pytest.mark.parametrize("order", ["state first", "command late"])
def test_together_a_command_leads_from_the_state_that_it_answers(order: str) -> None:
    line = timeline(together=True)
    lock_step(line, range(1, 6), order)
    steps = line.steps()
    assert seen(steps) == [(0, 1, 0), *((k, k + 1, k / 100) for k in range(1, 5))]
    assert [step.stamp_ns for step in steps] == [PERIOD * k for k in range(1, 6)]


def test_together_parts_wait_for_one_another() -> None:
    other = {
        "name": "speed",
        "topic": "odom",
        "type": "nav_msgs/msg/Odometry",
        "fields": ["twist.twist.linear.x"],
    }
    line = timeline(together=True, observation=[JOINT, other])
    for number in range(1, 4):
        odometry = plain.Odometry()
        odometry.header.stamp = plain.Time(0, number * PERIOD)
        odometry.twist.twist.linear.x = float(number)
        line.take(STATES, state(number, number * PERIOD), 0)
        before = line.counters.ticks
        line.take("odom", odometry, 0)
        line.take("odom", odometry, 0)
        assert line.counters.ticks <= before + 1
        line.take(COMMANDS, effort(0.0, number * PERIOD), 0)
    steps = line.steps()
    assert [float(step.observation["speed"][0]) for step in steps] == [1, 2, 3]


def test_together_topics_may_overtake_one_another() -> None:
    other = {**JOINT, "name": "other", "topic": "others", "fields": ["position[other]"]}
    line = timeline(together=True, observation=[JOINT, other])
    for number in range(1, 6):
        stamp = number * PERIOD
        line.take(STATES, state(number, stamp), 1)  # a state ahead of the other topic
        if number > 1:
            line.take("others", state(number - 1, stamp - PERIOD), 1)
            line.take(COMMANDS, effort(number / 100, stamp - PERIOD), 1)
    assert [step.index for step in line.steps()] == [0, 1, 2, 3]
    assert line.counters.cuts == {}


def test_together_a_lost_command_cuts_and_the_rest_goes_on() -> None:
    line = timeline(together=True)
    lock_step(line, range(1, 4))
    line.take(STATES, state(4, 4 * PERIOD), 1)  # its answer is lost
    lock_step(line, range(5, 8))
    assert [step.index for step in line.steps()] == [0, 1, 2, 3]
    for _ in range(CHECKS):
        line.check()
    assert seen(line.steps()) == [(0, 5, 0), (1, 6, 0.05), (2, 7, 0.06)]
    assert line.counters.cuts == {"a command never came": 1}


def test_together_another_period_and_a_restart_cut() -> None:
    line = timeline(together=True)
    lock_step(line, range(1, 4))
    lock_step(line, range(6, 9))
    lock_step(line, range(106, 109))
    assert [step.index for step in line.steps()] == [0, 1, 2, 0, 1, 2, 0, 1, 2]
    assert set(line.counters.cuts) <= {"the period changed", "stamps jump"}
    assert sum(line.counters.cuts.values()) == 2


def test_together_a_source_without_stamps_is_refused() -> None:
    line = timeline(together=True)
    with pytest.raises(UserError, match="found no stamp"):
        line.take(STATES, state(1.0), 0)


# ── whatever comes ───────────────────────────────────────────────────────────────────────────────


def test_what_cannot_be_used_is_counted_and_changes_nothing() -> None:
    line = timeline()
    drive(line, 2)
    for topic, message in (
        (STATES, SimpleNamespace()),
        (STATES, plain.JointState(name=["other"], position=[1.0])),
        (STATES, state(float("nan"), 5)),
        (COMMANDS, effort(float("inf"))),
        (COMMANDS, SimpleNamespace(data="text", layout=None)),
    ):
        with pytest.raises(UserError):
            line.take(topic, message, 2 * PERIOD - 1)
    assert line.dropped == Counter({STATES: 3, COMMANDS: 2})
    drive(line, 3, first=2)
    assert len([step for step in line.steps() if step.index]) == 3


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([STATES, COMMANDS, "nothing"]),
        st.one_of(st.floats(), st.none(), st.text(max_size=3)),
        st.integers(-3, 400),
        st.one_of(st.integers(-(2**40), 2**70), st.integers(0, 50).map(lambda n: n * PERIOD)),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=150)
@given(events=EVENTS, together=st.booleans(), delay=st.integers(0, 3))
def test_any_messages_give_steps_that_are_whole(
    events: list[tuple[str, Any, int, int]], together: bool, delay: int
) -> None:
    line = timeline(together, delay_periods=delay)
    now = 0
    steps = []
    for topic, value, periods, stamp in events:
        now += periods * PERIOD // 4
        message: Any = state(value, max(0, stamp) % 2**60) if topic == STATES else effort(value)
        with suppress(UserError):
            line.take(topic, message, now)
        line.check()
        steps += line.steps()
    expected = 0
    for step in steps:
        assert step.index in (0, expected)
        expected = step.index + 1
        line.signature.check(step.layout, "step")
        assert np.isfinite(step.action).all() and np.isfinite(step.observation["joint"]).all()
