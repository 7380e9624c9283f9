"""What a robot's driving is said to be worth, from messages that are made for it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plain_messages as plain
import pytest

pytest.importorskip("rclpy")

from planet_ros.interface.files import load_interface
from planet_ros.ros.types import make
from planet_ros.supervision.judges import (
    CATCH_UP_S,
    FOLLOW_S,
    GOAL_S,
    GoalsReached,
    TargetFollowed,
    bang_bang_s,
)
from sim_bridge.robots.arm import Arm

PERIOD_NS = 50_000_000


def pose(stamp_ns: int, x: float, y: float, kind: str = "geometry_msgs/msg/PoseStamped") -> Any:
    message = make(kind)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    place = message.pose if kind.startswith("geometry") else message.pose.pose
    place.position.x, place.position.y = float(x), float(y)
    return message


def drive(judge: GoalsReached, begin_ns: int, goal: float, speed: float) -> int:
    """Run from 0 along x towards a goal, and stay there; give the next stamp."""
    for step in range(round(GOAL_S * 1e9) // PERIOD_NS):
        at = begin_ns + step * PERIOD_NS
        x = min(goal, speed * step * 0.05)
        # In any order, and what is shown again counts once.
        for _ in range(1 + step % 2):
            judge.take("odom", pose(at, x, 0, "nav_msgs/msg/Odometry"), 0)
            judge.take("goal_pose", pose(at, goal, 0), 0)
    return begin_ns + round(GOAL_S * 1e9)


def test_goals_are_reached_where_the_base_stays_near_them() -> None:
    told: list[str] = []
    judge = GoalsReached(load_interface("base"), make, goals=3, tell=told.append)
    at = drive(judge, 10**9, goal=2.0, speed=0.5)  # 1.9 m from 3.8 s on
    at = drive(judge, at, goal=2.5, speed=0.1)  # ends 1.7 m away
    assert not judge.done
    at = drive(judge, at, goal=1.0, speed=1.0)
    judge.take("goal_pose", pose(at, 0, 0), 0)
    judge.take("odom", pose(at, 0, 0, "nav_msgs/msg/Odometry"), 0)
    assert judge.done and len(told) == 3
    result = judge.result()
    assert (result["goals"], result["reached"]) == (3, 2)
    assert result["worst_distance_m"] == pytest.approx(2.5 - 0.1 * (GOAL_S - 0.05), abs=1e-6)
    assert result["time_ratio_max"] == pytest.approx(3.85 / bang_bang_s(2.0), abs=0.02)
    assert result["time_ratio_p50"] == result["time_ratio_max"]  # infinite, 1.28 and 0.48


def test_a_goal_that_is_passed_is_not_reached() -> None:
    judge = GoalsReached(load_interface("base"), make, goals=1, tell=lambda _: None)
    for step in range(20):
        at = 10**9 + step * PERIOD_NS
        judge.take("goal_pose", pose(at, 0.5, 0), 0)
        judge.take("odom", pose(at, 0.05 * step, 0, "nav_msgs/msg/Odometry"), 0)
    at += PERIOD_NS
    judge.take("goal_pose", pose(at, 9, 9), 0)
    judge.take("odom", pose(at, 1.0, 0, "nav_msgs/msg/Odometry"), 0)
    assert judge.done
    assert judge.result()["reached"] == 0
    assert judge.result()["time_ratio_p50"] is None


def test_commands_over_the_limit_are_counted() -> None:
    judge = GoalsReached(load_interface("base"), make, goals=1, tell=lambda _: None)
    sent = [(0.0, 0.0), (0.05, -0.15), (0.0, 0.0), (0.0, 0.16), (0.1, 0.16), (9.0, 9.0), (0.2, 0.0)]
    for period, (speed, turn) in zip([1, 2, 3, 4, 5, 5, 7], sent, strict=True):
        command = make("geometry_msgs/msg/TwistStamped")
        command.header.stamp.nanosec = period * PERIOD_NS
        command.twist.linear.x, command.twist.angular.z = speed, turn
        judge.take("cmd_vel", command, 0)
    judge.take("goal_pose", pose(1, 0, 0), 0)
    judge.take("odom", pose(1, 1, 0, "nav_msgs/msg/Odometry"), 0)
    judge.take("goal_pose", pose(2, 1, 1), 0)
    judge.take("odom", pose(2, 1, 0, "nav_msgs/msg/Odometry"), 0)
    assert judge.result()["over_acceleration"] == 2


@pytest.mark.parametrize(("distance", "seconds"), [(0.25, 1.0), (1.0, 2.0), (3.0, 4.0)])
def test_a_straight_run_accelerates_and_brakes(distance: float, seconds: float) -> None:
    assert bang_bang_s(distance) == pytest.approx(seconds)


def test_the_fingertip_is_where_the_simulation_has_it() -> None:
    arm = Arm()
    judge = TargetFollowed(circles=2, tell=lambda _: None)
    at, distances = 10**9, []
    for circle in range(3):
        arm.reset(np.random.default_rng(circle))
        steps = round(FOLLOW_S * 1e9) // PERIOD_NS if circle < 2 else 1
        for step in range(steps):
            joints = plain.JointState(
                name=["x", "elbow", "shoulder"], position=[9.0, *arm.state.position[::-1]]
            )
            joints.header.stamp.sec, joints.header.stamp.nanosec = divmod(at, 10**9)
            judge.take("joint_states", joints, 0)
            judge.take("target_pose", pose(at, *arm.target.position), 0)
            if step * 0.05 >= CATCH_UP_S:
                distances.append(math.dist(arm.state.fingertip, arm.target.position))
            at += PERIOD_NS
        at += 10**9
    assert judge.done
    result = judge.result()
    assert result["circles"] == 2
    assert result["mean_distance_m"] == pytest.approx(np.mean(distances), abs=1e-4)
    assert result["worst_distance_m"] == pytest.approx(max(distances), abs=1e-4)
