"""Acting where commands act late: by the dynamics themselves, so that nothing is learned."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import plain_messages as plain
import pytest
from arrays import float32
from numpy.typing import NDArray

from planet_ros.bundle.runtime import Bundle, Rollouts
from planet_ros.config import ControllerSettings, load_settings
from planet_ros.control.events import Observation
from planet_ros.control.loop import ControlLoop
from planet_ros.control.policy import PlanningPolicy
from planet_ros.data import ActionPart, ObservationPart, Parts, Signature
from planet_ros.interface.files import load_interface
from planet_ros.interface.signature import signature_of
from planet_ros.planning import Plan
from sim_bridge.robots.pendulum import Pendulum
from sim_bridge.robots.simulation import PERIOD_S, RobotSimulation

Array = NDArray[np.float32]


class TruePendulum:
    """The pendulum's own dynamics, as a model of which the belief is the observation."""

    def initial_belief(self) -> Array:
        return np.zeros(3, np.float32)

    def observe(self, belief: Array, action: Array, observation: Parts) -> Array:
        return cast(Array, observation["joint"])

    def imagine(self, belief: Array, actions: Array, goal: Array | None = None) -> Rollouts:
        angle = np.full(len(actions), math.atan2(belief[1], belief[0]))
        velocity = np.full(len(actions), float(belief[2]))
        rewards = []
        for torque in np.moveaxis(actions[..., 0], 1, 0):
            off = np.remainder(angle + math.pi, math.tau) - math.pi
            rewards.append(-(off**2) - 0.1 * velocity**2 - 0.001 * torque**2)
            velocity = velocity + PERIOD_S * (15 * np.sin(angle) + 3 * torque)
            velocity = np.clip(velocity, -8, 8)
            angle = angle + PERIOD_S * velocity
        return Rollouts(float32(rewards).T)


def mean_return(root: Path, delay: int, compensated: int, starts: int = 4) -> float:
    """Of 120 periods from each start."""
    planner = load_settings(root / "config/robot_pendulum.yaml").planner
    planner = planner.model_copy(update={"horizon": planner.horizon + compensated})
    document = load_interface(root / "config/interfaces/pendulum.yaml")
    signature = replace(signature_of(document, plain.make), delay_periods=compensated)
    policy = PlanningPolicy(TruePendulum(), signature, planner, seed=0)
    simulation = RobotSimulation(Pendulum(), seed=3000, extra_delay_periods=delay)
    robot: Any = simulation.robot
    total = 0.0
    for start in range(starts):
        if start:
            simulation.restart()
        policy.reset(start)
        for _ in range(120):
            state = robot.state
            seen = float32([math.cos(state.angle), math.sin(state.angle), state.velocity])
            off = math.remainder(state.angle, math.tau)
            total -= off**2 + 0.1 * state.velocity**2
            torque = policy.act({"joint": seen}).actions[0]
            policy.took(torque)
            simulation.step(torque)
    return total / starts


def test_a_delay_that_is_compensated_costs_little_and_one_that_is_not_much(root: Path) -> None:
    undelayed = mean_return(root, 0, 0)
    assert mean_return(root, 3, 3) > 1.1 * undelayed
    assert mean_return(root, 3, 0) < 1.5 * undelayed


class Told:
    """A policy that remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[list[float]] = []
        self.reset()

    def reset(self, seed: int | None = None) -> None:
        self.told.clear()

    def act(self, observation: Parts) -> Plan:
        self.told.append([])  # what comes next, comes after an observation
        return Plan(float32([[0.5]]))

    def took(self, action: Array) -> None:
        self.told.append(action.tolist())


@contextmanager
def loop_of(delay: int, max_rate: float | None, before: Array | None) -> Iterator[Any]:
    """What a policy is told before it first acts, in a loop whose commands act late."""
    signature = Signature(
        (ObservationPart("x", (1,)),), (ActionPart("u", -0.5, 1.0, max_rate=max_rate),), 0.05, delay
    )
    policy, ready = Told(), threading.Event()
    loop = ControlLoop(
        ControllerSettings(trigger="observation"),
        seed=0,
        clock=lambda: 0.0,
        notify=ready.set,
        make_policy=lambda bundle, seed: policy,
        before=before,
    )
    manifest = SimpleNamespace(signature=signature)
    loop.use(cast(Bundle, SimpleNamespace(manifest=manifest)))

    def first() -> list[list[float]]:
        ready.clear()
        loop.observe(Observation({"x": float32([0])}, 0.0, 1_000))
        assert ready.wait(60)
        return policy.told[: policy.told.index([])]

    try:
        yield first
    finally:
        loop.close()


@pytest.mark.parametrize("max_rate", [None, 1.0])
def test_before_anything_was_sent_the_safe_command_acts(max_rate: float | None) -> None:
    """Not the middle of the range, 0.25: a base that stands does not drive by itself."""
    with loop_of(2, max_rate, None) as first:
        assert first() == [[0.0]] * 3


def test_the_command_of_who_acted_before_still_acts() -> None:
    with loop_of(2, 1.0, float32([0.75])) as first:
        assert first() == [[0.75]] * 3


@pytest.mark.parametrize(("max_rate", "told"), [(None, []), (1.0, [[0.75]])])
def test_without_delay_a_policy_is_told_what_limits_it_alone(
    max_rate: float | None, told: list[list[float]]
) -> None:
    with loop_of(0, max_rate, float32([0.75])) as first:
        assert first() == told
