"""Messages that no ROS made: dataclasses as a reader of bags has them, and `make` for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np

from planet_ros.errors import UserError

NUMBERS = partial(np.zeros, 0)
FLOATS = partial(np.zeros, 0, np.float32)
BYTES = partial(np.zeros, 0, np.uint8)


@dataclass
class Time:
    sec: int = 0
    nanosec: int = 0


@dataclass
class Header:
    stamp: Time = field(default_factory=Time)
    frame_id: str = ""


@dataclass
class Vector3:
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0


@dataclass
class Quaternion(Vector3):
    w: float = 1.0


@dataclass
class Pose:
    position: Vector3 = field(default_factory=Vector3)
    orientation: Quaternion = field(default_factory=Quaternion)


@dataclass
class Twist:
    linear: Vector3 = field(default_factory=Vector3)
    angular: Vector3 = field(default_factory=Vector3)


@dataclass
class PoseWithCovariance:
    pose: Pose = field(default_factory=Pose)
    covariance: Any = field(default_factory=partial(np.zeros, 36))


@dataclass
class TwistWithCovariance:
    twist: Twist = field(default_factory=Twist)
    covariance: Any = field(default_factory=partial(np.zeros, 36))


@dataclass
class Odometry:
    header: Header = field(default_factory=Header)
    child_frame_id: str = ""
    pose: PoseWithCovariance = field(default_factory=PoseWithCovariance)
    twist: TwistWithCovariance = field(default_factory=TwistWithCovariance)


@dataclass
class PoseStamped:
    header: Header = field(default_factory=Header)
    pose: Pose = field(default_factory=Pose)


@dataclass
class TwistStamped:
    header: Header = field(default_factory=Header)
    twist: Twist = field(default_factory=Twist)


@dataclass
class Imu:
    header: Header = field(default_factory=Header)
    orientation: Quaternion = field(default_factory=Quaternion)
    angular_velocity: Vector3 = field(default_factory=Vector3)
    linear_acceleration: Vector3 = field(default_factory=Vector3)
    linear_acceleration_covariance: Any = field(default_factory=partial(np.zeros, 9))


@dataclass
class LaserScan:
    header: Header = field(default_factory=Header)
    range_max: float = 0.0
    ranges: Any = field(default_factory=FLOATS)


@dataclass
class JointState:
    header: Header = field(default_factory=Header)
    name: list[str] = field(default_factory=list)
    position: Any = field(default_factory=NUMBERS)
    velocity: Any = field(default_factory=NUMBERS)
    effort: Any = field(default_factory=NUMBERS)


@dataclass
class JointTrajectoryPoint:
    positions: Any = field(default_factory=NUMBERS)
    velocities: Any = field(default_factory=NUMBERS)
    accelerations: Any = field(default_factory=NUMBERS)
    effort: Any = field(default_factory=NUMBERS)
    time_from_start: Time = field(default_factory=Time)


@dataclass
class JointTrajectory:
    header: Header = field(default_factory=Header)
    joint_names: list[str] = field(default_factory=list)
    points: list[trajectory_msgs__msg__JointTrajectoryPoint] = field(  # type: ignore[name-defined]  # noqa: F821
        default_factory=list
    )
    __msgtype__: ClassVar[str] = "trajectory_msgs/msg/JointTrajectory"


@dataclass
class MultiArrayDimension:
    label: str = ""
    size: int = 0
    stride: int = 0


@dataclass
class MultiArrayLayout:
    dim: list[std_msgs__msg__MultiArrayDimension] = field(  # type: ignore[name-defined]  # noqa: F821
        default_factory=list
    )
    data_offset: int = 0


@dataclass
class Float64MultiArray:
    layout: MultiArrayLayout = field(default_factory=MultiArrayLayout)
    data: Any = field(default_factory=NUMBERS)


@dataclass
class Image:
    header: Header = field(default_factory=Header)
    height: int = 0
    width: int = 0
    encoding: str = ""
    is_bigendian: int = 0
    step: int = 0
    data: Any = field(default_factory=BYTES)


@dataclass
class CompressedImage:
    header: Header = field(default_factory=Header)
    format: str = ""
    data: Any = field(default_factory=BYTES)


@dataclass
class Float64:
    data: float = 0.0


@dataclass
class Bool:
    data: bool = False


TYPES = {
    f"{package}/msg/{kind.__name__}": kind
    for package, kinds in {
        "builtin_interfaces": (Time,),
        "geometry_msgs": (PoseStamped, TwistStamped, Twist, Pose),
        "nav_msgs": (Odometry,),
        "sensor_msgs": (Imu, LaserScan, JointState, Image, CompressedImage),
        "std_msgs": (Float64MultiArray, MultiArrayDimension, Bool, Float64),
        "trajectory_msgs": (JointTrajectory, JointTrajectoryPoint),
    }.items()
    for kind in kinds
}


def make(type_name: str) -> Any:
    """An empty message, as `planet_ros.ros.types.make` gives rclpy's."""
    if type_name not in TYPES:
        raise UserError(f"found the message type {type_name!r}, expected one that is installed")
    return TYPES[type_name]()
