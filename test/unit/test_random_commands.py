"""Random commands for a robot stay within its range, and change no faster than it allows."""

from __future__ import annotations

from typing import Any

import numpy as np
from arrays import float32
from hypothesis import given
from hypothesis import strategies as st

from planet_ros.control.exploration import RandomCommands, RandomPolicy
from planet_ros.data import ActionPart, ObservationPart, Signature

NUMBERS = st.floats(-1e6, 1e6)
SECONDS = st.floats(-1.0, 10.0)


@st.composite
def ranges(draw: st.DrawFn) -> Any:
    """Low, high and the largest changes of as many numbers."""
    size = draw(st.integers(1, 3))
    low = [draw(NUMBERS) for _ in range(size)]
    high = [one + draw(st.floats(0.01, 1e6)) for one in low]
    rate = [draw(st.one_of(st.floats(1e-3, 1e6), st.just(np.inf))) for _ in range(size)]
    return np.array(low), np.array(high), np.array(rate)


def signature(low: Any, high: Any) -> Signature:
    actions = tuple(
        ActionPart(f"a{index}", *pair) for index, pair in enumerate(zip(low, high, strict=True))
    )
    return Signature((ObservationPart("joint", (1,)),), actions, 0.05)


@given(
    limits=ranges(),
    beta=st.sampled_from([0.0, 1.0, 2.0]),
    start=st.lists(NUMBERS, min_size=3, max_size=3),
    times=st.lists(st.tuples(SECONDS, st.booleans()), min_size=1, max_size=20),
    target=st.lists(NUMBERS, min_size=3, max_size=3),
)
def test_limits_and_rates_hold_whatever_the_numbers(
    limits: Any, beta: float, start: list[float], times: Any, target: list[float]
) -> None:
    low, high, rate = limits
    policy = RandomPolicy(signature(low, high), seed=1, beta=beta)
    commands = RandomCommands(low, high, rate, policy.action)
    commands.begin(np.array(start[: len(low)]))
    assert commands.last is not None
    before = commands.last
    assert ((low <= before) & (before <= high)).all()
    for seconds, explores in times:
        if explores:
            command = commands.explore(seconds)
        else:
            command = commands.towards(np.array(target[: len(low)]), seconds)
        assert ((low <= command) & (command <= high)).all()
        most = np.array([one * max(0.0, seconds) if np.isfinite(one) else np.inf for one in rate])
        rounding = 1e-12 * np.maximum(np.abs(low), np.abs(high))
        assert (np.abs(command - before) <= most + rounding).all()
        before = command


def test_without_a_largest_change_they_are_those_of_the_policy() -> None:
    policy = RandomPolicy(signature([-2.0], [2.0]), seed=3, beta=2.0)
    draw = policy.action
    commands = RandomCommands(float32([-2]), float32([2]), np.array([np.inf]), draw, first=998)
    commands.begin(np.zeros(1))
    found = [float(commands.explore(0.05)[0]) for _ in range(4)]
    places = [(0, 998), (0, 999), (1, 0), (1, 1)]
    expected = RandomPolicy(signature([-2.0], [2.0]), seed=3, beta=2.0)
    assert found == [float(expected.action(*place)[0]) for place in places]


def test_rest_is_reached_exactly() -> None:
    limits = np.array([-1.0, -1.0]), np.array([1.0, 1.0]), np.array([0.7, np.inf])
    commands = RandomCommands(*limits, lambda *_: float32([]))
    commands.begin(np.array([0.9, -0.3]))
    goal = np.array([0.1, 0.05])
    found = [commands.towards(goal, 0.3) for _ in range(5)]
    np.testing.assert_allclose([one[0] for one in found[:3]], [0.69, 0.48, 0.27])
    assert (found[-1] == goal).all()
    commands.end()
    assert commands.last is None
