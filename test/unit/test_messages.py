"""Messages: what goes in comes out, and what is malformed is refused with a reason."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
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
from planet_ros.messages.images import image_message, image_stamp_ns, read_image
from planet_ros.messages.steps import read_step, step_message
from planet_ros.messages.vectors import (
    Label,
    read_label,
    read_vector,
    stamp_text,
    vector_message,
    vector_of,
)
from planet_ros.ros.types import make

STAMPS = st.integers(min_value=0, max_value=2**63 - 1)
"""Of a clock in nanoseconds; today's is about 2**60, more than a float64 holds exactly."""


def vectors(**elements: Any) -> st.SearchStrategy[Any]:
    return hnp.arrays(np.float32, st.integers(0, 20), elements=st.floats(width=32, **elements))


FINITE = vectors(allow_nan=False, allow_infinity=False)


def over_the_wire(message: Any) -> Any:
    return deserialize_message(serialize_message(message), type(message))


@given(values=FINITE, stamp_ns=STAMPS, episode=st.integers(0, 10**9), index=st.integers(0, 10**9))
def test_vector_comes_back_as_it_was_sent(
    values: Any, stamp_ns: int, episode: int, index: int
) -> None:
    message = vector_message(make, "observation", values, stamp_ns, episode=episode, index=index)
    vector = read_vector(over_the_wire(message))
    np.testing.assert_array_equal(vector.values, values)
    assert vector.values.dtype == np.float32
    assert vector.label.stamp_ns == stamp_ns
    assert vector.label.tags == {"episode": str(episode), "index": str(index)}
    assert read_label(message) == vector.label


@given(
    index=st.integers(0, 2**53),
    observation=FINITE,
    action=FINITE,
    reward=st.floats(width=32, allow_nan=False, allow_infinity=False),
    terminated=st.booleans(),
    truncated=st.booleans(),
    stamp_ns=STAMPS,
)
def test_step_comes_back_as_it_was_sent(**fields: Any) -> None:
    vector = fields["observation"]
    fields["observation"] = {"observation": vector} if len(vector) else {}
    found = read_step(over_the_wire(step_message(make, Step(**fields))))
    assert found.observation.keys() == fields["observation"].keys()
    for values, sent in ((vector_of(found.observation), vector), (found.action, fields["action"])):
        np.testing.assert_array_equal(values, sent)
        assert values.dtype == np.float32
    for name in ("index", "reward", "terminated", "truncated", "stamp_ns"):
        assert getattr(found, name) == fields[name]
        assert type(getattr(found, name)) is type(fields[name])


@given(STAMPS)
def test_stamp_has_nine_decimals_that_a_person_can_read(stamp_ns: int) -> None:
    seconds, decimals = stamp_text(stamp_ns).split(".")
    assert len(decimals) == 9
    assert int(seconds + decimals) == stamp_ns


def test_label_is_as_documented() -> None:
    message = vector_message(
        make, "observation", float32([1, 2]), 1_250_000_000, episode=3, index=24
    )
    (dimension,) = message.layout.dim
    assert dimension.label == "observation stamp=1.250000000 episode=3 index=24"
    assert (dimension.size, dimension.stride) == (2, 2)
    assert list(message.data) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("label", "stamp_ns"),
    [
        ("action", None),
        ("", None),
        ("observation stamp=1.5", 1_500_000_000),
        ("observation stamp=7", 7_000_000_000),
        ("observation stamp=0.000000001999", 1),
        ("observation stamp=", None),
        ("observation stamp=nan", None),
        ("observation stamp=soon", None),
        ("observation stamp=1.5e3", None),
        ("stamp=2.0 observation", 2_000_000_000),
        ("observation stamp=-1.25", -750_000_000),  # as seconds and nanoseconds are split
        ("observation stamp=" + "9" * 300, None),
    ],
)
def test_stamp_is_read_from_any_label_or_is_none(label: str, stamp_ns: int | None) -> None:
    message = Float64MultiArray(data=[1.0])
    message.layout.dim = [MultiArrayDimension(label=label, size=1, stride=1)]
    vector = read_vector(message)
    assert vector.label.stamp_ns == stamp_ns
    np.testing.assert_array_equal(vector.values, [1])


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("17", 17),
        ("", None),
        ("-1", None),
        ("1.0", None),
        ("\u0663", None),
        ("9" * 99, None),
    ],
)
def test_count_is_a_natural_number_or_none(text: str, count: int | None) -> None:
    label = Label(tags={"episode": text})
    assert label.count("episode") == count
    assert label.count("index") is None


@given(st.text("observation stamp=.-+_:e\n0123456789\u0663", max_size=30))
def test_no_label_makes_a_reader_fail(text: str) -> None:
    message = Float64MultiArray(data=[1.0])
    label = f"observation stamp={text}"
    message.layout.dim = [MultiArrayDimension(label=label, size=1, stride=1)]
    np.testing.assert_array_equal(read_vector(message).values, [1])


