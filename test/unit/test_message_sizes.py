"""Sizes of messages, told from their bytes."""

from __future__ import annotations

import contextlib
import time
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy")

from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image, JointState, LaserScan
from std_msgs.msg import Float64MultiArray, MultiArrayDimension, String, UInt8MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from planet_ros.errors import UserError
from planet_ros.interface.document import ObservedPart
from planet_ros.interface.reading import PartReader
from planet_ros.messages.announcements import MAX_CHARACTERS, Announcement
from planet_ros.messages.compressed import COMPRESSED_TYPE, read_compressed
from planet_ros.messages.fields import MAX_LABEL, MAX_LENGTH, header_stamp_ns
from planet_ros.messages.images import IMAGE_TYPE, image_stamp_ns, read_image
from planet_ros.messages.sizes import OTHER_BYTES, TEXT_TYPE, bytes_in, check_bytes
from planet_ros.messages.steps import MAX_PARTS, read_step
from planet_ros.messages.vectors import VECTOR_TYPE, read_label, read_vector
from planet_ros.ros.subscriptions import decoded
from planet_ros.ros.types import make


def layout(parts: int, label: str = "x", numbers: int = 0) -> Float64MultiArray:
    message = Float64MultiArray(data=[0.0] * numbers)
    message.layout.dim = [MultiArrayDimension(label=label)] * parts
    return message


def image(frame_id: str = "eye", encoding: str = "mono8", size: int = 12) -> Image:
    message = Image(height=3, width=4, step=4, encoding=encoding, data=bytes(size))
    message.header.frame_id = frame_id
    return message


JOINT_TYPE, SCAN_TYPE = "sensor_msgs/msg/JointState", "sensor_msgs/msg/LaserScan"
TRAJECTORY_TYPE = "trajectory_msgs/msg/JointTrajectory"


def compressed(frame_id: str = "eye", form: str = "png", size: int = 12) -> CompressedImage:
    message = CompressedImage(format=form)
    message.header.frame_id = frame_id
    message.data = array("B", bytes(size))
    return message


def joints(count: int, name: str = "hinge") -> JointState:
    return JointState(name=[name] * count, position=[0.0] * count, velocity=[0.0] * count)


JOINT_PART = {"name": "joint", "topic": "t", "type": JOINT_TYPE, "fields": ["position[hinge]"]}
JOINT_READER = PartReader(ObservedPart.model_validate(JOINT_PART), make)

LARGEST: list[tuple[str, Any, int | None]] = [
    (TEXT_TYPE, String(data="€" * MAX_CHARACTERS), None),
    (VECTOR_TYPE, layout(MAX_PARTS, "€" * MAX_LABEL, 7), 7),
    (VECTOR_TYPE, layout(1, numbers=MAX_LENGTH), None),
    (VECTOR_TYPE, layout(0, numbers=0), 0),
    *((IMAGE_TYPE, image("f" * extra, "e" * (MAX_LABEL - extra)), None) for extra in range(5)),
    (IMAGE_TYPE, image("€" * MAX_LABEL, "€" * MAX_LABEL), None),
    (SCAN_TYPE, LaserScan(ranges=[0.0] * 8000, intensities=[0.0] * 8000), None),
]


@pytest.mark.parametrize(("kind", "message", "numbers"), LARGEST)
def test_what_a_reader_may_accept_is_not_too_large(
    kind: str, message: Any, numbers: int | None
) -> None:
    check_bytes(kind, serialize_message(message), numbers)


TOO_LARGE: list[tuple[str, Any, int | None, str]] = [
    (TEXT_TYPE, String(data="x" * 10**7), None, "found a message of 10000009 bytes"),
    (VECTOR_TYPE, layout(1, numbers=10**5), 3, "found a message of 800"),
    (VECTOR_TYPE, layout(1, "x" * 10**7), None, "found a message of 10000"),
    (VECTOR_TYPE, layout(MAX_PARTS + 1), None, "found a layout of 101 parts, expected at most 100"),
    (VECTOR_TYPE, layout(10**5), None, "found a layout of 100000 parts"),
    (IMAGE_TYPE, image("x" * 10**6), None, "frame_id: found 1000001 bytes"),
    (JOINT_TYPE, JointState(name=[""] * 10**4), None, "found a message of 800"),
    (
        TRAJECTORY_TYPE,
        JointTrajectory(points=[JointTrajectoryPoint()] * 10**4),
        None,
        "found a message of 400",
    ),
    *(
        (IMAGE_TYPE, image("x" * pad, "x" * 10**6), None, "encoding: found 1000001 bytes")
        for pad in range(4)
    ),
    (COMPRESSED_TYPE, compressed(size=2**26), None, "found a message of 671"),
    (COMPRESSED_TYPE, compressed("x" * 10**6), None, "frame_id: found 1000001 bytes"),
    *(
        (COMPRESSED_TYPE, compressed("x" * pad, "x" * 10**6), None, "format: found 1000001 bytes")
        for pad in range(4)
    ),
    (JOINT_TYPE, joints(1, "x" * OTHER_BYTES), None, "found a message of 65"),
    (JOINT_TYPE, joints(10**5, ""), None, "found a message of 2400"),
]


