"""How the simulated robots look from outside: messages as real robots send and take them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import PoseStamped, TwistStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from planet_ros.config import RobotSettings
from planet_ros.errors import UserError
from planet_ros.messages.fields import header_stamp_ns
from planet_ros.ros.types import make
from sim_bridge.joystick import Sticks
from sim_bridge.robots.joints import STRANGERS, JointOptions
from sim_bridge.robots.topics import ROBOTS, RobotOptions, Topics

STAMP_NS = 12_345_678_901


def robot(name: str, options: RobotOptions | None = None, seed: int = 0) -> Topics:
    topics = ROBOTS[name](make, options or RobotOptions())
    topics.robot.reset(np.random.default_rng(seed))
    return topics


def readings(topics: Topics, seed: int = 0) -> dict[str, Any]:
    return topics.readings(STAMP_NS, np.random.default_rng(seed))


def test_the_settings_know_every_robot() -> None:
    (allowed,) = [RobotSettings.model_fields["name"].annotation]
    assert set(allowed.__args__) == set(ROBOTS)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ROBOTS)
def test_all_that_a_robot_says_bears_one_stamp_and_its_type(name: str) -> None:
    topics = robot(name)
    messages = readings(topics)
    assert set(messages) == set(topics.states)
    for topic, message in messages.items():
        package, _, kind = topics.states[topic].split("/")
        assert type(message).__name__ == kind
        assert type(message).__module__.startswith(package)
        assert header_stamp_ns(message) == STAMP_NS


NAMES = ["shoulder", "elbow"]


@pytest.mark.parametrize(("name", "joints"), [("pendulum", ["hinge"]), ("arm", NAMES)])
def test_joints_come_in_any_order_beside_strangers(name: str, joints: list[str]) -> None:
    topics = robot(name)
    plain = readings(robot(name, RobotOptions(JointOptions(scramble=False))))["joint_states"]
    assert plain.name == joints
    orders = set()
    for seed in range(20):
        message = readings(topics, seed)["joint_states"]
        assert isinstance(message, JointState)
        assert sorted(message.name) == sorted([*joints, *STRANGERS])
        orders.add(tuple(message.name))
        places = [message.name.index(joint) for joint in joints]
        for found, expected in (
            (message.position, plain.position),
            (message.velocity, plain.velocity),
            (message.effort, plain.effort),
        ):
            assert len(found) == len(message.name)
            assert [found[place] for place in places] == list(expected)
    assert len(orders) > 5


def test_joints_need_not_have_velocities() -> None:
    message = readings(robot("pendulum", RobotOptions(JointOptions(velocity=False))))[
        "joint_states"
    ]
    assert len(message.velocity) == 0
    assert len(message.position) == len(message.effort) == len(message.name)


def test_odometry_and_imu_are_where_the_base_is_but_for_noise() -> None:
    exact, noisy = robot("base", RobotOptions(noise=0.0)), robot("base")
    for topics in (exact, noisy):
        for _ in range(20):
            topics.robot.step(np.array([0.5, 1.0]), 0.05)
    state: Any = exact.robot
    state = state.state
    odometry, imu = readings(exact)["odom"], readings(exact)["imu"]
    assert isinstance(odometry, Odometry) and isinstance(imu, Imu)
    pose, twist = odometry.pose.pose, odometry.twist.twist
    assert (pose.position.x, pose.position.y) == (state.x, state.y)
    yaw = 2 * math.atan2(pose.orientation.z, pose.orientation.w)
    assert math.cos(yaw) == pytest.approx(math.cos(state.yaw))
    assert math.sin(yaw) == pytest.approx(math.sin(state.yaw))
    assert (twist.linear.x, twist.angular.z) == (state.speed, state.turn_rate)
    assert imu.angular_velocity.z == state.turn_rate
    assert imu.linear_acceleration.y == pytest.approx(state.speed * state.turn_rate)
    assert (odometry.header.frame_id, odometry.child_frame_id) == ("odom", "base_link")
    assert imu.orientation_covariance[0] == -1

    seen = [readings(noisy, seed) for seed in range(400)]
    deviation = np.std([one["odom"].pose.pose.position.x for one in seen])
    assert deviation == pytest.approx(math.sqrt(odometry.pose.covariance[0]), rel=0.15)
    deviation = np.std([one["imu"].angular_velocity.z for one in seen])
    assert deviation == pytest.approx(math.sqrt(imu.angular_velocity_covariance[8]), rel=0.15)
    assert readings(noisy, 3) == readings(noisy, 3)  # by its seed


def test_the_arms_target_is_a_pose() -> None:
    topics = robot("arm")
    pose = readings(topics)["target_pose"]
    assert isinstance(pose, PoseStamped)
    assert pose.header.frame_id == "base_link"
    assert 0 < math.hypot(pose.pose.position.x, pose.pose.position.y) < 0.2


@pytest.mark.parametrize("name", ROBOTS)
def test_commands_are_read_as_they_were_written(name: str) -> None:
    topics = robot(name)
    for values in (topics.robot.low, topics.robot.high, topics.robot.low / 3):
        command = topics.read(topics.write(values, STAMP_NS))
        np.testing.assert_array_equal(command.values, values)
        assert command.stamp_ns == STAMP_NS


def test_a_command_without_a_stamp_does_not_say_what_it_answers() -> None:
    for name, message in (
        ("pendulum", Float64MultiArray(data=[1.0])),
        ("base", TwistStamped()),
        ("arm", trajectory(["shoulder", "elbow"], [0.1, 0.2])),
    ):
        assert robot(name).read(message).stamp_ns is None


def trajectory(names: list[str], *points: list[float]) -> JointTrajectory:
    return JointTrajectory(
        joint_names=names, points=[JointTrajectoryPoint(positions=point) for point in points]
    )


def test_a_trajectory_goes_by_the_names_of_the_joints() -> None:
    command = robot("arm").read(trajectory(["elbow", "shoulder"], [0.1, 0.2]))
    assert command.values.tolist() == [0.2, 0.1]


def twist(x: float, z: float) -> TwistStamped:
    message = TwistStamped()
    message.twist.linear.x, message.twist.angular.z = x, z
    return message


@pytest.mark.parametrize(
    ("name", "message", "reason"),
    [
        ("pendulum", Float64MultiArray(data=[]), "found 0 numbers"),
        ("pendulum", Float64MultiArray(data=[0.0, 0.0]), "found 2 numbers"),
        ("pendulum", Float64MultiArray(data=[math.nan]), "found nan at 0"),
        ("pendulum", twist(0.0, 0.0), "expected a std_msgs/msg/Float64MultiArray"),
        ("base", twist(math.inf, 0.0), "found inf at 0"),
        ("base", twist(0.0, math.nan), "found nan at 1"),
        ("arm", JointTrajectory(), "found 0 joint names"),
        ("arm", trajectory(["shoulder"], [0.0]), r"found 1 joint names \('shoulder'\)"),
        ("arm", trajectory(["shoulder", "shoulder"], [0.0, 0.0]), "expected shoulder, elbow"),
        ("arm", trajectory(["x" * 10**4] * 100, [0.0]), "found 100 joint names"),
        ("arm", trajectory(NAMES), "found 0 points, expected one"),
        ("arm", trajectory(NAMES, [0.0, 0.0], [0.0, 0.0]), "found 2 points, expected one"),
        ("arm", trajectory(NAMES, [0.0]), "found 1 numbers, expected 2"),
        ("arm", trajectory(NAMES, [0.0, math.nan]), "found nan at 1"),
    ],
)
def test_what_is_no_command_is_refused_with_a_short_reason(
    name: str, message: Any, reason: str
) -> None:
    with pytest.raises(UserError, match=reason) as caught:
        robot(name).read(message)
    assert len(str(caught.value)) < 500


def test_sticks_reach_everywhere_and_are_let_go() -> None:
    low, high = np.array([-0.5, -1.5]), np.array([1.0, 1.5])
    sticks = Sticks(low, high, np.random.default_rng(0))
    commands = np.array([sticks.next() for _ in range(2000)])
    assert (low <= commands).all() and (commands <= high).all()
    assert (commands.min(axis=0) < 0.95 * low).all() and (commands.max(axis=0) > 0.95 * high).all()
    assert 0.1 < (commands == 0).mean() < 0.3
    changes = (np.diff(commands, axis=0) != 0).mean()
    assert 0.05 < changes < 0.15  # held for half a second
    again = Sticks(low, high, np.random.default_rng(0))
    np.testing.assert_array_equal(commands, [again.next() for _ in range(2000)])
