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
from planet_ros.control.policy import PlanningPolicy
from planet_ros.data import (
    ActionPart,
    Episode,
    EpisodeBuilder,
    EpisodeStore,
    ObservationPart,
    Signature,
)
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.training import memory
from planet_ros.training.averaging import running_average
from planet_ros.training.checkpoint import read_checkpoint
from planet_ros.training.learner import Learner
from planet_ros.training.loop import train
from planet_ros.training.memory import check_memory, text_of_bytes
from planet_ros.training.run import RunFolder
from planet_ros.training.session import Session
from planet_ros.training.torch_model import TorchBeliefModel

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


def saved_learner(run: RunFolder, settings: Settings) -> Learner:
    """The learner as it was at the end of a run."""
    checkpoint = read_checkpoint(run.checkpoint)
    learner = Learner(settings, checkpoint.state.signature, run, environment=None)
    learner.restore(checkpoint)
    return learner


def test_belief_of_the_policy_is_the_one_the_learner_would_have(
    run: RunFolder, tiny_settings: MakeSettings
) -> None:
    policy = PlanningPolicy.of(load_bundle(run.bundle), seed=0)
    model = saved_learner(run, tiny_settings(run.path, RSSM)).averaged
    belief, action = model.initial_belief(), policy.signature.middle.copy()
    rng = np.random.default_rng(0)
    for _ in range(10):
        seen = rng.normal(size=1).astype(np.float32)
        plan = policy.act({"observation": seen})
        with torch.no_grad():
            belief = model.observe(
                belief, torch.from_numpy(action), {"observation": torch.from_numpy(seen)}
            )
        action = plan.actions[0]
        policy.took(action)
    np.testing.assert_allclose(policy._belief, belief.numpy(), rtol=1e-4, atol=1e-5)
    policy.reset()
    np.testing.assert_array_equal(policy._belief, np.zeros(15))


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
    settings = tiny_settings(run.path, RSSM)
    learner = saved_learner(run, settings)
    belief = torch.randn(15)
    actions = torch.rand(3, settings.planner.horizon, 2) * 2 - 1
    with torch.no_grad():
        averaged = learner.averaged.imagine(belief, actions).rewards.numpy()
        newest = learner.model.imagine(belief, actions).rewards.numpy()
    rewards = bundle.model.imagine(belief.numpy(), actions.numpy()).rewards
    np.testing.assert_allclose(rewards, averaged, rtol=1e-4, atol=1e-5)
    assert np.abs(rewards - newest).max() > 1e-3


def test_average_of_few_updates_forgets_the_first_weights() -> None:
    average, newest = torch.zeros(1), torch.ones(1)
    rule = running_average(0.98)
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
    learner = Learner(settings, environment.signature, RunFolder(folder), environment=None)
    builder, rng = EpisodeBuilder(), np.random.default_rng(0)
    for seed in range(3):
        step, episode = environment.reset(seed), None
        builder.add(step)
        while episode is None:
            step = environment.step(rng.uniform(-1, 1, 1))
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
        seen = {name: frames[step] for name, frames in episode.observation.items()}
        expected = bundle.model.observe(belief, episode.action[step], seen)
        belief = torch_model.observe(belief, episode.action[step], seen)
        np.testing.assert_allclose(belief, expected, atol=1e-5)
    actions = rng.uniform(-1, 1, (7, 4, 1)).astype(np.float32)
    one, other = torch_model.imagine(belief, actions), bundle.model.imagine(belief, actions)
    assert one.rewards.shape == other.rewards.shape == (7, 4)
    np.testing.assert_allclose(one.rewards, other.rewards, atol=1e-5)
    assert (one.continues is None) == (other.continues is None)
    assert (one.disagreement is None) == (other.disagreement is None)


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
    seeing = learner.store.episodes[0]
    seen = {"observation": np.zeros((len(seeing) + 1, 2), np.float32)}
    blind = dataclasses.replace(seeing, observation=seen)
    expected = r"found no 'image', expected 'image' of uint8 \[2, 16, 1\]"
    with pytest.raises(UserError, match=f"the new episode: {expected}"):
        learner.add(blind)
    store = EpisodeStore(tmp_path / "episodes")
    store.add(blind)
    with pytest.raises(UserError, match=f"episodes: {expected}"):
        Learner(learner.settings, learner.signature, learner.run, environment=None, store=store)


# ── the errors in the manifest ───────────────────────────────────────────────────────────────


