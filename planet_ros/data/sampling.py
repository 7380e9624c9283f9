"""Sequences of steps, drawn uniformly, none across the end of an episode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planet_ros.data.episode import Episode
from planet_ros.errors import UserError


@dataclass(frozen=True)
class SequenceBatch:
    """Sequences of L steps; ``*B`` are the batch dimensions.

    Attributes:
        observation: (*B, L + 1, O) float32.
        action: (*B, L, A) float32.
        reward: (*B, L) float32.
        continues: (*B, L) float32; 0 where the step led to a terminal observation, else 1. A
            truncated episode goes on as far as a model is concerned.
    """

    observation: NDArray[np.float32]
    action: NDArray[np.float32]
    reward: NDArray[np.float32]
    continues: NDArray[np.float32]


class SequenceSampler:
    """Draws sequences of a fixed length from episodes.

    Every step that has `length` - 1 steps after it in its own episode is as likely a start as any
    other, so that long episodes count for more than short ones.
    """

    def __init__(self, episodes: Sequence[Episode], length: int) -> None:
        """Index the valid starts.

        Raises:
            UserError: No episode has `length` steps.
        """
        usable = [episode for episode in episodes if len(episode) >= length]
        if not usable:
            longest = max((len(episode) for episode in episodes), default=0)
            raise UserError(
                f"training.sequence_length: found {length}, but the longest of "
                f"{len(episodes)} episodes has {longest} steps"
            )
        self.length = length
        # Episode i lies at offsets[i] in the flat arrays, with a row to spare after its last step
        # for the last observation; its valid starts are numbered from first_start[i].
        rows = np.array([len(episode) + 1 for episode in usable])
        starts = rows - length
        self._offsets = np.concatenate([[0], np.cumsum(rows)[:-1]])
        self._first_start = np.concatenate([[0], np.cumsum(starts)[:-1]])
        self.starts = int(starts.sum())
        self._observation = np.concatenate([episode.observation for episode in usable])
        self._action = np.concatenate([_padded(episode.action) for episode in usable])
        self._reward = np.concatenate([_padded(episode.reward) for episode in usable]).astype(
            np.float32
        )
        self._continues = np.ones(len(self._reward), dtype=np.float32)
        for offset, episode in zip(self._offsets, usable, strict=True):
            if episode.terminated:
                self._continues[offset + len(episode) - 1] = 0.0

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
            observation=self._observation[rows],
            action=self._action[steps],
            reward=self._reward[steps],
            continues=self._continues[steps],
        )


def _padded(values: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.concatenate([values, np.zeros_like(values[:1])])