@pytest.mark.parametrize(("kind", "message", "numbers", "reason"), TOO_LARGE)
def test_what_is_too_large_is_refused_without_being_read(
    kind: str, message: Any, numbers: int | None, reason: str
) -> None:
    data = serialize_message(message)
    began = time.perf_counter()
    with pytest.raises(UserError) as caught:
        check_bytes(kind, data, numbers)
    assert time.perf_counter() - began < 0.01
    assert str(caught.value).startswith(reason)


def test_numbers_are_read_in_the_order_of_bytes_that_the_message_says() -> None:
    data = bytearray(serialize_message(layout(MAX_PARTS + 1)))
    data[1] = 0
    data[4:8] = data[4:8][::-1]
    with pytest.raises(UserError, match="a layout of 101 parts"):
        check_bytes(VECTOR_TYPE, bytes(data))


WHOLE = {
    TEXT_TYPE: String(data=Announcement.to_text(Announcement(Path("/a"), "0" * 64))),
    VECTOR_TYPE: layout(2, "observation stamp=1.5 index=3", 4),
    IMAGE_TYPE: image(),
    JOINT_TYPE: JointState(name=["a", "b"], position=[1.0, 2.0]),
    TRAJECTORY_TYPE: JointTrajectory(
        joint_names=["a"], points=[JointTrajectoryPoint(positions=[1.0])]
    ),
}


def read(kind: str, message: Any) -> None:
    """All that any node does to a message before it believes it."""
    readers: dict[str, list[Any]] = {
        TEXT_TYPE: [lambda one: Announcement.read(one.data)],
        VECTOR_TYPE: [read_vector, read_label, read_step],
        IMAGE_TYPE: [read_image, image_stamp_ns],
        COMPRESSED_TYPE: [read_compressed, header_stamp_ns],
        JOINT_TYPE: [header_stamp_ns, lambda one: JOINT_READER.read(one, 1)],
        TRAJECTORY_TYPE: [image_stamp_ns],
    }
    for reader in readers[kind]:
        try:
            reader(message)
        except UserError as error:
            assert len(str(error)) < 1500


@pytest.mark.parametrize("kind", WHOLE)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_bytes_are_a_message_or_a_user_error(kind: str, data: st.DataObject) -> None:
    whole = serialize_message(WHOLE[kind])
    spot = st.tuples(st.integers(0, len(whole) - 1), st.binary(max_size=8))
    changed = bytearray(whole)
    for at, put in data.draw(st.lists(spot, max_size=4)):
        changed[at : at + len(put)] = put
    cut = data.draw(st.integers(0, len(changed)))
    for given_bytes in (bytes(changed), bytes(changed[:cut]), data.draw(st.binary(max_size=80))):
        try:
            message = decoded(kind, given_bytes)
        except UserError as error:
            assert len(str(error)) < 1500
        else:
            read(kind, message)


@given(st.binary(max_size=100))
def test_bytes_of_a_message_are_found_where_they_are(content: bytes) -> None:
    data = serialize_message(UInt8MultiArray(data=array("B", content)))
    assert bytes_in(data) == content
    big_endian = b"\0\0\0\0" + bytes(8) + len(content).to_bytes(4, "big") + content
    assert bytes_in(big_endian) == content


@given(st.binary(max_size=40))
def test_what_holds_no_bytes_is_refused(data: bytes) -> None:
    with contextlib.suppress(UserError):
        assert bytes_in(data).tobytes() in data


def test_bytes_that_are_not_as_many_as_is_said_or_have_a_layout_are_refused() -> None:
    data = serialize_message(UInt8MultiArray(data=array("B", bytes(8))))
    for changed in (data[:-1], data + bytes(4), data[:10]):
        with pytest.raises(UserError, match="as the message says"):
            bytes_in(changed)
    message = UInt8MultiArray(data=array("B", bytes(8)))
    message.layout.dim = [MultiArrayDimension(label="x")]
    with pytest.raises(UserError, match="found bytes with a layout"):
        bytes_in(serialize_message(message))
