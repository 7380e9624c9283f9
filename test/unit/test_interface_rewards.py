"""Rewards that a document says, in numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import plain_messages as plain
import pytest
from arrays import float32

from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.interface.files import load_interface
from planet_ros.interface.rewards import QuadraticReward, step_reward

JOINTS: dict[str, Any] = {
    "name": "joints",
    "topic": "joint_states",
    "type": "sensor_msgs/msg/JointState",
    "fields": [
        {"path": "velocity[a, b]", "name": "speed"},
        {"path": "position[a, b]", "name": "angle", "encoding": "angle"},
    ],
}
ODOMETRY: dict[str, Any] = {
    "name": "odometry",
    "topic": "odom",
    "type": "nav_msgs/msg/Odometry",
    "fields": [
        {"path": "pose.pose.position.x", "name": "x"},
        {"path": "pose.pose.orientation", "name": "yaw", "encoding": "yaw"},
    ],
}
GOAL: dict[str, Any] = {
    "topic": "goal_pose",
    "type": "geometry_msgs/msg/PoseStamped",
    "fields": [
        {"path": "pose.orientation", "name": "goal yaw", "encoding": "yaw"},
        {"path": "pose.position.x", "name": "goal x"},
    ],
}
EFFORT: dict[str, Any] = {
    "topic": "effort",
    "type": "std_msgs/msg/Float64MultiArray",
    "fields": [
        {"path": "data[0]", "name": "left", "low": -2, "high": 2},
        {"path": "data[1:3]", "name": "others", "low": -2, "high": 2},
    ],
}


def document(**reward: Any) -> Interface:
    return Interface.model_validate(
        {
            "period_s": 0.05,
            "observation": [JOINTS, ODOMETRY],
            "action": [EFFORT],
            "goal": GOAL,
            "reward": {"kind": "quadratic", **reward},
        }
    )


def encoded(*angles: float) -> list[float]:
    return [function(angle) for angle in angles for function in (np.cos, np.sin)]


SEEN = {
    "joints": float32([3, -4, *encoded(3.0, 0.5)]),
    "odometry": float32([1.5, *encoded(-3.0)]),
}
WANTED = float32([*encoded(3.0), 2.0])


def reward_of(**terms: Any) -> float:
    return QuadraticReward(document(**terms), plain.make).of(SEEN, float32([1, -1, 2]), WANTED)


def test_the_pendulums_reward_is_gymnasiums(root: Path) -> None:
    interface = load_interface(root / "config/interfaces/pendulum.yaml")
    reward = step_reward(interface, plain.make)
    assert reward is not None
    environment = gymnasium.make("Pendulum-v1")
    seen, _ = environment.reset(seed=1)
    rng = np.random.default_rng(1)
    for _ in range(200):
        action = rng.uniform(-2, 2, 1).astype(np.float32)
        after, expected, *_ = environment.step(action)
        found = reward({"joint": seen}, action, {"joint": after})
        assert found == pytest.approx(float(expected), abs=1e-5)
        seen = after
    environment.close()


def test_terms_add_up_each_number_with_its_weight_and_set_point() -> None:
    term = {"field": "speed", "weight": [1, 2], "setpoint": [1, -1]}
    assert reward_of(observation=[term]) == pytest.approx(-(4 + 2 * 9))
    actions = [
        {"field": "others", "weight": [0.5, 1], "setpoint": 1},
        {"field": "left", "weight": 3},
    ]
    assert reward_of(observation=[term], action=actions) == pytest.approx(-(22 + 2 + 1 + 3))


def test_angles_are_compared_the_short_way_round() -> None:
    term = {"field": "angle", "weight": 1, "setpoint": [-3.0, 0.25]}
    expected = (2 * np.pi - 6) ** 2 + 0.25**2
    assert reward_of(observation=[term]) == pytest.approx(-expected, rel=1e-4)


def test_a_goal_takes_the_place_of_a_set_point() -> None:
    terms = [
        {"field": "x", "weight": 2, "setpoint": 100, "goal": "goal x"},
        {"field": "yaw", "weight": 1, "goal": "goal yaw"},
    ]
    expected = 2 * 0.25 + (2 * np.pi - 6) ** 2
    assert reward_of(observation=terms) == pytest.approx(-expected, rel=1e-4)


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ({"observation": [{"field": "z", "weight": 1}]}, r"observation\[0\]: found 'z', expected"),
        (
            {"observation": [{"field": "speed", "weight": 1, "goal": "goal x"}]},
            "goal: found 1 numbers, expected 2",
        ),
        (
            {
                "observation": [{"field": "x", "weight": 1}],
                "action": [{"field": "x", "weight": 1}],
            },
            r"action\[0\]: found 'x', expected one of left, others",
        ),
    ],
)
def test_what_does_not_fit_is_refused(terms: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        step_reward(document(**terms), plain.make)


def test_a_rotation_has_no_set_point() -> None:
    turned = {**ODOMETRY, "fields": [{**ODOMETRY["fields"][1], "encoding": "quaternion"}]}
    fields = document(observation=[{"field": "yaw", "weight": 1}]).model_dump()
    interface = Interface.model_validate({**fields, "observation": [turned], "goal": None})
    with pytest.raises(UserError, match="encoding quaternion"):
        step_reward(interface, plain.make)


def test_a_reward_on_a_topic_is_none_of_the_documents() -> None:
    assert step_reward(document(kind="topic", topic="reward"), plain.make) is None