class TestErrorsOnUnseen:
    """Against a literal computation with the model as it was before the fit."""

    HORIZON = 4

    def literally(
        self, learner: Learner, episode: Episode, starts: list[int]
    ) -> tuple[float, float]:
        model = learner.averaged
        firsts, all_errors = [], []
        for start in starts:
            with torch.no_grad():
                belief = model.initial_belief()
                for index in range(start + 1):
                    action = episode.action[index - 1] if index else learner.signature.middle.copy()
                    seen = {
                        name: torch.from_numpy(values[index])
                        for name, values in episode.observation.items()
                    }
                    belief = model.observe(belief, torch.from_numpy(action), seen)
                actions = episode.action[start : start + self.HORIZON]
                rewards = model.imagine(belief, torch.from_numpy(actions)[None]).rewards[0]
            for ahead in range(self.HORIZON):
                error = float(rewards[ahead]) - episode.reward[start + ahead]
                all_errors.append(error**2)
                if ahead == 0:
                    firsts.append(error**2)
        return (
            (sum(firsts) / len(firsts)) ** 0.5,
            (sum(all_errors) / len(all_errors)) ** 0.5,
        )

    @pytest.fixture(params=[{}, RSSM], ids=["ensemble", "rssm"])
    def learner(
        self, request: pytest.FixtureRequest, tmp_path: Path, tiny_settings: MakeSettings
    ) -> Learner:
        overrides = {**request.param, "env_wrappers": [], "training.updates": 5}
        signature = Signature(
            (ObservationPart("observation", (2,)),), (ActionPart("push", -1.0, 3.0),), 0.1
        )
        settings = tiny_settings(tmp_path / "run", overrides)
        learner = Learner(settings, signature, RunFolder(tmp_path / "run"), environment=None)
        learner.add(self.episode(0, 30))
        assert learner.fit().one_step_reward_error is None  # nothing was unseen
        return learner

    def episode(self, seed: int, length: int) -> Episode:
        rng = np.random.default_rng(seed)
        return Episode(
            {"observation": rng.normal(size=(length + 1, 2)).astype(np.float32)},
            rng.uniform(-1, 3, (length, 1)).astype(np.float32),
            rng.normal(size=length),
            False,
            True,
        )

    def compare(self, learner: Learner, ongoing: Episode | None, starts: list[int]) -> None:
        newest = ongoing or learner.store.episodes[-1]
        one_step, horizon = self.literally(learner, newest, starts)
        found = learner.fit([] if ongoing is None else [ongoing])
        assert found.one_step_reward_error == pytest.approx(one_step, rel=1e-4)
        assert found.horizon_reward_error == pytest.approx(horizon, rel=1e-4)

    def test_of_a_whole_episode_are_from_all_over_it(self, learner: Learner) -> None:
        learner.add(self.episode(1, 12))
        self.compare(learner, None, list(range(9)))  # the last one sees steps 8 to 11

    def test_of_the_newest_of_several_episodes_are_of_that_one(self, learner: Learner) -> None:
        for seed in (1, 2):
            learner.add(self.episode(seed, 8))
        self.compare(learner, None, list(range(5)))

    def test_within_an_episode_are_of_the_steps_since_the_last_fit(self, learner: Learner) -> None:
        whole = self.episode(1, 20)
        self.compare(learner, part(whole, 6), [0, 1, 2])
        self.compare(learner, part(whole, 12), [6, 7, 8])
        # Three steps are less than the horizon, and are counted with none of those after them.
        nothing = learner.fit([part(whole, 15)])
        assert (nothing.one_step_reward_error, nothing.horizon_reward_error) == (None, None)
        learner.add(part(whole, 19))
        self.compare(learner, None, [15])
        assert learner.fit().one_step_reward_error is None

    def test_of_long_episodes_are_from_twenty_places(self, learner: Learner) -> None:
        learner.add(self.episode(1, 99))
        self.compare(learner, None, [round(5 * index - 0.5 + 1e-9) for index in range(20)])

    def test_are_taken_on_where_a_run_is_continued(self, learner: Learner) -> None:
        learner.save(metrics_bytes=0)
        again = Learner(learner.settings, learner.signature, learner.run, environment=None)
        again.restore(read_checkpoint(learner.run.checkpoint))
        again.add(self.episode(1, 7))
        self.compare(again, None, [0, 1, 2, 3])


def part(episode: Episode, steps: int) -> Episode:
    """Its first steps."""
    return Episode(
        {name: values[: steps + 1] for name, values in episode.observation.items()},
        episode.action[:steps],
        episode.reward[:steps],
        False,
        False,
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError])
def test_learner_is_what_it_was_whatever_stops_a_fit(
    tmp_path: Path, tiny_settings: MakeSettings, error: type[BaseException]
) -> None:
    learners = [pixel_learner(tmp_path / name, tiny_settings) for name in ("one", "other")]
    for learner in learners:
        torch.manual_seed(2)
        learner.fit()

    def stop(done: int, total: int) -> None:
        if done == 7:
            raise error("stop")

    before = read_saved(learners[0])
    with pytest.raises(error, match="stop"):
        learners[0].fit(progress=stop)
    assert_same_saved(read_saved(learners[0]), before)
    for learner in learners:
        torch.manual_seed(3)
        learner.fit()
    assert_same_saved(read_saved(learners[0]), read_saved(learners[1]))


