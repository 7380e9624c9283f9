"""Paths into messages: what they find, how they write, and what they refuse."""

from __future__ import annotations

import time
from array import array
from types import SimpleNamespace
from typing import Any

import numpy as np
import plain_messages as plain
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from planet_ros.errors import UserError
from planet_ros.interface.paths import NotNamedError, parse_path


def joints(*names: str, **numbers: Any) -> plain.JointState:
    return plain.JointState(name=list(names), **numbers)


def reads(text: str, message: Any) -> list[float]:
    found = parse_path(text).read(message)
    assert found.dtype == np.float64 and found.ndim == 1
    return found.tolist()


# ── reading ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pose.pose.position.x", [1]),
        ("pose.pose.position", [1, 2, 3]),
        ("twist.twist", [4, 5, 6, 0, 0, 7]),
        (" twist . twist.linear.y ", [5]),
        ("pose.covariance[35]", [9]),
        ("pose.covariance[0, 35]", [0, 9]),
        ("header.stamp", [8, 500]),
    ],
)
def test_numbers_of_nested_messages(text: str, expected: list[float]) -> None:
    message = plain.Odometry()
    message.header.stamp = plain.Time(8, 500)
    message.pose.pose.position = plain.Vector3(1, 2, 3)
    message.pose.covariance[35] = 9
    message.twist.twist = plain.Twist(plain.Vector3(4, 5, 6), plain.Vector3(0, 0, 7))
    assert reads(text, message) == expected


@pytest.mark.parametrize(
    "hold",
    [list, tuple, np.array, lambda values: array("d", values), lambda v: np.array(v, np.float32)],
)
def test_elements_of_arrays_of_every_kind(hold: Any) -> None:
    message = SimpleNamespace(data=hold([0.0, 10.0, 20.0, 30.0, 40.0]))
    assert reads("data", message) == [0, 10, 20, 30, 40]
    assert reads("data[3]", message) == [30]
    assert reads("data[3, 0]", message) == [30, 0]
    assert reads("data[1:3]", message) == [10, 20]
    assert reads("data[::2]", message) == [0, 20, 40]
    assert reads("data[0:5:3]", message) == [0, 30]
    assert reads("data[3:]", message) == [30, 40]


def test_joints_are_found_by_name_in_whatever_order_and_however_many_there_are() -> None:
    path = parse_path("position[shoulder, elbow]")
    for names in (
        ["shoulder", "elbow"],
        ["elbow", "shoulder"],
        ["a", "elbow", "b", "shoulder", "c"],
        ["shoulder", "elbow", "a"],
    ):
        values = {"shoulder": 1.0, "elbow": 2.0, "a": 7.0, "b": 8.0, "c": 9.0}
        message = joints(*names, position=[values[name] for name in names])
        for _ in range(2):  # the second time from memory
            assert path.read(message).tolist() == [1, 2]


def test_names_are_those_of_the_nearest_message() -> None:
    message = plain.JointTrajectory(joint_names=["elbow", "shoulder"])
    message.points = [plain.JointTrajectoryPoint(positions=[1.0, 2.0])]
    assert reads("points[0].positions[shoulder]", message) == [2]
    bodies = SimpleNamespace(name=["arm", "ball"], pose=[plain.Pose(), plain.Pose()])
    bodies.pose[1].position.x = 5
    assert reads("pose[ball].position.x", bodies) == [5]


def test_true_and_false_and_whole_numbers_are_numbers() -> None:
    message = SimpleNamespace(on=True, off=np.bool_(False), count=np.uint8(7), all=[True, False])
    assert reads("on", message) == [1]
    assert reads("off", message) == [0]
    assert reads("count", message) == [7]
    assert reads("all", message) == [1, 0]


