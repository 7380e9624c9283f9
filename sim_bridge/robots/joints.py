"""``JointState`` as robots publish it: more joints than anyone asked for, in no order."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from planet_ros.messages.fields import Make, time_message

JOINT_STATE_TYPE = "sensor_msgs/msg/JointState"

STRANGERS = ("gripper", "head_pan", "lift")
"""Joints that have nothing to do with the task."""


@dataclass(frozen=True)
class Joint:
    """One joint's reading: rad, rad/s, N m."""

    position: float
    velocity: float
    effort: float


@dataclass(frozen=True)
class JointOptions:
    """How a robot reports its joints.

    Attributes:
        scramble: In a random order in each message, beside `STRANGERS`. Otherwise they are alone,
            in a fixed order.
        velocity: With velocities.
    """

    scramble: bool = True
    velocity: bool = True


def joint_state(
    make: Make,
    stamp_ns: int,
    joints: Mapping[str, Joint],
    options: JointOptions,
    rng: np.random.Generator,
) -> Any:
    """A message of some joints, by name."""
    all_joints = dict(joints)
    if options.scramble:
        all_joints |= {name: Joint(*rng.uniform(-1.0, 1.0, 3)) for name in STRANGERS}
        names = list(all_joints)
        all_joints = {names[i]: all_joints[names[i]] for i in rng.permutation(len(names))}
    message = make(JOINT_STATE_TYPE)
    message.header.stamp = time_message(make, stamp_ns)
    message.name = list(all_joints)
    message.position = array("d", [joint.position for joint in all_joints.values()])
    if options.velocity:
        message.velocity = array("d", [joint.velocity for joint in all_joints.values()])
    message.effort = array("d", [joint.effort for joint in all_joints.values()])
    return message
