"""Means and spreads of experience, kept episode by episode.

Each episode has its own, and those of all of it are combined from them, so that nobody has to
pass over all steps again. They are in float64: of a temperature of 300.15 ± 0.1 K a mean that is
summed up in float32 over 100 000 steps is off by more than the spread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from planet_ros.data.episode import Episode
from planet_ros.data.rows import Rows


@dataclass(frozen=True)
class Moments:
    """Of numbers that were seen `count` times.

    Attributes:
        count: How often.
        mean: (n,) float64.
        squares: (n,) float64, sum of the squared distances from the mean.
    """

    count: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    @property
    def std(self) -> NDArray[np.float64]:
        """(n,) standard deviation."""
        return np.sqrt(self.squares / self.count)


@dataclass(frozen=True)
class VectorMoments:
    """Of a vector (n,): of all that was seen, before and after each step, and of its change."""

    seen: Moments
    before: Moments
    after: Moments
    change: Moments


@dataclass(frozen=True)
class ImageMoments:
    """Of images (height, width, channels).

    Attributes:
        count: Of images.
        mean: The mean image, float64.
        std: Standard deviation of all pixels around it.
    """

    count: int
    mean: NDArray[np.float64]
    std: float


@dataclass(frozen=True)
class Statistics:
    """What models take their scales from.

    Attributes:
        reward: (1,) of each step.
        vectors: By the names of the parts.
        images: Likewise.
    """

    reward: Moments
    vectors: Mapping[str, VectorMoments]
    images: Mapping[str, ImageMoments]

    @classmethod
    def of(cls, episodes: Iterable[Episode]) -> Statistics:
        """Those of some episodes."""
        running = RunningStatistics()
        for episode in episodes:
            running.append(episode)
        return running.total()


class RunningStatistics:
    """Statistics of episodes that come at the end and go from both ends."""

    def __init__(self) -> None:
        self._columns: dict[str, slice] = {}  # where the moments of a vector lie in a row
        self._steps = Rows((), np.int64)
        self._means: Rows | None = None
        self._squares: Rows | None = None
        self._images: dict[str, _ImageSums] = {}

    def append(self, episode: Episode) -> None:
        """Take in an episode after the others."""
        means, squares = (row[None] for row in _moments_of(episode))
        if self._means is None or self._squares is None:
            begin = 1  # after the reward
            for name, values in _vectors(episode).items():
                self._columns[name] = slice(begin, begin := begin + 4 * values.shape[1])
            self._means = Rows(means.shape[1:], np.float64)
            self._squares = Rows(squares.shape[1:], np.float64)
        self._steps.append(np.array([len(episode)]))
        self._means.append(means)
        self._squares.append(squares)
        self._count_images(episode, 1)

    def drop_first(self, episode: Episode) -> None:
        """Forget the first episode, which is given."""
        self._count_images(episode, -1)
        for rows in (self._steps, self._means, self._squares):
            if rows is not None:
                rows.drop_first(1)

    def drop_last(self, episode: Episode) -> None:
        """Forget the last episode, which is given."""
        self._count_images(episode, -1)
        for rows in (self._steps, self._means, self._squares):
            if rows is not None:
                rows.drop_last(1)

    def _count_images(self, episode: Episode, sign: int) -> None:
        for name, frames in episode.observation.items():
            if frames.dtype == np.uint8:
                sums = self._images.setdefault(name, _ImageSums(np.zeros(frames.shape[1:], int)))
                sums.count(frames, sign)

    def total(self) -> Statistics:
        """Those of all episodes together."""
        if self._means is None or self._squares is None or not len(self._steps):
            none = Moments(0, np.zeros(1), np.zeros(1))
            return Statistics(none, {}, {})
        steps = self._steps.view[:, None]
        reward = _combined(steps, self._means.view[:, :1], self._squares.view[:, :1])
        vectors = {}
        for name, columns in self._columns.items():
            parts = zip(
                (steps + 1, steps, steps, steps),
                np.split(self._means.view[:, columns], 4, axis=1),
                np.split(self._squares.view[:, columns], 4, axis=1),
                strict=True,
            )
            vectors[name] = VectorMoments(*(_combined(*part) for part in parts))
        images = {name: sums.moments() for name, sums in self._images.items()}
        return Statistics(reward, vectors, images)


@dataclass
class _ImageSums:
    """Sums in integers, which what goes can be taken away from without a trace."""

    pixels: NDArray[np.int64]
    squares: int = field(default=0)
    frames: int = field(default=0)

    def count(self, frames: NDArray[np.uint8], sign: int) -> None:
        """Add images (T, …), or take them away."""
        self.pixels += sign * frames.sum(axis=0, dtype=np.int64)
        # The square of a byte fits into 16 bits.
        self.squares += sign * int(np.square(frames, dtype=np.uint16).sum(dtype=np.int64))
        self.frames += sign * len(frames)

    def moments(self) -> ImageMoments:
        mean = self.pixels / self.frames
        square = self.squares - float((self.pixels * mean).sum())
        std = float(np.sqrt(max(0.0, square) / self.frames / mean.size))
        return ImageMoments(self.frames, mean, std)


def _vectors(episode: Episode) -> dict[str, NDArray[np.float64]]:
    return {
        name: values.astype(np.float64)
        for name, values in episode.observation.items()
        if values.dtype != np.uint8
    }


def _moments_of(episode: Episode) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means (C,) and sums of squared distances (C,) of an episode.

    Of the reward first, then of each vector those of `VectorMoments`, one after the other.
    """
    samples = [episode.reward[:, None]]
    for values in _vectors(episode).values():
        samples += [values, values[:-1], values[1:], np.diff(values, axis=0)]
    means = [values.mean(axis=0) for values in samples]
    squares = [
        np.square(values - mean).sum(axis=0) for values, mean in zip(samples, means, strict=True)
    ]
    return np.concatenate(means), np.concatenate(squares)


def _combined(
    counts: NDArray[np.int64], means: NDArray[np.float64], squares: NDArray[np.float64]
) -> Moments:
    """Moments of all from the counts (E, 1), means (E, n) and squares (E, n) of each.

    The distances from the common mean are those from the own mean, and those of the own means from
    the common one (Chan, Golub and LeVeque 1983).
    """
    count = int(counts.sum())
    mean = (counts * means).sum(axis=0) / count
    between = (counts * np.square(means - mean)).sum(axis=0)
    return Moments(count, mean, squares.sum(axis=0) + between)