def refusal(text: str, message: Any) -> str:
    with pytest.raises(UserError) as caught:
        parse_path(text).read(message)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message", "said"),
    [
        (
            "twist.linear",
            plain.Odometry(),
            "found no field 'linear' in a TwistWithCovariance, expected one of twist, covariance",
        ),
        ("pose.pose.position.q", plain.Odometry(), "expected one of x, y, z"),
        (
            "position[wrist]",
            joints("elbow", "arm", position=[1.0, 2.0]),
            "found no 'wrist' in the message, expected one of ['elbow', 'arm']",
        ),
        ("position[a]", joints("b", "a", position=[1.0]), "found 1 elements of position, expected"),
        ("data[a]", plain.Float64MultiArray(), "no field name or joint_names in a Float64Multi"),
        ("data[3]", SimpleNamespace(data=[1.0]), "found 1 elements of data, expected at least 4"),
        ("data[0:3]", SimpleNamespace(data=[1.0]), "found 1 elements of data, expected at least 3"),
        ("points[1].positions", plain.JointTrajectory(), "found 0 elements of points, expected at"),
        ("header.frame_id", plain.Imu(), "found the text '', expected numbers"),
        ("header", plain.Imu(), "header.frame_id: found the text '', expected numbers"),
        ("name", joints("1", "2"), "found the text '1', expected numbers"),
        ("data", SimpleNamespace(data=["1.5"]), "found the text '1.5', expected numbers"),
        ("data", SimpleNamespace(data=np.array(["1"])), "found str32 in the shape (1,)"),
        ("data[0]", SimpleNamespace(data=["1.5"]), "found the text '1.5', expected a number"),
        ("data", SimpleNamespace(data=np.zeros((2, 2))), "in the shape (2, 2), expected a row"),
        ("data", SimpleNamespace(data=10**400), "has no such numbers"),
        ("range_max[0]", plain.LaserScan(), "found range_max to be a float, expected an array"),
        ("data.index", SimpleNamespace(data=[1.0]), "expected numbers"),
        ("points", plain.JointTrajectory(points=[plain.JointTrajectoryPoint()]), "found a Joint"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(text: str, message: Any, said: str) -> None:
    found = refusal(text, message)
    assert said in found
    assert found.startswith(f"{text}")
    assert len(found) < 700


def test_a_missing_name_has_an_error_of_its_own() -> None:
    with pytest.raises(NotNamedError):
        parse_path("position[wrist]").read(joints("elbow", position=[1.0]))


def test_sizes_are_compared_before_a_number_is_looked_at() -> None:
    began = time.process_time()
    huge = SimpleNamespace(data=np.broadcast_to(0.0, 2**40), name=range(1))
    assert "expected at most 1048576" in refusal("data", huge)
    assert reads("data[0:4]", huge) == [0, 0, 0, 0]
    assert time.process_time() - began < 0.5


def test_a_read_on_the_hot_path_takes_microseconds() -> None:
    path = parse_path("position[j5, j1]")
    message = joints(*(f"j{i}" for i in range(7)), position=array("d", range(7)))
    began = time.process_time()
    for _ in range(1000):
        path.read(message)
    assert time.process_time() - began < 0.1


# ── writing ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("type_name", "text", "values"),
    [
        ("geometry_msgs/msg/TwistStamped", "twist.linear.x", [0.5]),
        ("geometry_msgs/msg/TwistStamped", "twist.linear", [1, 2, 3]),
        ("std_msgs/msg/Float64MultiArray", "data", [1, 2]),
        ("std_msgs/msg/Float64MultiArray", "data[2]", [7]),
        ("std_msgs/msg/Float64MultiArray", "data[1:5:2]", [7, 8]),
        ("sensor_msgs/msg/JointState", "effort[shoulder, elbow]", [1, 2]),
        ("trajectory_msgs/msg/JointTrajectory", "points[0].positions", [1, 2]),
        ("trajectory_msgs/msg/JointTrajectory", "points[1].positions[elbow]", [1]),
        ("std_msgs/msg/Bool", "data", [1]),
    ],
)
def test_what_is_written_is_read_back(type_name: str, text: str, values: list[float]) -> None:
    message, path = plain.make(type_name), parse_path(text)
    path.write(message, values, plain.make)
    assert path.read(message).tolist() == values
    path.write(message, [0.0] * len(values), plain.make)
    assert path.read(message).tolist() == [0.0] * len(values)


def test_writing_leaves_other_numbers_and_kinds_of_arrays_as_they_are() -> None:
    message = plain.Float64MultiArray(data=array("d", [1.0, 2.0, 3.0]))
    parse_path("data[1]").write(message, [9], plain.make)
    assert message.data == array("d", [1.0, 9.0, 3.0])
    state = joints("elbow", effort=[5.0])
    parse_path("effort[shoulder]").write(state, [2], plain.make)
    assert (state.name, state.effort) == (["elbow", "shoulder"], [5.0, 2.0])
    whole = SimpleNamespace(count=3, flag=True)
    parse_path("count").write(whole, [6.7], plain.make)
    parse_path("flag").write(whole, [0.0], plain.make)
    assert whole.count == 7 and isinstance(whole.count, int) and whole.flag is False


def test_constants_are_texts_numbers_lists_and_times() -> None:
    message = plain.JointTrajectory()
    for text, value in {
        "header.frame_id": "base",
        "joint_names": ["a", "b"],
        "points[0].time_from_start": 1.25,
        "points[0].velocities": [1, 2],
    }.items():
        parse_path(text).put(message, value, plain.make)
    assert message.header.frame_id == "base" and message.joint_names == ["a", "b"]
    assert message.points[0].time_from_start == plain.Time(1, 250_000_000)
    assert message.points[0].velocities.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("text", "value", "said"),
    [
        ("header.frame", "base", "expected one of stamp, frame_id"),
        ("header.frame_id", 3, "found 3, expected a text, or"),
        ("header.frame_id", ["a"], "found ['a'], expected a text"),
        ("joint_names", "a", "found 'a', expected texts"),
        ("joint_names", [1.0], "found [1.0], expected a text, or several"),
        ("points[0].time_from_start", "soon", "found 'soon', expected a number"),
        ("points[0].velocities", "fast", "found 'fast', expected numbers"),
        ("points[0].positions[2000000]", 1.0, "expected at most"),
        ("points[5000].positions", [1.0], "found the place 5000, expected less than 1024"),
    ],
)
def test_constants_that_do_not_fit_are_refused(text: str, value: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_path(text).put(plain.JointTrajectory(), value, plain.make)
    assert said in str(caught.value)


def test_values_that_do_not_fit_are_refused() -> None:
    for text, values in {
        "twist.linear": [1, 2],
        "twist.linear.x": [1, 2],
    }.items():
        with pytest.raises(UserError, match=f"{text}: found 2 numbers, expected [13]"):
            parse_path(text).write(plain.TwistStamped(), values, plain.make)
    with pytest.raises(UserError, match="found 1 numbers, expected 2"):
        parse_path("effort[a, b]").write(joints(), [1], plain.make)


# ── what a path says of itself ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "size", "labels"),
    [
        ("position[a,b]", 2, ("position[a]", "position[b]")),
        ("data[0:5:2]", 3, ("data[0]", "data[2]", "data[4]")),
        ("data[4]", 1, ("data[4]",)),
        ("data", 0, ("data[0]", "data[1]")),
        ("ranges[::8]", 0, ("ranges[0]", "ranges[8]")),
        ("points[0].positions", 0, ("points[0].positions[0]", "points[0].positions[1]")),
    ],
)
def test_size_and_labels(text: str, size: int, labels: tuple[str, ...]) -> None:
    path = parse_path(text)
    assert path.size == size
    assert path.labels(len(labels)) == labels
    named = path.labels(len(labels), "arm")
    if len(labels) == 1:
        assert named == ("arm",)
    else:
        assert all(one.startswith("arm[") for one in named)


