"""Readers of messages: the same parts from every kind of message, and no message does harm."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from arrays import float32
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

pytest.importorskip("rclpy")

from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Float64MultiArray, MultiArrayDimension

from planet_ros.data import Step
from planet_ros.errors import UserError
from planet_ros.messages.fields import MAX_LABEL, MAX_LENGTH, shortened
from planet_ros.messages.images import image_message, image_stamp_ns, read_image
from planet_ros.messages.steps import read_step, step_message
from planet_ros.messages.vectors import read_label, read_vector, vector_message
from planet_ros.ros.types import make


def over_the_wire(message: Any) -> Any:
    return deserialize_message(serialize_message(message), type(message))


def a_step() -> Float64MultiArray:
    seen = {"observation": float32([1, 2, 3])}
    return step_message(make, Step(3, seen, float32([4, 5]), -0.5, True, False, 1_500_000_000))


HOLDERS: list[Callable[[Any], Any]] = [
    lambda values: array("d", values),
    lambda values: np.array(values, np.float64),
    list,
    tuple,
]
BYTES: list[Callable[[bytes], Any]] = [
    bytes,
    bytearray,
    list,
    tuple,
    lambda data: array("B", data),
    lambda data: np.frombuffer(data, np.uint8),
]


def plain(message: Any, hold: Callable[[Any], Any]) -> Any:
    """A message as one that rclpy knows nothing of, such as a bag reader's."""
    fields = getattr(message, "get_fields_and_field_types", None)
    if isinstance(message, list):
        return [plain(one, hold) for one in message]
    if fields is None:
        return hold(message) if isinstance(message, array) else message
    return SimpleNamespace(**{name: plain(getattr(message, name), hold) for name in fields()})


@pytest.mark.parametrize("hold", HOLDERS)
def test_vectors_and_steps_are_the_same_from_every_kind_of_message(
    hold: Callable[[Any], Any],
) -> None:
    sent = vector_message(make, "observation", float32([1.5, -2]), 7, episode=1, index=0)
    ours, theirs = read_vector(over_the_wire(sent), 2), read_vector(plain(sent, hold), 2)
    np.testing.assert_array_equal(ours.values, theirs.values)
    assert ours.values.dtype == theirs.values.dtype
    assert ours.label == theirs.label == read_label(plain(sent, hold))

    one, other = read_step(over_the_wire(a_step())), read_step(plain(a_step(), hold))
    assert one.layout == other.layout
    for name in ("index", "reward", "terminated", "truncated", "stamp_ns", "environment_steps"):
        assert getattr(one, name) == getattr(other, name)
    np.testing.assert_array_equal(one.observation["observation"], other.observation["observation"])
    np.testing.assert_array_equal(one.action, other.action)


def test_an_image_can_bear_the_name_of_its_camera() -> None:
    image = np.zeros((5, 4, 3), np.uint8)
    assert image_message(make, image, 0, frame_id="image").header.frame_id == "image"
    assert image_message(make, image, 0).header.frame_id == ""


@pytest.mark.parametrize("hold", BYTES)
def test_images_are_the_same_from_every_kind_of_message(hold: Callable[[bytes], Any]) -> None:
    image = np.random.default_rng(0).integers(256, size=(5, 4, 3), dtype=np.uint8)
    sent = image_message(make, image, 1_500_000_001)
    found = plain(sent, lambda data: hold(data.tobytes()))
    np.testing.assert_array_equal(read_image(over_the_wire(sent)), image)
    np.testing.assert_array_equal(read_image(found), image)
    assert image_stamp_ns(found) == image_stamp_ns(sent) == 1_500_000_001


def test_messages_are_written_alike_without_ros() -> None:
    def bare(type_name: str) -> Any:
        return plain(make(type_name), lambda values: values)

    image = np.arange(6, dtype=np.uint8).reshape(2, 1, 3)
    for write in (
        lambda make: vector_message(make, "action", float32([0.1]), 3),
        lambda make: step_message(make, read_step(a_step())),
        lambda make: image_message(make, image, 9),
    ):
        assert write(bare) == plain(write(make), lambda values: values)


