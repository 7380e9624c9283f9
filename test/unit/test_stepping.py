"""Which command led from one tick to the next, and where episodes begin and end."""

from __future__ import annotations

import numpy as np
import pytest
from arrays import float32

from planet_ros.data import EpisodeBuilder, Step
from planet_ros.interface.stepping import StepMaker, Tick


def tick(number: int, **fields: object) -> Tick:
    return Tick(number, {"joints": float32([number])}, **fields)  # type: ignore[arg-type]


def feed(maker: StepMaker, ticks: int, first: int = 0) -> None:
    """Ticks whose command has the number of the tick that it leads to."""
    for number in range(first, first + ticks):
        maker.add(tick(number, reward=float(number)), float32([number]))


def seen(steps: list[Step]) -> list[tuple[int, float, float]]:
    return [(one.index, float(one.observation["joints"][0]), float(one.action[0])) for one in steps]


def test_a_step_has_the_command_between_its_ticks() -> None:
    steps: list[Step] = []
    feed(StepMaker(steps.append), 4)
    assert seen(steps) == [(0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3)]
    assert [step.reward for step in steps] == [0, 1, 2, 3]
    assert [step.environment_steps for step in steps] == [0, 1, 1, 1]
    assert not any(step.last for step in steps)


@pytest.mark.parametrize("delay", [1, 3])
def test_with_a_delay_it_has_the_command_that_acts_then(delay: int) -> None:
    steps: list[Step] = []
    feed(StepMaker(steps.append, delay=delay), 7)
    # The first tick with a command before it is 0: whatever acted earlier was sent unheard.
    expected = [(0, float(delay), 0.0)]
    expected += [(k, delay + k, float(k)) for k in range(1, 7 - delay)]
    assert seen(steps) == expected
    assert steps[1].action == float32([1])


def test_an_unknown_command_cuts_and_the_next_episode_begins_there() -> None:
    steps: list[Step] = []
    maker = StepMaker(steps.append)
    feed(maker, 3)
    maker.add(tick(3), None)
    feed(maker, 2, first=4)
    assert seen(steps)[3:] == [(0, 3, 0), (1, 4, 4), (2, 5, 5)]
    assert maker.counters.cuts == {"no command was heard": 1}
    builder = EpisodeBuilder()
    episodes = [one for step in steps if (one := builder.add(step)) is not None]
    assert [len(one) for one in episodes] == [2]
    assert builder.missing_steps == 0


def test_after_a_cut_nothing_joins_before_and_after() -> None:
    steps: list[Step] = []
    maker = StepMaker(steps.append, delay=1)
    feed(maker, 4)
    maker.cut("stamps jump")
    feed(maker, 4, first=50)
    assert seen(steps)[-3:] == [(0, 51, 0), (1, 52, 51), (2, 53, 52)]
    maker.cut("stamps jump")
    maker.cut("stamps jump")  # there is nothing to cut any more
    assert maker.counters.cuts == {"stamps jump": 2}


def test_a_tick_without_any_reward_cuts() -> None:
    steps: list[Step] = []
    maker = StepMaker(steps.append)
    feed(maker, 3)
    maker.add(tick(3, reward=None), float32([3]))
    feed(maker, 2, first=4)
    assert seen(steps)[3:] == [(0, 3, 0), (1, 4, 4), (2, 5, 5)]
    assert maker.counters.cuts == {"no reward was heard": 1}


def test_an_end_terminates_and_the_next_episode_begins_at_the_same_tick() -> None:
    steps: list[Step] = []
    maker = StepMaker(steps.append)
    feed(maker, 2)
    maker.add(tick(2, ended=True), float32([2]))
    maker.add(tick(3, ended=True), float32([3]))
    maker.add(tick(4), float32([4]))
    assert seen(steps) == [
        (0, 0, 0),
        (1, 1, 1),
        (2, 2, 2),
        (0, 2, 0),
        (1, 3, 3),
        (0, 3, 0),
        (1, 4, 4),
    ]
    assert [step.terminated for step in steps] == [False, False, True, False, True, False, False]


def test_an_episode_is_cut_where_it_is_long_enough() -> None:
    steps: list[Step] = []
    feed(StepMaker(steps.append, longest=2), 6)
    assert [(step.index, step.truncated) for step in steps] == [
        (0, False), (1, False), (2, True), (0, False), (1, False), (2, True), (0, False), (1, False)
    ]  # fmt: skip
    assert not any(step.terminated for step in steps)
    # The next one begins with what the last one ended in.
    np.testing.assert_array_equal(steps[2].observation["joints"], steps[3].observation["joints"])
