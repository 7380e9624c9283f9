"""Sequences of steps, drawn uniformly, none across the end of an episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from planet_ros.data.episode import Episode
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
        mask: (*B, L) float32; 0 past the end of an episode that is shorter than L, else 1. What
            the other arrays hold there repeats the last observation, with zeros for the rest.
    """

    observation: Mapping[str, NDArray[Any]]
    action: NDArray[np.float32]
    reward: NDArray[np.float32]
    continues: NDArray[np.float32]
    mask: NDArray[np.float32]


class SequenceSampler:
    """Draws sequences of a fixed length from episodes.

    Every step that has `length` - 1 steps after it in its own episode is as likely a start as any
    other, so that long episodes count for more than short ones. An episode that is shorter than a
    sequence has one start, its first step, and is padded.

    Images stay where they are, in the episodes: only those of a batch are copied.
    """

    def __init__(self, episodes: Sequence[Episode], length: int) -> None:
        """Index the valid starts.

        Raises:
            UserError: No episode has `length` steps.
        """
        longest = max((len(episode) for episode in episodes), default=0)
        if longest < length:
            raise UserError(
                f"training.sequence_length: found {length}, but the longest of "
                f"{len(episodes)} episodes has {longest} steps"
            )
        self.length = length
        # Episode i lies at offsets[i] in the flat arrays, with a row to spare after its last step
        # for the last observation; its valid starts are numbered from first_start[i].
        steps = np.array([len(episode) for episode in episodes])
        rows = np.maximum(steps, length) + 1
        starts = rows - length
        self._offsets = np.concatenate([[0], np.cumsum(rows)[:-1]])
        self._first_start = np.concatenate([[0], np.cumsum(starts)[:-1]])
        self.starts = int(starts.sum())
        self._vectors = {
            name: np.concatenate(
                [
                    _extended(episode.observation[name], count, mode="edge")
                    for episode, count in zip(episodes, rows, strict=True)
                ]
            )
            for name, values in episodes[0].observation.items()
            if values.dtype != np.uint8
        }
        per_step: tuple[list[NDArray[np.floating]], ...] = (
            [episode.action for episode in episodes],
            [episode.reward for episode in episodes],
            [np.ones(count) for count in steps],
        )
        self._action, self._reward, self._mask = (
            np.concatenate(
                [_extended(part, count) for part, count in zip(parts, rows, strict=True)]
            ).astype(np.float32)
            for parts in per_step
        )
        self._continues = np.ones(len(self._reward), dtype=np.float32)
        for offset, episode in zip(self._offsets, episodes, strict=True):
            if episode.terminated:
                self._continues[offset + len(episode) - 1] = 0.0
        self._images = [
            {name: frames for name, frames in episode.observation.items() if frames.ndim == 4}
            for episode in episodes
        ]

    def sample(self, batch: tuple[int, ...], rng: np.random.Generator) -> SequenceBatch:
        """Draw sequences with replacement.

        Args:
            batch: Batch dimensions ``*B``.
            rng: Source of randomness.
        """
        return self.at(rng.integers(self.starts, size=batch))

    def at(self, start: NDArray[np.int64]) -> SequenceBatch:
        """The sequences with the given numbers, each in ``range(self.starts)``."""
        episode = np.searchsorted(self._first_start, start, side="right") - 1
        row = self._offsets[episode] + start - self._first_start[episode]
        rows = row[..., None] + np.arange(self.length + 1)
        steps = rows[..., :-1]
        return SequenceBatch(
            observation={
                **{name: values[rows] for name, values in self._vectors.items()},
                **{name: self._frames(name, episode, start) for name in self._images[0]},
            },
            action=self._action[steps],
            reward=self._reward[steps],
            continues=self._continues[steps],
            mask=self._mask[steps],
        )

    def _frames(
        self, name: str, episode: NDArray[np.int64], start: NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        first = (start - self._first_start[episode]).ravel()
        sources = [self._images[index][name] for index in episode.ravel()]
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
