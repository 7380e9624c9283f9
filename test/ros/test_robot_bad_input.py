"""Documents, bundles and sources of a robot that are wrong: named, and nothing worse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from driven import PERIOD_S, change_state
from lifecycle_msgs.msg import Transition
from nodes import Diagnostics, Ros
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.qos import qos_profile_sensor_data
from robot_bundles import interface_of_robot, robot_bundle
from std_msgs.msg import Float64MultiArray, String

from planet_ros.bundle.runtime import Bundle
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.interface.files import interface_text
from planet_ros.messages.announcements import Announcement
from planet_ros.ros.robot import Robot
from planet_ros.ros.topics import EVERY_STEP, LATCHED
from planet_ros.ros.types import make

pytestmark = pytest.mark.ros


def set_model(ros: Ros, bundle: Bundle) -> None:
    value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=str(bundle.path))
    request = SetParameters.Request(parameters=[Parameter(name="model", value=value)])
    assert ros.call(SetParameters, "controller/set_parameters", request).results[0].successful


def write(path: Path, interface: Interface) -> str:
    path.write_text(interface_text(interface), encoding="utf-8")
    return str(path)


# ── what comes from the topics ───────────────────────────────────────────────────────────────

BAD_SOURCES: dict[str, Any] = {
    "period_s": PERIOD_S,
    "observation": [
        {
            "name": "joint",
            "topic": "joint_states",
            "type": "sensor_msgs/msg/JointState",
            "fields": ["position[hinge]"],
        },
        {
            "name": "scan",
            "topic": "scan",
            "type": "sensor_msgs/msg/LaserScan",
            "fields": [{"path": "ranges[::2]", "size": 3}],
        },
        {
            "name": "imu",
            "topic": "imu",
            "type": "sensor_msgs/msg/Imu",
            "fields": ["angular_velocity.z"],
        },
        {
            "name": "odometry",
            "topic": "odom",
            "type": "nav_msgs/msg/Odometry",
            "qos": "reliable",
            "fields": ["twist.twist.linear.x"],
        },
    ],
    "action": [
        {
            "topic": "drive",
            "type": "std_msgs/msg/Float64MultiArray",
            "fields": [{"path": "data[0]", "low": -1, "high": 1}],
        }
    ],
    "goal": {
        "topic": "goal",
        "type": "std_msgs/msg/Float64MultiArray",
        "fields": [{"path": "data", "size": 2}],
    },
    "reward": {
        "kind": "quadratic",
        "observation": [{"field": "position[hinge]", "weight": 1}],
    },
}


def test_each_source_that_is_wrong_is_named_with_what_is_wrong_about_it(
    ros: Ros, tmp_path: Path
) -> None:
    interface = Interface.model_validate(BAD_SOURCES)
    bundle = robot_bundle(tmp_path / "model", interface)
    node = ros.observer
    joints = make("sensor_msgs/msg/JointState")
    joints.name, joints.position = ["elbow"], [0.0]
    scan = make("sensor_msgs/msg/LaserScan")
    scan.ranges = [1.0] * 7
    odometry = make("nav_msgs/msg/Odometry")
    best_effort = qos_profile_sensor_data
    shows: list[tuple[Any, Any]] = [
        (node.create_publisher(type(joints), "joint_states", 1), joints),
        (node.create_publisher(type(scan), "scan", 1), scan),
        (node.create_publisher(String, "imu", 1), String()),
        (node.create_publisher(type(odometry), "odom", best_effort), odometry),
        (node.create_publisher(Float64MultiArray, "goal", 1), Float64MultiArray(data=[1, 2, 3])),
    ]

    def show() -> None:
        for publisher, message in shows:
            publisher.publish(message)

    node.create_timer(0.05, show)
    node.create_subscription(String, "drive", lambda _: None, 1)
    diagnostics = Diagnostics(ros)
    controller = ros.start("controller", {"model": str(bundle.path)})
    learning = {
        "interface": write(tmp_path / "robot.yaml", interface),
        "training.collect": "listen",
        "training.output": str(tmp_path / "run"),
    }
    trainer = ros.start("trainer", learning)
    ros.activate_controller()
    reasons = [
        "position[hinge]: found no 'hinge' in the message, expected one of ['elbow']",
        "ranges[::2]: found 4 numbers, expected 3; a field keeps its length",
        "nothing new on '/imu' (0 publishers, and one of another type, std_msgs/msg/String, "
        "expected sensor_msgs/msg/Imu)",
        "nothing new on '/odom' (0 publishers, and one with another quality of service, published "
        "best effort and subscribed to reliable)",
        "goal: data: found 3 numbers, expected 2; a field keeps its length",
    ]
    deaf = "found the type std_msgs/msg/String, expected std_msgs/msg/Float64MultiArray"
    for process in (controller, trainer):
        ros.until(lambda: all(one in process.output for one in reasons))  # noqa: B023
    ros.until(lambda: "safe command: no observation that can be used" in diagnostics.text)
    ros.until(
        lambda: (
            f"/supervisor does not hear '/drive': {deaf}" in diagnostics.values["unheard_commands"]
        )
    )
    assert diagnostics.dropped > 0
    assert trainer.end() == 0


# ── documents and bundles ────────────────────────────────────────────────────────────────────


def changed(part: str, **values: Any) -> Interface:
    """The pendulum's document, with other values in the only part of observation or action."""
    document = interface_of_robot("pendulum").model_dump()
    document[part][0].update(values)
    return Interface.model_validate(document)


