"""What goes wrong around a controller that drives a robot by its interface, in real time.

The robots are the simulated ones, in processes of their own; this process only listens, and plays
the part of what is wrong.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driven import PERIOD_S, STALE_S, Rig, change_state
from lifecycle_msgs.msg import Transition
from nodes import Ros
from rclpy.serialization import serialize_message
from robot_bundles import robot_bundle
from std_msgs.msg import String
from std_srvs.srv import Trigger

from planet_ros.interface.paths import parse_path
from planet_ros.messages.announcements import Announcement
from planet_ros.ros.topics import LATCHED
from planet_ros.ros.types import make, message_class
from planet_ros.supervision import processes

pytestmark = pytest.mark.ros

LATE_S = 0.25
"""For this process and the others on a machine that does other things."""


# ── a robot that is not there, dies and comes back; a controller that ends ───────────────────


@pytest.mark.parametrize(
    ("robot", "how"),
    [("pendulum", signal.SIGTERM), ("base", signal.SIGINT), ("arm", "deactivate")],
)
def test_a_robot_that_is_silent_is_sent_what_is_safe_and_so_is_one_that_is_left(
    ros: Ros, tmp_path: Path, robot: str, how: Any
) -> None:
    rig = Rig(ros, tmp_path, robot)
    topic = f"/{rig.interface.observation[0].topic}"
    ros.until(lambda: f"nothing new on '{topic}' (0 publishers)" in rig.diagnostics.text)
    assert f"nothing new on '{topic}' (0 publishers)" in rig.controller.output
    if robot == "arm":  # nobody knows yet where it is
        assert not rig.commands
        assert "the observation is not complete: " in rig.diagnostics.text
    else:
        assert np.allclose(rig.values, rig.safe)

    process = rig.start_robot()
    rig.until_acting()
    assert not rig.is_safe()
    process.send(signal.SIGKILL)
    sent = len(rig.commands)
    ros.spin(STALE_S + PERIOD_S + LATE_S)
    assert rig.commands[-1][0] > rig.states[-1][0] + STALE_S
    late_s = rig.states[-1][0] + STALE_S + PERIOD_S + LATE_S
    started = [values for at_s, values in rig.commands[sent:] if at_s > late_s - LATE_S / 2]
    ros.until(rig.is_safe, timeout_s=3)
    steps = np.abs(np.array(started) - rig.safe)
    assert (np.diff(steps, axis=0) <= 1e-5).all()  # it was on its way there since
    ros.until(lambda: "nothing new on" in rig.diagnostics.text)

    rig.start_robot()
    rig.until_acting()
    if how == "deactivate":
        assert change_state(ros, Transition.TRANSITION_DEACTIVATE)
    else:
        rig.controller.send(how)
        ros.until(lambda: rig.controller.poll() is not None)
        assert rig.controller.poll() == 0
    ros.spin(0.2)
    sent = len(rig.commands)
    if robot == "arm":  # where it was when that began
        places = [parse_path("position[shoulder, elbow]").read(one) for _, one in rig.states]
        nearest = np.abs(np.array(places) - rig.values[-1]).max(axis=1).min()
        assert nearest < 1e-4
    else:
        assert rig.is_safe()
    ros.spin(5 * PERIOD_S)
    assert len(rig.commands) == sent
    rig.check_limits()


@pytest.mark.parametrize("thread", ["executor", "planner"])
def test_an_exception_that_nobody_foresaw_stops_the_robot_first(
    ros: Ros, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thread: str
) -> None:
    monkeypatch.setitem(processes.NODES, "controller", "failing_controller")
    monkeypatch.setenv("FAILS", thread)
    rig = Rig(ros, tmp_path, "base")
    rig.start_robot()
    ros.until(lambda: rig.controller.poll() is not None)
    assert rig.controller.poll() == 1
    assert "RuntimeError: nobody foresaw this" in rig.controller.output
    ros.spin(0.2)
    assert rig.values.any()
    assert rig.is_safe()
    rig.check_limits()


# ── what comes from the topics ───────────────────────────────────────────────────────────────


def test_damaged_messages_and_others_on_the_topics_move_nothing(ros: Ros, tmp_path: Path) -> None:
    rig = Rig(ros, tmp_path, "base")
    rig.start_robot()
    rig.until_acting()
    sources = {
        part.topic: ros.observer.create_publisher(message_class(part.type), part.topic, 1)
        for part in rig.interface.observation
    }
    others = ros.observer.create_publisher(
        message_class("geometry_msgs/msg/TwistStamped"), "cmd_vel", 1
    )
    text = "2 publish on '/cmd_vel', expected one: /controller, /supervisor"
    ros.until(lambda: f"acting; {text}" in rig.diagnostics.text)
    ros.observer.destroy_publisher(others)
    text = "2 publish on '/odom', expected one: /robot, /supervisor; 2 publish on '/imu'"
    ros.until(lambda: text in rig.diagnostics.values["other_publishers"])

    odometry = make("nav_msgs/msg/Odometry")
    odometry.twist.twist.linear.x = float("nan")
    before = rig.diagnostics.dropped
    sources["odom"].publish(odometry)
    ros.until(lambda: rig.diagnostics.dropped > before)
    assert "speed: found nan at 0, expected finite numbers" in rig.controller.output
    before = rig.diagnostics.dropped
    odometry.header.frame_id = "x" * 10**5
    large = ros.observer.create_timer(0.05, lambda: sources["odom"].publish(odometry))
    ros.until(lambda: rig.diagnostics.dropped > before)
    ros.observer.destroy_timer(large)
    before, rng = rig.diagnostics.dropped, random.Random(0)
    for topic, publisher in sources.items():
        kind = next(part.type for part in rig.interface.observation if part.topic == topic)
        whole = serialize_message(make(kind))
        for _ in range(100):
            data = bytearray(whole)
            del data[rng.randrange(4, len(data)) :]
            for at in rng.choices(range(4, len(data)), k=3) if len(data) > 4 else ():
                data[at] = rng.randrange(256)
            publisher.publish(bytes(data))
            ros.spin(0.002)
    ros.until(lambda: rig.diagnostics.dropped > before + 20)
    for publisher in sources.values():
        ros.observer.destroy_publisher(publisher)
    rig.until_acting()
    rig.check_limits()
    assert rig.controller.poll() is None
    assert max(map(len, rig.controller.output.splitlines())) < 2000


# ── time ─────────────────────────────────────────────────────────────────────────────────────


def test_simulated_time_that_stands_still_is_said_by_controller_and_trainer(
    ros: Ros, tmp_path: Path
) -> None:
    rig = Rig(ros, tmp_path, "pendulum", use_sim_time=True)
    learning = {
        "interface": "pendulum",
        "training.collect": "listen",
        "training.output": str(tmp_path / "run"),
        "use_sim_time": True,
    }
    trainer = ros.start("trainer", learning)
    ros.until(lambda: "simulated time stands still at 0.000 s" in rig.diagnostics.text)
    ros.until(lambda: "no steps for 2 s: simulated time stands still at 0.000" in trainer.output)
    assert not rig.commands
    robot = rig.start_robot()
    rig.until_acting()

    assert ros.call(Trigger, "robot/reset", Trigger.Request()).success  # stamps jump by a second
    rig.until_acting()
    os.kill(robot.pid, signal.SIGSTOP)
    ros.spin(0.3)
    count = len(rig.commands)
    ros.until(lambda: "simulated time stands still at " in rig.diagnostics.text)
    assert len(rig.commands) == count
    os.kill(robot.pid, signal.SIGCONT)
    rig.until_acting()
    assert len(rig.commands) > count
    assert trainer.poll() is None


def test_a_controller_that_was_held_up_skips_and_sends_no_burst(ros: Ros, tmp_path: Path) -> None:
    rig = Rig(ros, tmp_path, "pendulum")
    rig.start_robot()
    rig.until_acting()
    for _ in range(3):
        os.kill(rig.controller.pid, signal.SIGSTOP)
        ros.spin(0.1)  # what was on its way
        count = len(rig.commands)
        ros.spin(0.6)
        assert len(rig.commands) == count
        os.kill(rig.controller.pid, signal.SIGCONT)
        began_s = time.monotonic()
        ros.spin(0.5)
        most = (time.monotonic() - began_s) / PERIOD_S + 2
        assert 1 <= len(rig.commands) - count <= most
    rig.until_acting()


# ── models ───────────────────────────────────────────────────────────────────────────────────


def test_a_plan_that_does_not_end_keeps_neither_commands_nor_the_end_away(
    ros: Ros, tmp_path: Path
) -> None:
    rig = Rig(ros, tmp_path, "pendulum")
    endless = robot_bundle(tmp_path / "endless", rig.interface, candidates=20_000, iterations=1000)
    rig.start_robot()
    rig.until_acting()
    announcer = ros.observer.create_publisher(String, "model", LATCHED)
    announcer.publish(String(data=Announcement(endless.path, endless.digest).to_text()))
    ros.until(lambda: "the plan is late" in rig.diagnostics.text)
    ros.until(rig.is_safe)
    count = len(rig.commands)
    ros.spin(1.0)
    assert not rig.values[count:].any()
    assert len(rig.commands) - count > 10
    assert change_state(ros, Transition.TRANSITION_DEACTIVATE)
    assert change_state(ros, Transition.TRANSITION_ACTIVATE)
    ros.until(lambda: len(rig.commands) > count + 30)
    assert rig.controller.end(signal.SIGTERM, timeout_s=10) == 0
    assert rig.is_safe()


def test_a_model_that_gives_no_number_is_an_error_until_it_does(ros: Ros, tmp_path: Path) -> None:
    rig = Rig(ros, tmp_path, "pendulum")
    joints = make("sensor_msgs/msg/JointState")
    joints.name, joints.position, joints.velocity = ["hinge"], [0.1], [0.2]
    publisher = ros.observer.create_publisher(type(joints), "joint_states", 1)

    def show() -> None:
        joints.header.stamp = ros.observer.get_clock().now().to_msg()
        publisher.publish(joints)

    ros.observer.create_timer(0.02, show)
    rig.until_acting()
    joints.velocity = [3e38]  # a number, but too much for any model
    ros.until(lambda: rig.diagnostics.text.startswith("planning failed: "))
    ros.until(rig.is_safe)
    assert int(rig.diagnostics.values["failed_plans"]) > 0
    joints.velocity = [0.2]
    rig.until_acting()
    assert not rig.is_safe()
    rig.check_limits()