def test_message_without_a_layout_is_a_vector_without_a_stamp() -> None:
    vector = read_vector(Float64MultiArray(data=[0.5, -2.0]))
    np.testing.assert_array_equal(vector.values, float32([0.5, -2]))
    assert vector.label == Label()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, -1e39])
@pytest.mark.parametrize("size", [None, 3])
def test_vector_with_a_number_that_is_not_finite_as_float32_is_refused(
    value: float, size: int | None
) -> None:
    with pytest.raises(
        UserError, match=rf"^vector: found {re.escape(f'{value:g}')} at 1, expected 3 f"
    ):
        read_vector(Float64MultiArray(data=[0.0, value, math.nan]), size)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_vector_of_another_size_than_expected_is_refused(size: int) -> None:
    with pytest.raises(UserError, match=f"found 2 numbers, expected {size} finite numbers"):
        read_vector(Float64MultiArray(data=[0.0, math.nan]), size)


def test_label_is_read_whatever_the_numbers_are() -> None:
    message = vector_message(make, "observation", float32([math.nan]), 5, index=0)
    assert read_label(message).count("index") == 0


def a_step() -> Float64MultiArray:
    seen = {"observation": float32([1, 2, 3])}
    return step_message(make, Step(3, seen, float32([4, 5]), -0.5, True, False, 1_500_000_000))


def parts_of(message: Float64MultiArray) -> list[tuple[str, list[float]]]:
    data, parts = list(message.data), []
    for dimension in message.layout.dim:
        parts.append((dimension.label, data[: dimension.size]))
        data = data[dimension.size :]
    return parts


PARTS = [label for label, _ in parts_of(a_step())]
REQUIRED = [label for label in PARTS if label != "environment_steps"]


def message_of(parts: list[tuple[str, list[float]]]) -> Float64MultiArray:
    message = Float64MultiArray(data=[value for _, values in parts for value in values])
    message.layout.dim = [
        MultiArrayDimension(label=label, size=len(values), stride=len(values))
        for label, values in parts
    ]
    return message


def with_part(label: str, values: list[float]) -> Float64MultiArray:
    return message_of(
        [(name, values if name == label else old) for name, old in parts_of(a_step())]
    )


def test_parts_of_a_step_may_come_in_any_order_with_others_between() -> None:
    parts = [("wind", [7.0, 8.0]), *reversed(parts_of(a_step())), ("mood", [])]
    found = read_step(message_of(parts))
    np.testing.assert_array_equal(found.observation["observation"], [1, 2, 3])
    np.testing.assert_array_equal(found.action, [4, 5])
    assert (found.index, found.reward, found.stamp_ns) == (3, -0.5, 1_500_000_000)
    assert (found.terminated, found.truncated) == (True, False)


@pytest.mark.parametrize("repeat", [None, 1, 4])
def test_steps_of_the_environment_are_one_unless_it_is_said(repeat: int | None) -> None:
    parts = [(label, values) for label, values in parts_of(a_step()) if label in REQUIRED]
    if repeat is not None:
        parts.append(("environment_steps", [float(repeat)]))
    assert read_step(message_of(parts)).environment_steps == (repeat or 1)


@pytest.mark.parametrize("part", REQUIRED)
def test_step_that_lacks_a_part_is_refused(part: str) -> None:
    parts = [(label, values) for label, values in parts_of(a_step()) if label != part]
    with pytest.raises(UserError, match=rf"no part \['{part}'\] in the layout, found \['"):
        read_step(message_of(parts))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_step_with_a_number_that_is_not_finite_is_refused(part: str, value: float) -> None:
    size = len(dict(parts_of(a_step()))[part])
    with pytest.raises(UserError, match=f"found {part} .*expected finite numbers"):
        read_step(with_part(part, [0.0] * (size - 1) + [value]))


SCALARS = {part: 1 for part in PARTS if part not in ("observation", "action")} | {"stamp": 2}


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("index", [-1.0]),
        ("index", [1.5]),
        ("index", [1e30]),
        ("stamp", [-1.0, 0.0]),
        ("stamp", [1e30, 0.0]),
        ("stamp", [0.0, 1e9]),
        ("stamp", [0.0, 0.5]),
        ("environment_steps", [-1.0]),
        ("environment_steps", [1e9]),
    ],
)
def test_step_with_a_count_that_cannot_be_is_refused(part: str, values: list[float]) -> None:
    with pytest.raises(UserError, match=f"step: found {part} .*, expected a whole number from 0"):
        read_step(with_part(part, values))


@pytest.mark.parametrize(
    "part",
    list(SCALARS),
)
@pytest.mark.parametrize("change", [-1, 1])
def test_step_with_a_part_of_the_wrong_size_is_refused(part: str, change: int) -> None:
    size = SCALARS[part] + change
    with pytest.raises(
        UserError, match=f"found {size} numbers of {part}, expected {SCALARS[part]}"
    ):
        read_step(with_part(part, [0.0] * size))


