"""The simulated robots over DDS, with this process in the commander's place."""

from __future__ import annotations

import math
import signal
import time
from typing import Any

import numpy as np
import pytest
from nodes import NodeProcess, Ros
from numpy.typing import NDArray
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from std_srvs.srv import SetBool, Trigger

from planet_ros.messages.fields import header_stamp_ns
from planet_ros.ros.topics import EVERY_STEP, NEWEST_RELIABLE
from planet_ros.ros.types import make, message_class
from sim_bridge.joystick import Joystick
from sim_bridge.robots.simulation import RESTART_GAP_NS
from sim_bridge.robots.topics import ROBOTS, RobotOptions

pytestmark = pytest.mark.ros

PERIOD_NS = 50_000_000
Values = NDArray[np.float64]


class Rig:
    """A robot in a process, every message that it publishes, and a way to command it."""

    def __init__(self, ros: Ros, name: str, **settings: Any) -> None:
        self.ros = ros
        self.topics = ROBOTS[name](make, RobotOptions())
        self.heard = {
            topic: ros.collect(message_class(kind), topic, EVERY_STEP)
            for topic, kind in self.topics.states.items()
        }
        topic, kind = self.topics.command
        self.commands = ros.observer.create_publisher(message_class(kind), topic, NEWEST_RELIABLE)
        parameters = {f"robot.{key}": value for key, value in settings.items() if key != "seed"}
        self.node: NodeProcess = ros.start(
            "robot", {"robot.name": name, "seed": settings.get("seed", 0), **parameters}
        )
        ros.connect(self.commands, "robot")

    def newest(self, topic: str = "") -> Any:
        """The newest message of a topic, which is by default the robot's first."""
        messages = self.heard[topic or next(iter(self.heard))]
        self.ros.until(lambda: messages)
        return messages[-1]

    def send(self, *values: float, stamp_ns: int = 0) -> None:
        self.commands.publish(self.topics.write(np.array(values), stamp_ns))

    def send_for(self, seconds: float, *values: float) -> None:
        """Send a command over and over, as robots want it."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.send(*values)
            self.ros.spin(0.05)


def place(message: Any, joint: str) -> float:
    return float(message.position[message.name.index(joint)])


def by_stamps(messages: list[Any]) -> dict[int, Any]:
    """Messages by their stamps; those that are shown again are the same."""
    by_stamp: dict[int, Any] = {}
    for message in messages:
        stamp_ns = header_stamp_ns(message)
        assert stamp_ns is not None
        assert by_stamp.setdefault(stamp_ns, message) == message
    return by_stamp


# ── what they say ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ROBOTS)
def test_a_robot_in_real_time_publishes_what_it_says_at_its_rate(ros: Ros, name: str) -> None:
    clocks = ros.collect(Clock, "/clock", EVERY_STEP)
    rig = Rig(ros, name, mode="real_time")
    ros.until(lambda: all(len(messages) > 2 for messages in rig.heard.values()))
    begun, began_s = {topic: len(found) for topic, found in rig.heard.items()}, time.monotonic()
    ros.spin(2.0)
    seconds = time.monotonic() - began_s
    for topic, messages in rig.heard.items():
        rate = (len(messages) - begun[topic]) / seconds
        assert rate == pytest.approx(20.0, rel=0.15), topic
        stamps = [header_stamp_ns(message) for message in messages]
        steps = set(np.diff([stamp for stamp in stamps if stamp is not None]))
        assert steps == {PERIOD_NS}
    assert clocks[-1].clock.sec > RESTART_GAP_NS / 1e9
    published = {topic for topic, _ in ros.observer.get_topic_names_and_types()}
    for learners in ("observation", "step", "reward", "terminated"):
        assert not any(learners in topic for topic in published)


def test_commands_move_the_pendulum(ros: Ros) -> None:
    rig = Rig(ros, "pendulum", mode="real_time", scramble_joints=False)
    rig.send_for(1.0, 2.0)
    assert rig.newest().effort[0] == 2.0
    ros.until(lambda: rig.newest().effort[0] == 0.0)  # nobody commands any more
    assert "no command for 0.5 s" in rig.node.output


def test_commands_move_the_base_and_it_stops_without_them(ros: Ros) -> None:
    rig = Rig(ros, "base", mode="real_time", noise=0.0)
    rig.send_for(1.5, 0.8, 1.0)
    twist = rig.newest("odom").twist.twist
    assert (twist.linear.x, twist.angular.z) == (pytest.approx(0.8), pytest.approx(1.0))
    silent_s = time.monotonic()
    ros.until(lambda: rig.newest("odom").twist.twist.linear.x < 0.79)
    began_to_stop_s = time.monotonic() - silent_s
    assert 0.3 < began_to_stop_s < 0.9  # a timeout of 0.5 s, and a period of delay
    ros.until(lambda: rig.newest("odom").twist.twist.linear.x == 0.0)
    assert rig.newest("odom").twist.twist.angular.z == 0.0
    speeds = [message.twist.twist.linear.x for message in rig.heard["odom"]]
    assert np.abs(np.diff(speeds)).max() <= 1.0 * 0.05 + 1e-9


def test_commands_move_the_arm_and_it_holds_without_them(ros: Ros) -> None:
    rig = Rig(ros, "arm", mode="real_time", seed=3)
    start = np.array([place(rig.newest("joint_states"), joint) for joint in ("shoulder", "elbow")])
    wanted = np.where(start > 0, start - 2.5, start + 2.5)
    rig.send_for(0.3, *wanted)
    rig.ros.spin(1.2)  # longer than a command is in force
    held = [place(rig.newest("joint_states"), joint) for joint in ("shoulder", "elbow")]
    ros.spin(0.5)
    now = [place(rig.newest("joint_states"), joint) for joint in ("shoulder", "elbow")]
    np.testing.assert_allclose(now, held, atol=1e-3)
    assert (np.abs(held - start) > 0.5).all()  # it was on its way
    rig.send_for(1.5, *wanted)
    now = [place(rig.newest("joint_states"), joint) for joint in ("shoulder", "elbow")]
    np.testing.assert_allclose(now, wanted, atol=1e-2)


# ── lock-step ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ROBOTS)
def test_lock_step_takes_the_same_way_for_the_same_commands(ros: Ros, name: str) -> None:
    """Bit by bit; how messages overtake one another, and which are lost, changes nothing."""

    def run(seed: int) -> tuple[dict[str, dict[int, Any]], dict[int, Values]]:
        rig = Rig(ros, name, seed=seed, start_paused=True, command_timeout_s=0.2)
        joystick = Joystick(ros.observer, name, np.random.default_rng(5))
        ros.call(SetBool, "robot/pause", SetBool.Request(data=False))
        ros.until(lambda: len(joystick.sent) > 120)
        joystick.driving = False
        assert rig.node.end() == 0
        return {topic: by_stamps(found) for topic, found in rig.heard.items()}, joystick.sent

    (first, sent), (again, sent_again), (other, _) = run(7), run(7), run(8)
    for stamp in list(sent)[:120]:
        np.testing.assert_array_equal(sent[stamp], sent_again[stamp])
    stamps = list(sent)[:120]
    assert stamps == [RESTART_GAP_NS + PERIOD_NS * (index + 1) for index in range(120)]
    for topic in first:
        common = [stamp for stamp in stamps if stamp in first[topic] and stamp in again[topic]]
        assert len(common) > 100
        for stamp in common:
            assert first[topic][stamp] == again[topic][stamp]
        assert any(first[topic][stamp] != other[topic].get(stamp) for stamp in common)


def test_lock_step_waits_for_the_command_that_answers(ros: Ros) -> None:
    rig = Rig(ros, "base", command_timeout_s=0.2, noise=0.0)
    stamp_ns = header_stamp_ns(rig.newest())
    assert stamp_ns is not None
    rig.send(1.0, 0.0, stamp_ns=stamp_ns - PERIOD_NS)  # answers another state
    ros.spin(0.6)
    assert header_stamp_ns(rig.newest()) == stamp_ns
    assert len(rig.heard["odom"]) > 1  # shown again
    assert "no command for the observation" in rig.node.output
    rig.send(1.0, 0.0, stamp_ns=stamp_ns)
    ros.until(lambda: header_stamp_ns(rig.newest()) == stamp_ns + PERIOD_NS)
    rig.send(0.0, 0.0)  # without a stamp it answers whatever is shown
    ros.until(lambda: header_stamp_ns(rig.newest()) == stamp_ns + 2 * PERIOD_NS)
    assert rig.newest().twist.twist.linear.x == pytest.approx(0.05)  # a period late


def test_a_restart_is_a_jump_of_the_stamp(ros: Ros) -> None:
    rig = Rig(ros, "pendulum", episode_s=0.5, scramble_joints=False)
    joystick = Joystick(ros.observer, "pendulum", np.random.default_rng(0))
    ros.until(lambda: len(joystick.sent) > 50)
    stamps = list(joystick.sent)
    steps = np.diff(stamps)
    assert set(steps) == {PERIOD_NS, PERIOD_NS + RESTART_GAP_NS}
    jumps = np.flatnonzero(steps > PERIOD_NS)
    assert set(np.diff(jumps)) == {11}  # ten periods, and the last state is shown too
    by_stamp = by_stamps(rig.heard["joint_states"])
    assert {by_stamp[stamps[index + 1]].effort[0] for index in jumps} == {0.0}


def test_pause_for_a_learner_single_step_and_reset(ros: Ros) -> None:
    rig = Rig(ros, "pendulum", start_paused=True, pause_every_steps=10, command_timeout_s=0.2)
    joystick = Joystick(ros.observer, "pendulum", np.random.default_rng(0))
    ros.spin()
    assert not joystick.sent
    go_on = SetBool.Request(data=False)
    for number in (10, 20):
        assert ros.call(SetBool, "robot/pause", go_on).success
        # How the last period ended is shown, and answered; the answer acts when it goes on.
        ros.until(lambda number=number: len(joystick.sent) == number + 1)
        ros.spin()
        assert len(joystick.sent) == number + 1
    assert ros.call(Trigger, "robot/single_step", Trigger.Request()).success
    ros.spin()
    assert len(joystick.sent) == 21
    assert ros.call(Trigger, "robot/reset", Trigger.Request()).success
    assert ros.call(SetBool, "robot/pause", go_on).success
    ros.until(lambda: len(joystick.sent) > 22)
    stamps = list(joystick.sent)
    assert stamps[21] - stamps[20] == RESTART_GAP_NS + 2 * PERIOD_NS
    assert rig.node.poll() is None


def test_real_time_can_run_faster(ros: Ros) -> None:
    rig = Rig(ros, "base", mode="real_time", real_time_factor=5.0, noise=0.0)
    rig.newest()
    first, began_s = len(rig.heard["odom"]), time.monotonic()
    ros.spin(2.0)
    rate = (len(rig.heard["odom"]) - first) / (time.monotonic() - began_s)
    assert rate == pytest.approx(100.0, rel=0.15)


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ROBOTS)
def test_damaged_commands_are_dropped_and_named(ros: Ros, name: str) -> None:
    rig = Rig(ros, name, mode="real_time")
    good = rig.topics.write(rig.topics.robot.hold(), 1)
    bad = rig.topics.write(np.full(len(rig.topics.robot.low), math.nan), 1)
    huge = rig.topics.write(rig.topics.robot.hold(), 1)
    if name == "arm":
        huge.joint_names = [""] * 10**5
    elif name == "base":
        huge.header.frame_id = "x" * 10**6
    else:
        huge.data = [0.0] * 10**6
    for message, reason in ((bad, "found nan at 0"), (huge, "found a message of")):
        rig.commands.publish(message)
        ros.until(lambda reason=reason: reason in rig.node.output)
        ros.spin(2.1)  # each error at most every two seconds
    rng = np.random.default_rng(0)
    whole = serialize_message(good)
    for _ in range(50):
        data = bytearray(whole)
        for spot in rng.integers(4, len(data), 4):
            data[spot] = rng.integers(256)
        rig.commands.publish(bytes(data))
        ros.spin(0.01)
    count = len(rig.heard[next(iter(rig.heard))])
    ros.until(lambda: len(rig.heard[next(iter(rig.heard))]) > count + 5)
    assert rig.node.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("mode", ["real_time", "lock_step"])
def test_signals_end_it_cleanly(ros: Ros, mode: str, number: int) -> None:
    rig = Rig(ros, "arm", mode=mode)
    rig.newest()
    assert rig.node.end(number) == 0
    assert "Traceback" not in rig.node.output


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"name": "pendulm"}, "robot.name: found 'pendulm'"),
        ({"moode": "real_time"}, "did you mean robot.mode"),
        ({"target_radius_m": 0.5}, "robot.target_radius_m: found 0.5"),
    ],
)
def test_bad_parameters_end_with_code_2_and_a_reason(
    ros: Ros, settings: dict[str, Any], found: str
) -> None:
    node = ros.start("robot", {f"robot.{key}": value for key, value in settings.items()})
    ros.until(lambda: node.poll() is not None)
    assert node.poll() == 2
    assert found in node.output
