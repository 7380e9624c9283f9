"""Learning from pixels, by what the agent achieves: it takes the picture and the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import Settings
from planet_ros.control.agent import Agent
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.training.loop import train
from planet_ros.training.run import RunFolder

SLED: dict[str, Any] = {
    "env_id": "PlanetRosTest/Sled-v0",
    "env_modules": ["sled"],
    "world_model.kind": "rssm",
    "rssm.deterministic_size": 32,
    "rssm.stochastic_size": 4,
    "rssm.hidden_size": 32,
    "rssm.image_hidden_size": 32,
    "rssm.image_std": 2.0,
    "rssm.kl_weight": 1.0,
    "training.steps": 750,
    "training.random_steps": 300,
    "training.random_noise_beta": 1.0,
    "training.exploration_noise": 0.2,
    "training.updates": 100,
    "training.batch_size": 16,
    "training.sequence_length": 20,
    "training.learning_rate": 0.002,
    "training.gradient_clip": 100.0,
    "planner.horizon": 10,
    "planner.candidates": 32,
    "planner.elites": 6,
}
STARTS = range(3000, 3020)  # none of which the settings were chosen by


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, tiny_settings: Callable[..., Settings]
) -> RunFolder:
    return train(tiny_settings(tmp_path_factory.mktemp("sled") / "run", SLED))


def returns(run: RunFolder, act: Callable[[Agent, Any], Any]) -> list[float]:
    """Return of each start, when `act` gives the action (1,) for a step."""
    bundle = load_bundle(run.bundle)
    environment = Environment(EnvironmentSpec("PlanetRosTest/Sled-v0", modules=("sled",)))
    agent, totals = Agent.of(bundle, seed=0), []
    for seed in STARTS:
        agent.reset(seed)
        step, total = environment.reset(seed), 0.0
        while not step.last:
            step = environment.step(act(agent, step))
            total += step.reward
        totals.append(total)
    return totals


def test_sled_is_brought_to_rest_and_only_a_memory_can(run: RunFolder) -> None:
    def remembering(agent: Agent, step: Any) -> Any:
        return agent.act(step.observation, step.images).actions[0]

    def forgetful(agent: Agent, step: Any) -> Any:
        agent.reset()
        return remembering(agent, step)

    rng = np.random.default_rng(0)
    learned = returns(run, remembering)
    assert np.mean(learned) > -3.5, learned
    assert min(learned) > -6, learned
    assert np.mean(returns(run, forgetful)) < -6
    assert np.mean(returns(run, lambda agent, step: rng.uniform(-1, 1, 1))) < -15
