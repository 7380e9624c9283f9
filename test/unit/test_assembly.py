"""One observation out of a vector and images that arrive apart."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from arrays import float32
from numpy.typing import NDArray

from planet_ros.control.assembly import Assembly
from planet_ros.control.events import Observation
from planet_ros.data import ActionPart, ObservationPart, Signature
from planet_ros.errors import UserError

NUMBERS = float32([1, 2])


class Source:
    """Gives an assembly parts, each at its own second, and counts what is decoded."""

    def __init__(self, assembly: Assembly, numbers: NDArray[np.float32] | None) -> None:
        self.assembly = assembly
        self.numbers = numbers
        self.now_s = 100.0
        self.decoded: list[int] = []

    def vector(self, stamp_ns: int | None, **fields: Any) -> Observation | None:
        self.now_s += 1
        return self.assembly.take_vector(self.numbers, stamp_ns, self.now_s, **fields)

    def image(self, value: int, stamp_ns: int | None, name: str = "left") -> Observation | None:
        def decode() -> NDArray[np.uint8]:
            self.decoded.append(value)
            return np.full((1, 1, 1), value, np.uint8)

        self.now_s += 1
        return self.assembly.take_image(name, decode, stamp_ns, self.now_s)

    def lacking(self, after_s: float, limit_s: float = 0.5) -> list[str]:
        return self.assembly.lacking(self.now_s + after_s, limit_s)


def signature_of(images: tuple[str, ...], vector: bool) -> Signature:
    parts = [ObservationPart("observation", (2,))] if vector else []
    parts += [ObservationPart(name, (1, 1, 1), "image", "uint8") for name in images]
    return Signature(tuple(parts), (ActionPart("torque", -1, 1),), 0.05)


def together(*images: str, vector: bool = True) -> Source:
    return Source(
        Assembly(signature_of(images, vector), together=True), NUMBERS if vector else None
    )


def newest(*images: str, vector: bool = True) -> Source:
    return Source(
        Assembly(signature_of(images, vector), together=False), NUMBERS if vector else None
    )


def values(observation: Observation | None) -> dict[str, int]:
    """The images, each by its one pixel."""
    assert observation is not None
    return {
        name: int(part.item()) for name, part in observation.parts.items() if name != "observation"
    }


class TestVectorAlone:
    @pytest.mark.parametrize("make", [together, newest])
    def test_passes_as_it_comes(self, make: Callable[..., Source]) -> None:
        source, before = make(), 0
        for stamp_ns, first in ((5, True), (9, False), (9, False), (3, False)):
            observation = source.vector(stamp_ns, first=first)
            assert observation is not None
            assert [*observation.parts] == ["observation"]
            np.testing.assert_array_equal(observation.parts["observation"], NUMBERS)
            assert (observation.stamp_ns, observation.first) == (stamp_ns, first)
            repeated = before == stamp_ns and make is newest  # it is as old as it was
            assert observation.received_s == source.now_s - repeated
            before = stamp_ns

    @pytest.mark.parametrize("make", [together, newest])
    def test_without_a_stamp_it_has_that_of_its_arrival(self, make: Callable[..., Source]) -> None:
        observation = make().vector(None)
        assert observation is not None
        assert observation.stamp_ns == 101 * 10**9


class TestTogether:
    @pytest.mark.parametrize("order", list(itertools.permutations(["vector", "left", "right"])))
    def test_is_complete_with_the_last_part_whatever_the_order(
        self, order: tuple[str, ...]
    ) -> None:
        source = together("left", "right")
        found: list[Observation | None] = []
        for part in order:
            found.append(
                source.vector(7, first=True) if part == "vector" else source.image(3, 7, part)
            )
        assert found[:2] == [None, None]
        assert values(found[2]) == {"left": 3, "right": 3}
        assert found[2] is not None
        assert (found[2].stamp_ns, found[2].first) == (7, True)
        assert found[2].received_s == source.now_s
        np.testing.assert_array_equal(found[2].parts["observation"], NUMBERS)

    def test_parts_of_different_stamps_are_not_joined(self) -> None:
        source = together("left")
        source.image(1, 10)
        assert source.vector(20) is None
        assert source.image(3, 30) is None
        assert values(source.vector(30)) == {"left": 3}

    def test_repetition_is_passed_on_once_with_the_vector_and_is_not_decoded_again(self) -> None:
        source = together("left")
        source.vector(10)
        assert values(source.image(1, 10)) == {"left": 1}
        assert source.image(9, 10) is None
        again = source.vector(10)
        assert values(again) == {"left": 1}
        assert again is not None
        assert again.received_s == source.now_s
        assert source.decoded == [1]

    def test_image_that_was_lost_completes_when_it_is_repeated(self) -> None:
        source = together("left", "right")
        source.vector(10)
        source.image(1, 10, "left")
        assert source.image(1, 10, "left") is None
        assert values(source.image(2, 10, "right")) == {"left": 1, "right": 2}
        assert source.vector(10) is not None

    def test_beginning_of_an_episode_is_not_forgotten_where_its_observation_stays_incomplete(
        self,
    ) -> None:
        source = together("left")
        assert source.vector(10, first=True) is None
        source.vector(20)
        observation = source.image(1, 20)
        assert observation is not None and observation.first
        source.vector(30)
        observation = source.image(1, 30)
        assert observation is not None and not observation.first

    def test_label_is_waited_for_where_there_are_no_numbers(self) -> None:
        source = together("left", vector=False)
        assert source.image(1, 10) is None
        observation = source.vector(10, first=True, episode=4)
        assert values(observation) == {"left": 1}
        assert observation is not None and observation.first
        assert observation.episode == 4
        assert "observation" not in observation.parts

    def test_part_without_a_stamp_is_refused(self) -> None:
        source = together("left")
        for part in (source.vector, lambda stamp_ns: source.image(1, stamp_ns)):
            with pytest.raises(UserError, match="found no stamp, expected one: with the trigger"):
                part(None)

    def test_image_that_does_not_follow_the_vector_is_lacking(self) -> None:
        source = together("left", "right")
        assert source.lacking(9) == []  # nothing was shown yet
        source.vector(10)
        source.image(1, 10, "left")
        assert source.lacking(-0.6) == []
        assert source.lacking(0.1) == ["right"]
        source.vector(10)  # repeated: it is no news
        assert source.lacking(0.1) == ["right"]
        source.image(1, 10, "right")
        assert source.lacking(9) == []
        source.image(2, 20, "left")  # the last of an episode, which is not shown
        assert source.lacking(9) == []
        source.vector(30)
        assert source.lacking(0.6) == ["left", "right"]


class TestNewest:
    def test_each_part_that_arrives_renews_the_observation(self) -> None:
        source = newest("left", "right")
        assert source.vector(10) is None
        assert source.image(1, 11, "left") is None
        observation = source.image(2, 12, "right")
        assert values(observation) == {"left": 1, "right": 2}
        for stamp_ns in (20, 30):
            observation = source.vector(stamp_ns)
            assert values(observation) == {"left": 1, "right": 2}
            assert observation is not None
            assert observation.stamp_ns == stamp_ns
        assert values(source.image(3, 25, "left")) == {"left": 3, "right": 2}

    def test_is_as_old_as_its_oldest_part(self) -> None:
        source = newest("left")  # the vector at 101 s, the image at 102 s
        source.vector(10)
        source.image(1, 10)
        for stamp_ns in (20, 30, 40):
            observation = source.vector(stamp_ns)
            assert observation is not None
            assert observation.received_s == 102
        observation = source.image(2, 50)
        assert observation is not None
        assert observation.received_s == 105

    def test_stamp_is_the_newest_and_that_of_the_label_where_an_episode_begins(self) -> None:
        source = newest("left")
        source.image(1, 90)
        observation = source.vector(80)
        assert observation is not None and observation.stamp_ns == 90
        observation = source.vector(81, first=True)
        assert observation is not None and observation.first and observation.stamp_ns == 81
        observation = source.image(1, 95)
        assert observation is not None and not observation.first and observation.stamp_ns == 95

    def test_images_alone_need_no_label_but_heed_it(self) -> None:
        source = newest("left", vector=False)
        observation = source.image(1, None)
        assert values(observation) == {"left": 1}
        assert observation is not None
        assert "observation" not in observation.parts
        assert observation.stamp_ns == 101 * 10**9
        observation = source.vector(5, first=True)
        assert observation is not None and observation.first
        assert "observation" not in observation.parts
        assert observation.received_s == 101  # the label does not make the image newer

    def test_an_observation_stays_what_it_was_when_newer_parts_come(self) -> None:
        source = newest("left")
        source.image(1, 10)
        kept = source.vector(10)
        source.assembly.take_vector(2 * NUMBERS, 20, source.now_s)
        source.image(2, 20)
        assert values(kept) == {"left": 1}
        assert kept is not None
        np.testing.assert_array_equal(kept.parts["observation"], NUMBERS)

    def test_a_frame_is_decoded_when_it_is_asked_for_and_once(self) -> None:
        source = newest("left")
        source.image(1, 10)
        source.vector(11)
        kept = source.image(2, 20)
        again = source.vector(21)
        assert source.decoded == []
        assert values(kept) == values(again) == {"left": 2}
        assert source.decoded == [2]

    def test_parts_that_are_old_or_never_came_are_lacking(self) -> None:
        source = newest("left", "right")
        assert source.lacking(0) == ["observation", "left", "right"]
        source.image(1, 10, "left")
        source.vector(11)
        assert source.lacking(0) == ["left", "right"]
        assert source.lacking(0, limit_s=1.5) == ["right"]
        assert newest("left", vector=False).lacking(0) == ["left"]

    def test_part_that_repeats_its_stamp_is_as_old_as_that_was_first_said(self) -> None:
        source = newest("left", "right")
        source.image(1, 10, "left")
        source.image(2, 10, "right")
        source.vector(10)
        first = source.now_s - 2
        for _ in range(3):
            again = source.vector(11)
            assert source.image(7, 10, "left") is None
        assert again is not None
        assert again.received_s == first
        assert values(again) == {"left": 1, "right": 2}
        assert source.lacking(0, limit_s=4.5) == ["observation", "left", "right"]
        fresh = source.vector(12)
        assert fresh is not None and fresh.received_s == first
        assert source.lacking(0, limit_s=4.5) == ["left", "right"]

    def test_part_without_a_stamp_is_never_a_repetition(self) -> None:
        source = newest()
        for _ in range(3):
            observation = source.vector(None)
            assert observation is not None and observation.received_s == source.now_s
