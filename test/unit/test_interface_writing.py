"""Messages out of an action, and what a command of whoever sent it means."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import plain_messages as plain
import pytest
from arrays import float32
from hypothesis import given, settings
from hypothesis import strategies as st

from planet_ros.errors import UserError
from planet_ros.interface.document import CommandedPart
from planet_ros.interface.safe import Hold
from planet_ros.interface.writing import ActionWriter
from planet_ros.messages.vectors import vector_message

VECTOR = "std_msgs/msg/Float64MultiArray"
TWIST = "geometry_msgs/msg/TwistStamped"
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
JOINTS = "sensor_msgs/msg/JointState"


def field(path: str, **rest: Any) -> dict[str, Any]:
    return {"path": path, "low": -1, "high": 1, **rest}


def part(type_name: str, *fields: dict[str, Any], **rest: Any) -> CommandedPart:
    values = {"topic": "commands", "type": type_name, "fields": list(fields), **rest}
    return CommandedPart.model_validate(values)


def writer(type_name: str, *fields: dict[str, Any], **rest: Any) -> ActionWriter:
    return ActionWriter([part(type_name, *fields, **rest)], plain.make)


def message_of(writer: ActionWriter, *action: float, stamp_ns: int = 1_500_000_000) -> Any:
    ((_, message),) = writer.messages(np.array(action, np.float32), stamp_ns)
    return message


def test_a_vector_is_what_it_always_was() -> None:
    found = message_of(writer(VECTOR, field("data", size=2)), 0.1, -0.5)
    expected = vector_message(plain.make, "action", float32([0.1, -0.5]), 1_500_000_000)
    assert (found.layout, list(found.data)) == (expected.layout, list(expected.data))
    assert found.layout.dim[0].label == "action stamp=1.500000000"


def test_numbers_of_a_vector_may_come_in_any_order_beside_constants() -> None:
    one = writer(VECTOR, field("data[2]"), field("data[0]"), constants={"data[1]": 7.0})
    assert list(message_of(one, 0.25, 0.5).data) == [0.5, 7, 0.25]


def test_headers_are_stamped_and_constants_are_set() -> None:
    one = writer(
        TWIST,
        field("twist.linear.x", unit="m/s"),
        field("twist.angular.z", name="turn"),
        constants={"header.frame_id": "base"},
    )
    message = message_of(one, 0.5, -1)
    assert message.header == plain.Header(plain.Time(1, 500_000_000), "base")
    assert (message.twist.linear.x, message.twist.angular.z) == (0.5, -1)
    assert [(p.name, p.unit) for p in one.signature_parts] == [
        ("twist.linear.x", "m/s"),
        ("turn", ""),
    ]
    assert message_of(one, 0, 0) is not message
    assert message.twist.linear.x == 0.5, "a message is nobody else's"


def arm(**rest: Any) -> ActionWriter:
    constants = {"joint_names": ["a", "b"], "points[0].time_from_start": 0.05}
    target = field("points[0].positions", size=2, **rest)
    return writer(TRAJECTORY, target, constants=constants)


def test_a_trajectory_has_one_point() -> None:
    message = message_of(arm(), 0.25, -0.5)
    assert message.joint_names == ["a", "b"]
    (point,) = message.points
    assert point.positions.tolist() == [0.25, -0.5]
    assert point.time_from_start == plain.Time(0, 50_000_000)


def test_several_topics_share_one_action() -> None:
    one = ActionWriter(
        [
            part(VECTOR, field("data", size=2), topic="arm"),
            part(JOINTS, field("effort[x]", high=3.0, max_rate=5.0), topic="hand"),
        ],
        plain.make,
    )
    found = dict(one.messages(np.array([0.25, 0.5, 2.0]), 5))
    assert list(found["arm"].data) == [0.25, 0.5]
    assert (found["hand"].name, list(found["hand"].effort)) == (["x"], [2])
    assert [part.max_rate for part in one.signature_parts] == [None, None, 5]
    assert one.topics == ("arm", "hand") and one.types["hand"] == JOINTS
    indices, values, stamp_ns = one.read("hand", found["hand"])
    assert (indices.tolist(), values.tolist(), stamp_ns) == ([2], [2], 5)
    with pytest.raises(
        UserError, match=r"found the topic 'leg', expected one of \('arm', 'hand'\)"
    ):
        one.read("leg", found["hand"])
    with pytest.raises(UserError, match=r"found the shape \(2,\), expected \(3,\)"):
        one.messages(np.zeros(2), 0)


def test_limits_and_safe_commands_are_for_all_or_for_each() -> None:
    one = arm(low=[-1, -2], high=3, max_rate=[0.5, 1], safe={"constant": 0.5, "within_s": 2})
    assert [part.low for part in one.signature_parts] == [-1, -2]
    assert [part.high for part in one.signature_parts] == [3, 3]
    assert [part.name for part in one.signature_parts] == [
        "points[0].positions[a]",
        "points[0].positions[b]",
    ]
    assert [part.max_rate for part in one.signature_parts] == [0.5, 1]
    assert one.safe.constant.tolist() == [0.5, 0.5] and one.safe.within_s.tolist() == [2, 2]
    held = arm(low=1, high=2, safe={"hold": "position[a, b]"})
    assert held.safe.holds == (Hold((0, 1), "position[a, b]"),)
    assert np.isnan(held.safe.constant).all()


@pytest.mark.parametrize(
    ("make_writer", "said"),
    [
        (lambda: arm(low=1, high=1), "found low 1 and high 1, expected low < high"),
        (lambda: arm(low=[0, 2], high=1), "found low 2 and high 1"),
        (lambda: arm(low=[0, 0, 0]), "low: found 3 numbers, expected 1 or 2"),
        (lambda: arm(max_rate=0), "max_rate: found 0, expected more than 0"),
        (lambda: arm(safe=2), "safe: found 2, expected -1 to 1"),
        (lambda: arm(low=1, high=2), "safe: found 0, expected 1 to 2; say what is safe"),
        (lambda: arm(safe=[0, 0, 0]), "safe: found 3 numbers, expected 1 or 2"),
        (
            lambda: writer(TWIST, field("twist.linear.x"), constants={"header.frame": "x"}),
            "constants: header.frame: found no field 'frame' in a Header, expected one of stamp",
        ),
        (
            lambda: writer(TWIST, field("twist.linear.q")),
            "found no field 'q' in a Vector3, expected one of x, y, z",
        ),
        (
            lambda: writer(VECTOR, field("data[0:2]"), field("data[1]")),
            "found data[1] twice, expected different places",
        ),
        (
            lambda: writer(VECTOR, field("data[0]"), constants={"data[0]": 1.0}),
            "found data[0] twice",
        ),
        (
            lambda: writer(
                JOINTS, field("effort[0]"), field("effort[a]"), constants={"name": ["a"]}
            ),
            "found 0.333333 where -0.333333 was written",
        ),
        (lambda: writer("std_msgs/msg/Bool", field("data")), "expected a number with a fraction"),
        (lambda: writer(VECTOR, field("data")), "expected size beside the path"),
        (lambda: writer("no_msgs/msg/Thing", field("data")), "no_msgs/msg/Thing"),
    ],
)
def test_what_cannot_be_commanded_is_known_before_anything_is_sent(
    make_writer: Any, said: str
) -> None:
    with pytest.raises(UserError) as caught:
        make_writer()
    assert said in str(caught.value)


# ── the way back ─────────────────────────────────────────────────────────────────────────────


def trajectory(names: list[str], positions: list[float]) -> plain.JointTrajectory:
    point = plain.JointTrajectoryPoint(positions=positions)
    return plain.JointTrajectory(plain.Header(plain.Time(2, 0)), names, [point])


@pytest.mark.parametrize(
    ("names", "positions", "indices", "values"),
    [
        (["a", "b"], [1.0, 2.0], [0, 1], [1, 2]),
        (["b", "a"], [2.0, 1.0], [0, 1], [1, 2]),
        (["x", "b"], [9.0, 2.0], [1], [2]),
    ],
)
def test_joints_of_other_publishers_are_found_by_name(
    names: list[str], positions: list[float], indices: list[int], values: list[float]
) -> None:
    found, numbers, stamp_ns = arm().read("commands", trajectory(names, positions))
    assert (found.tolist(), numbers.tolist()) == (indices, values)
    assert stamp_ns == 2 * 10**9


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (trajectory(["x"], [1.0]), "found no 'b' in the message, expected one of ['x']"),
        (plain.JointTrajectory(joint_names=["a", "b"]), "found 0 elements of points, expected at"),
        (trajectory(["a", "b"], [1.0]), "found 1 elements of positions, expected at least 2"),
        (trajectory(["a", "b"], [1.0, math.nan]), "found nan at 1, expected finite numbers"),
        (plain.Twist(), "found no field 'points' in a Twist"),
    ],
)
def test_commands_that_mean_nothing_are_refused(message: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        arm().read("commands", message)
    assert str(caught.value).startswith("action: commands: ")
    assert said in str(caught.value)


def test_a_vector_of_another_length_is_refused() -> None:
    one = writer(VECTOR, field("data", size=2))
    with pytest.raises(UserError, match="data: found 3 numbers, expected 2"):
        one.read("commands", plain.Float64MultiArray(data=[1.0, 2.0, 3.0]))
    _, values, stamp_ns = one.read("commands", plain.Float64MultiArray(data=[1.0, 2.0]))
    assert values.tolist() == [1, 2] and stamp_ns is None


WRITERS = [
    arm(),
    writer(VECTOR, field("data[1:3]"), field("data[0]")),
    writer(TWIST, field("twist.linear"), field("twist.angular.z")),
    writer(JOINTS, field("effort[b, a]")),
]


@given(data=st.data(), one=st.sampled_from(WRITERS), stamp_ns=st.integers(1, 2**61))
@settings(max_examples=200, deadline=None)
def test_what_is_written_is_what_is_read(data: st.DataObject, one: Any, stamp_ns: int) -> None:
    size = len(one.signature_parts)
    action = np.array(data.draw(st.lists(st.floats(-1, 1, width=32), min_size=size, max_size=size)))
    ((topic, message),) = one.messages(action, stamp_ns)
    indices, values, stamp = one.read(topic, message)
    np.testing.assert_array_equal(values[np.argsort(indices)], action)
    assert stamp == stamp_ns


ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["points", "positions", "joint_names", "data", "layout", "header", "name"]
            ),
            inner,
        ).map(lambda found: SimpleNamespace(**found))
    ),
    max_leaves=8,
)


@given(message=ANY, one=st.sampled_from(WRITERS))
@settings(max_examples=300, deadline=None)
def test_any_message_means_finite_numbers_or_is_a_user_error(message: Any, one: Any) -> None:
    try:
        _, values, _ = one.read("commands", message)
    except UserError as error:
        assert len(str(error)) < 1500
    else:
        assert np.isfinite(values).all()


def test_a_command_is_made_in_a_fraction_of_a_millisecond() -> None:
    one, action = arm(), np.zeros(2)
    began = time.process_time()
    for _ in range(200):
        one.messages(action, 1)
    assert time.process_time() - began < 0.1


def test_rclpys_messages_are_written_alike() -> None:
    pytest.importorskip("rclpy")
    from rclpy.serialization import deserialize_message, serialize_message

    from planet_ros.ros.types import make

    for type_name, fields, constants in (
        (VECTOR, [field("data", size=2)], {}),
        (TWIST, [field("twist.linear.x"), field("twist.angular.z")], {"header.frame_id": "base"}),
        (JOINTS, [field("effort[a, b]")], {"position": [1.0, 2.0]}),
    ):
        document = part(type_name, *fields, constants=constants)
        theirs = message_of(ActionWriter([document], plain.make), 0.5, 0.25)
        live = ActionWriter([document], make)
        sent = message_of(live, 0.5, 0.25)
        arrived = deserialize_message(serialize_message(sent), type(sent))
        assert sent == arrived
        for one, other in zip(
            live.read("commands", arrived), live.read("commands", theirs), strict=True
        ):
            np.testing.assert_array_equal(one, other)
        if constants.get("header.frame_id"):
            assert arrived.header.frame_id == "base"
