"""What each robot publishes and which commands it takes; docs/robots.md says it in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from planet_ros.errors import UserError
from planet_ros.messages.fields import (
    MAX_TEXT,
    Make,
    all_finite,
    first_not_finite,
    header_stamp_ns,
    numbers_of,
    quoted,
    reads,
    time_message,
)
from planet_ros.messages.vectors import VECTOR_TYPE, read_vector, vector_message
from sim_bridge.robots.arm import Arm
from sim_bridge.robots.base import Base
from sim_bridge.robots.goals import Goals
from sim_bridge.robots.joints import JOINT_STATE_TYPE, Joint, JointOptions, joint_state
from sim_bridge.robots.pendulum import Pendulum
from sim_bridge.robots.robot import Robot
from sim_bridge.robots.target import TargetMotion

JOINT_TOPIC = "joint_states"
ODOMETRY_TYPE = "nav_msgs/msg/Odometry"
IMU_TYPE = "sensor_msgs/msg/Imu"
TWIST_TYPE = "geometry_msgs/msg/TwistStamped"
POSE_TYPE = "geometry_msgs/msg/PoseStamped"
TRAJECTORY_TYPE = "trajectory_msgs/msg/JointTrajectory"

HINGE = "hinge"
ARM_JOINTS = ("shoulder", "elbow")


@dataclass(frozen=True)
class RobotOptions:
    """How a robot is seen.

    Attributes:
        joints: How joints are reported.
        noise: Factor on the noise of odometry and IMU.
        target: How the arm's target moves.
        goal_every_s: Seconds until the base is sent elsewhere; 0: nobody sends it.
    """

    joints: JointOptions = field(default_factory=JointOptions)
    noise: float = 1.0
    target: TargetMotion = field(default_factory=TargetMotion)
    goal_every_s: float = 0.0


@dataclass(frozen=True)
class Command:
    """What a message on the command topic says.

    Attributes:
        values: (A,) finite.
        stamp_ns: Of the state that it answers; None where it does not say.
    """

    values: NDArray[np.float64]
    stamp_ns: int | None


class Topics(Protocol):
    """A robot as others see it."""

    @property
    def robot(self) -> Robot:
        """The robot."""

    @property
    def states(self) -> Mapping[str, str]:
        """Types of the messages that it publishes, by topic."""

    @property
    def command(self) -> tuple[str, str]:
        """Topic and type of its commands."""

    def readings(self, stamp_ns: int, rng: np.random.Generator) -> dict[str, Any]:
        """The messages of the state as it is now, by topic."""

    def read(self, message: Any) -> Command:
        """The command of a message.

        Raises:
            UserError: It is none that this robot can follow.
        """

    def write(self, values: NDArray[np.floating], stamp_ns: int) -> Any:
        """The message of a command (A,), in answer to the state of a stamp."""


class PendulumTopics:
    """``joint_states`` out, an effort in."""

    states: Mapping[str, str] = MappingProxyType({JOINT_TOPIC: JOINT_STATE_TYPE})
    command = ("effort_controller/commands", VECTOR_TYPE)

    def __init__(self, make: Make, options: RobotOptions) -> None:
        self.robot = Pendulum()
        self._make = make
        self._options = options

    def readings(self, stamp_ns: int, rng: np.random.Generator) -> dict[str, Any]:
        """As `Topics.readings`."""
        state = self.robot.state
        joints = {HINGE: Joint(state.angle, state.velocity, state.torque)}
        message = joint_state(self._make, stamp_ns, joints, self._options.joints, rng)
        return {JOINT_TOPIC: message}

    def read(self, message: Any) -> Command:
        """The torque, and the stamp that a label may hold."""
        vector = read_vector(message, len(self.robot.low))
        return Command(np.asarray(message.data, dtype=np.float64), vector.label.stamp_ns)

    def write(self, values: NDArray[np.floating], stamp_ns: int) -> Any:
        """As `Topics.write`."""
        return vector_message(self._make, "action", values, stamp_ns)


# Standard deviations of the base's sensors.
_POSITION_M, _YAW_RAD, _SPEED, _TURN_RATE = 0.001, 0.001, 0.005, 0.005
_GYRO, _ACCELEROMETER = 0.002, 0.05
_GRAVITY = 9.81


class BaseTopics:
    """``odom`` and ``imu`` out, ``cmd_vel`` in; and ``goal_pose``, where it is sent anywhere."""

    command = ("cmd_vel", TWIST_TYPE)

    def __init__(self, make: Make, options: RobotOptions) -> None:
        self.robot = Base(goals=Goals(options.goal_every_s))
        goals = {"goal_pose": POSE_TYPE} if options.goal_every_s > 0 else {}
        # Goals first: who hears a state then knows what it is for.
        self.states: Mapping[str, str] = {**goals, "odom": ODOMETRY_TYPE, "imu": IMU_TYPE}
        self._make = make
        self._noise = options.noise

    def readings(self, stamp_ns: int, rng: np.random.Generator) -> dict[str, Any]:
        """As `Topics.readings`."""
        noise = self._noise * rng.standard_normal(8)
        readings = {
            "odom": self._odometry(stamp_ns, noise[:5]),
            "imu": self._imu(stamp_ns, noise[5:]),
        }
        if "goal_pose" in self.states:
            goal = _pose(self._make, stamp_ns, "odom", self.robot.goals.position)
            readings = {"goal_pose": goal, **readings}
        return readings

    def _odometry(self, stamp_ns: int, noise: NDArray[np.float64]) -> Any:
        state = self.robot.state
        message = self._make(ODOMETRY_TYPE)
        message.header.stamp = time_message(self._make, stamp_ns)
        message.header.frame_id, message.child_frame_id = "odom", "base_link"
        pose, twist = message.pose.pose, message.twist.twist
        pose.position.x = state.x + _POSITION_M * noise[0]
        pose.position.y = state.y + _POSITION_M * noise[1]
        _turn(pose.orientation, state.yaw + _YAW_RAD * noise[2])
        twist.linear.x = state.speed + _SPEED * noise[3]
        twist.angular.z = state.turn_rate + _TURN_RATE * noise[4]
        _set_variances(message.pose.covariance, {0: _POSITION_M, 7: _POSITION_M, 35: _YAW_RAD})
        _set_variances(message.twist.covariance, {0: _SPEED, 35: _TURN_RATE})
        return message

    def _imu(self, stamp_ns: int, noise: NDArray[np.float64]) -> Any:
        state = self.robot.state
        message = self._make(IMU_TYPE)
        message.header.stamp = time_message(self._make, stamp_ns)
        message.header.frame_id = "imu_link"
        message.orientation_covariance[0] = -1.0  # it measures none
        message.angular_velocity.z = state.turn_rate + _GYRO * noise[0]
        message.linear_acceleration.x = state.acceleration + _ACCELEROMETER * noise[1]
        sideways = state.speed * state.turn_rate
        message.linear_acceleration.y = sideways + _ACCELEROMETER * noise[2]
        message.linear_acceleration.z = _GRAVITY
        _set_variances(message.angular_velocity_covariance, {8: _GYRO})
        _set_variances(
            message.linear_acceleration_covariance, {0: _ACCELEROMETER, 4: _ACCELEROMETER}
        )
        return message

    def read(self, message: Any) -> Command:
        """Speed and turn rate; the rest of the twist is passed over."""
        return _read_twist(message)

    def write(self, values: NDArray[np.floating], stamp_ns: int) -> Any:
        """As `Topics.write`."""
        message = self._make(TWIST_TYPE)
        message.header.stamp = time_message(self._make, stamp_ns)
        message.header.frame_id = "base_link"
        message.twist.linear.x, message.twist.angular.z = map(float, values)
        return message


@reads("command", TWIST_TYPE)
def _read_twist(message: Any) -> Command:
    twist = message.twist
    return _command([twist.linear.x, twist.angular.z], header_stamp_ns(message))


class ArmTopics:
    """``joint_states`` and ``target_pose`` out, a trajectory of one point in."""

    states: Mapping[str, str] = MappingProxyType(
        {"target_pose": POSE_TYPE, JOINT_TOPIC: JOINT_STATE_TYPE}
    )
    command = ("arm_controller/joint_trajectory", TRAJECTORY_TYPE)

    def __init__(self, make: Make, options: RobotOptions) -> None:
        self.robot = Arm(options.target)
        self._make = make
        self._options = options

    def readings(self, stamp_ns: int, rng: np.random.Generator) -> dict[str, Any]:
        """As `Topics.readings`."""
        state = self.robot.state
        rows = zip(state.position, state.velocity, state.effort, strict=True)
        joints = {name: Joint(*map(float, row)) for name, row in zip(ARM_JOINTS, rows, strict=True)}
        message = joint_state(self._make, stamp_ns, joints, self._options.joints, rng)
        target = _pose(self._make, stamp_ns, "base_link", self.robot.target.position, z=0.01)
        return {"target_pose": target, JOINT_TOPIC: message}

    def read(self, message: Any) -> Command:
        """The positions of its only point, by the names of the joints."""
        return _read_trajectory(message)

    def write(self, values: NDArray[np.floating], stamp_ns: int) -> Any:
        """As `Topics.write`."""
        message = self._make(TRAJECTORY_TYPE)
        message.header.stamp = time_message(self._make, stamp_ns)
        message.joint_names = list(ARM_JOINTS)
        point = self._make("trajectory_msgs/msg/JointTrajectoryPoint")
        point.positions = [float(value) for value in values]
        message.points = [point]
        return message


@reads("command", TRAJECTORY_TYPE)
def _read_trajectory(message: Any) -> Command:
    names = message.joint_names
    if len(names) != len(ARM_JOINTS) or set(names) != set(ARM_JOINTS):
        found = ", ".join(quoted(name) for name in names[: len(ARM_JOINTS) + 1])[:MAX_TEXT]
        raise UserError(
            f"command: found {len(names)} joint names ({found}), expected {', '.join(ARM_JOINTS)}"
        )
    if len(message.points) != 1:
        raise UserError(f"command: found {len(message.points)} points, expected one")
    positions = numbers_of(message.points[0].positions, "command", len(ARM_JOINTS))
    by_name = dict(zip(names, positions.tolist(), strict=True))
    return _command([by_name[name] for name in ARM_JOINTS], header_stamp_ns(message))


def _command(numbers: list[float], stamp_ns: int | None) -> Command:
    values = np.array(numbers, dtype=np.float64)
    if not all_finite(values):
        raise UserError(
            f"command: found {first_not_finite(values)}, expected {len(values)} finite numbers"
        )
    return Command(values, stamp_ns)


def _pose(make: Make, stamp_ns: int, frame: str, place: NDArray[np.float64], z: float = 0.0) -> Any:
    """Somewhere in the plane at height z, looking along x."""
    message = make(POSE_TYPE)
    message.header.stamp = time_message(make, stamp_ns)
    message.header.frame_id = frame
    position = message.pose.position
    position.x, position.y = map(float, place)
    position.z = z
    message.pose.orientation.w = 1.0
    return message


def _turn(orientation: Any, yaw: float) -> None:
    """Set a quaternion to a rotation about z."""
    orientation.z, orientation.w = math.sin(yaw / 2), math.cos(yaw / 2)


def _set_variances(covariance: Any, deviations: Mapping[int, float]) -> None:
    for index, deviation in deviations.items():
        covariance[index] = deviation**2


ROBOTS: dict[str, type[PendulumTopics] | type[BaseTopics] | type[ArmTopics]] = {
    "pendulum": PendulumTopics,
    "base": BaseTopics,
    "arm": ArmTopics,
}
"""Every robot, by its name."""
