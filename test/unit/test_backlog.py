"""Steps that wait while a model is fitted."""

from __future__ import annotations

from arrays import float32

from planet_ros.data import EpisodeBuilder, Step
from planet_ros.training.backlog import Backlog


def step(index: int, numbers: int = 1, stream: int = 0) -> Step:
    seen = {"observation": float32([0.0] * numbers)}
    return Step(index, seen, float32([0]), 0.0, False, False, stream=stream)


def test_steps_come_back_in_their_order() -> None:
    backlog = Backlog(capacity_steps=10, capacity_bytes=1000)
    backlog.add([step(0), step(1)])
    backlog.add([step(2)])
    assert len(backlog) == 3
    assert [backlog.pop().index for _ in range(3)] == [0, 1, 2]
    assert (len(backlog), backlog.missed) == (0, 0)


def test_what_is_too_much_is_counted_and_joins_no_episode() -> None:
    backlog = Backlog(capacity_steps=3, capacity_bytes=1000)
    backlog.add([step(0), step(1), step(2), step(3)])
    backlog.pop()
    # It would seem to follow step 2, and may be of an episode that nobody saw the beginning of.
    backlog.add([step(4), step(5), step(0), step(1)])
    assert backlog.missed == 4
    builder = EpisodeBuilder()
    cuts = [builder.add(backlog.pop()) for _ in range(len(backlog))]
    assert [None if cut is None else len(cut) for cut in cuts] == [None, None, 1]
    assert len(builder) == 0


def test_what_is_passed_over_of_one_robot_cuts_no_other() -> None:
    backlog = Backlog(capacity_steps=3, capacity_bytes=1000)
    backlog.add([step(0), step(0, stream=1), step(1), step(2)])  # the last is too much
    backlog.pop()
    backlog.add([step(3), step(1, stream=1)])
    backlog.pop()
    backlog.add([step(4), step(0)])
    assert backlog.missed == 3
    found = [backlog.pop() for _ in range(len(backlog))]
    assert [(one.stream, one.index) for one in found] == [(0, 1), (1, 1), (0, 0)]


def test_memory_is_bounded_too() -> None:
    backlog = Backlog(capacity_steps=1000, capacity_bytes=10 * 4 * 101)
    for _ in range(3):
        backlog.add(step(index, numbers=100) for index in range(50))
        assert len(backlog) == 10
        while backlog:
            backlog.pop()
    assert backlog.missed == 3 * 40
