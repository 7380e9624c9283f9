"""Whole runs on a tiny environment: that they learn, and what they leave behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_environments
import torch
from arrays import float32
from numpy.typing import NDArray

from planet_ros.bundle import export as bundle_export
from planet_ros.bundle.runtime import load_bundle
from planet_ros.cli.main import main
from planet_ros.config import Settings, load_settings
from planet_ros.data import Episode, EpisodeStore, Signature, Step
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.models import Ensemble
from planet_ros.report.dream_pictures import draw
from planet_ros.report.dreams import dream_of
from planet_ros.training.checkpoint import (
    STATE_FILE,
    TENSORS_FILE,
    load_tensors,
    read_checkpoint,
    save_checkpoint,
)
from planet_ros.training.evaluate import environment_of, evaluate
from planet_ros.training.export import export_checkpoint
from planet_ros.training.loop import HELD_OUT_SEED, train
from planet_ros.training.run import RunFolder

TinySettings = Callable[..., Settings]
POINT_MASS = EnvironmentSpec("PlanetRosTest/PointMass-v0")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def everything(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Every file and folder, with what it holds, when it was changed, and which one it is."""
    return {
        str(path): (
            path.read_bytes() if path.is_file() else b"",
            path.stat().st_mtime_ns,
            path.stat().st_ino,
        )
        for path in (folder, *folder.rglob("*"))
    }


def records(run: Path, kind: str) -> list[dict[str, Any]]:
    """The run's metrics of a kind, without what the clock says."""
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for record in found:
        record.pop("seconds", None)
    return [record for record in found if record["kind"] == kind]


def assert_same_episodes(one: Path, other: Path) -> None:
    first, second = (
        EpisodeStore(one / "episodes").episodes,
        EpisodeStore(other / "episodes").episodes,
    )
    assert len(first) == len(second) > 0
    for left, right in zip(first, second, strict=True):
        for name in ("action", "reward"):
            np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
        np.testing.assert_array_equal(position(left), position(right))


def position(seen: Step | Episode) -> NDArray[np.float32]:
    return seen.observation["observation"]


def random_returns(seeds: range) -> list[float]:
    environment = Environment(POINT_MASS)
    rng = np.random.default_rng(0)
    returns = []
    for seed in seeds:
        step, total = environment.reset(seed=seed), 0.0
        while not step.last:
            step = environment.step(rng.uniform(-1, 1, 2))
            total += step.reward
        returns.append(total)
    return returns


def test_episodes_are_cut_while_learning_and_whole_in_the_evaluation(
    tmp_path: Path, tiny_settings: TinySettings
) -> None:
    overrides = {"training.episode_steps": 7, "training.evaluation_episodes": 2}
    train(tiny_settings(tmp_path / "run", overrides))
    episodes = EpisodeStore(tmp_path / "run" / "episodes").episodes
    assert {len(episode) for episode in episodes[:-1]} == {7}
    assert all(episode.truncated for episode in episodes[:-1])
    starts = {tuple(position(episode)[0]) for episode in episodes}
    assert len(starts) == len(episodes)
    settings = load_settings(tmp_path / "run" / "settings.yaml")
    evaluated = evaluate(
        load_bundle(tmp_path / "run" / "model"),
        Environment(EnvironmentSpec.of(settings)),
        episodes=2,
        seed=HELD_OUT_SEED,
    )
    (recorded,) = records(tmp_path / "run", "evaluation")
    assert recorded["mean_return"] == pytest.approx(evaluated.to_dict()["mean"])


