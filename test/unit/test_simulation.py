"""The simulation: a clock that only goes forward, starts that can be repeated, true joints."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from arrays import float32

from planet_ros.environments import Environment, EnvironmentSpec
from sim_bridge.joint_states import Joints, has_joints, read_joints
from sim_bridge.simulation import Simulation

PENDULUM_PERIOD_NS = 50_000_000


@pytest.fixture
def pendulum() -> Iterator[Environment]:
    environment = Environment(EnvironmentSpec("Pendulum-v1", {"g": 9.81}))
    yield environment
    environment.close()


@pytest.fixture
def point_mass() -> Iterator[Environment]:
    environment = Environment(
        EnvironmentSpec("PlanetRosTest/PointMass-v0", modules=("tiny_environments",))
    )
    yield environment
    environment.close()


def test_time_goes_on_over_resets_in_whole_periods(pendulum: Environment) -> None:
    simulation = Simulation(pendulum, seed=0)
    stamps = []
    for length in (3, 0, 5):
        stamps.append(simulation.reset().stamp_ns)
        stamps += [simulation.step(float32([0.5])).stamp_ns for _ in range(length)]
    assert stamps == [PENDULUM_PERIOD_NS * (k + 1) for k in range(len(stamps))]
    assert simulation.time_ns == stamps[-1]


def test_time_is_exact_after_many_steps(point_mass: Environment) -> None:
    simulation = Simulation(point_mass, seed=0)
    simulation.time_ns = 2**60 + 1  # as if it had run for 36 years
    assert simulation.reset().stamp_ns == 2**60 + 1 + 40_000_000


def test_counts_steps_and_episodes_and_knows_where_it_is(point_mass: Environment) -> None:
    simulation = Simulation(point_mass, seed=0)
    assert simulation.episode_ended
    assert (simulation.episode, simulation.steps, simulation.current) == (-1, 0, None)
    for episode in range(2):
        step = simulation.reset()
        assert simulation.current is step
        assert (step.index, simulation.episode) == (0, episode)
        for index in range(1, 21):
            assert not simulation.episode_ended
            step = simulation.step(np.zeros(2))
            assert simulation.current is step
            assert step.index == index
        assert step.truncated
        assert simulation.episode_ended
        assert simulation.steps == 20 * (episode + 1)


def test_reset_in_the_middle_of_an_episode_starts_the_next_one(point_mass: Environment) -> None:
    simulation = Simulation(point_mass, seed=0)
    simulation.reset()
    simulation.step(np.zeros(2))
    assert simulation.reset().index == 0
    assert (simulation.episode, simulation.steps) == (1, 1)


def test_episode_i_starts_from_seed_plus_i(pendulum: Environment) -> None:
    simulation = Simulation(pendulum, seed=40)
    starts = []
    for _ in range(4):
        starts.append(simulation.reset().observation["observation"])
        simulation.step(float32([1.0]))  # how an episode went does not matter to the next
    for episode, start in enumerate(starts):
        again = pendulum.reset(seed=40 + episode).observation["observation"]
        np.testing.assert_array_equal(start, again)
    assert len({tuple(start) for start in starts}) == 4


def test_same_seed_and_actions_give_the_same_steps(pendulum: Environment) -> None:
    def run(seed: int) -> list[tuple[float, ...]]:
        rng = np.random.default_rng(0)
        simulation = Simulation(pendulum, seed)
        simulation.reset()
        steps = [simulation.step(rng.uniform(-2, 2, 1)) for _ in range(20)]
        return [
            (*step.observation["observation"].tolist(), step.reward, step.stamp_ns)
            for step in steps
        ]

    assert run(5) == run(5)
    assert run(5) != run(6)


# ── joints ───────────────────────────────────────────────────────────────────────────────────


def test_joints_are_the_true_state_of_the_pendulum(pendulum: Environment) -> None:
    simulation = Simulation(pendulum, seed=1)
    simulation.reset()
    for torque in (1.5, -2.0, 0.25):
        step = simulation.step(float32([torque]))
        joints = read_joints(pendulum.gym)
        cosine, sine, velocity = step.observation["observation"]
        assert len(joints.name) == 1
        assert math.cos(joints.position[0]) == pytest.approx(cosine, abs=1e-6)
        assert math.sin(joints.position[0]) == pytest.approx(sine, abs=1e-6)
        assert joints.velocity[0] == pytest.approx(velocity, abs=1e-6)
        assert joints.effort == [torque]


def test_angle_is_not_wrapped(pendulum: Environment) -> None:
    pendulum.reset(seed=0)
    inner: Any = pendulum.gym.unwrapped
    inner.state = np.array([math.pi - 0.01, 8.0])  # about to swing past the bottom
    positions = []
    for _ in range(3):
        pendulum.step(float32([2.0]))
        positions += read_joints(pendulum.gym).position
    assert positions == sorted(positions)
    assert positions[-1] > math.pi


def test_torque_is_what_was_applied_and_zero_after_a_reset(pendulum: Environment) -> None:
    pendulum.reset(seed=0)
    assert read_joints(pendulum.gym).effort == [0.0]
    pendulum.step(float32([100.0]))
    assert read_joints(pendulum.gym).effort == [2.0]
    pendulum.reset(seed=0)
    assert read_joints(pendulum.gym).effort == [0.0]


def test_joints_are_plain_numbers_as_messages_want_them(pendulum: Environment) -> None:
    pendulum.reset(seed=0)
    pendulum.step(float32([1.0]))
    joints = read_joints(pendulum.gym)
    assert isinstance(joints, Joints)
    for values in (joints.position, joints.velocity, joints.effort):
        assert [type(value) for value in values] == [float]


def test_joints_of_unknown_environments_are_an_error_and_not_a_guess(
    pendulum: Environment, point_mass: Environment
) -> None:
    assert has_joints(pendulum.gym)
    assert not has_joints(point_mass.gym)
    with pytest.raises(TypeError, match="no joints are known of"):
        read_joints(point_mass.gym)