@pytest.mark.parametrize("part", ["observation", "action"])
def test_step_with_a_number_too_large_for_the_model_is_refused(part: str) -> None:
    with pytest.raises(UserError, match=f"found {part}"):
        read_step(with_part(part, [1e300, 0.0]))


def shorter(message: Float64MultiArray) -> None:
    message.data = list(message.data)[:-1]


def longer(message: Float64MultiArray) -> None:
    message.data = [*message.data, 0.0]


def empty(message: Float64MultiArray) -> None:
    message.data = []


def bare(message: Float64MultiArray) -> None:
    message.layout.dim = []


def huge(message: Float64MultiArray) -> None:
    message.layout.dim[2].size = 2**32 - 1


@pytest.mark.parametrize("damage", [shorter, longer, empty, bare, huge])
def test_step_whose_sizes_do_not_add_up_is_refused(
    damage: Callable[[Float64MultiArray], None],
) -> None:
    message = a_step()
    damage(message)
    with pytest.raises(UserError, match=r"the layout names \d+ numbers, found \d+ in data"):
        read_step(message)


def test_message_of_nothing_is_no_step() -> None:
    with pytest.raises(UserError, match="no part"):
        read_step(Float64MultiArray())


@given(
    image=hnp.arrays(
        np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))
    ),
    stamp_ns=st.integers(1, 2**31 * 10**9 - 1),
)
def test_image_comes_back_as_it_was_sent(image: Any, stamp_ns: int) -> None:
    message = over_the_wire(image_message(make, image, stamp_ns))
    height, width, channels = image.shape
    assert (message.height, message.width, message.step) == (height, width, width * channels)
    assert message.encoding == {1: "mono8", 3: "rgb8"}[channels]
    np.testing.assert_array_equal(read_image(message), image)
    assert read_image(message).dtype == np.uint8
    assert image_stamp_ns(message) == stamp_ns


def test_image_of_a_view_is_sent_in_its_order() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3).transpose(1, 0, 2)[:, :, ::-1]
    np.testing.assert_array_equal(read_image(image_message(make, image, 0)), image)


def test_image_without_a_stamp_has_none() -> None:
    assert image_stamp_ns(Image()) is None


RED, GREEN, BLUE = 11, 22, 33


@pytest.mark.parametrize("padding", [0, 1, 5])
@pytest.mark.parametrize(
    ("encoding", "pixel", "expected"),
    [
        ("mono8", [RED], [RED]),
        ("8UC1", [RED], [RED]),
        ("rgb8", [RED, GREEN, BLUE], [RED, GREEN, BLUE]),
        ("bgr8", [BLUE, GREEN, RED], [RED, GREEN, BLUE]),
        ("8UC3", [BLUE, GREEN, RED], [RED, GREEN, BLUE]),
        ("rgba8", [RED, GREEN, BLUE, 255], [RED, GREEN, BLUE]),
        ("bgra8", [BLUE, GREEN, RED, 255], [RED, GREEN, BLUE]),
    ],
)
def test_every_encoding_is_read_with_and_without_padding(
    encoding: str, pixel: list[int], expected: list[int], padding: int
) -> None:
    # Each pixel differs from the others by its place.
    place = 40 * np.arange(6).reshape(3, 2, 1)
    rows = (place + pixel).astype(np.uint8).reshape(3, -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    message = Image(height=3, width=2, step=padded.shape[1], encoding=encoding)
    message.data = padded.tobytes() + b"more"
    found = read_image(over_the_wire(message))
    np.testing.assert_array_equal(found, (place + expected).astype(np.uint8))


def damaged(**fields: Any) -> Image:
    message = image_message(make, np.zeros((3, 2, 3), np.uint8), 5)
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (damaged(encoding="yuv422"), "found the encoding 'yuv422', expected one of ['mono8', "),
        (damaged(encoding="mono16"), "found the encoding 'mono16'"),
        (damaged(encoding=""), "found the encoding ''"),
        (damaged(step=5), "found rows of 5 bytes (step), expected at least 6 for 2 pixels of rgb8"),
        (damaged(step=0), "found rows of 0 bytes"),
        (damaged(data=bytes(17)), "found 17 bytes of data, expected 18 (step × height)"),
        (damaged(data=b""), "found 0 bytes of data"),
        (damaged(step=7), "found 18 bytes of data, expected 21"),
        (damaged(height=0), "found 0 × 2 pixels, expected at least 1 × 1"),
        (damaged(width=0), "found 3 × 0 pixels"),
        (damaged(height=2**32 - 1), "found 18 bytes of data, expected 25769803770"),
        (Image(), "found the encoding ''"),
    ],
)
def test_image_that_cannot_be_read_is_refused_with_the_reason(message: Image, found: str) -> None:
    with pytest.raises(UserError) as caught:
        read_image(over_the_wire(message))
    assert str(caught.value).startswith("image: ")
    assert found in str(caught.value)
