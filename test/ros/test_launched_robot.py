"""The launch file of the simulated robots, run by the real `launch`."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from launched import END_LIMIT_S, LAUNCH_MARKS, SAVE_LIMIT_S, Launched
from nodes import Ros

pytestmark = LAUNCH_MARKS

ROBOT = """
/**:
  ros__parameters:
    interface: pendulum
    robot: {episode_s: 2.5}
    training: {steps: 120, random_steps: 40, updates: 5, update_every_steps: 40}
    planner: {horizon: 3, candidates: 8, iterations: 1}
    world_model: {hidden_sizes: [8], members: 2, predict_continue: false}
"""
"""Learning the pendulum from its topics, in a moment."""

ENDLESS = ROBOT.replace("steps: 120", "steps: 100000")


def test_a_robot_is_learned_and_then_driven_with_its_model(
    launch: Callable[..., Launched], tmp_path: Path
) -> None:
    learning = launch("robot.launch.py", ROBOT, robot="pendulum")
    learning.until("learned from 120")
    assert learning.exit_code(SAVE_LIMIT_S) == 0
    assert set(learning.pids) == {"robot", "controller", "trainer"}
    model = tmp_path / "run" / "model"
    assert (model / "manifest.json").exists()

    driving = launch("robot.launch.py", ROBOT, robot="pendulum", model=model)
    driving.until(r"model .* in use")
    assert set(driving.pids) == {"robot", "controller"}
    driving.until("in real_time mode")
    driving.press_ctrl_c()
    assert driving.exit_code() == 0


def test_a_robot_is_learned_in_real_time(launch: Callable[..., Launched]) -> None:
    launched = launch("robot.launch.py", ROBOT, robot="pendulum", mode="real_time")
    launched.until("in real_time mode")
    launched.until("learned from 120")  # six seconds of the robot's time
    assert launched.exit_code(SAVE_LIMIT_S) == 0


@pytest.mark.parametrize("node", ["robot", "controller", "trainer"])
def test_learning_a_robot_ends_with_code_1_and_names_a_node_that_is_killed(
    launch: Callable[..., Launched], node: str
) -> None:
    launched = launch("robot.launch.py", ENDLESS, robot="pendulum")
    launched.until(r"model .* in use")
    os.kill(launched.pids[node], signal.SIGKILL)
    assert launched.exit_code(END_LIMIT_S if node == "trainer" else SAVE_LIMIT_S) == 1
    assert f"the {node} was ended by SIGKILL" in launched.output


def test_ctrl_c_ends_learning_a_robot_with_code_0(
    launch: Callable[..., Launched], tmp_path: Path
) -> None:
    launched = launch("robot.launch.py", ENDLESS, robot="pendulum")
    launched.until(r"model .* in use")
    launched.press_ctrl_c()
    assert launched.exit_code(SAVE_LIMIT_S) == 0
    assert (tmp_path / "run" / "model" / "manifest.json").exists()
    assert "Traceback" not in launched.output


def test_a_robot_learns_within_a_namespace(launch: Callable[..., Launched], ros: Ros) -> None:
    launched = launch("robot.launch.py", ENDLESS, robot="pendulum", namespace="left")
    launched.until(r"model .* in use")
    assert ros.observer.count_publishers("/left/joint_states") == 1
    assert ros.observer.count_publishers("/joint_states") == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"robot": "hexapod", "params_file": ""}, r"robot:=hexapod: expected one of .*pendulum"),
        ({"robot": "pendulum", "steps": "many"}, "steps:=many: expected an integer"),
        ({"robot": "pendulum", "mode": "often"}, "often"),
    ],
)
def test_wrong_arguments_start_no_robot(
    launch: Callable[..., Launched], arguments: dict[str, str], reason: str
) -> None:
    launched = launch("robot.launch.py", ROBOT, **arguments)
    assert launched.exit_code(20) == 1
    assert re.search(reason, launched.output)
    assert launched.pids == {}
