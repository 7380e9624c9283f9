"""Predictions of stored episodes: which, how far, and how wrong they are."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from planet_ros.data import Episode, EpisodeStore
from planet_ros.data.store import save_episode
from planet_ros.errors import UserError
from planet_ros.models import WorldModel
from planet_ros.report import dreams
from planet_ros.report.dreams import dream_of
from planet_ros.training.export import open_checkpoint

FRAMES = 21  # of an episode of the point mass


def believed(model: WorldModel, episode: Episode, frame: int) -> torch.Tensor:
    with torch.no_grad():
        return list(model.filtered(episode))[frame]


def copy_with_episodes(run: Path, target: Path, *episodes: Episode) -> Path:
    """A run with other episodes in it, numbered from 0."""
    shutil.copytree(run, target)
    shutil.rmtree(target / "episodes")
    (target / "episodes").mkdir()
    for number, episode in enumerate(episodes):
        save_episode(episode, target / "episodes" / f"episode-{number:06d}.npz")
    return target


def shortened(episode: Episode, steps: int) -> Episode:
    return dataclasses.replace(
        episode,
        observation={name: seen[: steps + 1] for name, seen in episode.observation.items()},
        action=episode.action[:steps],
        reward=episode.reward[:steps],
        environment_steps=steps,
    )


def with_observation(episode: Episode, **parts: NDArray[Any]) -> Episode:
    """An episode with other values of some parts."""
    return dataclasses.replace(episode, observation={**episode.observation, **parts})


class TestDreamOf:
    def test_default_goes_to_the_end_of_the_newest_episode(self, tiny_run: Path) -> None:
        dreamt = dream_of(tiny_run)
        assert (dreamt.number, dreamt.context, dreamt.steps) == (5, 5, FRAMES - 5)

    def test_default_passes_over_what_is_too_short(self, tiny_run: Path, tmp_path: Path) -> None:
        whole = EpisodeStore(tiny_run / "episodes").episodes[0]
        lengths = (12, 20, 15, 3)
        episodes = [shortened(whole, steps) for steps in lengths]
        run = copy_with_episodes(tiny_run, tmp_path / "run", *episodes)
        # None has 50 steps to predict: the longest does then.
        assert dream_of(run).number == 1
        assert dream_of(run, steps=10).number == 2
        assert dream_of(run, steps=1, context=3).number == 3
        assert dream_of(run, number=0).steps == 12 - 5 + 1

    def test_a_long_episode_is_predicted_for_so_many_steps(
        self, tiny_run: Path, tmp_path: Path
    ) -> None:
        first = EpisodeStore(tiny_run / "episodes").episodes[0]
        long = Episode(
            observation={"observation": np.tile(first.observation["observation"][:1], (91, 1))},
            action=np.tile(first.action[:1], (90, 1)),
            reward=np.zeros(90),
            terminated=False,
            truncated=True,
        )
        run = copy_with_episodes(tiny_run, tmp_path / "run", long)
        assert dream_of(run).steps == dreams.LONGEST_PREDICTION == 50

    def test_model_sees_the_context_and_nothing_more(
        self, picture_run: Path, tmp_path: Path
    ) -> None:
        episode = EpisodeStore(picture_run / "episodes").episodes[-1]

        def dreamt(changed: int | None) -> NDArray[np.float32]:
            vector = episode.observation["observation"].copy()
            frames = episode.observation["camera"].copy()
            if changed is not None:
                vector[changed] += 1
                frames[changed] = 255 - frames[changed]
            other = with_observation(episode, observation=vector, camera=frames)
            run = copy_with_episodes(picture_run, tmp_path / str(changed), other)
            return dream_of(run, context=4).dream.observation["observation"].numpy()

        expected = dreamt(None)
        assert len(expected) == FRAMES - 4
        np.testing.assert_array_equal(dreamt(4), expected)
        assert np.abs(dreamt(3) - expected).max() > 1e-4

    def test_seed_decides_on_the_samples(self, picture_run: Path) -> None:
        def sampled(seed: int) -> NDArray[np.float32]:
            return dream_of(picture_run, samples=4, seed=seed).dream.sampled_reward.numpy()

        assert sampled(1).shape == (4, FRAMES - 5)
        np.testing.assert_array_equal(sampled(1), sampled(1))
        assert np.abs(sampled(1) - sampled(2)).max() > 0

    def test_errors_are_root_mean_squares_over_the_places_that_reach_so_far(
        self, picture_run: Path
    ) -> None:
        """An episode of 20 steps seen up to frame 16: predictions from 17 to 20 places."""
        dreamt = dream_of(picture_run, number=0, context=17, steps=3)
        frames = dreamt.episode.observation["camera"].astype(int)
        assert np.abs(np.diff(frames[16:], axis=0)).max(axis=(1, 2, 3)).min() > 10  # it moves
        assert [errors["steps"] for errors in dreamt.errors] == [1, 3]
        assert [errors["starts"] for errors in dreamt.errors] == [4, 2]
        model = open_checkpoint(picture_run, {}).model
        episode = dreamt.episode
        squares: dict[str, list[float]] = {"reward": [], "observation": [], "images/camera": []}
        for start in (16, 17):
            actions = torch.from_numpy(episode.action[start : start + 3])
            with torch.no_grad():
                dream = model.dream(believed(model, episode, start), actions, 0)
            predicted = {name: values[2].numpy() for name, values in dream.observation.items()}
            truth = {name: values[start + 3] for name, values in episode.observation.items()}
            for name, error in (
                ("reward", dream.reward[2] - episode.reward[start + 2]),
                ("observation", predicted["observation"] - truth["observation"]),
                ("images/camera", predicted["camera"].astype(float) - truth["camera"]),
            ):
                squares[name].append(float(np.square(np.asarray(error, float)).mean()))
        for name, values in squares.items():
            assert dreamt.errors[1][name] == pytest.approx(np.sqrt(np.mean(values)), rel=1e-5)

    def test_leaves_the_run_as_it_is(self, tiny_run: Path) -> None:
        def contents() -> dict[Path, bytes]:
            return {file: file.read_bytes() for file in tiny_run.rglob("*") if file.is_file()}

        before = contents()
        dream_of(tiny_run)
        assert contents() == before

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            ({"number": 6}, r"episode 6: not in .*episodes, which holds 0 to 5"),
            ({"context": 21}, r"episode 5, the longest, has 21 frames, expected at least 22"),
            ({"number": 2, "context": 40}, r"episode 2 has 21 frames, expected at least 41: 40 of"),
            ({"steps": 17}, r"has 21 frames, expected at least 22: 5 of context and 17 to predict"),
        ],
    )
    def test_what_cannot_be_is_refused(
        self, tiny_run: Path, arguments: dict[str, Any], reason: str
    ) -> None:
        with pytest.raises(UserError, match=reason):
            dream_of(tiny_run, **arguments)

    def test_the_last_frame_can_be_predicted(self, tiny_run: Path) -> None:
        assert dream_of(tiny_run, context=20).steps == 1
        assert dream_of(tiny_run, steps=16).steps == 16

    def test_folder_without_a_checkpoint_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="holds no checkpoint"):
            dream_of(tmp_path)

    def test_run_without_episodes_is_refused(self, tiny_run: Path, tmp_path: Path) -> None:
        run = copy_with_episodes(tiny_run, tmp_path / "run")
        with pytest.raises(UserError, match="holds no episodes"):
            dream_of(run)
