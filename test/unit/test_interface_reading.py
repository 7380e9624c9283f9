"""Parts of an observation out of messages."""

from __future__ import annotations

import io
import math
import time
import zlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import plain_messages as plain
import pytest
from arrays import float32
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from planet_ros.errors import UserError
from planet_ros.interface.document import Goal, ObservedPart
from planet_ros.interface.reading import PartReader, Reading
from planet_ros.messages.compressed import read_compressed
from planet_ros.messages.vectors import vector_message

SECOND = 10**9


def part(*fields: Any, type_name: str = "sensor_msgs/msg/JointState", **rest: Any) -> ObservedPart:
    values = {"name": "joints", "topic": "joint_states", "type": type_name, "fields": list(fields)}
    return ObservedPart.model_validate({**values, **rest})


def reader(*fields: Any, **rest: Any) -> PartReader:
    return PartReader(part(*fields, **rest), plain.make)


def joint(position: float, stamp_s: float = 0.0) -> plain.JointState:
    message = plain.JointState(name=["other", "a"], position=[9.0, position])
    message.header.stamp = plain.Time(int(stamp_s), round(stamp_s % 1 * 1e9))
    return message


def read(reader: PartReader, message: Any, time_ns: int = 0) -> Reading:
    found = reader.read(message, time_ns)
    assert found is not None
    return found


def test_numbers_have_names_units_and_a_stamp() -> None:
    one = reader(
        {"path": "position[a]", "unit": "rad"}, {"path": "velocity[a, other]", "name": "v"}
    )
    found = one.signature_part
    assert (found.name, found.shape, found.role) == ("joints", (3,), "vector")
    assert [found.label(i) for i in range(3)] == ["position[a] [rad]", "v[a]", "v[other]"]
    message = joint(0.5, 1.25)
    message.velocity = [1.0, 2.0]
    reading = read(one, message)
    assert reading.values.dtype == np.float32
    assert reading.values.tolist() == [0.5, 2, 1]
    assert reading.stamp_ns == 1_250_000_000
    measured = {name: value.tolist() for name, value in reading.measured.items()}
    assert measured == {"position[a]": [0.5], "v": [2, 1], "v[a]": [2], "v[other]": [1]}
    assert one.sizes == {"position[a]": 1, "v": 2}
    assert set(one.names) == set(measured)


def test_scale_comes_before_clip_and_clip_before_the_encoding() -> None:
    one = reader({"path": "position[a]", "scale": 2.0, "clip": [-1, 1]})
    reading = read(one, joint(3.0))
    assert reading.values.tolist() == [1]
    assert reading.measured["position[a]"].tolist() == [6]


def test_angles_are_cosine_and_sine() -> None:
    one = reader({"path": "position[a, other]", "encoding": "angle", "unit": "rad"})
    names = [number.name for number in one.signature_part.numbers]
    assert names == ["cos position[a]", "sin position[a]", "cos position[other]",
                     "sin position[other]"]  # fmt: skip
    reading = read(one, joint(0.5))
    expected = [math.cos(0.5), math.sin(0.5), math.cos(9), math.sin(9)]
    np.testing.assert_allclose(reading.values, expected, rtol=1e-6)
    assert reading.measured["position[a, other]"].tolist() == [0.5, 9]


def imu(x: float, y: float, z: float, w: float) -> plain.Imu:
    return plain.Imu(orientation=plain.Quaternion(x, y, z, w))


@pytest.mark.parametrize("length", [1.0, -1.0, 3.0])
def test_rotations_are_columns_of_their_matrix(length: float) -> None:
    from scipy.spatial.transform import Rotation

    field = {"path": "orientation", "encoding": "quaternion"}
    one = reader(field, type_name="sensor_msgs/msg/Imu")
    rotation = Rotation.from_euler("zyx", [0.3, -1.1, 2.0])
    reading = read(one, imu(*(length * rotation.as_quat())))
    np.testing.assert_allclose(reading.values, rotation.as_matrix()[:, :2].T.ravel(), atol=1e-6)
    assert len(reading.measured["orientation"]) == 4


