"""Messages: what goes in comes out, and what is malformed is refused with a reason."""

from __future__ import annotations

import json
import math
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

pytest.importorskip("rclpy")

from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Float64MultiArray, MultiArrayDimension, String

from planet_ros.data import ActionPart, ObservationPart, Signature, Step
from planet_ros.errors import UserError
from planet_ros.messages.announcements import MAX_CHARACTERS, Announcement
from planet_ros.messages.fields import MAX_LABEL, MAX_LENGTH, shortened
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
from planet_ros.ros.topics import check_topics
from planet_ros.ros.types import make, message_class

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
        make, "observation", np.float32([1, 2]), 1_250_000_000, episode=3, index=24
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
    np.testing.assert_array_equal(vector.values, np.float32([0.5, -2]))
    assert vector.label == Label()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, -1e39])
@pytest.mark.parametrize("size", [None, 3])
def test_vector_with_a_number_that_is_not_finite_as_float32_is_refused(
    value: float, size: int | None
) -> None:
    with pytest.raises(UserError, match=r"^vector: found -?(nan|inf) at 1, expected 3 finite num"):
        read_vector(Float64MultiArray(data=[0.0, value, math.nan]), size)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_vector_of_another_size_than_expected_is_refused(size: int) -> None:
    with pytest.raises(UserError, match=f"found 2 numbers, expected {size} finite numbers"):
        read_vector(Float64MultiArray(data=[0.0, math.nan]), size)


def test_label_is_read_whatever_the_numbers_are() -> None:
    message = vector_message(make, "observation", np.float32([math.nan]), 5, index=0)
    assert read_label(message).count("index") == 0


def a_step() -> Float64MultiArray:
    seen = {"observation": np.float32([1, 2, 3])}
    return step_message(make, Step(3, seen, np.float32([4, 5]), -0.5, True, False, 1_500_000_000))


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


def signature_of(*images: tuple[str, int], vector: str = "observation") -> Signature:
    parts = [ObservationPart(vector, (2,))]
    parts += [ObservationPart(name, (8, 8, n), "image", "uint8") for name, n in images]
    return Signature(tuple(parts), (ActionPart("torque", -1, 1),), 0.05)


@pytest.mark.parametrize(
    ("name", "channels", "found"),
    [
        ("step", 1, "image 'step': is the name of another topic"),
        ("model", 3, "image 'model': is the name of another topic"),
        ("joint_states", 3, "is the name of another topic"),
        ("my eye", 1, "image 'my eye': cannot be the name of a topic"),
        ("1st", 1, "cannot be the name of a topic"),
        ("image", 4, "image 'image': found 4 channels, expected 1 (grey) or 3 (RGB)"),
    ],
)
def test_image_that_cannot_have_a_topic_is_refused(name: str, channels: int, found: str) -> None:
    with pytest.raises(UserError) as caught:
        check_topics(signature_of(("fine", 1), (name, channels)))
    assert found in str(caught.value)


def test_images_may_be_called_as_topics_are() -> None:
    check_topics(signature_of(("image", 1), ("camera/front", 3)))


def test_vector_that_has_no_topic_is_refused() -> None:
    with pytest.raises(UserError, match="vector 'arm': has no topic, expected one vector called"):
        check_topics(signature_of(vector="arm"))


# ── the same from wherever a message comes ───────────────────────────────────────────────────

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
    sent = vector_message(make, "observation", np.float32([1.5, -2]), 7, episode=1, index=0)
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
        lambda make: vector_message(make, "action", np.float32([0.1]), 3),
        lambda make: step_message(make, read_step(a_step())),
        lambda make: image_message(make, image, 9),
    ):
        assert write(bare) == plain(write(make), lambda values: values)


def test_type_that_is_not_installed_is_named() -> None:
    for name in ("std_msgs/msg/Strin", "nowhere_msgs/msg/String", "String", "", "../msg/x"):
        with pytest.raises(UserError, match=r"found the message type .*expected one"):
            make(name)
    assert message_class("std_msgs/msg/String") is String


# ── whatever a message holds ─────────────────────────────────────────────────────────────────

READERS = [read_vector, read_label, read_step, read_image, image_stamp_ns]
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=9)
    | st.sampled_from(["rgb8", "mono8", "stamp", "observation stamp=1", *PARTS])
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

    __getitem__ = __iter__


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


# ── announcements ────────────────────────────────────────────────────────────────────────────

DIGEST = "0123456789abcdef" * 4


def announced(**changed: Any) -> str:
    return json.dumps({"path": "/a/model", "hash": DIGEST, **changed})


@pytest.mark.parametrize(
    "path", ["/runs/pendulum/model", "/with space/ü/模型", 'quo"te', "/a" * 2048]
)
def test_announcement_comes_back_as_it_was_sent(path: str) -> None:
    sent = Announcement(Path(path), DIGEST)
    assert Announcement.read(over_the_wire(String(data=sent.to_text())).data) == sent


def test_announcement_may_have_other_keys_and_capitals() -> None:
    text = announced(hash=DIGEST.upper(), mood=["good"])
    assert Announcement.read(text) == Announcement(Path("/a/model"), DIGEST)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "found '', expected JSON"),
        ("garbage", "found 'garbage', expected JSON"),
        ("{}", "path: found a NoneType, expected a path"),
        ("[]", "found '[]', expected a JSON object"),
        ("7", "expected a JSON object"),
        ("null", "expected a JSON object"),
        ("[" * 2000, "… (2000 characters), expected JSON"),
        ('{"path":' * 2000, "(16000 characters), expected JSON"),
        ("9" * 20_000, "expected JSON"),
        (" " * (MAX_CHARACTERS + 1), f"expected at most {MAX_CHARACTERS} characters"),
        ('{"path": "/\\ud800", "hash": "x"}', "path: found '/\\ud800', expected a path"),
        (announced(path="/a\0b"), "path: found '/a\\x00b'"),
        (announced(path=""), "path: found ''"),
        (announced(path="/" * 5000), "… (5000 characters), expected a path of 1 to 4096"),
        (announced(path=["/a"]), "path: found a list"),
        (announced(hash=None), "hash: found a NoneType, expected the 64 hexadecimal digits"),
        (announced(hash="x"), "hash: found 'x'"),
        (announced(hash=DIGEST + "0"), "hash: found '0123"),
        (announced(hash=DIGEST[1:]), "hash: found '1234"),
        (announced(hash=DIGEST[:-1] + "\n"), "hash: found '0123"),
        (announced(hash=int("1" * 64)), "hash: found a int"),
    ],
)
def test_announcement_that_is_none_is_refused_in_few_words(text: str, found: str) -> None:
    with pytest.raises(UserError) as caught:
        Announcement.read(text)
    assert found in str(caught.value)
    assert 'announced as {"path": "/folder' in str(caught.value)
    assert len(str(caught.value)) < 600


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    st.text(st.characters(codec=None, exclude_categories=()))
    | st.text('{}[]":,\\ud80 0apthsx')
    | JSON.map(json.dumps)
    | st.fixed_dictionaries({}, optional={"path": JSON, "hash": JSON | st.just(DIGEST)}).map(
        json.dumps
    )
)
def test_any_text_is_an_announcement_or_a_user_error(text: str) -> None:
    try:
        found = Announcement.read(text)
    except UserError as error:
        assert len(str(error)) < 1000
        str(error).encode()  # it can be printed
    else:
        found.path.exists()  # the file system can be asked
        assert found.digest == DIGEST
