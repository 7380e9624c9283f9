"""Steps and images that arrive apart are joined, or given up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrays import float32
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from planet_ros.config import Settings
from planet_ros.data import ActionPart, EpisodeStore, ObservationPart, Signature, Step
from planet_ros.data.joining import StepJoiner
from planet_ros.training.session import Session

Found = list[tuple[int, dict[str, int]]]


def step(index: int, **fields: Any) -> Step:
    fields = {"stamp_ns": 1000 + index, "observation": {}, **fields}
    return Step(index, action=np.zeros(1, np.float32), reward=-1.0, **fields)


def frame(value: int) -> NDArray[np.uint8]:
    return np.full((1, 2, 1), value, np.uint8)


def found(steps: list[Step]) -> Found:
    return [
        (one.index, {name: int(image[0, 0, 0]) for name, image in one.observation.items()})
        for one in steps
    ]


class Source:
    """Gives a joiner steps, and images whose pixels tell the step."""

    def __init__(self, *names: str, **limits: int) -> None:
        self.joiner = StepJoiner(names, **limits)

    def step(self, index: int) -> Found:
        return found(self.joiner.add_step(step(index)))

    def image(self, index: int, name: str = "left") -> Found:
        return found(self.joiner.add_image(name, 1000 + index, frame(index)))

    def check(self) -> Found:
        return found(self.joiner.check())


def test_steps_without_images_pass_as_they_come() -> None:
    source = Source()
    assert [source.step(index) for index in range(3)] == [[(0, {})], [(1, {})], [(2, {})]]
    assert source.check() == []
    assert source.joiner.lost == 0
    assert not source.joiner.is_lost(step(3))


def test_a_step_comes_with_its_last_image_whatever_the_order() -> None:
    source = Source("left", "right")
    assert source.step(0) == []
    assert source.image(0, "left") == []
    assert source.image(0, "right") == [(0, {"left": 0, "right": 0})]
    assert source.image(1, "right") == []
    assert source.step(1) == []
    assert source.image(1, "left") == [(1, {"left": 1, "right": 1})]
    assert source.image(2, "right") == source.image(2, "left") == []
    assert source.step(2) == [(2, {"left": 2, "right": 2})]
    assert source.joiner.lost == 0


@given(st.data())
def test_nothing_is_lost_where_every_topic_keeps_its_order(data: st.DataObject) -> None:
    source, came = Source("left", "right"), []
    waiting = {"step": list(range(8)), "left": list(range(8)), "right": list(range(8))}
    while topics := [topic for topic, queue in waiting.items() if queue]:
        topic = data.draw(st.sampled_from(topics))
        index = waiting[topic].pop(0)
        came += source.step(index) if topic == "step" else source.image(index, topic)
    assert came == [(index, {"left": index, "right": index}) for index in range(8)]
    assert source.joiner.lost == 0


def test_a_step_is_given_up_when_a_later_one_is_complete() -> None:
    source = Source("left")
    assert source.step(0) == source.step(1) == source.step(2) == []
    assert source.image(1) == [(0, {}), (1, {"left": 1})]
    assert source.joiner.lost == 1
    assert source.image(2) == [(2, {"left": 2})]


def test_what_is_given_up_bears_no_image_at_all_but_its_numbers() -> None:
    joiner = StepJoiner(("left", "right"), checks=1)
    numbers = float32([1, 2])
    joiner.add_step(step(0, observation={"observation": numbers}))
    joiner.add_image("left", 1000, frame(0))
    (given,) = joiner.check()
    assert joiner.is_lost(given)
    assert [*given.observation] == ["observation"]
    joiner.add_step(step(1, observation={"observation": numbers}))
    joiner.add_image("left", 1001, frame(1))
    (whole,) = joiner.add_image("right", 1001, frame(1))
    assert not joiner.is_lost(whole)
    assert {*whole.observation} == {"observation", "left", "right"}


def test_a_step_is_given_up_when_it_has_waited_for_too_long() -> None:
    source = Source("left", checks=3)
    source.step(0)
    assert source.check() == []
    source.step(1)
    assert source.check() == []
    assert source.check() == [(0, {})]
    assert source.check() == [(1, {})]
    assert source.joiner.lost == 2
    assert source.image(1) == []  # too late
    source.step(2)
    assert source.image(2) == [(2, {"left": 2})]


def test_images_that_are_repeated_or_belong_to_no_step_do_no_harm() -> None:
    source = Source("left", "right")
    source.step(0)
    source.image(0, "left")
    assert source.image(0, "left") == []
    assert source.image(0, "right") == [(0, {"left": 0, "right": 0})]
    assert source.image(0, "left") == source.image(77, "left") == source.image(0, "right") == []
    source.step(1)
    source.image(1, "left")
    assert source.image(1, "right") == [(1, {"left": 1, "right": 1})]


def test_a_source_that_begins_again_is_joined_with_its_own_images() -> None:
    source = Source("left")
    source.step(5)
    assert source.image(5) == [(5, {"left": 5})]
    source.joiner.add_image("left", 1005, frame(99))  # repeated, and left over
    source.step(0)
    assert source.image(0) == [(0, {"left": 0})]
    source.step(5)
    assert source.image(5) == [(5, {"left": 5})]


def test_memory_is_bounded() -> None:
    source = Source("left", capacity=4)
    for index in range(10):
        source.image(100 + index)
    assert len(source.joiner._images["left"]) == 4
    given_up = [came for index in range(10) for came in source.step(index)]
    assert given_up == [(index, {}) for index in range(6)]
    assert len(source.joiner._steps) == 4


@pytest.fixture
def make_session(tmp_path: Path, tiny_settings: Callable[..., Settings]) -> Callable[..., Session]:
    """``make_session(random_steps)``: a session that sees images of 1 × 2 pixels and nothing."""

    def make(random_steps: int) -> Session:
        settings = tiny_settings(
            tmp_path / "run",
            {
                "world_model.kind": "rssm",
                "rssm.deterministic_size": 4,
                "rssm.stochastic_size": 2,
                "rssm.hidden_size": 4,
                "rssm.image_hidden_size": 4,
                "training.random_steps": random_steps,
                "training.updates": 1,
                "training.sequence_length": 3,
            },
        )
        signature = Signature(
            (ObservationPart("left", (1, 2, 1), "image", "uint8"),),
            (ActionPart("torque", -1, 1),),
            0.1,
        )
        return Session(settings, signature, environment=None, say=lambda text: None)

    return make


def whole(index: int) -> Step:
    return step(index, observation={"left": frame(index)})


def test_session_cuts_where_a_step_is_lost_and_fits_all_the_same(
    tmp_path: Path, make_session: Callable[..., Session]
) -> None:
    session = make_session(random_steps=7)
    due = [session.add(whole(index)) for index in range(4)]
    due.append(session.lose(step(4)))
    due += [session.add(whole(index)) for index in range(5, 10)]
    assert not any(due)
    # The last step of the episode is lost, and 3 + 4 others are there: it is time for a fit.
    assert session.lose(step(10, truncated=True))
    assert session.steps == 7
    session.fit()
    session.finish()
    episodes = EpisodeStore(tmp_path / "run" / "episodes").episodes
    assert [episode.observation["left"][:, 0, 0, 0].tolist() for episode in episodes] == [
        [0, 1, 2, 3],
        [5, 6, 7, 8, 9],
    ]
    assert not any(episode.truncated or episode.terminated for episode in episodes)


def test_no_fit_is_due_where_too_little_was_kept(make_session: Callable[..., Session]) -> None:
    session = make_session(random_steps=1)
    session.add(whole(0))
    assert not session.lose(step(1, terminated=True))
    assert session.steps == 0


@pytest.mark.parametrize("index", [0, 3])
def test_a_step_that_is_lost_in_the_middle_brings_no_fit(
    index: int, make_session: Callable[..., Session]
) -> None:
    session = make_session(random_steps=1)
    for before in range(3):
        session.add(whole(before))
    assert not session.lose(step(index))