def test_yaw_is_the_rotation_about_z() -> None:
    from scipy.spatial.transform import Rotation

    one = reader({"path": "orientation", "encoding": "yaw"}, type_name="sensor_msgs/msg/Imu")
    for angle in (-3.0, 0.4, 2.5):
        reading = read(one, imu(*Rotation.from_euler("z", angle).as_quat()))
        np.testing.assert_allclose(reading.values, [math.cos(angle), math.sin(angle)], rtol=1e-5)
        np.testing.assert_allclose(reading.measured["orientation"], [angle])
    tilted = Rotation.from_euler("ZYX", [0.4, 0.3, -0.2])
    np.testing.assert_allclose(read(one, imu(*tilted.as_quat())).measured["orientation"], [0.4])


@pytest.mark.parametrize("encoding", ["yaw", "quaternion"])
def test_an_orientation_that_is_not_filled_in_is_refused(encoding: str) -> None:
    one = reader({"path": "orientation", "encoding": encoding}, type_name="sensor_msgs/msg/Imu")
    with pytest.raises(UserError, match="orientation: found a quaternion of length 0, expected 1"):
        one.read(imu(0, 0, 0, 0), 0)


# ── rates ────────────────────────────────────────────────────────────────────────────────────

RATE = {"path": "position[a]", "name": "v", "encoding": "rate"}


def rates(reader: PartReader, *messages: tuple[float, float]) -> list[float | None]:
    found = [reader.read(joint(position, at), 0) for position, at in messages]
    return [None if one is None else round(float(one.values[-1]), 6) for one in found]


def test_a_rate_is_the_difference_over_stamps() -> None:
    assert rates(reader(RATE), (0, 1), (1, 1.1), (1, 1.2), (0, 1.4)) == [None, 10, 0, -5]


def test_a_goal_that_has_just_come_stands_still() -> None:
    goal = {"topic": "target", "type": "sensor_msgs/msg/JointState", "fields": [RATE]}
    one = PartReader(Goal.model_validate(goal), plain.make)
    assert rates(one, (5, 1), (6, 1.1), (9, 99), (8, 99.1)) == [0, 10, 0, -10]


def test_a_rate_is_unknown_after_a_gap_or_a_jump_back_and_the_same_at_the_same_stamp() -> None:
    one = reader(RATE)
    assert rates(one, (0, 1), (1, 1.5), (7, 1.5), (1, 2), (2, 3.1), (2, 3.2)) == [
        None, 2, 2, -12, None, 0,
    ]  # fmt: skip
    assert rates(one, (2, 3.0), (3, 3.1)) == [None, 10]
    assert rates(reader(RATE, stale_after_s=0.2), (0, 1), (1, 1.3)) == [None, None]
    assert rates(PartReader(part(RATE), plain.make, 5.0), (0, 1), (8, 5)) == [None, 2]
    one.reset()
    assert rates(one, (3, 3.2)) == [None]
    assert rates(one, (3, 3.2)) == [None], "no rate yet, and no time has passed"


def test_an_angle_takes_the_short_way_round() -> None:
    wrapped = reader({**RATE, "wraps": True})
    assert rates(wrapped, (3.1, 1), (-3.1, 1.1))[1] == pytest.approx((2 * math.pi - 6.2) / 0.1)
    assert rates(reader(RATE), (3.1, 1), (-3.1, 1.1))[1] == pytest.approx(-62)