def test_numbers_of_nested_messages_are_called_as_their_fields() -> None:
    path = parse_path("twist.linear")
    assert path.labels(3, example=plain.TwistStamped())[1] == "twist.linear.y"
    assert path.labels(3, "speed", plain.TwistStamped())[2] == "speed.z"


@pytest.mark.parametrize(
    ("type_name", "text", "size"),
    [
        ("nav_msgs/msg/Odometry", "pose.pose.position.x", 1),
        ("nav_msgs/msg/Odometry", "pose.pose", 7),
        ("nav_msgs/msg/Odometry", "pose.covariance", 36),
        ("sensor_msgs/msg/JointState", "position[a, b]", 2),
        ("sensor_msgs/msg/JointState", "position", 0),
        ("trajectory_msgs/msg/JointTrajectory", "points[0].positions", 0),
    ],
)
def test_an_empty_message_says_what_the_text_does_not(type_name: str, text: str, size: int) -> None:
    assert parse_path(text).resolve(plain.make(type_name), plain.make) == size


@pytest.mark.parametrize(
    ("type_name", "text"),
    [
        ("trajectory_msgs/msg/JointTrajectory", "points[0].posit"),
        ("std_msgs/msg/Float64MultiArray", "data[elbow]"),
        ("std_msgs/msg/Bool", "data[0]"),
        ("sensor_msgs/msg/Imu", "header.frame_id"),
    ],
)
def test_what_no_message_can_have_is_known_before_one_comes(type_name: str, text: str) -> None:
    with pytest.raises(UserError, match=r"expected|found"):
        parse_path(text).resolve(plain.make(type_name), plain.make)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected 1 to 1000 characters"),
        ("a" * 1001, "expected 1 to 1000 characters"),
        ("a..b", "found '.b' at 2, expected a field"),
        ("a.", "found the end at 2, expected a field"),
        ("_a", "found '_a' at 0, expected a field"),
        ("__class__.x", "expected a field"),
        ("a[0", "found '[0' at 1, expected a dot, or the end"),
        ("a[]", "expected numbers, start:stop:step, or names"),
        ("a[x, ]", "expected numbers, start:stop:step, or names"),
        ("a[3:3]", "found no elements in [3:3]"),
        ("a[::0]", "found no elements in [::0]"),
        ("a[-1]x", "expected a dot, or the end"),
        ("a[b, b]", "found one twice"),
        ("a[0:2].x", "expected nothing behind several elements"),
        ("a[99999999999]", "expected at most 1048576"),
        (".".join("a" * 17), "found 17 fields, at most 16"),
        ("a()", "found '()' at 1, expected a dot, or the end"),
    ],
)
def test_what_is_no_path_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_path(text)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_path_as_it_is_usually_written_is_the_same_path() -> None:
    for text in ("data[0:3]", "data[3 : ]", "r[::8]", "p[0].q[1,2]", "q[1:9:3]", "p[ a ].q"):
        path = parse_path(text)
        assert parse_path(path.text) == path
    assert parse_path("position[ a,b ]").text == "position[a, b]"