def read_saved(learner: Learner) -> dict[str, Any]:
    learner.save(metrics_bytes=0)
    state, tensors = read_checkpoint(learner.run.checkpoint)
    return {**state.model_dump(), **tensors}


def assert_same_saved(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def seeing(*shape: int) -> Signature:
    """One image is all there is to see, one number to be done."""
    image = ObservationPart("image", shape, role="image", dtype="uint8")
    return Signature((image,), (ActionPart("push", -1.0, 1.0),), 0.1)


class TestMemory:
    def settings(self, tiny_settings: MakeSettings, tmp_path: Path, **values: Any) -> Settings:
        return tiny_settings(tmp_path, {**PIXELS, "training.steps": 1_000_000, **values})

    def test_what_fits_passes(self, tiny_settings: MakeSettings, tmp_path: Path) -> None:
        check_memory(self.settings(tiny_settings, tmp_path), seeing(64, 64, 3))

    def test_more_than_there_is_is_refused_with_the_figures(
        self, tiny_settings: MakeSettings, tmp_path: Path
    ) -> None:
        settings = self.settings(
            tiny_settings,
            tmp_path,
            **{"data.capacity_steps": 1_000_000, "data.capacity_bytes": 10**13},
        )
        with pytest.raises(UserError) as caught:
            check_memory(settings, seeing(2000, 3000, 3))
        message = str(caught.value)
        # 10**13 bytes of episodes are no more steps than these.
        assert "data.capacity_bytes: 555556 steps of 18 MB may take 10 TB" in message
        assert "are free" in message

    def test_capacity_bounds_what_is_asked_for(
        self, tiny_settings: MakeSettings, tmp_path: Path
    ) -> None:
        settings = self.settings(
            tiny_settings,
            tmp_path,
            **{"data.capacity_steps": 1_000_000, "data.capacity_bytes": 10**9},
        )
        check_memory(settings, seeing(480, 640, 3))

    def test_batch_counts_too(self, tiny_settings: MakeSettings, tmp_path: Path) -> None:
        settings = self.settings(tiny_settings, tmp_path, **{"training.batch_size": 100_000})
        with pytest.raises(UserError, match=r"a batch .* training.batch_size \(100000\)"):
            check_memory(settings, seeing(480, 640, 3))

    @pytest.mark.parametrize("short", [0, 1])
    def test_every_byte_counts(
        self,
        tiny_settings: MakeSettings,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        short: int,
    ) -> None:
        settings = self.settings(
            tiny_settings,
            tmp_path,
            **{
                "data.capacity_steps": 1000,
                "training.batch_size": 7,
                "training.sequence_length": 9,
            },
        )
        seen = (
            ObservationPart("observation", (5,)),
            ObservationPart("image", (4, 3, 2), role="image", dtype="uint8"),
        )
        signature = Signature(seen, (ActionPart("left", -1, 1), ActionPart("right", -1, 1)), 0.1)
        numbers, pixels = 4 * (5 + 2), 4 * 3 * 2
        episodes = 1000 * (numbers + 8 + pixels)
        # Reward, continuation and mask beside them, in an array that may be moving to one twice
        # as long.
        replay = 1000 * (numbers + 3 * 4) * 3
        # 8 bits, and in 32 bits what they become, what they are decoded to, and its gradient.
        batch = 7 * (9 + 1) * pixels * (1 + 4 + 4 + 4)
        monkeypatch.setattr(memory, "_free_bytes", lambda: episodes + replay + batch - short)
        if not short:
            check_memory(settings, signature)
            return
        with pytest.raises(UserError, match="1000 steps of 60 B"):
            check_memory(settings, signature)

    def test_session_that_will_not_fit_leaves_no_folder(
        self, tiny_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(memory, "_free_bytes", lambda: 1000)
        settings = self.settings(tiny_settings, tmp_path / "run")
        with pytest.raises(UserError, match="of memory are free"):
            Session(settings, seeing(8, 8, 1), environment=None, say=print)
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize(
        ("count", "text"), [(0, "0 B"), (999, "999 B"), (12_288, "12.3 kB"), (10**13, "10 TB")]
    )
    def test_bytes_read_well(self, count: int, text: str) -> None:
        assert text_of_bytes(count) == text
