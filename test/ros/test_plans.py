"""Plans and expectations of the controller, as somebody who watches gets them."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nodes import ENVIRONMENT, Ros
from robot_bundles import HORIZON, robot_bundle
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory

from planet_ros.bundle.manifest import MANIFEST_FILE, Manifest
from planet_ros.bundle.predictor import Predictor
from planet_ros.bundle.runtime import load_bundle
from planet_ros.control.events import MadePlan
from planet_ros.control.policy import PlanningPolicy
from planet_ros.interface.ahead import PlanWriter
from planet_ros.messages.announcements import Announcement
from planet_ros.messages.fields import header_stamp_ns
from planet_ros.messages.vectors import read_label
from planet_ros.ros.plans import SHORTEST_PERIOD_S, PlanPublisher
from planet_ros.ros.robot import Robot
from planet_ros.ros.topics import EVERY_STEP, LATCHED
from planet_ros.ros.types import make

pytestmark = pytest.mark.ros

PERIOD_NS = 50_000_000


def columns(message: Float64MultiArray) -> list[str]:
    names: list[str] = json.loads(message.layout.dim[1].label.partition(" ")[2])
    return names


def first_ns(message: Float64MultiArray) -> int:
    seconds, _, nanoseconds = read_label(message).tags["first"].partition(".")
    return int(seconds) * 10**9 + int(nanoseconds)


def test_an_arm_shows_trajectories_and_what_it_expects(ros: Ros, tmp_path: Path) -> None:
    bundle = robot_bundle(tmp_path / "model", "arm")
    states = ros.collect(JointState, "joint_states", EVERY_STEP)
    plans = ros.collect(JointTrajectory, "controller/plan")
    expected = ros.collect(Float64MultiArray, "controller/predicted")
    ros.start("controller", {"model": str(bundle.path), "controller.trigger": "observation"})
    ros.activate_controller()
    ros.start("robot", {"robot.name": "arm", "robot.mode": "lock_step"})
    ros.until(lambda: len(plans) > 5 and len(expected) > 5)

    stamps = {header_stamp_ns(state) for state in states}
    for plan in plans:
        assert header_stamp_ns(plan) in stamps
        assert plan.joint_names == ["shoulder", "elbow"]
        assert len(plan.points) == HORIZON
        starts = [one.time_from_start for one in plan.points]
        starts_ns = [one.sec * 10**9 + one.nanosec for one in starts]
        assert starts_ns == [index * PERIOD_NS for index in range(HORIZON)]
        assert all(len(one.positions) == 2 and not one.velocities for one in plan.points)
    for message in expected:
        assert read_label(message).stamp_ns in stamps
        assert first_ns(message) == (read_label(message).stamp_ns or 0) + PERIOD_NS
        assert [dimension.size for dimension in message.layout.dim] == [HORIZON, 6]
        assert columns(message) == [
            *(f"position[{joint}] [rad]" for joint in ("shoulder", "elbow")),
            *(f"velocity[{joint}] [rad/s]" for joint in ("shoulder", "elbow")),
            *(f"effort[{joint}] [N m]" for joint in ("shoulder", "elbow")),
        ]
        assert np.isfinite(message.data).all()


def test_the_plan_of_a_robot_that_is_late_says_when_it_acts(ros: Ros, tmp_path: Path) -> None:
    bundle = robot_bundle(tmp_path / "model", "base")
    plans = ros.collect(Float64MultiArray, "controller/plan")
    expected = ros.collect(Float64MultiArray, "controller/predicted")
    ros.start("robot", {"robot.name": "base", "robot.mode": "real_time"})
    ros.start("controller", {"model": str(bundle.path)})
    ros.activate_controller()
    goal = make("geometry_msgs/msg/PoseStamped")
    publisher = ros.observer.create_publisher(type(goal), "goal_pose", 1)
    ros.connect(publisher, "controller")
    publisher.publish(goal)
    ros.until(lambda: len(plans) > 5 and len(expected) > 5)
    for plan in plans:
        stamp_ns = read_label(plan).stamp_ns
        assert stamp_ns and first_ns(plan) == stamp_ns + PERIOD_NS  # one period of delay
        assert [one.size for one in plan.layout.dim] == [HORIZON, 2]
        assert columns(plan) == ["twist.linear.x [m/s]", "twist.angular.z [rad/s]"]
    for message in expected:
        assert first_ns(message) == (read_label(message).stamp_ns or 0) + PERIOD_NS
        assert columns(message)[:3] == ["x [m]", "y [m]", "yaw [rad]"]


def test_a_bundle_that_cannot_tell_says_why_and_one_that_can_takes_its_place(
    ros: Ros, tiny_bundle: str, tmp_path: Path
) -> None:
    silent = tmp_path / "silent"
    shutil.copytree(tiny_bundle, silent)
    document = json.loads((silent / MANIFEST_FILE).read_text())
    del document["graphs"]["predict"]
    manifest = Manifest.of(document, "silent")
    (silent / MANIFEST_FILE).write_bytes(manifest.to_json())
    plans = ros.collect(Float64MultiArray, "controller/plan")
    expected = ros.collect(Float64MultiArray, "controller/predicted")
    controller = ros.start(
        "controller", {"model": str(silent), "controller.trigger": "observation"}
    )
    ros.activate_controller()
    ros.start("gym_bridge", {**ENVIRONMENT, "bridge.mode": "lock_step"})
    ros.until(lambda: len(plans) > 3)
    assert "it has no graph predict" in controller.output
    assert not expected and ros.observer.count_publishers("controller/predicted") == 0

    announcements = ros.observer.create_publisher(String, "model", LATCHED)
    digest = load_bundle(tiny_bundle).digest
    announcements.publish(String(data=Announcement(Path(tiny_bundle), digest).to_text()))
    ros.until(lambda: len(expected) > 3)


def counted(monkeypatch: pytest.MonkeyPatch, kind: type, method: str) -> list[None]:
    """One entry for each call of a method."""
    calls: list[None] = []
    original = getattr(kind, method)

    def call(*arguments: Any) -> Any:
        calls.append(None)
        return original(*arguments)

    monkeypatch.setattr(kind, method, call)
    return calls


def test_nothing_is_made_while_nobody_watches_and_not_too_often_while_somebody_does(
    ros: Ros, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = counted(monkeypatch, PlanWriter, "message")
    predicted = counted(monkeypatch, Predictor, "__call__")
    bundle = robot_bundle(tmp_path / "model", "pendulum")
    plan = PlanningPolicy.of(bundle, 0).act(bundle.manifest.signature.zeros())
    plans = PlanPublisher(ros.observer, Robot.of(bundle))
    plans.use(bundle)

    def offer(seconds: float = 0.02) -> bool:
        """Offer a plan every millisecond or so."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            plans.offer(MadePlan(plan, bundle, 0))
            time.sleep(0.001)
        return True

    offer(0.5)
    assert (made, predicted) == ([], [])
    name = ros.observer.get_fully_qualified_name()
    shown = ros.collect(Float64MultiArray, f"{name}/plan")
    ros.until(lambda: offer() and shown)
    assert not predicted
    before = len(made)
    offer(1.0)
    assert 1 <= len(made) - before <= 1.0 / SHORTEST_PERIOD_S + 2
    expected = ros.collect(Float64MultiArray, f"{name}/predicted")
    ros.until(lambda: offer() and expected)
    assert predicted
    plans.close()
    assert not ros.observer.get_publishers_info_by_topic(f"{name}/plan")
