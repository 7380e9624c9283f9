"""Sequences of steps, drawn uniformly, none across the end of an episode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from planet_ros.data.episode import Episode
from planet_ros.data.rows import Rows
from planet_ros.data.statistics import RunningStatistics, Statistics
from planet_ros.errors import UserError


@dataclass(frozen=True)
class SequenceBatch:
    """Sequences of L steps; ``*B`` are the batch dimensions.

    Attributes:
        observation: (*B, L + 1, n) float32 of each vector, (*B, L + 1, height, width, channels)
            uint8 of each image.
        action: (*B, L, A) float32.
        reward: (*B, L) float32.
        continues: (*B, L) float32; 0 where the step led to a terminal observation, else 1. A
            truncated episode goes on as far as a model is concerned.
        mask: (*B, L) float32; 0 past the end of the episode, else 1. What the other arrays hold
            there repeats the last observation, with zeros for the rest.
    """

    observation: Mapping[str, NDArray[Any]]
    action: NDArray[np.float32]
    reward: NDArray[np.float32]
    continues: NDArray[np.float32]
    mask: NDArray[np.float32]


class Replay:
    """All experience, laid out so that sequences of a fixed length can be drawn from it.

    To add an episode, or to take the oldest one away, takes time for that episode alone, however
    much is there already. Episodes that are still under way can stand at the end; they are replaced
    by their longer selves, and by the next episode that is added.

    Images stay where they are, in the episodes: only those of a batch are copied.
    """

    def __init__(self, length: int, scored: int | None = None) -> None:
        """Start without episodes.

        Args:
            length: Steps L of a sequence.
            scored: How many of them, from the first, are learned from; None: all. An episode's
                last steps are the first of a sequence where no more than these are left.

        Raises ValueError unless ``1 <= scored <= length``.
        """
        self._length = length
        self._scored = length if scored is None else scored
        if not 1 <= self._scored <= length:
            raise ValueError(f"scored: found {scored}, expected 1 to {length}, a sequence's steps")
        self._episodes: list[Episode] = []
        self._ongoing = 0
        self._statistics = RunningStatistics()
        # Of each episode: its steps, the row in the flat arrays where it lies, and the number of
        # its first valid start. The latter two go on counting when the oldest episodes go.
        self._steps, self._first_row, self._first_start = (Rows((), np.int64) for _ in range(3))
        self._next_row = self._next_start = 0
        self._vectors: dict[str, Rows] = {}
        self._images: tuple[str, ...] = ()
        self._action = Rows((0,), np.float32)
        self._reward, self._mask, self._continues = (Rows((), np.float32) for _ in range(3))

    @classmethod
    def of(cls, episodes: Iterable[Episode], length: int, scored: int | None = None) -> Replay:
        """One that holds some episodes."""
        replay = cls(length, scored)
        for episode in episodes:
            replay.append(episode)
        return replay

    def append(self, episode: Episode) -> None:
        """Add an episode, in the place of those under way."""
        self.follow(())
        self._append(episode)

    def follow(self, ongoing: Sequence[Episode]) -> None:
        """Put the episodes under way at the end, in the place of those that were."""
        for _ in range(self._ongoing):
            episode = self._episodes.pop()
            starts = self._rows_of(episode) - self._length
            self._next_row -= self._rows_of(episode)
            self._next_start -= starts
            self._statistics.drop_last(episode)
            for rows in self._of_episodes:
                rows.drop_last(1)
            for rows in self._of_steps:
                rows.drop_last(self._rows_of(episode))
        self._ongoing = len(ongoing)
        for episode in ongoing:
            self._append(episode)

    def drop_first(self, count: int) -> None:
        """Take the oldest episodes away."""
        for episode in self._episodes[:count]:
            self._statistics.drop_first(episode)
            for rows in self._of_steps:
                rows.drop_first(self._rows_of(episode))
        for rows in self._of_episodes:
            rows.drop_first(count)
        del self._episodes[:count]

    def statistics(self) -> Statistics:
        """Means and spreads of all that is there."""
        return self._statistics.total()

    def sampler(self) -> SequenceSampler:
        """Draws from what is there now; good until the next change.

        Raises:
            UserError: There is no step.
        """
        if not len(self._steps):
            raise UserError("found no steps, expected some to learn from")
        first_row, first_start = self._first_row.view, self._first_start.view
        return SequenceSampler(
            length=self._length,
            starts=self._next_start - int(first_start[0]),
            first_row=first_row - first_row[0],
            first_start=first_start - first_start[0],
            vectors={name: rows.view for name, rows in self._vectors.items()},
            episodes=self._episodes,
            images=self._images,
            action=self._action.view,
            reward=self._reward.view,
            continues=self._continues.view,
            mask=self._mask.view,
        )

    @property
    def _of_episodes(self) -> tuple[Rows, ...]:
        return self._steps, self._first_row, self._first_start

    @property
    def _of_steps(self) -> tuple[Rows, ...]:
        return *self._vectors.values(), self._action, self._reward, self._mask, self._continues

    def _rows_of(self, episode: Episode) -> int:
        """Rows that an episode takes: up to the last observation of its last sequence.

        o o o o o o o o o        eight steps and nine observations
                    S S . . .    L = 5, of which two are scored: the last start
        rows                >    3 more than observations
        """
        return max(len(episode) - self._scored, 0) + self._length + 1

    def _append(self, episode: Episode) -> None:
        if not (self._vectors or self._images):
            self._action = Rows(episode.action.shape[1:], np.float32)
            self._images = tuple(
                name for name, values in episode.observation.items() if values.dtype == np.uint8
            )
            self._vectors = {
                name: Rows(values.shape[1:], np.float32)
                for name, values in episode.observation.items()
                if values.dtype != np.uint8
            }
        rows, steps = self._rows_of(episode), len(episode)
        self._statistics.append(episode)
        self._episodes.append(episode)
        for index, value in (
            (self._steps, steps),
            (self._first_row, self._next_row),
            (self._first_start, self._next_start),
        ):
            index.append(np.array([value]))
        self._next_row += rows
        self._next_start += rows - self._length

        continues = np.ones(rows, dtype=np.float32)
        if episode.terminated:
            continues[steps - 1] = 0.0
        self._continues.append(continues)
        self._mask.append((np.arange(rows) < steps).astype(np.float32))
        self._action.append(_extended(episode.action, rows))
        self._reward.append(_extended(episode.reward, rows))
        for name, values in self._vectors.items():
            values.append(_extended(episode.observation[name], rows, mode="edge"))


@dataclass(frozen=True)
class SequenceSampler:
    """Draws sequences of a fixed length from episodes; `Replay.sampler` makes one.

    Every step is as likely a start as any other, if the steps that are learned from, it and those
    after it, are there in its own episode; so long episodes count for more than short ones. Where
    the whole sequence is learned from, that is every step that has `length` - 1 steps after it;
    where its first step alone is, every step, the terminal one too. What lies past the end is
    padded. An episode that is too short for that has one start, its first step.

    Attributes:
        length: Steps L of a sequence.
        starts: How many valid starts there are.
        first_row: (E,) row in the flat arrays where each episode lies.
        first_start: (E,) number of its first valid start.
        vectors: (rows, n) of each vector.
        episodes: (E,) themselves.
        images: Which parts are images, that are taken from the episodes.
        action: (rows, A).
        reward: (rows,).
        continues: (rows,).
        mask: (rows,).
    """

    length: int
    starts: int
    first_row: NDArray[np.int64]
    first_start: NDArray[np.int64]
    vectors: Mapping[str, NDArray[np.float32]]
    episodes: Sequence[Episode]
    images: tuple[str, ...]
    action: NDArray[np.float32]
    reward: NDArray[np.float32]
    continues: NDArray[np.float32]
    mask: NDArray[np.float32]

    def sample(self, batch: tuple[int, ...], rng: np.random.Generator) -> SequenceBatch:
        """Draw sequences with replacement.

        Args:
            batch: Batch dimensions ``*B``.
            rng: Source of randomness.
        """
        return self.at(rng.integers(self.starts, size=batch))

    def at(self, start: NDArray[np.int64]) -> SequenceBatch:
        """The sequences with the given numbers, each in ``range(self.starts)``."""
        episode = np.searchsorted(self.first_start, start, side="right") - 1
        row = self.first_row[episode] + start - self.first_start[episode]
        rows = row[..., None] + np.arange(self.length + 1)
        steps = rows[..., :-1]
        return SequenceBatch(
            observation={
                **{name: values[rows] for name, values in self.vectors.items()},
                **{name: self._frames(name, episode, start) for name in self.images},
            },
            action=self.action[steps],
            reward=self.reward[steps],
            continues=self.continues[steps],
            mask=self.mask[steps],
        )

    def _frames(
        self, name: str, episode: NDArray[np.int64], start: NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        first = (start - self.first_start[episode]).ravel()
        sources = [self.episodes[index].observation[name] for index in episode.ravel().tolist()]
        frames = np.empty((len(sources), self.length + 1, *sources[0].shape[1:]), dtype=np.uint8)
        for target, source, begin in zip(frames, sources, first, strict=True):
            found = source[begin : begin + self.length + 1]
            target[: len(found)] = found
            target[len(found) :] = source[-1]
        return frames.reshape(*start.shape, *frames.shape[1:])


def _extended(
    values: NDArray[np.floating], rows: int, mode: Literal["constant", "edge"] = "constant"
) -> NDArray[np.floating]:
    """Values (n, …) with zeros, or the last of them repeated, up to so many rows."""
    missing = rows - len(values)
    return np.pad(values, [(0, missing)] + [(0, 0)] * (values.ndim - 1), mode=mode)