@pytest.mark.timeout(120)
@pytest.mark.slow
def test_learns_what_random_play_never_reaches(tmp_path: Path, tiny_settings: TinySettings) -> None:
    settings = tiny_settings(
        tmp_path / "run",
        {
            "training.steps": 160,
            "training.updates": 300,
            "training.learning_rate": 3e-3,
            "planner.horizon": 5,
            "planner.candidates": 64,
            "planner.elites": 10,
            "planner.iterations": 4,
        },
    )
    bundle = load_bundle(train(settings).bundle)
    environment = Environment(environment_of(bundle, ["tiny_environments"]))
    seeds = range(5000, 5010)  # training has seen 0 to 7
    learned = evaluate(bundle, environment, episodes=10, seed=5000).returns
    best = [tiny_environments.best_return(position(environment.reset(seed=seed))) for seed in seeds]
    # Even the worst episode comes near the best that is possible from its start: it loses less than
    # a twelfth of what random play loses on average.
    random = random_returns(seeds)
    lost = np.mean(np.subtract(best, random))
    assert np.max(np.subtract(best, learned)) < lost / 12
    assert min(learned) > max(random_returns(range(5000, 5200)))


class TestRecords:
    def test_settings_of_the_run_are_written_down(
        self, tiny_run: Path, tiny_settings: TinySettings
    ) -> None:
        expected = tiny_settings(tiny_run, {"training.evaluation_episodes": 2})
        assert load_settings(tiny_run / "settings.yaml") == expected

    def test_metrics_tell_every_episode_and_every_fit(self, tiny_run: Path) -> None:
        episodes, fits = records(tiny_run, "episode"), records(tiny_run, "fit")
        stored = EpisodeStore(tiny_run / "episodes").episodes
        assert [record["return"] for record in episodes] == [one.total_reward for one in stored]
        assert [record["episode"] for record in episodes] == list(range(6))
        assert [record["environment_steps"] for record in episodes] == list(range(20, 121, 20))
        assert [record["random"] for record in episodes] == [True] * 3 + [False] * 3
        assert all(record["truncated"] and not record["terminated"] for record in episodes)
        # After the random steps, then after each episode.
        assert [record["environment_steps"] for record in fits] == [60, 80, 100, 120]
        assert all(record["loss"] > 0 for record in fits)
        assert fits[0]["one_step_reward_error"] is None  # nothing was unseen before the first
        assert all(record["one_step_reward_error"] > 0 for record in fits[1:])

    def test_manifest_tells_environment_experience_and_worth(self, tiny_run: Path) -> None:
        manifest = load_bundle(tiny_run / "model").manifest
        assert manifest.environment is not None
        assert manifest.environment.id == POINT_MASS.id
        assert manifest.environment.modules == ["tiny_environments"]
        assert (manifest.environment_steps, manifest.episodes, manifest.seed) == (120, 6, 0)
        assert manifest.signature.period_s == pytest.approx(1 / 25)
        np.testing.assert_array_equal(manifest.signature.low, [-1, -1])
        np.testing.assert_array_equal(manifest.signature.high, [1, 1])

    def test_evaluation_in_the_manifest_is_of_held_out_starts(self, tiny_run: Path) -> None:
        bundle = load_bundle(tiny_run / "model")
        returns = evaluate(bundle, Environment(POINT_MASS), episodes=2, seed=HELD_OUT_SEED).returns
        evaluation = bundle.manifest.evaluation
        assert evaluation.episodes == 2
        assert evaluation.mean_return == pytest.approx(np.mean(returns))
        assert evaluation.worst_return == pytest.approx(min(returns))
        (record,) = records(tiny_run, "evaluation")
        assert record["mean_return"] == evaluation.mean_return

    def test_starts_of_training_count_up_from_the_seed(self, tiny_run: Path) -> None:
        environment = Environment(POINT_MASS)
        for index, episode in enumerate(EpisodeStore(tiny_run / "episodes").episodes):
            start = position(environment.reset(seed=index))
            np.testing.assert_array_equal(position(episode)[0], start)

    def test_bundle_holds_the_averaged_weights_of_the_checkpoint(self, tiny_run: Path) -> None:
        settings = load_settings(tiny_run / "settings.yaml")
        bundle = load_bundle(tiny_run / "model")
        model = Ensemble(bundle.manifest.signature, settings.world_model)
        _, tensors = read_checkpoint(tiny_run / "checkpoint")
        model.load_state_dict(
            {
                name.removeprefix("average/module."): torch.from_numpy(value)
                for name, value in tensors.items()
                if name.startswith("average/module.")
            }
        )
        belief = float32([0.3, -0.8])
        actions = np.random.default_rng(0).uniform(-1, 1, (9, 4, 2)).astype(np.float32)
        found = bundle.model.imagine(belief, actions).rewards
        with torch.no_grad():
            expected = model.imagine(torch.from_numpy(belief), torch.from_numpy(actions)).rewards
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


