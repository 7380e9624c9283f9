"""Plans, and what is expected to be measured, as messages for people who watch."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import plain_messages as plain
import pytest
from arrays import float32

from planet_ros.data import ActionPart, NamedNumber, ObservationPart, Signature
from planet_ros.interface.ahead import ExpectationWriter, PlanWriter
from planet_ros.interface.defaults import interface_of
from planet_ros.interface.document import Interface
from planet_ros.interface.files import load_interface
from planet_ros.interface.signature import signature_of
from planet_ros.messages.vectors import read_label

STAMP_NS = 1_250_000_000
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
VECTOR = "std_msgs/msg/Float64MultiArray"


def interface_with(*action: dict[str, Any], **rest: Any) -> Interface:
    observation = {
        "name": "joints",
        "topic": "joint_states",
        "type": "sensor_msgs/msg/JointState",
        "fields": ["position[a, b]"],
    }
    document = {"period_s": 0.05, "observation": [observation], "action": list(action), **rest}
    return Interface.model_validate(document)


def commanded(topic: str, type_name: str, *paths: str, **rest: Any) -> dict[str, Any]:
    fields = [{"path": path, "low": -1, "high": 1, **rest.pop(path, {})} for path in paths]
    return {"topic": topic, "type": type_name, "fields": fields, **rest}


def plan_of(interface: Interface) -> PlanWriter:
    return PlanWriter(interface, signature_of(interface, plain.make), plain.make)


def rows(message: Any) -> Any:
    shape = [dimension.size for dimension in message.layout.dim]
    assert [dimension.stride for dimension in message.layout.dim] == [shape[0] * shape[1], shape[1]]
    return np.array(message.data).reshape(shape)


def columns(message: Any) -> tuple[str, list[str]]:
    name, _, names = message.layout.dim[1].label.partition(" ")
    return name, json.loads(names)


def times(message: Any) -> tuple[int | None, str, str]:
    label = read_label(message)
    return label.stamp_ns, label.tags["first"], label.tags["period"]


# ── plans ────────────────────────────────────────────────────────────────────────────────────

EFFORT = commanded("e", "sensor_msgs/msg/JointState", "effort[a, b]")
SPEED = commanded("v", "sensor_msgs/msg/JointState", "velocity[b, a]")
DATA = commanded("d", VECTOR, "data[0]")
UNNAMED = commanded("t", TRAJECTORY, "points[0].positions", **{"points[0].positions": {"size": 2}})
NAMED = {**UNNAMED, "constants": {"joint_names": ["a", "b"]}}


@pytest.mark.parametrize(
    ("action", "joints"),
    [
        ([EFFORT], {"effort": ["a", "b"]}),
        ([NAMED], {"positions": ["a", "b"]}),
        ([EFFORT, SPEED], {"effort": ["a", "b"], "velocities": ["a", "b"]}),
        ([UNNAMED], None),
        ([DATA], None),
        ([EFFORT, DATA], None),
        ([EFFORT, commanded("v", "sensor_msgs/msg/JointState", "velocity[a]")], None),
        ([EFFORT, commanded("f", "sensor_msgs/msg/JointState", "effort[b]")], None),
    ],
)
def test_a_plan_is_a_trajectory_where_all_actions_are_of_the_same_joints(
    action: list[dict[str, Any]], joints: dict[str, list[str]] | None
) -> None:
    interface = interface_with(*action)
    writer = plan_of(interface)
    assert writer.type == (TRAJECTORY if joints else VECTOR)
    count = signature_of(interface, plain.make).actions
    actions = np.arange(3 * count, dtype=np.float32).reshape(3, count) / 10
    message = writer.message(actions, STAMP_NS)
    if joints is None:
        np.testing.assert_allclose(rows(message), actions, rtol=1e-6)
        return
    assert message.joint_names == ["a", "b"]
    for quantity in ("positions", "velocities", "accelerations", "effort"):
        found = [list(getattr(point, quantity)) for point in message.points]
        if quantity not in joints:
            assert found == [[], [], []]
        elif quantity == "velocities":  # commanded in another order
            np.testing.assert_allclose(found, actions[:, [3, 2]], rtol=1e-6)
        else:
            np.testing.assert_allclose(found, actions[:, :2], rtol=1e-6)


@pytest.mark.parametrize(("delay", "first_s"), [(0, 0.0), (3, 0.15)])
def test_a_trajectory_begins_when_its_first_action_acts(delay: int, first_s: float) -> None:
    writer = plan_of(interface_with(EFFORT, delay_periods=delay))
    message = writer.message(np.zeros((30, 2), np.float32), STAMP_NS)
    stamp = message.header.stamp
    assert (stamp.sec, stamp.nanosec) == (1, 250_000_000)
    starts = [one.time_from_start for one in message.points]
    seconds = [one.sec + one.nanosec / 1e9 for one in starts]
    np.testing.assert_allclose(seconds, first_s + 0.05 * np.arange(30), atol=1e-9)
    assert all(0 <= one.nanosec < 10**9 for one in starts)


@pytest.mark.parametrize(("delay", "first"), [(0, "1.250000000"), (2, "1.350000000")])
def test_other_plans_are_matrices_that_say_what_and_when(delay: int, first: str) -> None:
    interface = interface_with(
        commanded("d", VECTOR, "data", data={"size": 2, "name": "wheels", "unit": "rad/s"}),
        delay_periods=delay,
    )
    message = plan_of(interface).message(float32([[1, 2], [3, 4], [5, 6]]), STAMP_NS)
    assert message.layout.dim[0].label.split()[0] == "step"
    assert columns(message) == ("action", ["wheels[0] [rad/s]", "wheels[1] [rad/s]"])
    np.testing.assert_array_equal(rows(message), [[1, 2], [3, 4], [5, 6]])
    assert times(message) == (STAMP_NS, first, "0.050000000")


@pytest.mark.parametrize(
    ("name", "type_name"),
    [("arm", TRAJECTORY), ("base", VECTOR), ("pendulum", VECTOR)],
)
def test_plans_of_the_simulated_robots(name: str, type_name: str) -> None:
    assert plan_of(load_interface(name)).type == type_name


def test_a_simulation_has_matrices_with_the_names_of_its_signature() -> None:
    signature = Signature(
        (ObservationPart("observation", (2,), numbers=(NamedNumber("x", "m"), NamedNumber("v"))),),
        (ActionPart("force", -1, 1, "N"),),
        0.1,
    )
    interface = interface_of(signature)
    plan = PlanWriter(interface, signature, plain.make).message(np.zeros((2, 1)), 0)
    assert columns(plan) == ("action", ["force [N]"])
    expected = ExpectationWriter(interface, signature, plain.make)
    assert columns(expected.message(np.zeros((2, 2)), 0)) == ("field", ["x [m]", "v"])


# ── what is expected ─────────────────────────────────────────────────────────────────────────


def test_what_is_expected_is_told_as_it_is_measured() -> None:
    interface = load_interface("base")
    signature = signature_of(interface, plain.make)
    vectors = np.zeros((3, signature.vector_size), np.float32)
    yaw = np.array([0.5, 3.0, -3.0])
    vectors[:, 0] = [1, 2, 3]
    vectors[:, 2:4] = 0.9 * np.column_stack((np.cos(yaw), np.sin(yaw)))  # as a model says it
    vectors[:, 6] = [7, 8, 9]
    message = ExpectationWriter(interface, signature, plain.make).message(vectors, STAMP_NS)
    names = ["x [m]", "y [m]", "yaw [rad]", "speed [m/s]", "turn rate [rad/s]"]
    assert columns(message) == ("field", [*names, "angular_velocity.z [rad/s]"])
    found = rows(message)
    np.testing.assert_allclose(found[:, 2], yaw, atol=1e-6)
    np.testing.assert_array_equal(found[:, [0, 5]], [[1, 7], [2, 8], [3, 9]])
    # The first row is one period ahead, whatever the delay: commands under way are in it.
    assert interface.delay_periods == 1
    assert times(message) == (STAMP_NS, "1.300000000", "0.050000000")


def test_angles_of_several_joints_are_told_in_radians_each() -> None:
    document = load_interface("arm").model_dump()
    position, velocity, _ = document["observation"][0]["fields"]
    document["observation"][0]["fields"] = [{**position, "encoding": "angle"}, velocity]
    interface = Interface.model_validate({**document, "goal": None})
    signature = signature_of(interface, plain.make)
    angles, speeds = np.array([[0.1, -2.0]]), np.array([[3.0, 4.0]])
    seen = np.stack((np.cos(angles), np.sin(angles)), axis=-1).reshape(1, 4)
    vectors = np.concatenate((seen, speeds), axis=1)
    message = ExpectationWriter(interface, signature, plain.make).message(vectors, STAMP_NS)
    names = [f"position[{joint}] [rad]" for joint in ("shoulder", "elbow")]
    names += [f"velocity[{joint}] [rad/s]" for joint in ("shoulder", "elbow")]
    assert columns(message) == ("field", names)
    np.testing.assert_allclose(rows(message), [[0.1, -2, 3, 4]], atol=1e-6)


def test_parts_come_in_the_order_of_the_model() -> None:
    interface = load_interface("base")
    signature = signature_of(interface, plain.make)
    first, second, *goal = signature.observation
    turned = Signature((second, first, *goal), signature.action, signature.period_s)
    vectors = np.zeros((1, signature.vector_size), np.float32)
    vectors[0, :2] = [9, 1]
    found = ExpectationWriter(interface, turned, plain.make)
    assert found.names[:2] == ["angular_velocity.z [rad/s]", "x [m]"]
    np.testing.assert_array_equal(rows(found.message(vectors, 0))[0, :2], [9, 1])
