"""The recurrent state-space model in a run: learned, exported, filtered and resumed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import Settings
from planet_ros.control.agent import Agent
from planet_ros.data import EpisodeBuilder, EpisodeStore
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.models import Shapes
from planet_ros.training.learner import Learner, _running_average
from planet_ros.training.loop import train
from planet_ros.training.memory import check_memory, text_of_bytes
from planet_ros.training.run import RunFolder
from planet_ros.training.session import shapes_of
from planet_ros.training.torch_model import TorchBeliefModel

MakeSettings = Callable[..., Settings]
ONE_ACTION = -np.ones(1, np.float32), np.ones(1, np.float32)

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


def test_average_of_few_updates_forgets_the_first_weights() -> None:
    average, newest = torch.zeros(1), torch.ones(1)
    rule = _running_average(0.98)
    away = [1.0]
    for count in range(1, 601):
        rule([average], [newest], count)
        away.append(1 - float(average))
    assert away[10] < 0.01  # with the whole decay it would be 0.82
    # Once there is enough to remember, the decay is what it is set to.
    average, rest = torch.zeros(1), []
    for count in range(1000, 1003):
        rule([average], [newest], count)
        rest.append(1 - float(average))
    np.testing.assert_allclose(rest, [0.98, 0.98**2, 0.98**3], rtol=1e-5)


PIXELS: dict[str, Any] = {
    **RSSM,
    "env_id": "PlanetRosTest/Sled-v0",
    "env_modules": ["sled"],
    "env_wrappers": [],
    "rssm.image_hidden_size": 12,
}


def pixel_learner(
    folder: Path, tiny_settings: MakeSettings, overrides: dict[str, Any] | None = None
) -> Learner:
    settings = tiny_settings(folder, {**PIXELS, **(overrides or {})})
    environment = Environment(EnvironmentSpec.of(settings))
    learner = Learner(
        settings,
        shapes_of(environment),
        RunFolder.start(folder, resume=True),
        environment=environment.spec,
        command_period_s=1.0,
    )
    builder, rng = EpisodeBuilder(), np.random.default_rng(0)
    for seed in range(3):
        step, episode = environment.reset(seed), None
        builder.add(step)
        while episode is None:
            step = environment.step(environment.random_action(rng))
            episode = builder.add(step)
        learner.add(episode)
    return learner


def test_mixed_precision_learns_what_full_precision_does(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        overrides = {"training.precision": precision, "training.updates": 60}
        learner = pixel_learner(tmp_path / precision, tiny_settings, overrides)
        losses[precision] = [learner.fit().metrics["loss"] for _ in range(2)]
        assert all(weight.dtype == torch.float32 for weight in learner.model.parameters())
    assert losses["float32"][1] < 0.8 * losses["float32"][0]
    # The same but for rounding, which has to be there: else nothing was short.
    assert losses["bfloat16"] != losses["float32"]
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=0.05)


def test_planning_in_torch_is_planning_in_the_exported_graphs(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    learner = pixel_learner(tmp_path / "run", tiny_settings)
    learner.fit()
    assert learner.acting is None  # on the processor the graphs are faster
    bundle, torch_model = learner.export(), TorchBeliefModel(learner.averaged)
    belief = torch_model.initial_belief()
    np.testing.assert_array_equal(belief, bundle.model.initial_belief())
    rng = np.random.default_rng(0)
    episode = learner.store.episodes[0]
    for step in range(5):
        images = {name: frames[step] for name, frames in episode.images.items()}
        action, vector = episode.action[step], episode.observation[step]
        expected = bundle.model.observe(belief, action, vector, images)
        belief = torch_model.observe(belief, action, vector, images)
        np.testing.assert_allclose(belief, expected, atol=1e-5)
    actions = rng.uniform(-1, 1, (7, 4, 1)).astype(np.float32)
    for one, other in zip(
        torch_model.imagine(belief, actions), bundle.model.imagine(belief, actions), strict=True
    ):
        assert one.shape == other.shape == (7, 4)
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_agent_acts_on_the_device_where_the_model_is_learned(
    tmp_path: Path, tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no such device here: the processor takes its place."""
    asked = []

    def acting(self: Learner) -> TorchBeliefModel:
        asked.append(TorchBeliefModel(self.averaged))
        return asked[-1]

    monkeypatch.setattr(Learner, "acting", property(acting))
    train(tiny_settings(tmp_path / "run", PIXELS))
    monkeypatch.undo()
    train(tiny_settings(tmp_path / "graphs", PIXELS))
    assert asked
    one, other = (EpisodeStore(tmp_path / name / "episodes").episodes for name in ("run", "graphs"))
    for there, here in zip(one[:4], other[:4], strict=True):
        np.testing.assert_allclose(there.action, here.action, atol=1e-3)


def test_episode_without_the_images_that_the_model_takes_is_refused(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    learner = pixel_learner(tmp_path / "run", tiny_settings)
    blind = dataclasses.replace(learner.store.episodes[0], images={})
    expected = r"images: \{\}, expected \{'image': \(2, 16, 1\)\} as the environment has it"
    with pytest.raises(UserError, match=expected):
        learner.add(blind)
    folder = RunFolder(tmp_path / "other")
    EpisodeStore(folder.episodes).add(blind)
    with pytest.raises(UserError, match=expected):
        pixel_learner(folder.path, tiny_settings)


class TestMemory:
    def settings(self, tiny_settings: MakeSettings, tmp_path: Path, **values: Any) -> Settings:
        return tiny_settings(tmp_path, {**PIXELS, "training.steps": 1_000_000, **values})

    def test_what_fits_passes(self, tiny_settings: MakeSettings, tmp_path: Path) -> None:
        shapes = Shapes(0, *ONE_ACTION, {"image": (64, 64, 3)})
        check_memory(self.settings(tiny_settings, tmp_path), shapes)

    def test_more_than_there_is_is_refused_with_the_figures(
        self, tiny_settings: MakeSettings, tmp_path: Path
    ) -> None:
        settings = self.settings(
            tiny_settings,
            tmp_path,
            **{"data.capacity_steps": 1_000_000, "data.capacity_bytes": 10**13},
        )
        shapes = Shapes(0, *ONE_ACTION, {"image": (2000, 3000, 3)})
        with pytest.raises(UserError) as caught:
            check_memory(settings, shapes)
        message = str(caught.value)
        assert "data.capacity_bytes: 1000000 steps of 18 MB may take 10 TB" in message
        assert "are free" in message

    def test_capacity_bounds_what_is_asked_for(
        self, tiny_settings: MakeSettings, tmp_path: Path
    ) -> None:
        settings = self.settings(
            tiny_settings,
            tmp_path,
            **{"data.capacity_steps": 1_000_000, "data.capacity_bytes": 10**9},
        )
        check_memory(settings, Shapes(0, *ONE_ACTION, {"image": (480, 640, 3)}))

    def test_batch_counts_too(self, tiny_settings: MakeSettings, tmp_path: Path) -> None:
        settings = self.settings(tiny_settings, tmp_path, **{"training.batch_size": 100_000})
        with pytest.raises(UserError, match=r"a batch .* training.batch_size \(100000\)"):
            check_memory(settings, Shapes(0, *ONE_ACTION, {"image": (480, 640, 3)}))

    @pytest.mark.parametrize(
        ("count", "text"), [(0, "0 B"), (999, "999 B"), (12_288, "12.3 kB"), (10**13, "10 TB")]
    )
    def test_bytes_read_well(self, count: int, text: str) -> None:
        assert text_of_bytes(count) == text
