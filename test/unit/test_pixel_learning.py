"""Learning from pixels, by what the agent achieves: it takes the picture and the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import Settings
from planet_ros.control.exploration import RandomPolicy
from planet_ros.control.policy import PlanningPolicy, Policy
from planet_ros.data import Parts
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.planning import Plan
from planet_ros.training.collect import collect
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


class Forgetful:
    """A policy that sees each picture as if it were the first."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.took = policy.took

    def reset(self, seed: int | None = None) -> None:
        self._policy.reset(seed)

    def act(self, observation: Parts) -> Plan:
        self._policy.reset()
        return self._policy.act(observation)


def mean_and_worst(policy: Policy) -> tuple[float, float]:
    """Return of the starts."""
    environment = Environment(EnvironmentSpec("PlanetRosTest/Sled-v0", modules=("sled",)))
    totals: list[float] = []
    for step in collect(policy, environment, STARTS):
        totals = [*totals, 0.0] if step.index == 0 else totals
        totals[-1] += step.reward
    return float(np.mean(totals)), min(totals)


@pytest.mark.slow
def test_sled_is_brought_to_rest_and_only_a_memory_can(run: RunFolder) -> None:
    bundle = load_bundle(run.bundle)
    policy = PlanningPolicy.of(bundle, seed=0)
    mean, worst = mean_and_worst(policy)
    assert mean > -3.5
    assert worst > -6
    assert mean_and_worst(Forgetful(policy))[0] < -6
    assert mean_and_worst(RandomPolicy(bundle.manifest.signature, seed=0))[0] < -15
