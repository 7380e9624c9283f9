"""Random commands as messages, with what is safe: without any process."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from arrays import float32

from planet_ros.interface.document import Interface
from planet_ros.interface.files import load_interface
from planet_ros.interface.timeline import Timeline
from planet_ros.ros.exploring import Exploring
from planet_ros.ros.types import make

PERIOD = 50_000_000
COMMANDS = "arm_controller/joint_trajectory"


class Rig:
    """The arm, whose safe command is to stay where it is, and who explores it."""

    def __init__(self, root: Path) -> None:
        interface = load_interface(root / "config/interfaces/arm.yaml")
        reward = {
            "kind": "quadratic",
            "observation": [{"field": "velocity[shoulder, elbow]", "weight": 1}],
        }
        document = {**interface.model_dump(), "goal": None, "reward": reward}
        document["action"][0]["fields"][0]["max_rate"] = 3.0
        self.interface = Interface.model_validate(document)
        self.timeline = Timeline(self.interface, make)
        self.sent: list[Any] = []
        self.session = SimpleNamespace(
            explores=True, steps=0, random_action=lambda episode, index: float32([3.0, -2.5])
        )
        publisher = SimpleNamespace(
            publish=self.sent.append, wait_for_all_acked=lambda duration: True
        )
        node = SimpleNamespace(create_publisher=lambda *_: publisher)
        self.exploring = Exploring(
            cast(Any, node), self.interface, self.timeline, cast(Any, self.session)
        )

    def see(self, now: int, *positions: float) -> None:
        message = make("sensor_msgs/msg/JointState")
        message.name, message.position = ["elbow", "shoulder"], list(positions)[::-1]
        message.velocity = message.effort = [0.0, 0.0]
        self.timeline.take("joint_states", message, now * PERIOD)

    def tick(self, now: int) -> None:
        self.exploring.tick(now * PERIOD)

    @property
    def targets(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(N, 2) what was commanded."""
        return np.array([message.points[0].positions for message in self.sent])


@pytest.fixture
def rig(root: Path) -> Rig:
    return Rig(root)


def test_it_leads_on_from_where_the_arm_is_and_back_to_where_it_was_last(rig: Rig) -> None:
    rig.tick(1)
    assert rig.sent == []  # nobody knows where it is
    for now in range(2, 6):
        rig.see(now, 0.5, -0.5)
        rig.tick(now)
    steps = 0.15 * np.arange(1, 5)[:, np.newaxis]  # 3 rad/s
    np.testing.assert_allclose(rig.targets, [0.5, -0.5] + steps * [1, -1])
    rig.session.explores = False
    rig.see(6, 0.85, -0.9)
    for now in range(6, 12):
        rig.tick(now)
    np.testing.assert_allclose(rig.targets[-1], [0.85, -0.9])
    np.testing.assert_allclose(rig.targets[4:6], [[0.95, -0.95], [0.85, -0.9]])
    assert len(rig.sent) == 6  # at rest it is silent


def test_it_leads_on_from_what_somebody_else_commanded(rig: Rig) -> None:
    command = make("trajectory_msgs/msg/JointTrajectory")
    command.joint_names = ["shoulder", "elbow"]
    command.points = [make("trajectory_msgs/msg/JointTrajectoryPoint")]
    command.points[0].positions = [1.0, 2.0]
    rig.timeline.take(COMMANDS, command, 2 * PERIOD)
    rig.see(2, 0.5, -0.5)
    rig.tick(2)
    np.testing.assert_allclose(rig.targets, [[1.15, 1.85]])


def test_without_state_it_stays_where_it_was(rig: Rig) -> None:
    rig.see(2, 0.5, -0.5)
    for now in range(2, 5):
        rig.tick(now)
    assert len(rig.sent) == 3
    for now in range(20, 30):  # the state is stale
        rig.tick(now)
    np.testing.assert_allclose(rig.targets[-5:], [[0.5, -0.5]] * 5)
    rig.exploring.close(30 * PERIOD)
    assert len(rig.sent) == 13


def test_the_safe_command_is_the_last(rig: Rig) -> None:
    rig.exploring.close(PERIOD)
    assert rig.sent == []
    for now in range(2, 8):
        rig.see(now, 0.5, -0.5)
        rig.tick(now)
    rig.exploring.close(8 * PERIOD)
    np.testing.assert_allclose(rig.targets[-1], [0.5, -0.5])