def test_without_stamps_the_time_of_arrival_counts() -> None:
    one = reader(RATE)
    assert one.read(joint(0), SECOND) is None
    assert read(one, joint(1), SECOND + SECOND // 2).values.tolist() == [2]
    assert one.read(joint(1, 2.0), 2 * SECOND) is None, "two clocks are not compared"


def test_a_refused_message_leaves_no_trace() -> None:
    one = reader("velocity[a]", RATE)
    messages = [joint(0, 1), joint(5, 1.05), joint(1, 1.1)]
    for message in messages:
        message.velocity = [0.0, 1.0]
    messages[1].velocity = [0.0, math.nan]
    assert one.read(messages[0], 0) is None
    with pytest.raises(UserError, match=r"joints: velocity\[a\]: found nan at 0, expected finite"):
        one.read(messages[1], 0)
    assert read(one, messages[2]).values.tolist() == pytest.approx([1, 10])


# ── what it refuses ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e39])
def test_numbers_that_are_not_finite_are_refused_with_their_place(value: float) -> None:
    one = reader({"path": "position[other, a]", "encoding": "angle"})
    with pytest.raises(UserError, match=r"position\[other, a\]: found .* at 1, expected finite"):
        one.read(joint(value), 0)
    with pytest.raises(UserError, match=r"at 0, expected finite"):
        reader({"path": "position[a]", "scale": 1e30}).read(joint(1e10), 0)


def test_a_field_keeps_its_length() -> None:
    one = reader({"path": "ranges[::2]", "size": 2}, type_name="sensor_msgs/msg/LaserScan")
    assert read(one, plain.LaserScan(ranges=[1.0, 2.0, 3.0])).values.tolist() == [1, 3]
    with pytest.raises(UserError, match="found 3 numbers, expected 2; a field keeps its length"):
        one.read(plain.LaserScan(ranges=[1.0] * 5), 0)


@pytest.mark.parametrize(
    ("field", "type_name", "said"),
    [
        ("position", "sensor_msgs/msg/JointState", "expected size beside the path"),
        ({"path": "position[a]", "size": 2}, "sensor_msgs/msg/JointState", "size 2, expected 1"),
        ({"path": "orientation", "size": 3}, "sensor_msgs/msg/Imu", "found size 3, expected 4"),
        ("orientation.q", "sensor_msgs/msg/Imu", "expected one of x, y, z, w"),
        ("header.frame_id", "sensor_msgs/msg/Imu", "header.frame_id: found the text '', expected"),
        ({"path": "position[a]", "encoding": "yaw"}, "sensor_msgs/msg/JointState", "found 1 numb"),
        ("data[0]", "nowhere_msgs/msg/Thing", "found the message type 'nowhere_msgs/msg/Thing'"),
    ],
)
def test_what_cannot_be_read_is_known_before_a_message_comes(
    field: Any, type_name: str, said: str
) -> None:
    with pytest.raises(UserError) as caught:
        reader(field, type_name=type_name)
    assert said in str(caught.value)


def test_numbers_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match=r"found 'v\[a\]' twice, expected another name"):
        reader({"path": "position[a, b]", "name": "v"}, {"path": "velocity[a]", "name": "v[a]"})


def test_the_label_of_a_vector_has_its_stamp() -> None:
    one = reader("data[0:2]", type_name="std_msgs/msg/Float64MultiArray")
    sent = vector_message(plain.make, "observation", float32([1, 2]), 1_500_000_000)
    assert read(one, sent).stamp_ns == 1_500_000_000
    assert read(one, plain.Float64MultiArray(data=[1.0, 2.0])).stamp_ns is None
    assert read(reader("data", type_name="std_msgs/msg/Bool"), plain.Bool(True)).stamp_ns is None


def test_a_goal_is_a_part_of_its_own_role() -> None:
    goal = Goal.model_validate(
        {
            "topic": "goal_pose",
            "type": "geometry_msgs/msg/PoseStamped",
            "fields": ["pose.position.x", "pose.position.y"],
        }
    )
    one = PartReader(goal, plain.make)
    assert (one.signature_part.name, one.signature_part.role) == ("goal", "goal")
    assert read(one, plain.PoseStamped()).values.tolist() == [0, 0]


# ── pictures ─────────────────────────────────────────────────────────────────────────────────


def camera(type_name: str = "sensor_msgs/msg/Image", **image: Any) -> PartReader:
    return reader(type_name=type_name, image={"height": 2, "width": 3, **image})


def depth(values: Any, encoding: str, big: bool = False) -> plain.Image:
    kind = {"16UC1": "u2", "32FC1": "f4"}[encoding]
    rows = np.array(values, (">" if big else "<") + kind)
    height, width = rows.shape
    data = np.frombuffer(rows.tobytes(), np.uint8)
    step = width * rows.itemsize
    return plain.Image(plain.Header(), height, width, encoding, int(big), step, data)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("encoding", "values"),
    [
        ("16UC1", [[0, 500, 1000], [2000, 3000, 60000]]),
        ("32FC1", [[math.nan, -math.inf, 1], [2, 3, math.inf]]),
    ],
)
def test_depth_is_grey_between_two_distances(encoding: str, values: Any, big: bool) -> None:
    one = camera(channels=1, range=[1, 3])
    assert one.signature_part.shape == (2, 3, 1)
    found = read(one, depth(values, encoding, big)).values
    assert found.dtype == np.uint8
    assert found[..., 0].tolist() == [[255, 0, 0], [128, 255, 255]]


def test_pictures_are_looked_at_at_once_and_those_of_depth_when_they_are_asked_for() -> None:
    damaged = plain.Image(plain.Header(), 2, 3, "rgb8", 0, 9, np.zeros(5, np.uint8))
    with pytest.raises(UserError, match="the frame was cut short"):
        camera().read(damaged, 0)
    with pytest.raises(UserError, match="found the encoding '16UC1'"):
        camera().read(depth([[1]], "16UC1"), 0)
    with pytest.raises(UserError, match=r"found the encoding 'rgb8', expected one of \['16UC1'"):
        _ = read(camera(channels=1, range=[0, 1]), damaged).values


