"""Rewards and ends of an interface's own functions: by import path, into the model's task."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import plain_messages as plain
import pytest
import torch

from planet_ros.data import Step
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.interface.files import load_interface
from planet_ros.interface.signature import signature_of
from planet_ros.interface.timeline import Timeline
from planet_ros.messages.vectors import vector_message
from planet_ros.training.tasks import end_of, task_of
from sim_bridge.robots.arm import Arm

OWN = """
def near(observation, action, next_observation, goal):
    return -(next_observation["joint"][..., 0] - goal[..., 0]).abs()

def over(next_observation, goal):
    return next_observation["joint"][..., 0] > 2.0

def wide(observation, action, next_observation, goal):
    return next_observation["joint"]

def branches(next_observation, goal):
    return next_observation["joint"][..., 0] > 2 if float(goal.sum()) > 0 else goal[..., 0] > 9
"""


@pytest.fixture
def own(make_module: Callable[..., None]) -> None:
    make_module("own_tasks", OWN)


def document(**changes: Any) -> Interface:
    joint = {
        "name": "joint",
        "topic": "joint_states",
        "type": "sensor_msgs/msg/JointState",
        "fields": ["position[hinge]"],
    }
    effort = {
        "topic": "commands",
        "type": "std_msgs/msg/Float64MultiArray",
        "fields": [{"path": "data[0]", "low": -2, "high": 2}],
    }
    goal = {"topic": "goal", "type": "std_msgs/msg/Float64", "fields": ["data"]}
    fields = {
        "period_s": 0.05,
        "observation": [joint],
        "action": [effort],
        "goal": goal,
        "reward": {"kind": "function", "function": "own_tasks:near"},
        "end": {"function": "own_tasks:over"},
    }
    return Interface.model_validate({**fields, **changes})


def task(interface: Interface) -> Any:
    return task_of(interface, signature_of(interface, plain.make), plain.make)


def test_functions_judge(own: None) -> None:
    found = task(document())
    before, after = {"joint": torch.tensor([[0.0]])}, {"joint": torch.tensor([[2.5]])}
    reward, terminated = found.judge(before, torch.zeros(1, 1), after, torch.tensor([[1.0]]))
    assert (reward.tolist(), terminated.tolist()) == ([-1.5], [True])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"reward": {"kind": "function", "function": "own_tasks:far"}}, "found no function far in"),
        ({"reward": {"kind": "function", "function": "own_tasks"}}, "expected module:function"),
        ({"reward": {"kind": "function", "function": "nowhere:near"}}, "cannot be imported"),
        ({"reward": {"kind": "function", "function": "own_tasks:wide"}}, "one value for each"),
        ({"end": {"function": "own_tasks:branches"}}, "cannot be traced"),
        ({"goal": None}, "failed with .*the goal None"),
    ],
)
def test_what_is_wrong_with_a_function_is_said(
    own: None, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        task(document(**changes))


@pytest.mark.parametrize("with_end", [True, False])
def test_an_episode_ends_where_the_function_says(own: None, with_end: bool) -> None:
    interface = document() if with_end else document(end={})
    line = Timeline(interface, plain.make, together=True, ended=end_of(task(interface)))
    goal = plain.make("std_msgs/msg/Float64")
    line.take("goal", goal, 0)
    for number, position in enumerate([0.0, 1.0, 2.5, 2.6, 1.0, 0.5]):
        stamp_ns = (number + 1) * 50_000_000
        state = plain.JointState(name=["hinge"], position=[position])
        state.header.stamp = plain.Time(*divmod(stamp_ns, 10**9))
        line.take("joint_states", state, 0)
        command = vector_message(plain.make, "action", np.array([position / 10]), stamp_ns)
        line.take("commands", command, 0)
    steps: list[Step] = line.steps()
    found = [(step.index, step.terminated) for step in steps]
    if with_end:  # and the robot goes on from where it is
        first, second = [(0, False), (1, False), (2, True)], [(0, False), (1, True)]
        assert found == [*first, *second, (0, False), (1, False), (2, False)]
    else:
        assert found == [(index, False) for index in range(6)]


def test_the_arm_is_judged_by_the_distance_of_its_fingertip_to_where_the_target_will_be() -> None:
    found = task(load_interface("arm"))
    arm = Arm()
    for seed in range(5):
        arm.reset(np.random.default_rng(seed))
        target = arm.target.position
        joints = torch.tensor([[*arm.state.position, 0, 0, 0, 0]], dtype=torch.float32)
        for velocity in ([0.0, 0.0], [0.2, -0.1]):
            goal = torch.tensor([[*target, *velocity]], dtype=torch.float32)
            there = {"joints": joints}
            (reward,), _ = found.judge(there, torch.zeros(1, 2), there, goal)
            expected = math.dist(arm.state.fingertip, target + 0.1 * np.array(velocity))
            assert float(reward) == pytest.approx(-expected, abs=2e-4)