TORQUE = {"path": "data[0]", "name": "torque", "low": -2, "high": 2}


def test_what_does_not_fit_is_refused_with_its_reason_and_the_node_lives(
    ros: Ros, tmp_path: Path
) -> None:
    own = interface_of_robot("pendulum")
    other = changed("observation", topic="arm/joint_states")
    strong = changed("action", fields=[{**TORQUE, "high": 3}])
    late = interface_of_robot("pendulum", delay_periods=1)
    path = str(tmp_path / "robot.yaml")
    controller = ros.start("controller", {"interface": path})
    diagnostics = Diagnostics(ros)
    documents: list[tuple[Interface, str]] = [
        (changed("observation", type="nowhere_msgs/msg/Thing"), "found the message type 'nowhere_"),
        (
            changed("observation", fields=["positions[hinge]"]),
            "found no field 'positions' in a JointState, expected one of header, name, position, ",
        ),
        (
            changed("action", fields=[{**TORQUE, "low": 2}]),
            "found low 2 and high 2, expected low <",
        ),
        (changed("action", fields=[{**TORQUE, "safe": 5}]), "safe: found 5, expected -2 to 2"),
    ]
    for document, reason in documents:
        write(Path(path), document)
        assert not change_state(ros, Transition.TRANSITION_CONFIGURE)
        assert f"configure: {path}: " in controller.output
        assert reason in controller.output
    twice = interface_text(own).replace("velocity[hinge]", "position[hinge]", 1)
    Path(path).write_text(twice)
    assert not change_state(ros, Transition.TRANSITION_CONFIGURE)
    assert "found position[hinge] twice" in controller.output

    write(Path(path), own)
    stranger = robot_bundle(tmp_path / "stranger", other)
    set_model(ros, stranger)
    assert not change_state(ros, Transition.TRANSITION_CONFIGURE)
    assert f"{stranger.path}: interface.observation: found ('arm/joint_states'" in controller.output

    first = robot_bundle(tmp_path / "first", own)
    set_model(ros, first)
    in_use = ros.collect(String, "model_in_use", LATCHED)
    commands = ros.collect(Float64MultiArray, own.action[0].topic, EVERY_STEP)
    ros.activate_controller()
    announcer = ros.observer.create_publisher(String, "model", LATCHED)
    for number, (document, reason) in enumerate(
        [
            (other, "interface.observation: found ('arm/joint_states'"),
            (strong, "found the action 'torque' from -2 to 3, expected it within -2 to 2"),
            (late, "delay_periods: found 1, expected 0"),
        ]
    ):
        wanted = robot_bundle(tmp_path / f"wanted{number}", document)
        announcer.publish(String(data=Announcement(wanted.path, wanted.digest).to_text()))
        ros.until(lambda: reason in diagnostics.text)  # noqa: B023
        assert "the newest model was refused" in diagnostics.text
    assert len(in_use) == 1
    narrow = robot_bundle(tmp_path / "narrow", changed("action", fields=[{**TORQUE, "high": 1}]))
    announcer.publish(String(data=Announcement(narrow.path, narrow.digest).to_text()))
    ros.until(lambda: len(in_use) == 2)
    assert controller.poll() is None
    assert commands and not any(message.data[0] for message in commands)


def test_a_bundle_for_what_is_not_installed_says_which_bundle_and_what(tmp_path: Path) -> None:
    bears = changed("observation", type="nowhere_msgs/msg/Thing")
    bundle = robot_bundle(tmp_path / "model", "pendulum", bears=bears)
    with pytest.raises(UserError) as caught:
        Robot.of(bundle)
    assert str(caught.value).startswith(f"{bundle.path}: interface: ")
    assert "found the message type 'nowhere_msgs/msg/Thing', expected one" in str(caught.value)