# ── whatever comes ───────────────────────────────────────────────────────────────────────────

PATHS = [
    "data", "data[0]", "data[0:3]", "data[::2]", "position[a, b]", "points[0].positions",
    "points[a].x", "twist.linear", "header.stamp.sec",
]  # fmt: skip
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=9)
    | st.sampled_from([type, len, object(), range(3), Ellipsis])
    | hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(max_dims=2, max_side=3)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner)
        | st.dictionaries(
            st.sampled_from(
                ["data", "position", "points", "name", "positions", "x", "twist", "linear"]
            ),
            inner,
        ).map(lambda found: SimpleNamespace(**found))
    ),
    max_leaves=8,
)


@given(text=st.text(max_size=40) | st.text("ab[]:,.0123456789 ", max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_path_or_a_user_error(text: str) -> None:
    try:
        path = parse_path(text)
    except UserError as error:
        assert len(str(error)) < 1500
    else:
        assert parse_path(path.text) == path


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::numpy.exceptions.ComplexWarning")
@given(message=ANYTHING, text=st.sampled_from(PATHS))
@settings(max_examples=400, deadline=None)
def test_any_message_gives_numbers_or_a_user_error(message: Any, text: str) -> None:
    try:
        found = parse_path(text).read(message)
    except UserError as error:
        assert len(str(error)) < 1500
    else:
        assert found.dtype == np.float64 and found.ndim == 1


# ── rclpy's messages ─────────────────────────────────────────────────────────────────────────


def test_rclpys_messages_give_the_same() -> None:
    pytest.importorskip("rclpy")
    from sensor_msgs.msg import Imu, JointState

    from planet_ros.ros.types import make

    state = JointState(name=["x", "b", "a"], position=[0.0, 1.0, 2.0])
    assert reads("position[a, b]", state) == [2, 1]
    imu = Imu()
    imu.angular_velocity.z = 3.0
    assert reads("angular_velocity", imu) == [0, 0, 3]
    assert parse_path("linear_acceleration_covariance").resolve(imu, make) == 9
    assert "expected one of x, y, z" in refusal("angular_velocity.w", imu)
    array_message = make("std_msgs/msg/Float64MultiArray")
    parse_path("data[1]").write(array_message, [4], make)
    assert array_message.data.tolist() == [0, 4]
    parse_path("layout.dim[0].size").write(array_message, [2.0], make)
    parse_path("layout.dim[0].label").put(array_message, "x", make)
    assert (array_message.layout.dim[0].label, array_message.layout.dim[0].size) == ("x", 2)
    with pytest.raises(UserError, match="height: found -1, expected 0 to 4294967295"):
        parse_path("height").write(make("sensor_msgs/msg/Image"), [-1.0], make)
