"""The simulated robots' physics, against Gymnasium, MuJoCo and what can be worked out by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import gymnasium
import numpy as np
import pytest
from arrays import float32

from sim_bridge.robots import goals as base_goals
from sim_bridge.robots.arm import MAX_SPEED, Arm
from sim_bridge.robots.base import Base, BaseState
from sim_bridge.robots.goals import Goals
from sim_bridge.robots.pendulum import Pendulum
from sim_bridge.robots.robot import Robot
from sim_bridge.robots.simulation import PERIOD_S, RESTART_GAP_NS, RobotSimulation
from sim_bridge.robots.target import FARTHEST_M, Target, TargetMotion

PERIOD_NS = 50_000_000


def gymnasiums(env_id: str, seed: int) -> Any:
    """The environment itself, after a reset, without what Gymnasium wraps around it."""
    env = gymnasium.make(env_id).unwrapped
    env.reset(seed=seed)
    return env


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ── pendulum ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(5))
def test_pendulum_is_gymnasiums_bit_by_bit(seed: int) -> None:
    env = gymnasiums("Pendulum-v1", seed)
    pendulum = Pendulum()
    pendulum.reset(rng(seed))
    hands = rng(seed)
    for _ in range(100):
        state = pendulum.state
        assert (state.angle, state.velocity) == tuple(env.state)
        torque = hands.uniform(-3.0, 3.0, 1)  # it is cut to 2
        env.step(torque)
        pendulum.step(torque, PERIOD_S)
        assert pendulum.state.torque == np.clip(torque, -2, 2)[0]


def test_pendulum_at_rest_upright_stays_there_without_torque() -> None:
    pendulum = Pendulum()
    pendulum.reset(rng())
    pendulum._env.state = np.zeros(2)
    pendulum.step(pendulum.hold(), PERIOD_S)
    assert (pendulum.state.angle, pendulum.state.velocity, pendulum.state.torque) == (0, 0, 0)


# ── base ─────────────────────────────────────────────────────────────────────────────────────


def driven(base: Base, command: tuple[float, float], seconds: float) -> list[BaseState]:
    states = []
    for _ in range(round(seconds / PERIOD_S)):
        base.step(np.array(command), PERIOD_S)
        states.append(base.state)
    return states


def test_base_speeds_up_and_brakes_on_parabolas() -> None:
    base = Base()
    states = driven(base, (1.0, 0.0), 1.0)
    for index, state in enumerate(states):
        t = (index + 1) * PERIOD_S
        assert state.speed == pytest.approx(t)
        assert state.x == pytest.approx(t**2 / 2)
        assert state.acceleration == pytest.approx(1.0)
    assert driven(base, (9.0, 0.0), 1.0)[-1].speed == pytest.approx(1.0)  # its own limit
    assert base.state.x == pytest.approx(1.5)
    stopped = driven(base, (0.0, 0.0), 1.0)[-1]
    assert (stopped.x, stopped.speed) == (pytest.approx(2.0), pytest.approx(0.0, abs=1e-12))
    assert driven(base, (-9.0, 0.0), 2.0)[-1].speed == pytest.approx(-0.5)
    assert base.state.y == 0.0


def test_base_drives_in_circles() -> None:
    base = Base()
    driven(base, (0.6, 1.2), 1.0)  # up to speed
    start = base.state
    radius = 0.6 / 1.2
    centre = (
        start.x - radius * math.sin(start.yaw),
        start.y + radius * math.cos(start.yaw),
    )
    for state in driven(base, (0.6, 1.2), 6.0):
        assert math.dist((state.x, state.y), centre) == pytest.approx(radius, abs=1e-12)
    assert base.state.yaw - start.yaw == pytest.approx(1.2 * 6.0)


@pytest.mark.parametrize("seed", range(5))
def test_base_never_leaves_its_limits(seed: int) -> None:
    base, hands = Base(), rng(seed)
    base.reset(hands)
    before = base.state
    for _ in range(200):
        base.step(hands.uniform(-20, 20, 2), PERIOD_S)
        state = base.state
        assert -0.5 - 1e-9 <= state.speed <= 1.0 + 1e-9
        assert abs(state.turn_rate) <= 1.5 + 1e-9
        assert abs(state.speed - before.speed) <= 1.0 * PERIOD_S + 1e-9
        assert abs(state.turn_rate - before.turn_rate) <= 3.0 * PERIOD_S + 1e-9
        assert state.acceleration == pytest.approx((state.speed - before.speed) / PERIOD_S)
        before = state


# ── arm ──────────────────────────────────────────────────────────────────────────────────────


def test_arm_is_the_reacher_of_gymnasium() -> None:
    """The same torques move both in the same way, and the fingertip is where geometry says."""
    env = gymnasiums("Reacher-v5", 0)
    arm, hands = Arm(), rng(3)
    arm.reset(hands)
    position = arm.state.position
    env.set_state(np.array([*position, *arm.target.position]), np.zeros(4))
    for _ in range(50):
        arm.step(hands.uniform(-3, 3, 2), 0.01)  # a step of MuJoCo: one torque
        env.data.ctrl[:] = arm.state.effort / 200.0
        env._step_mujoco_simulation(env.data.ctrl.copy(), 1)
        np.testing.assert_allclose(arm.state.position, env.data.qpos[:2], atol=1e-9)
        shoulder, elbow = arm.state.position
        expected = (
            0.1 * math.cos(shoulder) + 0.11 * math.cos(shoulder + elbow),
            0.1 * math.sin(shoulder) + 0.11 * math.sin(shoulder + elbow),
        )
        np.testing.assert_allclose(arm.state.fingertip, expected, atol=1e-12)


def test_arm_gets_where_it_is_sent_and_never_faster_than_it_may() -> None:
    arm = Arm()
    arm.reset(rng(1))
    wanted = np.array([1.0, -2.0])
    fastest = 0.0
    for _ in range(60):
        arm.step(wanted, PERIOD_S)
        fastest = max(fastest, float(np.abs(arm.state.velocity).max()))
    np.testing.assert_allclose(arm.state.position, wanted, atol=1e-6)
    assert 0.9 * MAX_SPEED < fastest <= MAX_SPEED * 1.001


def test_arm_stays_in_its_range_and_holds_where_it_is() -> None:
    arm = Arm()
    arm.reset(rng(2))
    for _ in range(60):
        arm.step(np.array([100.0, 100.0]), PERIOD_S)
    np.testing.assert_allclose(arm.state.position, [2 * math.pi, 3.0], atol=1e-3)
    arm.reset(rng(2))
    for _ in range(5):
        arm.step(-arm.state.position, PERIOD_S)
    held = arm.hold()
    for _ in range(40):
        arm.step(held, PERIOD_S)
    np.testing.assert_allclose(arm.state.position, held, atol=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_target_runs_on_a_circle_that_can_be_reached(seed: int) -> None:
    target = Target(TargetMotion("circle", speed=0.2, radius=0.05))
    target.reset(rng(seed))
    places = [target.position]
    for _ in range(200):
        target.step(PERIOD_S)
        places.append(target.position)
    chord = 2 * 0.05 * math.sin(0.2 * PERIOD_S / 0.05 / 2)
    for one, other in itertools.pairwise(places):
        assert math.dist(one, other) == pytest.approx(chord)
    distances = np.linalg.norm(places, axis=1)
    assert distances.min() >= 0.05 and distances.max() <= 0.19
    assert distances.max() - distances.min() == pytest.approx(0.1, abs=0.002)


def test_random_target_rests_and_is_elsewhere_after_its_time() -> None:
    target = Target(TargetMotion("random", every_s=1.0))
    target.reset(rng())
    places = []
    for _ in range(60):
        places.append(tuple(target.position))
        target.step(PERIOD_S)
    assert [len(set(places[i : i + 20])) for i in (0, 20, 40)] == [1, 1, 1]
    assert len(set(places)) == 3
    assert max(math.hypot(*place) for place in places) < FARTHEST_M


# ── time ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("robot", [Pendulum(), Base(), Arm()], ids=lambda one: type(one).__name__)
def test_robots_agree_on_what_a_command_is(robot: Robot) -> None:
    robot.reset(rng())
    for command in (robot.hold(), robot.low, robot.high):
        assert command.shape == robot.low.shape
        assert (robot.low <= command).all() and (command <= robot.high).all()
        robot.step(command, PERIOD_S)


@pytest.mark.parametrize("extra", [0, 1, 3])
def test_commands_act_after_their_delay(extra: int) -> None:
    simulation = RobotSimulation(Base(), seed=0, extra_delay_periods=extra)
    base = simulation.robot
    assert isinstance(base, Base)
    speeds = []
    for _ in range(6):
        simulation.step(np.array([1.0, 0.0]))
        speeds.append(base.state.speed)
    first = next(index for index, speed in enumerate(speeds) if speed > 0)
    assert first == base.delay_periods + extra == 1 + extra


def test_starts_jump_in_time_and_can_be_repeated() -> None:
    simulation = RobotSimulation(Pendulum(), seed=7, episode_s=0.2)
    pendulum = simulation.robot
    assert isinstance(pendulum, Pendulum)
    for start in range(3):
        env = gymnasiums("Pendulum-v1", 7 + start)
        assert (pendulum.state.angle, pendulum.state.velocity) == tuple(env.state)
        began = simulation.time_ns
        for _ in range(4):
            assert not simulation.restart_is_due
            simulation.step(float32([1.0]))
        assert simulation.restart_is_due
        simulation.restart()
        assert simulation.time_ns - began == 5 * PERIOD_NS + RESTART_GAP_NS
    assert simulation.steps == 12


def test_what_was_sent_before_a_start_does_not_act_after_it() -> None:
    simulation = RobotSimulation(Base(), seed=0, extra_delay_periods=2)
    base = simulation.robot
    assert isinstance(base, Base)
    for _ in range(3):
        simulation.step(np.array([1.0, 1.0]))
    simulation.restart()
    for _ in range(4):
        simulation.step(base.hold())
        assert base.state.speed == base.state.turn_rate == 0.0


# ── goals ────────────────────────────────────────────────────────────────────────────────────


def test_a_base_is_sent_from_place_to_place_that_it_can_reach() -> None:
    base = Base(goals=Goals(0.5))
    base.reset(rng(0))
    places = []
    for step in range(400):
        before = base.goals.position.copy()
        assert np.abs(before).max() <= base_goals.FARTHEST_M
        base.step(np.array([0.5, 1.0]), PERIOD_S)
        if not np.array_equal(before, base.goals.position):
            places.append(step)
            distance = float(np.linalg.norm(base.goals.position - [base.state.x, base.state.y]))
            assert 0.5 < distance < base_goals.FARTHEST_M
    assert places == list(range(9, 400, 10))


def test_goals_change_nothing_of_where_a_base_begins() -> None:
    sent, idle = Base(goals=Goals(1.0)), Base()
    for base in (sent, idle):
        base.reset(rng(5))
        base.step(np.array([0.3, -0.2]), 2.0)
    assert sent.state == idle.state


def test_from_far_away_there_is_a_way_back() -> None:
    goals = Goals(0.1)
    goals.reset(rng(1), 50.0, -80.0)
    assert np.abs(goals.position).max() <= base_goals.FARTHEST_M
