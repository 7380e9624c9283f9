"""Planning on the true dynamics of Pendulum-v1: the planner alone, with no model error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from planet_ros.planning import Cem, CemSettings, Icem, IcemSettings, Planner
from planet_ros.planning.planner import Evaluate

LOW, HIGH = [-2.0], [2.0]
STARTS = range(3000, 3008)


def step(
    angle: NDArray[np.float64], velocity: NDArray[np.float64], torque: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Angle (rad), velocity (rad/s) after torque (N m) for one step, and its reward; (N,) each."""
    wrapped = (angle + np.pi) % (2.0 * np.pi) - np.pi
    reward = -(wrapped**2 + 0.1 * velocity**2 + 0.001 * torque**2)
    velocity = np.clip(velocity + (15.0 * np.sin(angle) + 3.0 * torque) * 0.05, -8.0, 8.0)
    return angle + velocity * 0.05, velocity, reward


def true_returns(state: NDArray[np.float64]) -> Evaluate:
    def evaluate(actions: NDArray[np.float32]) -> NDArray[np.float64]:
        angle, velocity = (np.full(len(actions), value) for value in state)
        returns = np.zeros(len(actions))
        for torque in actions[:, :, 0].T.astype(np.float64):
            angle, velocity, reward = step(angle, velocity, torque)
            returns += reward
        return returns

    return evaluate


@contextmanager
def pendulum() -> Iterator[Any]:
    env = gym.make("Pendulum-v1")
    try:
        yield env
    finally:
        env.close()


def episode_return(planner: Planner, start: int, *, steps: int = 200, warm: bool = True) -> float:
    """Return from ``reset(seed=start)``; without ``warm`` each tick begins anew."""
    total = 0.0
    with pendulum() as env:
        env.reset(seed=start)
        planner.reset(start)
        for _ in range(steps):
            if not warm:
                planner.reset()
            action = planner.plan(true_returns(env.unwrapped.state)).actions[0]
            total += float(env.step(action)[1])
    return total


def test_the_vectorised_dynamics_are_those_of_the_environment() -> None:
    rng = np.random.default_rng(0)
    with pendulum() as env:
        env.reset(seed=0)
        for _ in range(200):
            state = rng.uniform([-7.0, -8.0], [7.0, 8.0])
            torque = rng.uniform(-2.0, 2.0, 1).astype(np.float32)
            env.unwrapped.state = state
            _, env_reward, *_ = env.step(torque)
            angle, velocity, reward = step(*(np.array([value]) for value in (*state, torque[0])))
            np.testing.assert_allclose([angle[0], velocity[0]], env.unwrapped.state, atol=1e-6)
            assert reward[0] == pytest.approx(float(env_reward), abs=1e-6)


def test_icem_swings_up_from_every_start() -> None:
    """One swing more than needed costs 120 to 130, so the worst episode tells the most."""
    planner = Icem(LOW, HIGH, IcemSettings(), seed=0)
    returns = [episode_return(planner, start) for start in STARTS]
    assert np.mean(returns) > -205.0
    assert min(returns) > -270.0


def test_cem_holds_the_pendulum_up_from_every_start() -> None:
    planner = Cem(LOW, HIGH, CemSettings(20, 100, 10, 4), seed=0)
    returns = [episode_return(planner, start) for start in STARTS[:3]]
    assert min(returns) > -270.0


def test_the_warm_start_saves_a_swing() -> None:
    """With few candidates, what a tick found is what the next one needs."""
    planner = Icem(LOW, HIGH, IcemSettings(candidates=12, elites=3, iterations=2), seed=0)
    warm, cold = (
        [episode_return(planner, start, warm=warm) for start in STARTS[1:4]]
        for warm in (True, False)
    )
    assert np.mean(warm) > np.mean(cold) + 100.0