# ── whatever a message holds ─────────────────────────────────────────────────────────────────

READERS: list[Callable[[Any], object]] = [
    read_vector,
    read_label,
    read_step,
    read_image,
    image_stamp_ns,
]
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=9)
    | st.sampled_from(["rgb8", "mono8", "stamp", "observation stamp=1", "observation", "action"])
    | hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(max_dims=2, max_side=3)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


def namespaces(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return ANYTHING | st.fixed_dictionaries({}, optional=fields).map(
        lambda found: SimpleNamespace(**found)
    )


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::numpy.exceptions.ComplexWarning")
@given(
    message=namespaces(
        layout=namespaces(dim=st.lists(namespaces(label=ANYTHING, size=ANYTHING), max_size=3)),
        header=namespaces(stamp=namespaces(sec=ANYTHING, nanosec=ANYTHING)),
        data=ANYTHING,
        encoding=ANYTHING,
        height=ANYTHING,
        width=ANYTHING,
        step=ANYTHING,
    )
)
def test_any_message_gives_a_value_or_a_user_error_of_a_short_text(message: Any) -> None:
    for read in READERS:
        try:
            read(message)
        except UserError as error:
            assert len(str(error)) < 1000


class Huge(list):  # type: ignore[type-arg]
    """So many numbers that looking at them would take for ever."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Any:
        raise AssertionError("looked at")

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError("looked at")


def test_sizes_are_compared_before_a_number_is_looked_at() -> None:
    size = MAX_LENGTH + 1
    layout = SimpleNamespace(dim=[SimpleNamespace(label="observation", size=size)])
    message = SimpleNamespace(layout=layout, data=Huge(size))
    for read in (read_vector, read_step):
        with pytest.raises(UserError, match=f"found {size} numbers, expected at most {MAX_LENGTH}"):
            read(message)
    with pytest.raises(UserError, match=f"found {size} numbers, expected 3 finite numbers"):
        read_vector(message, 3)
    layout.dim = Huge(10**6)
    message.data = Huge(3)
    with pytest.raises(UserError, match="found 1000000 parts, expected at most 100"):
        read_step(message)
    wide = {"height": 2**16, "width": 2**16, "step": 2**16, "encoding": "mono8"}
    with pytest.raises(UserError, match="found 65536 × 65536 pixels, expected at most"):
        read_image(SimpleNamespace(**wide, data=Huge(2**32)))


def test_a_million_damaged_numbers_are_refused_at_once_and_in_few_words() -> None:
    data = array("d", bytes(8 * MAX_LENGTH))
    data[-1] = math.nan
    message = Float64MultiArray()
    message.layout.dim = [MultiArrayDimension(label="observation", size=MAX_LENGTH)]
    message.data = data
    began = time.process_time()
    for read in (read_vector, read_step):
        with pytest.raises(UserError) as caught:
            read(message)
        assert len(str(caught.value)) < 300
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("read", [read_label, read_vector, read_step])
def test_a_label_of_any_length_is_refused_in_few_words(read: Callable[[Any], Any]) -> None:
    message = a_step()
    message.layout.dim[0].label = "stamp" * MAX_LABEL
    with pytest.raises(UserError, match=r"found the label '(stamp){40}'… \(5000 char") as caught:
        read(message)
    assert len(str(caught.value)) < 400


def test_a_message_of_another_type_is_named() -> None:
    with pytest.raises(UserError, match=r"found a Image that cannot be read .*expected a std_msgs"):
        read_step(Image())


def test_texts_are_cut() -> None:
    assert shortened("short") == "short"
    assert shortened("x" * 5000) == "x" * 200 + "… (5000 characters)"


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (2, 2)])
def test_numbers_that_are_no_row_are_refused(shape: tuple[int, int]) -> None:
    numbers = np.zeros(shape)
    layout = SimpleNamespace(dim=[SimpleNamespace(label="observation", size=len(numbers))])
    for read in (read_vector, read_step):
        with pytest.raises(UserError, match=r"found numbers in the shape .*, expected a row"):
            read(SimpleNamespace(layout=layout, data=numbers))
