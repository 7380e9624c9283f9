"""The recurrent state-space model in a run: learned, exported, filtered and resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import Settings
from planet_ros.control.agent import Agent
from planet_ros.data import EpisodeStore
from planet_ros.models import Shapes
from planet_ros.training.learner import Learner
from planet_ros.training.loop import train
from planet_ros.training.run import RunFolder

MakeSettings = Callable[..., Settings]

RSSM: dict[str, Any] = {
    "world_model.kind": "rssm",
    "rssm.deterministic_size": 12,
    "rssm.stochastic_size": 3,
    "rssm.hidden_size": 12,
    "rssm.overshooting_distance": 3,
    "training.sequence_length": 5,
    "training.weight_averaging": 0.9,
    "training.exploration_noise": 0.3,
    "training.random_noise_beta": 2.0,
    "env_wrappers": [
        'planet_ros.wrappers:ActionRepeat {"repeat": 2}',
        'planet_ros.wrappers:SelectObservation {"indices": [0]}',
    ],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_settings: MakeSettings) -> RunFolder:
    return train(tiny_settings(tmp_path_factory.mktemp("rssm") / "run", RSSM))


def test_environment_steps_and_decisions_are_told_apart(run: RunFolder) -> None:
    manifest = load_bundle(run.bundle).manifest
    assert manifest.model_kind == "rssm"
    assert (manifest.environment_steps, manifest.decisions, manifest.episodes) == (120, 60, 6)
    for episode in EpisodeStore(run.episodes).episodes:
        assert (len(episode), episode.environment_steps) == (10, 20)
    (last,) = [record for record in run.metrics() if record["kind"] == "episode"][-1:]
    assert (last["decisions"], last["environment_steps"]) == (10, 120)
    fits = [record for record in run.metrics() if record["kind"] == "fit"]
    assert {"loss", "kl", "observation_loss", "reward_loss", "overshooting_kl"} <= set(fits[0])


def test_belief_of_the_agent_is_the_one_the_learner_would_have(
    run: RunFolder, tiny_settings: MakeSettings
) -> None:
    bundle = load_bundle(run.bundle)
    agent = Agent.of(bundle, seed=0)
    settings = tiny_settings(run.path, {**RSSM, "training.resume": True})
    learner = Learner(
        settings,
        Shapes(1, bundle.manifest.low, bundle.manifest.high),
        run,
        environment=None,
        command_period_s=1.0,
    )
    belief = learner.averaged.initial_belief()
    rng = np.random.default_rng(0)
    for _ in range(10):
        observation = rng.normal(size=1).astype(np.float32)
        action = torch.from_numpy(agent.last_action)
        agent.act(observation)
        with torch.no_grad():
            belief = learner.averaged.observe(belief, action, torch.from_numpy(observation))
    np.testing.assert_allclose(agent._belief, belief.numpy(), rtol=1e-4, atol=1e-5)
    agent.reset()
    np.testing.assert_array_equal(agent._belief, np.zeros(15))


def test_resuming_continues_exactly(
    run: RunFolder, tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    half = {**RSSM, "training.steps": 80}
    train(tiny_settings(tmp_path / "run", half))
    train(tiny_settings(tmp_path / "run", {**RSSM, "training.resume": True}))
    whole = EpisodeStore(run.episodes).episodes
    halves = EpisodeStore(tmp_path / "run" / "episodes").episodes
    assert len(whole) == len(halves)
    for one, other in zip(whole, halves, strict=True):
        np.testing.assert_array_equal(one.action, other.action)
        np.testing.assert_array_equal(one.reward, other.reward)


def test_average_of_weights_acts_and_not_the_newest(
    run: RunFolder, tiny_settings: MakeSettings
) -> None:
    bundle = load_bundle(run.bundle)
    settings = tiny_settings(run.path, {**RSSM, "training.resume": True})
    shapes = Shapes(1, bundle.manifest.low, bundle.manifest.high)
    learner = Learner(settings, shapes, run, environment=None, command_period_s=1.0)
    belief = torch.randn(15)
    actions = torch.rand(3, settings.planner.horizon, 2) * 2 - 1
    with torch.no_grad():
        averaged = learner.averaged.imagine(belief, actions)[0].numpy()
        newest = learner.model.imagine(belief, actions)[0].numpy()
    rewards = bundle.model.imagine(belief.numpy(), actions.numpy())[0]
    np.testing.assert_allclose(rewards, averaged, rtol=1e-4, atol=1e-5)
    assert np.abs(rewards - newest).max() > 1e-3
