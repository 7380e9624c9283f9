"""Learning from episodes that are there already."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bags import INTERFACE, MAKE, drive, sled, write_bag, write_interface

from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import Settings
from planet_ros.data import Episode, EpisodeStore
from planet_ros.data.store import save_episode
from planet_ros.errors import UserError
from planet_ros.interface.files import load_interface
from planet_ros.training.checkpoint import read_checkpoint
from planet_ros.training.commit import Journal
from planet_ros.training.coverage import cautious_penalty, planned_novelty
from planet_ros.training.experience import read_experience, split
from planet_ros.training.export import export_checkpoint, open_checkpoint
from planet_ros.training.held_out import HeldOut
from planet_ros.training.learner import make_model
from planet_ros.training.offline import train_offline
from planet_ros.training.run import RunFolder

MakeSettings = Callable[..., Settings]

FEW: dict[str, Any] = {
    "training.updates": 10,
    "training.learning_rate": 0.01,
    "offline.rounds": 6,
    "offline.patience": 3,
}
RECURRENT: dict[str, Any] = {
    "world_model.kind": "rssm",
    "rssm.deterministic_size": 8,
    "rssm.stochastic_size": 3,
    "rssm.hidden_size": 8,
    "training.sequence_length": 6,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `planet-ros import` writes it."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for number in range(12):
        save_episode(sled(rng), folder / f"episode-{number:06d}.npz")
    write_interface(folder / "interface.yaml")
    return folder


@pytest.fixture
def learn(data: Path, tmp_path: Path, tiny_settings: MakeSettings) -> Callable[..., RunFolder]:
    def learn(folders: list[Path] | None = None, name: str = "run", **overrides: Any) -> RunFolder:
        values = {**FEW, **{key.replace("__", "."): value for key, value in overrides.items()}}
        settings = tiny_settings(tmp_path / name, values)
        return train_offline(settings, lambda: read_experience(folders or [data], settings, MAKE))

    return learn


def held_out_errors(run: RunFolder) -> list[float]:
    return [one["held_out_error"] for one in run.metrics() if one["kind"] == "fit"]


@pytest.mark.parametrize("kind", [{}, RECURRENT], ids=["ensemble", "rssm"])
def test_best_model_on_held_out_episodes_is_what_is_exported(
    learn: Callable[..., RunFolder], data: Path, tiny_settings: MakeSettings, kind: dict[str, Any]
) -> None:
    run = learn(**kind)
    errors = held_out_errors(run)
    assert 1 < len(errors) <= 6 and min(errors) < errors[0]
    bundle = load_bundle(run.bundle)
    assert bundle.manifest.interface == load_interface(data / "interface.yaml")
    assert bundle.manifest.environment is None
    assert (bundle.manifest.episodes, bundle.manifest.environment_steps) == (11, 11 * 40)
    assert len(EpisodeStore(run.held_out).episodes) == 1
    best, last = read_checkpoint(run.best), read_checkpoint(run.checkpoint)
    assert last.state.fits == best.state.fits == 1 + errors.index(min(errors))
    for name, values in best.tensors.items():
        np.testing.assert_array_equal(values, last.tensors[name])
    settings = tiny_settings(run.path, kind)
    model = make_model(settings, bundle.manifest.signature, _task(run, bundle.manifest.signature))
    weights = {
        name.removeprefix("average/module."): torch.from_numpy(values)
        for name, values in best.tensors.items()
        if name.startswith("average/module.")
    }
    model.load_state_dict(weights)
    learned = EpisodeStore(run.episodes).episodes
    judge = HeldOut(EpisodeStore(run.held_out).episodes, learned, settings.planner.horizon)
    assert judge.error(model) == pytest.approx(min(errors), rel=1e-6)


def _task(run: RunFolder, signature: Any) -> Any:
    from planet_ros.training.tasks import task_of

    return task_of(load_interface(run.interface_file), signature, MAKE)


def test_rewards_are_those_of_the_interface(learn: Callable[..., RunFolder]) -> None:
    run = learn(offline__rounds=1)
    for episode in EpisodeStore(run.episodes).episodes:
        position = episode.observation["joint"][:-1, 0]
        np.testing.assert_allclose(episode.reward, -np.square(position), rtol=1e-5)


def test_penalty_is_chosen_for_the_bundle_by_held_out_episodes(
    learn: Callable[..., RunFolder],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("planet_ros.training.coverage.TRIFLE", 0.0)
    run = learn(world_model__members=2)
    held = EpisodeStore(run.held_out).episodes
    best = open_checkpoint(run.path, {}, MAKE)
    horizon = best.settings.planner.horizon
    chosen = cautious_penalty(best.model, held, horizon)
    manifest = load_bundle(run.bundle).manifest
    assert chosen and manifest.planner.disagreement_penalty == pytest.approx(chosen, rel=1e-4)
    assert best.settings.planner.disagreement_penalty == 0
    novelty = planned_novelty(load_bundle(run.bundle), held)
    assert f"plans from held-out states: novelty {novelty:.2f}" in capsys.readouterr().err
    again = export_checkpoint(run.path, tmp_path / "again", {}, MAKE).manifest
    assert again.planner == manifest.planner
    assert again.data_disagreement == manifest.data_disagreement
    other = {"planner.disagreement_penalty": 0.5}
    exported = export_checkpoint(run.path, tmp_path / "other", other, MAKE).manifest
    assert exported.planner.disagreement_penalty == 0.5


def test_penalty_that_is_set_or_not_wanted_is_left_alone(learn: Callable[..., RunFolder]) -> None:
    few = {"world_model__members": 2, "offline__rounds": 1}
    given = learn(name="given", planner__disagreement_penalty=0.25, **few)
    assert load_bundle(given.bundle).manifest.planner.disagreement_penalty == 0.25
    none = learn(name="none", offline__choose_penalty=False, **few)
    assert load_bundle(none.bundle).manifest.planner.disagreement_penalty == 0


def test_it_stops_when_nothing_gets_better(learn: Callable[..., RunFolder]) -> None:
    run = learn(training__learning_rate=1e-12, offline__rounds=50, offline__patience=2)
    errors = held_out_errors(run)
    best = errors.index(min(errors))
    assert len(errors) == best + 3 < 50


def test_resumed_run_is_the_uninterrupted_one(
    learn: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = learn(name="whole", **RECURRENT)
    real, fits = HeldOut.error, 0

    def interrupted(self: HeldOut, model: Any) -> float:
        nonlocal fits
        fits += 1
        if fits == 3:
            raise KeyboardInterrupt
        return real(self, model)

    with monkeypatch.context() as patch:
        patch.setattr(HeldOut, "error", interrupted)
        with pytest.raises(KeyboardInterrupt, match="stopped after 2 fits; all is saved"):
            learn(name="cut", **RECURRENT)
    cut = learn(name="cut", training__resume=True, **RECURRENT)
    assert held_out_errors(cut) == held_out_errors(whole)
    one, other = read_checkpoint(whole.checkpoint), read_checkpoint(cut.checkpoint)
    for name, values in one.tensors.items():
        np.testing.assert_array_equal(values, other.tensors[name])
    again = learn(name="cut", training__resume=True, **RECURRENT)  # there is nothing left to do
    assert held_out_errors(again) == held_out_errors(whole)


def test_run_that_is_killed_before_its_first_commit_takes_all_data_again(
    data: Path, tmp_path: Path, prints: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [part for name, value in FEW.items() for part in ("--set", f"{name}={value}")]
    begin = ["train", "--data", data, *few, "--set", "planner.horizon=4", "--output"]
    prints(*begin, tmp_path / "whole")

    class Killed(BaseException):
        pass

    commits = iter(range(2))
    real = Journal._append_metrics

    def killed(journal: Journal) -> int:
        if next(commits) == 1:
            raise Killed
        return real(journal)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_append_metrics", killed)  # episodes are there, and nothing else
        with pytest.raises(Killed):
            prints(*begin, tmp_path / "cut")
    assert [*(tmp_path / "cut" / "episodes").glob("episode-*.npz")]
    prints("train", "--resume", "--output", tmp_path / "cut")
    assert held_out_errors(RunFolder(tmp_path / "cut")) == held_out_errors(
        RunFolder(tmp_path / "whole")
    )


@pytest.mark.slow
def test_run_that_is_killed_at_random_goes_on_as_if_it_had_not_been(
    data: Path, root: Path, tmp_path: Path
) -> None:
    settings = {
        **FEW,
        **RECURRENT,
        "planner.horizon": 4,
        "training.batch_size": 16,
        "world_model.predict_continue": False,
    }
    command = [sys.executable, "-m", "planet_ros.cli.main", "train", "--data", str(data)]
    for name, value in settings.items():
        command += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]

    def start(name: str, *more: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*command, "--output", str(tmp_path / name), *more],
            cwd=root,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.DEVNULL,
        )

    assert start("whole").wait() == 0
    rng, kills = np.random.default_rng(0), 0
    for number in range(60):
        begun = (tmp_path / "cut" / "settings.yaml").exists()
        process = start("cut", *(["--resume"] if begun else []))
        if number < 6:
            metrics = tmp_path / "cut" / "metrics.jsonl"
            before = metrics.stat().st_size if metrics.exists() else 0
            until_s = time.monotonic() + 60
            # As soon as something was written, and a little more.
            while process.poll() is None and time.monotonic() < until_s:
                if metrics.exists() and metrics.stat().st_size > before:
                    break
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.05))
            kills += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait()
            continue
        assert process.wait() == 0
        break
    assert kills >= 3
    one = read_checkpoint(tmp_path / "whole" / "checkpoint")
    other = read_checkpoint(tmp_path / "cut" / "checkpoint")
    for name, values in one.tensors.items():
        np.testing.assert_array_equal(values, other.tensors[name])


class TestExperience:
    def test_of_a_run_needs_no_interface(
        self, tiny_run: Path, learn: Callable[..., RunFolder]
    ) -> None:
        run = learn([tiny_run])
        manifest = load_bundle(run.bundle).manifest
        assert manifest.interface is None and manifest.environment is not None
        assert manifest.environment.id == "PlanetRosTest/PointMass-v0"

    def test_goes_on_in_the_environment(
        self, tiny_run: Path, tmp_path: Path, prints: Callable[..., str]
    ) -> None:
        few = [f"{name}={value}" for name, value in FEW.items()]
        sets = [part for text in few for part in ("--set", text)]
        run = RunFolder(tmp_path / "run")
        settings = ["--config", tiny_run / "settings.yaml", "--output", run.path, *sets]
        prints("train", "--data", tiny_run, "--steps", 160, *settings)
        episodes = [one for one in run.metrics() if one["kind"] == "episode"]
        assert [one.get("imported", False) for one in episodes] == [True] * 5 + [False] * 3
        assert not any(one["random"] for one in episodes)
        assert load_bundle(run.bundle).manifest.environment_steps == 160
        prints("train", "--resume", "--output", run.path)
        assert load_bundle(run.bundle).manifest.environment_steps == 160  # nothing is undone
        prints("train", "--resume", "--output", run.path, "--steps", 200)
        assert load_bundle(run.bundle).manifest.environment_steps == 200
        kept = [one for one in run.metrics() if one["kind"] == "episode"]
        assert kept[: len(episodes)] == episodes

    def test_is_split_by_whole_episodes_and_always_alike(self) -> None:
        rng = np.random.default_rng(0)
        episodes = [sled(rng, steps=5 + number) for number in range(10)]
        learned, held = split(episodes, 0.3, seed=1)
        assert (len(learned), len(held)) == (7, 3)
        lengths = [len(one) for one in held]
        assert [len(one) for one in split(episodes, 0.3, seed=1)[1]] == lengths
        assert [len(one) for one in split(episodes, 0.3, seed=2)[1]] != lengths
        assert len(split(episodes[:2], 0.99, seed=0)[0]) == 1

    def test_too_few_to_hold_any_out(self) -> None:
        with pytest.raises(UserError, match="found 1 episodes, expected at least 2"):
            split([sled(np.random.default_rng(0), steps=99)], 0.1, seed=0)

    def test_few_long_ones_are_cut_so_that_no_more_than_the_share_is_held_out(self) -> None:
        rng = np.random.default_rng(0)
        learned, held = split([sled(rng, steps=3000), sled(rng, steps=1500)], 0.1, seed=0)
        assert (len(learned), len(held)) == (27, 3)
        assert sum(map(len, [*learned, *held])) == 4500
        assert {len(one) for one in held} <= {200, 100}
        learned, held = split([sled(rng, steps=120)], 0.1, seed=0)  # no shorter than 50 steps
        assert (len(learned), len(held)) == (1, 1)

    def test_of_nothing_known_is_refused(
        self, data: Path, tmp_path: Path, tiny_settings: MakeSettings
    ) -> None:
        folder = tmp_path / "plain"
        folder.mkdir()
        settings = tiny_settings(tmp_path / "run", {})
        with pytest.raises(UserError, match="nothing says what the episodes are of"):
            read_experience([folder], settings, MAKE)
        write_interface(folder / "interface.yaml")
        with pytest.raises(UserError, match="no episodes that can be read"):
            read_experience([folder], settings, MAKE)
        write_interface(folder / "interface.yaml", period_s=0.1)
        with pytest.raises(UserError, match=r"different interface\.yaml"):
            read_experience([data, folder], settings, MAKE)

    def test_of_another_robot_is_refused(
        self, data: Path, tmp_path: Path, tiny_settings: MakeSettings
    ) -> None:
        part = {**INTERFACE["observation"][0], "fields": ["position[hinge]"]}
        path = write_interface(tmp_path / "other.yaml", observation=[part])
        settings = tiny_settings(tmp_path / "run", {"interface": str(path)})
        with pytest.raises(UserError, match=r"found 'joint'.*expected 'joint' of float32"):
            read_experience([data], settings, MAKE)

    @pytest.mark.parametrize("steps", [100, 400, 479])
    def test_more_than_the_store_holds_is_refused(
        self, learn: Callable[..., RunFolder], steps: int
    ) -> None:
        with pytest.raises(UserError, match=r"data\.capacity_steps"):
            learn(data__capacity_steps=steps)


def test_error_of_who_knows_nothing_but_the_mean_is_about_one(
    data: Path, tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    settings = tiny_settings(tmp_path / "run", {})
    found = read_experience([data], settings, MAKE)
    mean = np.mean([one.observation["joint"].mean(axis=0) for one in found.episodes], axis=0)
    model = make_model(settings, found.signature, found.task)

    class Mean:
        task = found.task

        def goals(self, episode: Episode) -> None:
            return None

        def filtered(self, episode: Episode) -> Any:
            return model.filtered(episode)

        def dream(self, belief: Any, actions: torch.Tensor, samples: int, goal: Any) -> Any:
            dreamt = model.dream(belief, actions, samples, goal)
            rows = torch.from_numpy(np.tile(mean, (len(actions), 1)))
            return type(dreamt)({"joint": rows}, dreamt.reward, {}, dreamt.sampled_reward)

    judge = HeldOut(found.episodes, found.episodes, 8)
    assert judge.error(Mean()) == pytest.approx(1, abs=0.1)  # type: ignore[arg-type]


def test_from_a_bag_to_a_bundle_as_a_person_does_it(
    tmp_path: Path, prints: Callable[..., str], fails: Callable[..., str]
) -> None:
    bag = write_bag(tmp_path / "bag", drive(300))
    own = write_interface(tmp_path / "own.yaml", end={"after_steps": 30})
    prints("import", bag, "--interface", own, "--output", tmp_path / "data")
    few = ["--set", "training.updates=5", "--set", "offline.rounds=2", "--set", "planner.horizon=4"]
    arguments = ["train", "--data", tmp_path / "data", "--output", tmp_path / "run", *few]
    prints(*arguments)
    assert load_bundle(tmp_path / "run" / "model").manifest.interface is not None
    assert (tmp_path / "run" / "learning_curves.png").exists()
    assert "already holds a run" in fails(*arguments)
    (tmp_path / "data").rename(tmp_path / "moved")  # the run has all that it needs
    prints("train", "--resume", "--output", tmp_path / "run")
    assert "nothing says what the episodes are of" in fails(
        "train", "--data", tmp_path / "none", "--output", tmp_path / "x"
    )
