"""Steps, episodes, their files, and the sequences drawn from them."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chisquare

from planet_ros.data import (
    Episode,
    EpisodeBuilder,
    EpisodeStore,
    SequenceSampler,
    Step,
    load_episode,
    save_episode,
)
from planet_ros.errors import UserError


def numbered(
    number: int, length: int, *, terminated: bool = False, camera: bool = False
) -> Episode:
    """An episode whose every value tells the episode and the step it belongs to."""
    steps = np.arange(length + 1, dtype=np.float32)
    frames = np.zeros((length + 1, 2, 3, 1), np.uint8)
    frames[:, 0], frames[:, 1] = steps[:, None, None], number
    return Episode(
        observation=np.stack([np.full(length + 1, number), steps], axis=1).astype(np.float32),
        action=(steps[:-1, None] + 0.25).astype(np.float32),
        reward=number + steps[:-1].astype(np.float64) / 1024,
        terminated=terminated,
        truncated=not terminated,
        images={"camera": frames} if camera else {},
    )


def step(index: int, *, terminated: bool = False, truncated: bool = False) -> Step:
    return Step(
        index=index,
        observation=np.full(2, index, dtype=np.float32),
        action=np.full(1, index - 0.5, dtype=np.float32),
        reward=10.0 * index,
        terminated=terminated,
        truncated=truncated,
    )


def built(steps: Sequence[Step]) -> tuple[list[Episode], EpisodeBuilder]:
    builder = EpisodeBuilder()
    episodes = [episode for item in steps if (episode := builder.add(item)) is not None]
    return episodes, builder


def assert_same(one: Episode, other: Episode) -> None:
    for name in ("observation", "action", "reward"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype
    assert (one.terminated, one.truncated) == (other.terminated, other.truncated)
    assert set(one.images) == set(other.images)
    for name, frames in one.images.items():
        np.testing.assert_array_equal(frames, other.images[name])
        assert frames.dtype == np.uint8


class TestEpisode:
    @pytest.mark.parametrize(("observations", "actions"), [(3, 3), (5, 3), (4, 2), (4, 4)])
    def test_lengths_that_do_not_fit_are_refused(self, observations: int, actions: int) -> None:
        with pytest.raises(ValueError, match="3 rewards has 4 observations and 3 actions"):
            Episode(
                np.zeros((observations, 2), np.float32),
                np.zeros((actions, 1), np.float32),
                np.zeros(3),
                False,
                True,
            )

    @pytest.mark.parametrize("name", ["observation", "action", "reward"])
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_value_that_is_not_finite_is_refused_by_name(self, name: str, value: float) -> None:
        arrays = {
            "observation": np.zeros((4, 2), np.float32),
            "action": np.zeros((3, 1), np.float32),
            "reward": np.zeros(3),
        }
        arrays[name][-1] = value
        with pytest.raises(ValueError, match=f"{name}: found a value that is not finite"):
            Episode(**arrays, terminated=False, truncated=False)

    @pytest.mark.parametrize(
        "frames",
        [
            np.zeros((3, 2, 3, 1), np.uint8),
            np.zeros((4, 2, 3), np.uint8),
            np.zeros((4, 2, 3, 1), np.float32),
        ],
    )
    def test_images_that_do_not_fit_are_refused_by_name(self, frames: NDArray[Any]) -> None:
        with pytest.raises(ValueError, match=r"camera: found .* expected uint8"):
            dataclasses.replace(numbered(0, 3), images={"camera": frames})

    def test_return_is_the_plain_sum_of_rewards(self) -> None:
        assert numbered(2, 4).total_reward == 8 + 6 / 1024
        assert len(numbered(2, 4)) == 4


class TestBuilder:
    @pytest.mark.parametrize("end", ["terminated", "truncated"])
    def test_steps_up_to_the_end_make_one_episode(self, end: str) -> None:
        episodes, builder = built([step(0), step(1), step(2, **{end: True})])
        assert len(episodes) == 1
        episode = episodes[0]
        np.testing.assert_array_equal(episode.observation, [[0, 0], [1, 1], [2, 2]])
        np.testing.assert_array_equal(episode.action, [[0.5], [1.5]])  # the reset's is left out
        np.testing.assert_array_equal(episode.reward, [10, 20])
        assert episode.terminated == (end == "terminated")
        assert episode.truncated == (end == "truncated")
        assert episode.observation.dtype == episode.action.dtype == np.float32
        assert episode.reward.dtype == np.float64
        assert len(builder) == 0
        assert builder.missing_steps == 0

    def test_lost_steps_cut_the_episode_and_are_counted(self) -> None:
        episodes, builder = built([step(0), step(1), step(5), step(6), step(7, terminated=True)])
        first, second = episodes
        np.testing.assert_array_equal(first.observation[:, 0], [0, 1])
        assert not first.terminated
        assert not first.truncated
        np.testing.assert_array_equal(second.observation[:, 0], [5, 6, 7])
        np.testing.assert_array_equal(second.reward, [60, 70])
        assert second.terminated
        assert builder.missing_steps == 3

    def test_reset_in_between_cuts_the_episode_without_a_loss(self) -> None:
        episodes, builder = built([step(0), step(1), step(2), step(0), step(1, truncated=True)])
        assert [len(episode) for episode in episodes] == [2, 1]
        assert not episodes[0].terminated
        assert not episodes[0].truncated
        assert builder.missing_steps == 0

    def test_last_step_after_a_loss_still_ends_what_came_before(self) -> None:
        episodes, builder = built([step(0), step(1), step(4, terminated=True), step(0), step(1)])
        assert [len(episode) for episode in episodes] == [1]
        assert not episodes[0].terminated
        assert len(builder) == 1

    def test_lone_steps_make_no_episode(self) -> None:
        episodes, builder = built([step(0), step(0), step(4), step(0, terminated=True), step(0)])
        assert episodes == []
        assert builder.take() is None

    def test_recording_that_stops_in_the_middle_is_neither_terminated_nor_truncated(self) -> None:
        _, builder = built([step(0), step(1), step(2)])
        episode = builder.take()
        assert episode is not None
        assert len(episode) == 2
        assert not episode.terminated
        assert not episode.truncated
        assert len(builder) == 0

    def test_snapshot_leaves_the_episode_under_way(self) -> None:
        _, builder = built([step(0), step(1)])
        snapshot = builder.snapshot()
        episode = builder.add(step(2, terminated=True))
        assert snapshot is not None
        assert episode is not None
        assert (len(snapshot), len(episode)) == (1, 2)

    @given(
        lengths=st.lists(st.integers(1, 6), min_size=1, max_size=6),
        lost=st.sets(st.integers(0, 40)),
    )
    @hypothesis_settings(max_examples=100, deadline=None)
    def test_no_loss_ever_joins_steps_that_did_not_follow_one_another(
        self, lengths: list[int], lost: set[int]
    ) -> None:
        steps = [
            Step(
                index=index,
                observation=np.array([number, index], dtype=np.float32),
                action=np.array([index], dtype=np.float32),
                reward=float(index),
                truncated=index == length,
            )
            for number, length in enumerate(lengths)
            for index in range(length + 1)
        ]
        # The resets arrive: without one, step 3 of an episode can pass for that of the one before.
        kept = [item for at, item in enumerate(steps) if at not in lost or item.index == 0]
        episodes, builder = built(kept)
        last = builder.take()
        for episode in [*episodes, *([last] if last else [])]:
            assert len(set(episode.observation[:, 0])) == 1
            np.testing.assert_array_equal(np.diff(episode.observation[:, 1]), 1)
            np.testing.assert_array_equal(episode.action[:, 0], episode.observation[1:, 1])


class TestStore:
    def test_episode_is_readable_with_plain_numpy(self, tmp_path: Path) -> None:
        save_episode(numbered(7, 3, terminated=True), tmp_path / "e.npz")
        with np.load(tmp_path / "e.npz", allow_pickle=False) as file:
            assert {name: (file[name].shape, str(file[name].dtype)) for name in file.files} == {
                "observation": ((4, 2), "float32"),
                "action": ((3, 1), "float32"),
                "reward": ((3,), "float64"),
                "terminated": ((), "bool"),
                "truncated": ((), "bool"),
                "version": ((), "int64"),
                "environment_steps": ((), "int64"),
            }
            np.testing.assert_array_equal(file["observation"][:, 0], 7)
            assert bool(file["terminated"])
            assert int(file["version"]) == 1

    def test_saved_episode_is_loaded_unchanged(self, tmp_path: Path) -> None:
        for terminated in (False, True):
            episode = numbered(7, 3, terminated=terminated, camera=terminated)
            save_episode(episode, tmp_path / "e.npz")
            assert_same(load_episode(tmp_path / "e.npz"), episode)

    def test_images_are_arrays_of_their_own(self, tmp_path: Path) -> None:
        save_episode(numbered(7, 3, camera=True), tmp_path / "e.npz")
        with np.load(tmp_path / "e.npz", allow_pickle=False) as file:
            assert file["images/camera"].shape == (4, 2, 3, 1)
            assert file["images/camera"].dtype == np.uint8

    def test_episode_without_the_images_of_the_others_is_refused(self, tmp_path: Path) -> None:
        store = EpisodeStore(tmp_path)
        store.add(numbered(0, 3, camera=True))
        expected = r"found the images \{\}, expected \{'camera': \(2, 3, 1\)\}"
        with pytest.raises(UserError, match=expected):
            store.add(numbered(1, 3))
        assert len(list(tmp_path.iterdir())) == 1

    def test_oldest_episodes_go_when_the_memory_is_full(self, tmp_path: Path) -> None:
        size = numbered(0, 3, camera=True).nbytes
        assert size == 4 * 2 * 4 + 3 * 4 + 3 * 8 + 4 * 2 * 3
        store = EpisodeStore(tmp_path, capacity_bytes=2 * size + 1)
        for number in range(4):
            store.add(numbered(number, 3, camera=True))
        assert [episode.observation[0, 0] for episode in store.episodes] == [2, 3]
        assert store.nbytes == 2 * size
        assert len(list(tmp_path.iterdir())) == 2

    def test_reopened_store_holds_the_same_episodes_and_goes_on_numbering(
        self, tmp_path: Path
    ) -> None:
        store = EpisodeStore(tmp_path)
        store.add(numbered(0, 3))
        store.add(numbered(1, 4, terminated=True))
        again = EpisodeStore(tmp_path)
        for one, other in zip(again.episodes, store.episodes, strict=True):
            assert_same(one, other)
        again.add(numbered(2, 5))
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "episode-000000.npz",
            "episode-000001.npz",
            "episode-000002.npz",
        ]
        assert again.steps == 12

    def test_file_cut_short_is_skipped_with_a_warning_and_the_rest_used(
        self, tmp_path: Path
    ) -> None:
        store = EpisodeStore(tmp_path)
        for number in range(3):
            store.add(numbered(number, 5))
        damaged = tmp_path / "episode-000001.npz"
        content = damaged.read_bytes()
        damaged.write_bytes(content[: len(content) // 2])
        with pytest.warns(UserWarning, match=r"skipped .*episode-000001\.npz: not a whole"):
            again = EpisodeStore(tmp_path)
        assert [episode.observation[0, 0] for episode in again.episodes] == [0, 2]
        again.add(numbered(3, 5))
        assert damaged.read_bytes() == content[: len(content) // 2]
        assert load_episode(tmp_path / "episode-000003.npz").observation[0, 0] == 3

    def test_no_damage_to_a_file_is_taken_for_an_episode_or_stops_the_store(
        self, tmp_path: Path
    ) -> None:
        whole = tmp_path / "whole.npz"
        save_episode(numbered(3, 6), whole)
        content = whole.read_bytes()
        damaged = tmp_path / "damaged.npz"
        cuts = [content[:length] for length in range(0, len(content), 17)]
        flips = [
            content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :]
            for at in range(0, len(content), 7)
        ]
        for version in [*cuts, *flips]:
            damaged.write_bytes(version)
            try:
                episode = load_episode(damaged)
            except UserError as error:
                assert str(error).startswith(str(damaged))
            else:  # the byte was one that nothing depends on, such as a date in the archive
                assert_same(episode, load_episode(whole))

    @pytest.mark.parametrize(
        ("arrays", "reason"),
        [
            ({"observation": np.zeros((2, 1))}, r"no array \['action'"),
            ({"version": np.int64(2)}, "version 2, expected 1"),
            ({"reward": np.zeros(9)}, "9 rewards has 10 observations"),
            ({"reward": np.full(3, np.nan)}, "reward: found a value that is not finite"),
            ({"reward": np.array([None] * 3)}, "not a whole episode"),  # would need pickle
        ],
    )
    def test_file_of_another_format_is_refused_with_the_reason(
        self, tmp_path: Path, arrays: dict[str, np.ndarray], reason: str
    ) -> None:
        path = tmp_path / "e.npz"
        save_episode(numbered(0, 3), path)
        if "observation" not in arrays:
            with np.load(path) as file:
                arrays = {**{name: file[name] for name in file.files}, **arrays}
        np.savez(path, **arrays)
        with pytest.raises(UserError, match=reason):
            load_episode(path)

    @pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY"])
    def test_file_that_is_no_archive_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "e.npz").write_bytes(content)
        with pytest.raises(UserError, match="not a whole episode"):
            load_episode(tmp_path / "e.npz")

    def test_plain_array_under_the_name_of_an_episode_is_refused(self, tmp_path: Path) -> None:
        with (tmp_path / "e.npz").open("wb") as file:
            np.save(file, np.zeros(3))
        with pytest.raises(UserError, match="not a whole episode"):
            load_episode(tmp_path / "e.npz")

    def test_file_with_a_name_of_the_users_own_is_left_alone(self, tmp_path: Path) -> None:
        EpisodeStore(tmp_path).add(numbered(0, 3))
        shutil.copy(tmp_path / "episode-000000.npz", tmp_path / "episode-copy.npz")
        assert len(EpisodeStore(tmp_path).episodes) == 1
        assert (tmp_path / "episode-copy.npz").exists()

    def test_capacity_deletes_the_oldest_episodes_on_disk_too(self, tmp_path: Path) -> None:
        store = EpisodeStore(tmp_path, capacity_steps=10)
        for number in range(4):
            store.add(numbered(number, 4))
        assert [episode.observation[0, 0] for episode in store.episodes] == [2, 3]
        assert store.steps == 8
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "episode-000002.npz",
            "episode-000003.npz",
        ]
        store.add(numbered(4, 4))
        assert (tmp_path / "episode-000004.npz").exists()

    def test_episode_longer_than_the_capacity_is_still_kept(self, tmp_path: Path) -> None:
        store = EpisodeStore(tmp_path, capacity_steps=3)
        store.add(numbered(0, 3))
        store.add(numbered(1, 8))
        assert [episode.observation[0, 0] for episode in store.episodes] == [1]

    def test_episode_of_another_shape_is_refused_and_not_written(self, tmp_path: Path) -> None:
        store = EpisodeStore(tmp_path)
        store.add(numbered(0, 3))
        other = Episode(
            np.zeros((3, 5), np.float32), np.zeros((2, 1), np.float32), np.zeros(2), False, True
        )
        with pytest.raises(UserError, match=r"observation of shape \(5,\), expected \(2,\)"):
            store.add(other)
        assert len(store.episodes) == len(list(tmp_path.iterdir())) == 1


class TestSampler:
    @given(
        lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
        length=st.integers(1, 6),
        seed=st.integers(0, 1000),
    )
    @hypothesis_settings(max_examples=80, deadline=None)
    def test_sequence_never_crosses_the_end_of_an_episode(
        self, lengths: list[int], length: int, seed: int
    ) -> None:
        episodes = [
            numbered(number, steps, terminated=bool(number % 2), camera=True)
            for number, steps in enumerate(lengths)
        ]
        if max(lengths) < length:
            with pytest.raises(UserError):
                SequenceSampler(episodes, length)
            return
        sampler = SequenceSampler(episodes, length)
        batch = sampler.sample((3, 20), np.random.default_rng(seed))
        assert batch.observation.shape == (3, 20, length + 1, 2)
        assert batch.action.shape == (3, 20, length, 1)
        assert batch.reward.shape == batch.continues.shape == (3, 20, length)
        number, at = batch.observation[..., 0], batch.observation[..., 1]
        np.testing.assert_array_equal(number, np.broadcast_to(number[..., :1], number.shape))
        # The end of a short episode stays to be seen, but no step is scored there.
        np.testing.assert_array_equal(np.diff(at, axis=-1), batch.mask)
        # Actions and rewards belong to the observation before them.
        there = batch.mask.astype(bool)
        np.testing.assert_array_equal(batch.action[there, 0], (at[..., :-1] + 0.25)[there])
        reward = number[..., :-1] + at[..., :-1] / 1024
        np.testing.assert_array_equal(batch.reward[there], reward[there])
        assert not batch.action[~there].any()
        assert not batch.reward[~there].any()
        ends = there & (np.array(lengths)[number[..., 1:].astype(int)] == at[..., 1:])
        terminal = ends & (number[..., 1:] % 2 == 1)
        np.testing.assert_array_equal(batch.continues, np.where(terminal, 0, 1))
        frames = batch.images["camera"]
        assert frames.dtype == np.uint8
        np.testing.assert_array_equal(frames[..., 0, 0, 0], at)
        np.testing.assert_array_equal(frames[..., 1, 2, 0], number)

    def test_every_valid_start_is_numbered_once(self) -> None:
        episodes = [numbered(number, steps) for number, steps in enumerate([5, 1, 3, 2, 7])]
        sampler = SequenceSampler(episodes, 3)
        batch = sampler.at(np.arange(sampler.starts))
        found = [tuple(row) for row in batch.observation[:, 0].astype(int)]
        # Episodes 1 and 3 are shorter than a sequence: each has one start.
        whole = [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (3, 0)]
        assert found == [*whole, *((4, start) for start in range(5))]

    def test_starts_are_drawn_uniformly_over_all_episodes(self) -> None:
        lengths = [4, 9, 2, 15]
        episodes = [numbered(number, steps) for number, steps in enumerate(lengths)]
        sampler = SequenceSampler(episodes, 3)
        first = sampler.sample((20_000,), np.random.default_rng(0)).observation[:, 0]
        _, counts = np.unique(first, axis=0, return_counts=True)
        assert len(counts) == sampler.starts == 2 + 7 + 1 + 13
        assert chisquare(counts).pvalue > 1e-3

    def test_same_generator_draws_the_same_sequences(self) -> None:
        sampler = SequenceSampler([numbered(0, 30)], 2)
        one, same, other = (
            sampler.sample((50,), np.random.default_rng(seed)).observation for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(one, same)
        assert (one != other).any()

    def test_sequence_longer_than_every_episode_is_an_error_that_names_both(self) -> None:
        with pytest.raises(UserError) as caught:
            SequenceSampler([numbered(0, 4), numbered(1, 7)], 50)
        message = str(caught.value)
        assert "training.sequence_length: found 50" in message
        assert "longest of 2 episodes has 7 steps" in message

    def test_no_episode_at_all_is_an_error(self) -> None:
        with pytest.raises(UserError, match="longest of 0 episodes has 0 steps"):
            SequenceSampler([], 1)
