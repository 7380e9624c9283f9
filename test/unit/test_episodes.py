"""Steps, episodes, their files, and the sequences drawn from them."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrays import float32
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chisquare

from planet_ros.data import (
    Episode,
    EpisodeBuilder,
    EpisodeStore,
    Replay,
    Statistics,
    Step,
    load_episode,
    save_episode,
)
from planet_ros.data.episode import pieces
from planet_ros.errors import UserError


def numbered(
    number: int, length: int, *, terminated: bool = False, camera: bool = False
) -> Episode:
    """An episode whose every value tells the episode and the step it belongs to."""
    steps = np.arange(length + 1, dtype=np.float32)
    frames = np.zeros((length + 1, 2, 3, 1), np.uint8)
    frames[:, 0], frames[:, 1] = steps[:, None, None], number
    vector = np.stack([np.full(length + 1, number), steps], axis=1).astype(np.float32)
    return Episode(
        observation={"observation": vector, **({"camera": frames} if camera else {})},
        action=(steps[:-1, None] + 0.25).astype(np.float32),
        reward=number + steps[:-1].astype(np.float64) / 1024,
        terminated=terminated,
        truncated=not terminated,
    )


def vector(episode: Episode) -> NDArray[np.float32]:
    return episode.observation["observation"]


def save(store: EpisodeStore, *episodes: Episode) -> None:
    for episode in episodes:
        store.add(episode)
    store.write()
    store.prune()


def numbers(store: EpisodeStore) -> list[int]:
    return [int(vector(episode)[0, 0]) for episode in store.episodes]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def step(index: int, *, terminated: bool = False, truncated: bool = False) -> Step:
    return Step(
        index=index,
        observation={"observation": np.full(2, index, dtype=np.float32)},
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
    first, second = (
        {**episode.observation, "action": episode.action, "reward": episode.reward}
        for episode in (one, other)
    )
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])
        assert values.dtype == second[name].dtype
    assert (one.terminated, one.truncated) == (other.terminated, other.truncated)


class TestEpisode:
    @pytest.mark.parametrize(("observations", "actions"), [(3, 3), (5, 3), (4, 2), (4, 4)])
    def test_lengths_that_do_not_fit_are_refused(self, observations: int, actions: int) -> None:
        with pytest.raises(
            ValueError, match=r"expected float32 of shape \(4, |and 3 rows of action"
        ):
            Episode(
                {"observation": np.zeros((observations, 2), np.float32)},
                np.zeros((actions, 1), np.float32),
                np.zeros(3),
                False,
                True,
            )

    @pytest.mark.parametrize("name", ["observation", "action", "reward"])
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_value_that_is_not_finite_is_refused_by_name(self, name: str, value: float) -> None:
        arrays: dict[str, Any] = {
            "observation": np.zeros((4, 2), np.float32),
            "action": np.zeros((3, 1), np.float32),
            "reward": np.zeros(3),
        }
        arrays[name][-1] = value
        seen = {"observation": arrays.pop("observation")}
        with pytest.raises(ValueError, match=f"{name}: found a value that is not finite"):
            Episode(seen, **arrays, terminated=False, truncated=False)

    @pytest.mark.parametrize(
        "frames",
        [
            np.zeros((3, 2, 3, 1), np.uint8),
            np.zeros((4, 2, 3), np.uint8),
            np.zeros((4, 2, 3, 1), np.float32),
        ],
    )
    def test_images_that_do_not_fit_are_refused_by_name(self, frames: NDArray[Any]) -> None:
        with pytest.raises(ValueError, match=r"camera: found .* expected float32 .* or uint8"):
            dataclasses.replace(numbered(0, 3), observation={"camera": frames})

    def test_return_is_the_plain_sum_of_rewards(self) -> None:
        assert numbered(2, 4).total_reward == 8 + 6 / 1024
        assert len(numbered(2, 4)) == 4


class TestBuilder:
    @pytest.mark.parametrize("end", ["terminated", "truncated"])
    def test_steps_up_to_the_end_make_one_episode(self, end: str) -> None:
        episodes, builder = built([step(0), step(1), step(2, **{end: True})])
        assert len(episodes) == 1
        episode = episodes[0]
        np.testing.assert_array_equal(vector(episode), [[0, 0], [1, 1], [2, 2]])
        np.testing.assert_array_equal(episode.action, [[0.5], [1.5]])  # the reset's is left out
        np.testing.assert_array_equal(episode.reward, [10, 20])
        assert episode.terminated == (end == "terminated")
        assert episode.truncated == (end == "truncated")
        assert vector(episode).dtype == episode.action.dtype == np.float32
        assert episode.reward.dtype == np.float64
        assert len(builder) == 0
        assert builder.missing_steps == 0

    def test_lost_steps_cut_the_episode_and_are_counted(self) -> None:
        episodes, builder = built([step(0), step(1), step(5), step(6), step(7, terminated=True)])
        first, second = episodes
        np.testing.assert_array_equal(vector(first)[:, 0], [0, 1])
        assert not first.terminated
        assert not first.truncated
        np.testing.assert_array_equal(vector(second)[:, 0], [5, 6, 7])
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
                observation={"observation": np.array([number, index], dtype=np.float32)},
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
            assert len(set(vector(episode)[:, 0])) == 1
            np.testing.assert_array_equal(np.diff(vector(episode)[:, 1]), 1)
            np.testing.assert_array_equal(episode.action[:, 0], vector(episode)[1:, 1])


class TestStore:
    def test_episode_is_readable_with_plain_numpy(self, tmp_path: Path) -> None:
        save_episode(numbered(7, 3, terminated=True), tmp_path / "e.npz")
        with np.load(tmp_path / "e.npz", allow_pickle=False) as file:
            assert {name: (file[name].shape, str(file[name].dtype)) for name in file.files} == {
                "observation/observation": ((4, 2), "float32"),
                "action": ((3, 1), "float32"),
                "reward": ((3,), "float64"),
                "terminated": ((), "bool"),
                "truncated": ((), "bool"),
                "version": ((), "int64"),
                "environment_steps": ((), "int64"),
            }
            np.testing.assert_array_equal(file["observation/observation"][:, 0], 7)
            assert bool(file["terminated"])
            assert int(file["version"]) == 2

    def test_saved_episode_is_loaded_unchanged(self, tmp_path: Path) -> None:
        for terminated in (False, True):
            episode = numbered(7, 3, terminated=terminated, camera=terminated)
            save_episode(episode, tmp_path / "e.npz")
            assert_same(load_episode(tmp_path / "e.npz"), episode)

    def test_images_are_arrays_of_their_own(self, tmp_path: Path) -> None:
        save_episode(numbered(7, 3, camera=True), tmp_path / "e.npz")
        with np.load(tmp_path / "e.npz", allow_pickle=False) as file:
            assert file["observation/camera"].shape == (4, 2, 3, 1)
            assert file["observation/camera"].dtype == np.uint8

    def test_episode_without_the_images_of_the_others_is_refused(self, tmp_path: Path) -> None:
        store = EpisodeStore(tmp_path)
        store.add(numbered(0, 3, camera=True))
        with pytest.raises(UserError, match=r"the new episode: found .*, expected .*camera"):
            store.add(numbered(1, 3))
        assert len(store.episodes) == store.next_number == 1

    def test_oldest_episodes_go_when_the_memory_is_full(self, tmp_path: Path) -> None:
        size = numbered(0, 3, camera=True).nbytes
        assert size == 4 * 2 * 4 + 3 * 4 + 3 * 8 + 4 * 2 * 3
        store = EpisodeStore(tmp_path, capacity_bytes=2 * size + 1)
        for number in range(4):
            save(store, numbered(number, 3, camera=True))
        assert numbers(store) == [2, 3]
        assert store.nbytes == 2 * size
        assert len(list(tmp_path.iterdir())) == 2

    def test_reopened_store_holds_the_same_episodes_and_goes_on_numbering(
        self, tmp_path: Path
    ) -> None:
        store = EpisodeStore(tmp_path)
        save(store, numbered(0, 3), numbered(1, 4, terminated=True))
        again = EpisodeStore(tmp_path)
        for one, other in zip(again.episodes, store.episodes, strict=True):
            assert_same(one, other)
        save(again, numbered(2, 5))
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
        save(store, *(numbered(number, 5) for number in range(3)))
        damaged = tmp_path / "episode-000001.npz"
        content = damaged.read_bytes()
        damaged.write_bytes(content[: len(content) // 2])
        with pytest.warns(UserWarning, match=r"skipped .*episode-000001\.npz: not a whole"):
            again = EpisodeStore(tmp_path)
        assert numbers(again) == [0, 2]
        save(again, numbered(3, 5))
        assert damaged.read_bytes() == content[: len(content) // 2]
        assert vector(load_episode(tmp_path / "episode-000003.npz"))[0, 0] == 3

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
            ({"observation/observation": np.zeros((2, 1))}, r"no array \['action'"),
            ({"version": np.int64(3)}, "version 3, expected 1 or 2"),
            ({"reward": np.zeros(9)}, "9 rewards has an observation and 9 rows of action"),
            ({"reward": np.full(3, np.nan)}, "reward: found a value that is not finite"),
            ({"reward": np.array([None] * 3)}, "not a whole episode"),  # would need pickle
        ],
    )
    def test_file_of_another_format_is_refused_with_the_reason(
        self, tmp_path: Path, arrays: dict[str, np.ndarray], reason: str
    ) -> None:
        path = tmp_path / "e.npz"
        save_episode(numbered(0, 3), path)
        if "observation/observation" not in arrays:
            with np.load(path) as file:
                arrays = {**{name: file[name] for name in file.files}, **arrays}
        np.savez(path, **arrays)  # type: ignore[arg-type]  # its stubs take a name for an option
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
        save(EpisodeStore(tmp_path), numbered(0, 3))
        shutil.copy(tmp_path / "episode-000000.npz", tmp_path / "episode-copy.npz")
        assert len(EpisodeStore(tmp_path).episodes) == 1
        assert (tmp_path / "episode-copy.npz").exists()

    def test_capacity_deletes_the_oldest_episodes_on_disk_too(self, tmp_path: Path) -> None:
        store = EpisodeStore(tmp_path, capacity_steps=10)
        gone = [store.add(numbered(number, 4)) for number in range(4)]
        assert gone == [0, 0, 1, 1]
        save(store)
        assert numbers(store) == [2, 3]
        assert store.steps == 8
        assert files(tmp_path) == ["episode-000002.npz", "episode-000003.npz"]
        save(store, numbered(4, 4))
        assert files(tmp_path) == ["episode-000003.npz", "episode-000004.npz"]

    def test_nothing_is_written_nor_deleted_before_it_is_asked_for(self, tmp_path: Path) -> None:
        folder = tmp_path / "episodes"
        store = EpisodeStore(folder, capacity_steps=8)
        store.add(numbered(0, 4))
        store.prune()
        assert not folder.exists()
        store.write()
        for number in (1, 2):
            store.add(numbered(number, 4))
        assert files(folder) == ["episode-000000.npz"]
        store.write()
        assert len(files(folder)) == 3
        store.prune()
        assert files(folder) == ["episode-000001.npz", "episode-000002.npz"]

    @pytest.mark.parametrize(
        ("capacity", "kept"), [(100, [0, 1, 2, 3]), (12, [1, 2, 3]), (11, [2, 3]), (1, [3])]
    )
    def test_opening_keeps_the_newest_that_fit_and_touches_nothing(
        self, tmp_path: Path, capacity: int, kept: list[int]
    ) -> None:
        save(EpisodeStore(tmp_path), *(numbered(number, 4) for number in range(4)))
        before = {path: (path.read_bytes(), path.stat()) for path in tmp_path.iterdir()}
        for path in (tmp_path, *before):
            path.chmod(path.stat().st_mode & ~0o222)
        store = EpisodeStore(tmp_path, capacity_steps=capacity)
        assert numbers(store) == kept
        assert store.next_number == 4
        for path in (tmp_path, *before):
            path.chmod(path.stat().st_mode | 0o200)
        after = {path: (path.read_bytes(), path.stat()) for path in tmp_path.iterdir()}
        assert [one[0] for one in after.values()] == [one[0] for one in before.values()]
        assert [one[1].st_mtime_ns for one in after.values()] == [
            one[1].st_mtime_ns for one in before.values()
        ]
        # Whoever collects with this capacity prunes with it, too.
        save(store, numbered(4, 1))
        assert numbers(store) == [number for number in kept if 4 * (4 - number) < capacity] + [4]
        assert len(files(tmp_path)) == len(store.episodes)

    def test_file_that_does_not_fit_is_not_even_read(self, tmp_path: Path) -> None:
        save(EpisodeStore(tmp_path), *(numbered(number, 4) for number in range(3)))
        (tmp_path / "episode-000000.npz").write_bytes(b"")
        assert numbers(EpisodeStore(tmp_path, capacity_steps=7)) == [2]

    def test_files_beyond_the_next_number_are_no_episodes(self, tmp_path: Path) -> None:
        save(EpisodeStore(tmp_path), *(numbered(number, 4) for number in range(4)))
        store = EpisodeStore(tmp_path, next_number=2)
        assert numbers(store) == [0, 1]
        assert len(files(tmp_path)) == 4
        store.discard_unknown()
        assert files(tmp_path) == ["episode-000000.npz", "episode-000001.npz"]
        save(store, numbered(7, 2))
        assert vector(load_episode(tmp_path / "episode-000002.npz"))[0, 0] == 7

    def test_millionth_episode_is_newer_than_those_with_shorter_names(self, tmp_path: Path) -> None:
        store = EpisodeStore(tmp_path, next_number=999_998)
        save(store, *(numbered(number, 4) for number in range(4)))
        assert numbers(EpisodeStore(tmp_path, capacity_steps=8)) == [2, 3]
        assert EpisodeStore(tmp_path).next_number == 1_000_002

    def test_full_disk_leaves_what_is_missing_for_the_next_time(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = EpisodeStore(tmp_path)
        for number in range(3):
            store.add(numbered(number, 4))
        calls = 0

        def full(*arguments: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise OSError("No space left on device")
            save_episode(*arguments)

        monkeypatch.setattr("planet_ros.data.store.save_episode", full)
        with pytest.raises(OSError, match="No space"):
            store.write()
        assert len(files(tmp_path)) == 1
        store.write()
        assert numbers(EpisodeStore(tmp_path)) == [0, 1, 2]

    def test_episode_longer_than_the_capacity_is_still_kept(self, tmp_path: Path) -> None:
        store = EpisodeStore(tmp_path, capacity_steps=3)
        store.add(numbered(0, 3))
        store.add(numbered(1, 8))
        assert numbers(store) == [1]
        save(store)
        assert numbers(EpisodeStore(tmp_path, capacity_steps=3)) == [1]

    def test_episode_of_another_shape_is_refused_and_not_kept(self, tmp_path: Path) -> None:
        store = EpisodeStore(tmp_path)
        save(store, numbered(0, 3))
        seen = {"observation": np.zeros((3, 5), np.float32)}
        other = Episode(seen, np.zeros((2, 1), np.float32), np.zeros(2), False, True)
        with pytest.raises(UserError, match="the new episode: found"):
            store.add(other)
        save(store)
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
        sampler = Replay.of(episodes, length).sampler()
        batch = sampler.sample((3, 20), np.random.default_rng(seed))
        seen = batch.observation["observation"]
        assert seen.shape == (3, 20, length + 1, 2)
        assert batch.action.shape == (3, 20, length, 1)
        assert batch.reward.shape == batch.continues.shape == (3, 20, length)
        number, at = seen[..., 0], seen[..., 1]
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
        frames = batch.observation["camera"]
        assert frames.dtype == np.uint8
        np.testing.assert_array_equal(frames[..., 0, 0, 0], at)
        np.testing.assert_array_equal(frames[..., 1, 2, 0], number)

    def test_every_valid_start_is_numbered_once(self) -> None:
        episodes = [numbered(number, steps) for number, steps in enumerate([5, 1, 3, 2, 7])]
        sampler = Replay.of(episodes, 3).sampler()
        batch = sampler.at(np.arange(sampler.starts))
        found = [tuple(row) for row in batch.observation["observation"][:, 0].astype(int)]
        # Episodes 1 and 3 are shorter than a sequence: each has one start.
        whole = [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (3, 0)]
        assert found == [*whole, *((4, start) for start in range(5))]

    @given(
        lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
        length=st.integers(1, 6),
        scored=st.integers(1, 6),
    )
    @hypothesis_settings(max_examples=80, deadline=None)
    def test_every_step_is_learned_from_as_often_as_the_others_where_less_is_than_a_sequence(
        self, lengths: list[int], length: int, scored: int
    ) -> None:
        """The last ones of an episode too, which are what a terminal step teaches."""
        assume(scored <= length <= max(lengths))
        episodes = [
            numbered(number, steps, terminated=True, camera=True)
            for number, steps in enumerate(lengths)
        ]
        sampler = Replay.of(episodes, length, scored).sampler()
        batch = sampler.at(np.arange(sampler.starts))
        there = batch.mask.astype(bool)
        # At each place in what is scored, the steps that can be there are, once each, and in order.
        for place in range(scored):
            seen = batch.observation["observation"][there[:, place], place]
            assert [tuple(row) for row in seen.astype(int)] == [
                (number, start + place)
                for number, steps in enumerate(lengths)
                for start in range(max(steps - scored, 0) + 1)
                if start + place < steps
            ]
        # Every episode's end is scored, once at least, and once exactly as the last step scored.
        ends = (batch.continues == 0)[:, :scored]
        assert ends.sum() >= len(lengths)
        assert ends[:, -1].sum() == sum(steps >= scored for steps in lengths)
        # Whatever lies past an end is padding: of the vectors, of the images and of the rest.
        at = batch.observation["observation"][..., 1]
        np.testing.assert_array_equal(np.diff(at, axis=-1), batch.mask)
        np.testing.assert_array_equal(batch.observation["camera"][..., 0, 0, 0], at)
        assert not batch.reward[~there].any()
        assert (batch.continues[~there] == 1).all()

    @pytest.mark.parametrize("scored", [0, 4])
    def test_steps_that_are_learned_from_must_be_some_of_the_sequence(self, scored: int) -> None:
        with pytest.raises(ValueError, match=f"scored: found {scored}, expected 1 to 3"):
            Replay(3, scored)

    def test_starts_are_drawn_uniformly_over_all_episodes(self) -> None:
        lengths = [4, 9, 2, 15]
        episodes = [numbered(number, steps) for number, steps in enumerate(lengths)]
        sampler = Replay.of(episodes, 3).sampler()
        batch = sampler.sample((20_000,), np.random.default_rng(0))
        first = batch.observation["observation"][:, 0]
        _, counts = np.unique(first, axis=0, return_counts=True)
        assert len(counts) == sampler.starts == 2 + 7 + 1 + 13
        assert chisquare(counts).pvalue > 1e-3

    def test_same_generator_draws_the_same_sequences(self) -> None:
        sampler = Replay.of([numbered(0, 30)], 2).sampler()
        one, same, other = (
            sampler.sample((50,), np.random.default_rng(seed)).observation["observation"]
            for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(one, same)
        assert (one != other).any()

    def test_sequence_longer_than_every_episode_is_padded(self) -> None:
        sampler = Replay.of([numbered(0, 4), numbered(1, 7)], 50).sampler()
        batch = sampler.sample((200,), np.random.default_rng(0))
        assert batch.reward.shape == (200, 50)
        assert {*batch.mask.sum(axis=1)} == {4, 7}

    def test_no_episode_at_all_is_an_error(self) -> None:
        with pytest.raises(UserError, match="found no steps"):
            Replay(1).sampler()


class LiteralSampler:
    """All episodes in one piece, put together anew each time: slow, and easy to see through."""

    def __init__(self, episodes: Sequence[Episode], length: int, scored: int) -> None:
        self.length = length
        self.starts = [
            (episode, start)
            for episode in episodes
            for start in range(max(1, len(episode) - scored + 1))
        ]

    def sample(self, batch: tuple[int, ...], rng: np.random.Generator) -> dict[str, Any]:
        drawn = rng.integers(len(self.starts), size=batch)
        sequences = [self._sequence(*self.starts[number]) for number in drawn.ravel()]
        return {
            name: np.stack([one[name] for one in sequences]).reshape(
                *batch, *sequences[0][name].shape
            )
            for name in sequences[0]
        }

    def _sequence(self, episode: Episode, start: int) -> dict[str, Any]:
        steps = range(start, start + self.length)
        there = [step < len(episode) for step in steps]
        rows, nothing = [*zip(steps, there, strict=True)], np.zeros(episode.action.shape[1])
        seen = [min(row, len(episode)) for row in (*steps, steps.stop)]
        ends = [episode.terminated and step == len(episode) - 1 for step in steps]
        return {
            **{name: values[seen] for name, values in episode.observation.items()},
            "action": float32([episode.action[step] if is_ else nothing for step, is_ in rows]),
            "reward": float32([episode.reward[step] if is_ else 0 for step, is_ in rows]),
            "continues": 1 - float32(ends),
            "mask": float32(there),
        }


def random_episode(rng: np.random.Generator, length: int, camera: bool) -> Episode:
    seen: dict[str, Any] = {
        "more": rng.normal(300, 3, (length + 1, 1)).astype(np.float32),
        "observation": rng.normal(size=(length + 1, 2)).astype(np.float32),
    }
    if camera:
        seen["camera"] = rng.integers(0, 256, (length + 1, 3, 2, 1), dtype=np.uint8)
    action = rng.normal(size=(length, 2)).astype(np.float32)
    return Episode(seen, action, rng.normal(size=length), bool(rng.integers(2)), False)


class TestReplay:
    @given(
        actions=st.lists(
            st.one_of(
                st.tuples(st.just("add"), st.integers(1, 9)),
                st.tuples(st.just("go"), st.integers(1, 2)),
                st.tuples(st.just("follow")),
                st.tuples(st.just("follow"), st.integers(1, 300)),
                st.tuples(st.just("follow"), st.integers(1, 9), st.integers(1, 9)),
            ),
            min_size=1,
            max_size=20,
        ),
        length=st.integers(1, 5),
        scored=st.integers(1, 5),
        camera=st.booleans(),
        seed=st.integers(0, 1000),
    )
    @hypothesis_settings(max_examples=100, deadline=None)
    def test_draws_what_a_literal_version_draws_whatever_came_and_went(
        self,
        actions: list[tuple[Any, ...]],
        length: int,
        scored: int,
        camera: bool,
        seed: int,
    ) -> None:
        rng = np.random.default_rng(seed)
        scored = min(scored, length)
        replay, kept = Replay(length, scored), list[Episode]()
        ongoing: list[Episode] = []
        for action, *numbers in actions:
            if action == "add":
                kept.append(random_episode(rng, numbers[0], camera))
                replay.append(kept[-1])
                ongoing = []
            elif action == "go":
                gone = min(numbers[0], len(kept))
                kept = kept[gone:]
                replay.drop_first(gone)
            else:
                ongoing = [random_episode(rng, one, camera) for one in numbers]
                replay.follow(ongoing)
            self.compare(replay, [*kept, *ongoing], length, scored, seed)

    @staticmethod
    def compare(
        replay: Replay, episodes: list[Episode], length: int, scored: int, seed: int
    ) -> None:
        if not episodes:
            with pytest.raises(UserError, match="found no steps"):
                replay.sampler()
            return
        one, other = np.random.default_rng(seed), np.random.default_rng(seed)
        sampler, literal = replay.sampler(), LiteralSampler(episodes, length, scored)
        for _ in range(2):
            batch, expected = sampler.sample((2, 8), one), literal.sample((2, 8), other)
            found = {**vars(batch), **batch.observation}
            for name, values in expected.items():
                np.testing.assert_array_equal(found[name], values, err_msg=name)
                assert found[name].dtype == values.dtype
        assert one.bit_generator.state == other.bit_generator.state
        assert_moments(replay.statistics(), episodes)

    def test_what_came_first_can_go_for_ever_without_the_memory_growing(self) -> None:
        replay = Replay(3)
        for number in range(3000):
            replay.append(numbered(number % 200, 5))
            if number >= 10:
                replay.drop_first(1)
        sampler = replay.sampler()
        assert sampler.starts == 10 * 3
        first = sampler.at(np.arange(30)).observation["observation"][:, 0, 0]
        assert sorted(set(first)) == list(range(190, 200))
        assert sampler.action.base is not None
        assert len(sampler.action.base) < 1000


def assert_moments(found: Statistics, episodes: Sequence[Episode]) -> None:
    """Compare with what numpy says of all in one piece."""

    def assert_same_moments(moments: Any, values: Any) -> None:
        values = np.concatenate(values).astype(np.float64)
        assert moments.count == len(values)
        np.testing.assert_allclose(moments.mean, values.mean(axis=0), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(moments.std, values.std(axis=0), rtol=1e-10, atol=1e-12)

    assert_same_moments(found.reward, [episode.reward[:, None] for episode in episodes])
    for name in ("more", "observation"):
        seen = [episode.observation[name].astype(np.float64) for episode in episodes]
        moments = found.vectors[name]
        assert_same_moments(moments.seen, seen)
        assert_same_moments(moments.before, [values[:-1] for values in seen])
        assert_same_moments(moments.after, [values[1:] for values in seen])
        assert_same_moments(moments.change, [values[1:] - values[:-1] for values in seen])
    assert found.vectors.keys() == {"more", "observation"}
    if "camera" not in episodes[0].observation:
        assert not found.images
        return
    frames = np.concatenate([episode.observation["camera"] for episode in episodes])
    mean = frames.astype(np.float64).mean(axis=0)
    camera = found.images["camera"]
    assert camera.count == len(frames)
    np.testing.assert_allclose(camera.mean, mean, rtol=1e-14)
    assert camera.std == pytest.approx(np.sqrt(np.square(frames - mean).mean()), rel=1e-12)


class TestStatistics:
    def test_small_spread_around_a_large_mean_is_measured_over_many_steps(self) -> None:
        rng = np.random.default_rng(0)
        kelvin = [rng.normal(300.15, 0.1, (1001, 2)).astype(np.float32) for _ in range(100)]
        moments = Statistics.of(
            Episode(
                {"temperature": values},
                np.zeros((1000, 1), np.float32),
                np.full(1000, 1e6),
                False,
                True,
            )
            for values in kelvin
        )
        everything = np.concatenate(kelvin).astype(np.float64)
        seen = moments.vectors["temperature"].seen
        np.testing.assert_allclose(seen.mean, everything.mean(axis=0), atol=1e-9, rtol=0)
        np.testing.assert_allclose(seen.std, everything.std(axis=0), rtol=1e-9)
        # What a sum in float32 makes of the mean is off by more than the spread.
        assert np.abs(np.concatenate(kelvin).mean(axis=0) - seen.mean).max() > 0.1
        assert moments.reward.std[0] == 0

    def test_images_that_never_change_have_no_spread(self) -> None:
        frames = np.full((31, 4, 4, 3), 200, np.uint8)
        episode = dataclasses.replace(numbered(0, 30), observation={"camera": frames})
        moments = Statistics.of([episode, episode]).images["camera"]
        np.testing.assert_array_equal(moments.mean, 200)
        assert (moments.std, moments.count) == (0, 62)

    def test_nothing_has_no_statistics(self) -> None:
        nothing = Statistics.of([])
        assert (nothing.reward.count, nothing.vectors, nothing.images) == (0, {}, {})


def test_pieces_of_an_episode_are_all_of_it() -> None:
    whole = Episode(
        {"state": np.arange(8, dtype=np.float32)[:, None]},
        np.arange(7, dtype=np.float32)[:, None],
        np.arange(7, dtype=np.float64),
        terminated=True,
        truncated=False,
        environment_steps=21,
    )
    parts = pieces(whole, 3)
    assert [len(one) for one in parts] == [2, 2, 3]
    assert [one.environment_steps for one in parts] == [6, 6, 9]
    assert [one.truncated for one in parts] == [True, True, False]
    assert [one.terminated for one in parts] == [False, False, True]
    for name in ("action", "reward"):
        joined = np.concatenate([getattr(one, name) for one in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))
    for before, after in itertools.pairwise(parts):
        assert before.observation["state"][-1] == after.observation["state"][0]
    assert pieces(whole, 1)[0].environment_steps == 21