class TestReproducibility:
    def test_same_seed_gives_the_same_run(
        self, tiny_run: Path, tmp_path: Path, tiny_settings: TinySettings
    ) -> None:
        train(tiny_settings(tmp_path / "run"))
        assert_same_episodes(tmp_path / "run", tiny_run)
        for kind in ("episode", "fit"):
            assert records(tmp_path / "run", kind) == records(tiny_run, kind)

    def test_other_seed_gives_another_run(
        self, tiny_run: Path, tmp_path: Path, tiny_settings: TinySettings
    ) -> None:
        train(tiny_settings(tmp_path / "run", {"seed": 1, "training.steps": 60}))
        one = EpisodeStore(tiny_run / "episodes").episodes
        other = EpisodeStore(tmp_path / "run" / "episodes").episodes
        # Episode 0 of seed 1 starts where episode 1 of seed 0 does; the actions differ.
        np.testing.assert_array_equal(position(other[0])[0], position(one[1])[0])
        for left in one:
            for right in other:
                assert not np.array_equal(left.action, right.action)

    @pytest.mark.parametrize("stop", [40, 80])
    def test_resumed_run_goes_on_as_if_it_had_never_stopped(
        self, tiny_run: Path, tmp_path: Path, tiny_settings: TinySettings, stop: int
    ) -> None:
        """Stopped after an episode: among the random ones, or after two fits."""
        folder = tmp_path / "run"
        # A run fits once more where it ends, so that the first part must not end before a fit is
        # due: among the random episodes it is stopped by hand.
        if stop < 60:
            _train_until_interrupted(tiny_settings(folder), after_steps=stop)
        else:
            train(tiny_settings(folder, {"training.steps": stop}))
        train(tiny_settings(folder, {"training.resume": True}))
        assert_same_episodes(folder, tiny_run)
        for kind in ("episode", "fit"):
            assert records(folder, kind) == records(tiny_run, kind)
        assert_same_tensors(folder, tiny_run)


def assert_same_tensors(one: Path, other: Path) -> None:
    first, second = read_checkpoint(one / "checkpoint")[1], read_checkpoint(other / "checkpoint")[1]
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


def _train_until_interrupted(settings: Settings, after_steps: int) -> KeyboardInterrupt:
    """Press Ctrl-C in the environment step that follows `after_steps` of them."""
    with pytest.MonkeyPatch.context() as patch:
        _interrupt_after(patch, after_steps)
        with pytest.raises(KeyboardInterrupt) as caught:
            train(settings)
    return caught.value


def _interrupt_after(patch: pytest.MonkeyPatch, calls: int) -> None:
    taken = 0
    step = tiny_environments.PointMass.step

    def interrupted(self: Any, action: Any) -> Any:
        nonlocal taken
        if taken == calls:
            raise KeyboardInterrupt
        taken += 1
        return step(self, action)

    patch.setattr(tiny_environments.PointMass, "step", interrupted)