def packed(picture: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind)
    return stream.getvalue()


def test_compressed_pictures_are_png_and_jpeg() -> None:
    pixels = np.random.default_rng(0).integers(256, size=(2, 3, 3), dtype=np.uint8)
    one = camera("sensor_msgs/msg/CompressedImage")
    data = packed(Image.fromarray(pixels), "PNG")
    sent = plain.CompressedImage(data=np.frombuffer(data, np.uint8))
    np.testing.assert_array_equal(read(one, sent).values, pixels)
    grey = packed(Image.fromarray(np.full((2, 3), 100, np.uint8)), "JPEG")
    found = read_compressed(SimpleNamespace(data=list(grey)))
    assert found.shape == (2, 3, 1) and abs(int(found[0, 0, 0]) - 100) < 3


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        )

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    packed = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (png(2**14, 2**11), "found 2048 × 16384 pixels, expected at most 16777216"),
        (png(2**30, 2**30), "cannot be decoded"),
        (png(100, 100)[:60], "cannot be decoded"),
        (b"", "found 0 bytes that cannot be decoded"),
        (packed(Image.new("RGB", (2, 2)), "GIF"), "expected PNG or JPEG"),
        (bytes(2**25 + 1), "found 33554433 bytes, expected at most"),
    ],
)
def test_pictures_that_are_damaged_or_bombs_are_refused_at_once(data: bytes, said: str) -> None:
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        read_compressed(SimpleNamespace(data=data))
    assert said in str(caught.value)
    assert time.process_time() - began < 0.2


def test_a_picture_needs_a_type_that_has_one() -> None:
    with pytest.raises(UserError, match=r"found the type sensor_msgs/msg/Imu for a picture"):
        camera("sensor_msgs/msg/Imu")
    with pytest.raises(UserError, match="for a picture with range, expected sensor_msgs/msg/Image"):
        camera("sensor_msgs/msg/CompressedImage", channels=1, range=[0, 1])


# ── whatever comes ───────────────────────────────────────────────────────────────────────────

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.binary(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
STAMPS = VALUES | st.builds(
    SimpleNamespace, stamp=VALUES | st.builds(SimpleNamespace, sec=VALUES, nanosec=VALUES)
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(
    messages=st.lists(
        VALUES
        | st.builds(
            SimpleNamespace,
            header=STAMPS,
            name=VALUES | st.just(["a", "b"]),
            position=VALUES | st.lists(st.floats(), max_size=3),
        ),
        max_size=3,
    ),
    time_ns=st.integers(-(2**70), 2**70),
)
@settings(max_examples=300, deadline=None)
def test_any_message_gives_finite_numbers_or_a_user_error(messages: Any, time_ns: int) -> None:
    one = reader({"path": "position[a]", "encoding": "angle"}, RATE)
    for message in messages:
        try:
            found = one.read(message, time_ns)
        except UserError as error:
            assert len(str(error)) < 1500
        else:
            assert found is None or (found.values.shape == (3,) and np.isfinite(found.values).all())


@given(
    data=st.binary(max_size=200), start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8"])
)
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_picture_or_a_user_error(data: bytes, start: bytes) -> None:
    try:
        read_compressed(SimpleNamespace(data=start + data))
    except UserError as error:
        assert len(str(error)) < 800


def test_rclpys_messages_give_the_same() -> None:
    pytest.importorskip("rclpy")
    from sensor_msgs.msg import JointState

    from planet_ros.ros.types import make

    fields = ({"path": "position[a]", "encoding": "angle"}, RATE)
    ours, theirs = PartReader(part(*fields), make), reader(*fields)
    assert ours.signature_part == theirs.signature_part
    for position, at in ((0.5, 1.0), (0.75, 1.125), (0.25, 1.25)):
        message = joint(position, at)
        live = JointState(name=message.name, position=message.position)
        live.header.stamp.sec, live.header.stamp.nanosec = int(at), round(at % 1 * 1e9)
        one, other = ours.read(live, 0), theirs.read(message, 0)
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            np.testing.assert_array_equal(one.values, other.values)
            assert one.stamp_ns == other.stamp_ns