class TestInterruption:
    def test_in_the_middle_of_an_episode_keeps_everything(
        self, tmp_path: Path, tiny_settings: TinySettings
    ) -> None:
        folder = tmp_path / "run"
        message = str(_train_until_interrupted(tiny_settings(folder), after_steps=87))
        assert "stopped after 87 environment steps" in message
        assert f"--resume --output {folder}" in message
        bundle = load_bundle(folder / "model")
        assert bundle.manifest.environment_steps == 87
        episodes = EpisodeStore(folder / "episodes").episodes
        assert [len(episode) for episode in episodes] == [20, 20, 20, 20, 7]
        assert not episodes[-1].terminated
        assert not episodes[-1].truncated
        assert read_checkpoint(folder / "checkpoint").state.environment_steps == 87
        assert len(records(folder, "episode")) == 5

        train(tiny_settings(folder, {"training.resume": True}))
        store = EpisodeStore(folder / "episodes")
        assert [len(episode) for episode in store.episodes] == [20, 20, 20, 20, 7, 20, 13]
        assert store.steps == 120
        assert load_bundle(folder / "model").manifest.environment_steps == 120

    def test_before_the_first_fit_leaves_episodes_to_go_on_with(
        self, tmp_path: Path, tiny_settings: TinySettings
    ) -> None:
        folder = tmp_path / "run"
        _train_until_interrupted(tiny_settings(folder), after_steps=30)
        assert not (folder / "model").exists()  # random weights are no model
        assert EpisodeStore(folder / "episodes").steps == 30
        train(tiny_settings(folder, {"training.resume": True, "training.steps": 80}))
        assert load_bundle(folder / "model").manifest.environment_steps == 80

    def test_while_fitting_keeps_the_steps_that_were_taken(
        self, tmp_path: Path, tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "run"
        calls = 0
        loss = Ensemble.loss

        def interrupted(self: Ensemble, *arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 30:  # in the second fit
                raise KeyboardInterrupt
            return loss(self, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(Ensemble, "loss", interrupted)
            with pytest.raises(KeyboardInterrupt, match="80 environment steps"):
                train(tiny_settings(folder))
        assert EpisodeStore(folder / "episodes").steps == 80
        load_bundle(folder / "model")
        # The weights are those of the first fit, which the run saw the end of.
        whole = tmp_path / "whole"
        train(tiny_settings(whole, {"training.steps": 60}))
        assert_same_tensors(folder, whole)
        assert len(records(folder, "fit")) == 1
        train(tiny_settings(folder, {"training.resume": True}))
        assert EpisodeStore(folder / "episodes").steps == 120

    def test_while_exporting_leaves_the_old_bundle_or_the_new_one(
        self, tmp_path: Path, tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "run"
        calls = 0
        replace_weights = bundle_export._replace_weights

        def interrupted(*arguments: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == 4:  # the second bundle's second graph
                raise KeyboardInterrupt
            replace_weights(*arguments)

        monkeypatch.setattr(bundle_export, "_replace_weights", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(tiny_settings(folder))
        assert load_bundle(folder / "model").manifest.environment_steps in (60, 80)
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]


class TestErrors:
    @pytest.mark.filterwarnings("ignore:.*:UserWarning:gymnasium")
    def test_nan_from_the_environment_stops_the_run_and_keeps_what_came_before(
        self, tmp_path: Path, tiny_settings: TinySettings
    ) -> None:
        folder = tmp_path / "run"
        with pytest.raises(UserError) as caught:
            train(tiny_settings(folder, {"env_id": "PlanetRosTest/BreaksDown-v0"}))
        assert "PlanetRosTest/BreaksDown-v0: found observation [nan nan] at step 10" in str(
            caught.value
        )
        episodes = EpisodeStore(folder / "episodes").episodes
        assert [len(episode) for episode in episodes] == [20, 20, 20, 9]
        assert load_bundle(folder / "model").manifest.environment_steps == 69
        read_checkpoint(folder / "checkpoint")

    def test_folder_that_holds_a_run_is_refused_and_left_as_it_is(
        self, tiny_run: Path, tiny_settings: TinySettings
    ) -> None:
        before = contents(tiny_run)
        with pytest.raises(UserError, match="already holds a run; add --resume"):
            train(tiny_settings(tiny_run, {"seed": 9}))
        assert contents(tiny_run) == before

    def test_file_in_place_of_the_folder_is_refused(
        self, tmp_path: Path, tiny_settings: TinySettings
    ) -> None:
        (tmp_path / "run").write_text("mine")
        with pytest.raises(UserError, match="found a file, expected a folder"):
            train(tiny_settings(tmp_path / "run"))
        assert (tmp_path / "run").read_text() == "mine"

    def test_environment_that_cannot_be_made_leaves_no_folder(
        self, tmp_path: Path, tiny_settings: TinySettings
    ) -> None:
        with pytest.raises(UserError, match="DiscreteActions"):
            train(tiny_settings(tmp_path / "run", {"env_id": "PlanetRosTest/DiscreteActions-v0"}))
        assert not (tmp_path / "run").exists()

    def test_resuming_with_another_model_is_refused_and_changes_nothing(
        self, tiny_run: Path, tmp_path: Path, tiny_settings: TinySettings
    ) -> None:
        folder = tmp_path / "run"
        shutil.copytree(tiny_run, folder)
        before = contents(folder)
        overrides = {"training.resume": True, "world_model.hidden_sizes": [31]}
        with pytest.raises(UserError, match=r"world_model\.hidden_sizes: \[32\] → \[31\]"):
            train(tiny_settings(folder, overrides))
        overrides["training.accept_changes"] = True
        with pytest.raises(UserError, match="other world_model settings"):
            train(tiny_settings(folder, overrides))
        assert contents(folder) == before

    def test_device_that_is_not_there_is_refused_and_can_be_mended(
        self, tmp_path: Path, tiny_settings: TinySettings
    ) -> None:
        overrides = {"training.device": "no-such-device"}
        with pytest.raises(UserError, match=r"training\.device: 'no-such-device' cannot be used"):
            train(tiny_settings(tmp_path / "run", overrides))
        train(tiny_settings(tmp_path / "run", {"training.steps": 60}))

    def test_model_that_diverges_is_an_error_and_the_last_good_one_stays(
        self, tmp_path: Path, tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = 0
        loss = Ensemble.loss

        def diverging(self: Ensemble, *arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            value, metrics = loss(self, *arguments)
            factor = float("nan") if calls > 30 else 1.0  # in the second fit
            return value * factor, {name: one * factor for name, one in metrics.items()}

        monkeypatch.setattr(Ensemble, "loss", diverging)
        with pytest.raises(UserError, match=r"loss of .*nan.*training\.learning_rate"):
            train(tiny_settings(tmp_path / "run"))
        load_bundle(tmp_path / "run" / "model")
        for name, value in read_checkpoint(tmp_path / "run" / "checkpoint")[1].items():
            assert np.isfinite(value).all(), name
        assert EpisodeStore(tmp_path / "run" / "episodes").steps == 80


class TestCheckpoint:
    @pytest.mark.parametrize("length", [0, 100, 2000])
    def test_cut_short_is_an_error_that_names_it(
        self, tiny_run: Path, tmp_path: Path, length: int
    ) -> None:
        shutil.copytree(tiny_run / "checkpoint", tmp_path / "checkpoint")
        tensors = tmp_path / "checkpoint" / TENSORS_FILE
        tensors.write_bytes(tensors.read_bytes()[:length])
        with pytest.raises(UserError, match="checkpoint: not a whole checkpoint"):
            read_checkpoint(tmp_path / "checkpoint")

    def test_restores_model_optimizer_and_random_numbers(
        self, tiny_run: Path, tmp_path: Path
    ) -> None:
        def pair() -> tuple[torch.nn.Linear, torch.optim.AdamW]:
            model = torch.nn.Linear(3, 2)
            return model, torch.optim.AdamW(model.parameters(), lr=0.1)

        def learn(model: torch.nn.Linear, optimizer: torch.optim.AdamW) -> torch.Tensor:
            loss = model(torch.randn(5, 3)).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.detach()

        model, optimizer = pair()
        for _ in range(3):
            learn(model, optimizer)
        state = read_checkpoint(tiny_run / "checkpoint").state
        save_checkpoint(tmp_path / "c", {"model": model}, optimizer, state)
        expected = [learn(model, optimizer) for _ in range(3)]
        other_model, other_optimizer = pair()
        saved = read_checkpoint(tmp_path / "c")
        names = {"tensors": state.tensors}
        assert saved.state.model_copy(update=names) == state
        load_tensors(tmp_path / "c", saved.tensors, {"model": other_model}, other_optimizer)
        assert [learn(other_model, other_optimizer) for _ in range(3)] == expected

    def damaged(self, tiny_run: Path, tmp_path: Path, tiny_settings: TinySettings) -> Any:
        """A copy of a run, and what continues it and what reads it."""
        run = tmp_path / "run"
        shutil.copytree(tiny_run, run)
        settings = tiny_settings(run, {"training.resume": True})
        return run, (lambda: train(settings), lambda: export_checkpoint(run, tmp_path / "m", {}))

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (lambda state: {}, r"state\.json: not the state of a run: version: |signature: Field"),
            (lambda state: [], "not the state of a run: all of it: Input should be an object"),
            (lambda state: {**state, "episodes": "six"}, "episodes: Input should be a valid int"),
            (lambda state: {**state, "fits": -1}, "fits: Input should be greater than or equal"),
            (lambda state: {**state, "fits": 1.5}, "fits: Input should be a valid int"),
            (lambda state: {**state, "version": 3}, "version: Input should be 2"),
            (lambda state: {**state, "sampling": {}}, r"state\.json: sampling"),
            (
                lambda state: {**state, "sampling": {**state["sampling"], "state": {"state": "x"}}},
                r"state\.json: sampling",
            ),
            (
                lambda state: {**state, "signature": {**state["signature"], "action": []}},
                "signature: .*found 0 actions",
            ),
            (
                lambda state: {name: state[name] for name in state if name != "signature"},
                r"checkpoint of an older version of planet_ros, without a signature",
            ),
        ],
    )
    def test_state_that_is_damaged_is_an_error_for_people_and_changes_nothing(
        self,
        tiny_run: Path,
        tmp_path: Path,
        tiny_settings: TinySettings,
        change: Callable[[Any], Any],
        expected: str,
    ) -> None:
        run, users = self.damaged(tiny_run, tmp_path, tiny_settings)
        file = run / "checkpoint" / STATE_FILE
        file.write_text(json.dumps(change(json.loads(file.read_text()))))
        before = everything(run)
        for use in users:
            with pytest.raises(UserError, match=expected):
                use()
        assert everything(run) == before

    @pytest.mark.parametrize("name", ["model/biases.0", "optimizer/0/step", "random/torch"])
    def test_tensor_that_is_missing_is_named(
        self, tiny_run: Path, tmp_path: Path, tiny_settings: TinySettings, name: str
    ) -> None:
        run, users = self.damaged(tiny_run, tmp_path, tiny_settings)
        file = run / "checkpoint" / TENSORS_FILE
        with np.load(file) as content:
            tensors = {one: content[one] for one in content.files if one != name}
        np.savez(file, **tensors)
        for use in users:
            with pytest.raises(UserError, match=rf"not a whole checkpoint: .*{name}"):
                use()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("model/biases.0", np.zeros(7)),
            ("optimizer/1/exp_avg", np.zeros(7)),
            ("random/torch", np.zeros(7)),
            ("random/torch", np.zeros(7, np.uint8)),
            ("model/biases.0", np.array(["text"])),
        ],
    )
    def test_tensor_of_another_kind_is_refused(
        self,
        tiny_run: Path,
        tmp_path: Path,
        tiny_settings: TinySettings,
        name: str,
        value: NDArray[Any],
    ) -> None:
        run, users = self.damaged(tiny_run, tmp_path, tiny_settings)
        file = run / "checkpoint" / TENSORS_FILE
        with np.load(file) as content:
            tensors = {one: content[one] for one in content.files}
        np.savez(file, **{**tensors, name: value})
        for use in users:
            with pytest.raises(UserError, match="other world_model settings or another env"):
                use()

    def test_state_names_all_that_a_run_was(self, tiny_run: Path) -> None:
        state = read_checkpoint(tiny_run / "checkpoint").state
        assert isinstance(state.signature, Signature)
        assert (state.environment_steps, state.decisions, state.episodes) == (120, 120, 6)
        assert (state.fits, state.judged_steps) == (4, 120)
        assert state.metrics_bytes == (tiny_run / "metrics.jsonl").stat().st_size
        last = records(tiny_run, "fit")[-1]
        assert state.one_step_reward_error == last["one_step_reward_error"]
        assert state.horizon_reward_error == last["horizon_reward_error"]
        assert state.evaluation is not None
        (evaluation,) = records(tiny_run, "evaluation")
        assert state.evaluation.mean_return == evaluation["mean_return"]

    def test_finished_run_that_is_resumed_stays_as_it_is(
        self, tiny_run: Path, tmp_path: Path, tiny_settings: TinySettings
    ) -> None:
        run = tmp_path / "run"
        shutil.copytree(tiny_run, run)
        before = load_bundle(run / "model").manifest
        train(tiny_settings(run, {"training.resume": True, "training.evaluation_episodes": 2}))
        for kind in ("episode", "fit", "evaluation"):
            assert records(run, kind) == records(tiny_run, kind)
        assert_same_tensors(run, tiny_run)
        after = load_bundle(run / "model").manifest
        assert after.evaluation == before.evaluation
        assert after.evaluation.one_step_reward_error is not None


class TestUpdates:
    def test_model_is_fitted_every_so_many_steps_within_episodes(
        self, tmp_path: Path, tiny_settings: TinySettings
    ) -> None:
        settings = tiny_settings(
            tmp_path / "run",
            {
                "training.steps": 50,
                "training.random_steps": 30,
                "training.update_every_steps": 8,
                "training.updates": 2,
            },
        )
        train(settings)
        fits = records(tmp_path / "run", "fit")
        assert [record["environment_steps"] for record in fits] == [32, 40, 48, 50]

    def test_capacity_keeps_the_newest_episodes(
        self, tmp_path: Path, tiny_settings: TinySettings
    ) -> None:
        train(
            tiny_settings(
                tmp_path / "run",
                {"data.capacity_steps": 40, "training.steps": 80, "training.updates": 2},
            )
        )
        names = sorted(path.name for path in (tmp_path / "run" / "episodes").iterdir())
        assert names == ["episode-000002.npz", "episode-000003.npz"]
        # What is new is still told from what was seen, though the number of steps kept is the same.
        assert records(tmp_path / "run", "fit")[-1]["one_step_reward_error"] > 0

    def test_terminating_environment_is_learned_with_its_ends(
        self, tmp_path: Path, tiny_settings: TinySettings
    ) -> None:
        settings = tiny_settings(
            tmp_path / "run",
            {
                "env_id": "PlanetRosTest/Terminating-v0",
                "world_model.predict_continue": True,
                "training.random_steps": 200,
                "training.steps": 200,
                "training.updates": 300,
                "training.batch_size": 64,
                "training.learning_rate": 1e-2,
            },
        )
        bundle = load_bundle(train(settings).bundle)
        episodes = EpisodeStore(tmp_path / "run" / "episodes").episodes
        chances: dict[bool, list[float]] = {True: [], False: []}
        for episode in episodes:
            for step in range(len(episode)):
                actions = np.tile(episode.action[step], (1, 4, 1))
                continues = bundle.model.imagine(position(episode)[step], actions).continues
                assert continues is not None
                terminal = episode.terminated and step == len(episode) - 1
                chances[terminal].append(float(continues[0, 0]))
        assert len(chances[True]) > 10
        # A model that knew but how often episodes end would say the same everywhere.
        assert np.mean(chances[False]) > 0.85
        assert np.mean(chances[True]) < np.mean(chances[False]) - 0.25


class TestExportOfACheckpoint:
    def test_gives_the_same_model_with_another_horizon(
        self, tiny_run: Path, tmp_path: Path
    ) -> None:
        before = contents(tiny_run)
        bundle = export_checkpoint(tiny_run, tmp_path / "model", {"planner.horizon": 2})
        learned = load_bundle(tiny_run / "model")
        belief = float32([0.3, -0.8])
        actions = np.random.default_rng(0).uniform(-1, 1, (9, 4, 2)).astype(np.float32)
        np.testing.assert_allclose(
            bundle.model.imagine(belief, actions[:, :2]).rewards,
            learned.model.imagine(belief, actions).rewards[:, :2],
            rtol=1e-5,
        )
        assert bundle.manifest.horizon == 2
        assert bundle.manifest.environment_steps == 120
        assert bundle.manifest.evaluation.mean_return is None  # nobody has tried this horizon
        assert contents(tiny_run) == before

    def test_keeps_the_evaluation_where_nothing_else_is_asked_for(
        self, tiny_run: Path, tmp_path: Path
    ) -> None:
        bundle = export_checkpoint(tiny_run, tmp_path / "model", {})
        learned = load_bundle(tiny_run / "model").manifest
        assert bundle.manifest.evaluation.mean_return == learned.evaluation.mean_return
        assert bundle.manifest.evaluation.worst_return == learned.evaluation.worst_return

    @pytest.mark.parametrize("overrides", [{}, {"data.capacity_steps": 20}])
    def test_run_is_left_as_it_is_whoever_reads_it(
        self, tiny_run: Path, tmp_path: Path, overrides: dict[str, Any]
    ) -> None:
        before = everything(tiny_run)
        bundle = export_checkpoint(tiny_run, tmp_path / "model", overrides)
        draw(dream_of(tiny_run), tmp_path / "dreams")
        evaluate(load_bundle(tiny_run / "model"), Environment(POINT_MASS), episodes=1, seed=0)
        for command in ("export", "imagine", "evaluate", "info"):
            arguments = {
                "export": ["--run", str(tiny_run), "--output", str(tmp_path / "again")],
                "imagine": ["--run", str(tiny_run), "--output", str(tmp_path / "drawn")],
                "evaluate": [
                    *("--model", str(tiny_run / "model")),
                    *("--allow-python", "tiny_environments"),
                    *("--episodes", "1", "--gif", str(tmp_path / "one.gif")),
                ],
                "info": [str(tiny_run / "model")],
            }[command]
            settings = [f"--set={name}={value}" for name, value in overrides.items()]
            assert main([command, *arguments, *(settings if command == "export" else [])]) == 0
        assert bundle.manifest.episodes == 6
        assert everything(tiny_run) == before

    def test_folder_without_a_checkpoint_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="holds no checkpoint"):
            export_checkpoint(tmp_path, tmp_path / "model", {})

    def test_existing_output_is_refused(self, tiny_run: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="already exists"):
            export_checkpoint(tiny_run, tmp_path, {})


def test_metrics_skip_a_line_that_was_cut_short(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.metrics_file.write_text('{"kind": "fit", "loss": 1.0}\n{"kind": "fit", "lo')
    assert run.metrics() == [{"kind": "fit", "loss": 1.0}]
