"""Episodes on disk: one npz file each, readable with numpy alone.

==================  ==================  ================================================
array               shape, type         meaning
==================  ==================  ================================================
observation/NAME    (T + 1, n) float32  a vector, before the first action and after each
observation/NAME    (T + 1, height,     an image, likewise
                    width, channels)
                    uint8
action              (T, A) float32      taken between two observations
reward              (T,) float64        received for each action
terminated          () bool             the last observation is terminal
truncated           () bool             the episode was cut after the last step
version             () int64            2
environment_steps   () int64            how often the environment was stepped: more than T
                                        where each action was repeated
==================  ==================  ================================================

Version 1 had one vector, ``observation``, images as ``images/NAME``, and did without the last row;
it is still read.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from planet_ros.data.episode import Episode
from planet_ros.data.signature import VECTOR_PART
from planet_ros.errors import UserError
from planet_ros.files import write_whole

FORMAT_VERSION = 2
_NAME = re.compile(r"episode-(\d{6}|[1-9]\d{6,})\.npz")
_PARTS = "observation/"
_VERSION_1_IMAGES = "images/"
_ARRAYS = ("action", "reward", "terminated", "truncated", "version")


def save_episode(episode: Episode, path: Path) -> None:
    """Write an episode, whole or not at all."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {
        **{_PARTS + name: values for name, values in episode.observation.items()},
        "action": episode.action,
        "reward": episode.reward,
        "terminated": np.bool_(episode.terminated),
        "truncated": np.bool_(episode.truncated),
        "version": np.int64(FORMAT_VERSION),
        "environment_steps": np.int64(episode.environment_steps),
    }
    np.savez_compressed(buffer, **arrays)
    write_whole(path, buffer.getvalue())


def load_episode(path: Path) -> Episode:
    """Read an episode.

    Raises:
        UserError: The file is cut short, is of another format, or its arrays do not fit together.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = {*_ARRAYS} - set(file.files)
            if missing:
                raise UserError(f"{path}: no array {sorted(missing)}, found {sorted(file.files)}")
            version = int(file["version"])
            if version not in (1, FORMAT_VERSION):
                raise UserError(f"{path}: version {version}, expected 1 or {FORMAT_VERSION}")
            return Episode(
                observation=_version_1_parts(file) if version == 1 else _parts(file, _PARTS),
                action=file["action"],
                reward=file["reward"],
                terminated=bool(file["terminated"]),
                truncated=bool(file["truncated"]),
                environment_steps=int(file["environment_steps"])
                if "environment_steps" in file.files
                else -1,
            )
    except UserError:
        raise
    except Exception as error:  # zip, zlib and npy parsing raise many kinds
        raise UserError(f"{path}: not a whole episode: {error}") from None


def _parts(file: Any, prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): file[name] for name in file.files if name.startswith(prefix)}


def _version_1_parts(file: Any) -> dict[str, np.ndarray]:
    vector = file[VECTOR_PART]  # of no numbers where there are images alone
    return ({VECTOR_PART: vector} if vector.shape[1] else {}) | _parts(file, _VERSION_1_IMAGES)


def folder_of_episodes(path: Path) -> Path:
    """Where the episodes of a run are, or of a folder that holds nothing else."""
    inner = path / "episodes"
    return inner if inner.is_dir() else path


def stored_episodes(folder: Path) -> list[Path]:
    """The files of the episodes in a folder, oldest first."""
    return [_path_of(folder, number) for number in _numbers_in(folder)]


def _numbers_in(folder: Path) -> list[int]:
    names = (_NAME.fullmatch(path.name) for path in folder.glob("episode-*.npz"))
    return sorted(int(name[1]) for name in names if name is not None)


def _path_of(folder: Path, number: int) -> Path:
    return folder / f"episode-{number:06d}.npz"


class EpisodeStore:
    """Episodes in memory, the newest that fit a capacity, and the folder that they are kept in.

    To open a store touches nothing on disk, and neither does `add`. What was added is on disk after
    `write`, and what no longer fits is gone from there after `prune`: two acts of their own, so
    that whoever collects can decide what has to be safe before something is deleted.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        capacity_steps: int = 100_000,
        capacity_bytes: int = 2**31,
        next_number: int | None = None,
    ) -> None:
        """Open a store, with the newest of the episodes that the folder already holds.

        A file that cannot be read is skipped with a warning.

        Args:
            directory: Where the files are; None: in memory alone.
            capacity_steps: Steps kept in memory; past that the oldest episodes go.
            capacity_bytes: Bytes of memory kept, likewise. The newest episode always stays.
            next_number: Of the next episode. Files from this number on are not taken for
                episodes. None: the one after the newest file.
        """
        self.directory = directory
        self.capacity_steps = capacity_steps
        self.capacity_bytes = capacity_bytes
        self.steps = 0
        self.nbytes = 0
        self._episodes: list[Episode] = []
        self._numbers: list[int] = []
        self._unwritten = 0
        self._outdated: list[int] = []
        found = self._numbers_on_disk()
        self.next_number = max(found, default=-1) + 1 if next_number is None else next_number
        self._load([number for number in found if number < self.next_number])

    def _numbers_on_disk(self) -> list[int]:
        return [] if self.directory is None else _numbers_in(self.directory)

    def _load(self, numbers: list[int]) -> None:
        """Take in the newest files that fit, from the newest on."""
        newest_first: list[tuple[int, Episode]] = []
        while numbers:
            number = numbers.pop()
            path = self._path(number)
            try:
                episode = load_episode(path)
                if newest_first:
                    _check_like(newest_first[0][1], episode, str(path))
            except UserError as error:
                warnings.warn(f"skipped {error}", stacklevel=3)
                continue
            if newest_first and not self._fits(episode):
                numbers.append(number)
                break
            self._count(episode, 1)
            newest_first.append((number, episode))
        self._outdated = numbers
        self._numbers = [number for number, _ in reversed(newest_first)]
        self._episodes = [episode for _, episode in reversed(newest_first)]

    def _path(self, number: int) -> Path:
        assert self.directory is not None
        return _path_of(self.directory, number)

    @property
    def episodes(self) -> Sequence[Episode]:
        """All episodes kept, oldest first."""
        return tuple(self._episodes)

    @property
    def left_out(self) -> int:
        """Files of older episodes that do not fit the capacity, and that `prune` deletes."""
        return len(self._outdated)

    @property
    def newest(self) -> Episode | None:
        """The episode that was added last."""
        return self._episodes[-1] if self._episodes else None

    def add(self, episode: Episode) -> int:
        """Append an episode, in memory; the oldest go when the capacity is exceeded.

        Returns:
            How many went.

        Raises:
            UserError: The layout of its observation or action is not that of the episodes before.
        """
        if self._episodes:
            _check_like(self._episodes[0], episode, "the new episode")
        self._episodes.append(episode)
        self._numbers.append(self.next_number)
        self._unwritten += 1
        self.next_number += 1
        gone = 0
        self._count(episode, 1)
        while gone < len(self._episodes) - 1 and not self._fits():
            self._count(self._episodes[gone], -1)
            gone += 1
        self._outdated += self._numbers[:gone]
        del self._episodes[:gone], self._numbers[:gone]
        return gone

    def _count(self, episode: Episode, sign: int) -> None:
        self.steps += sign * len(episode)
        self.nbytes += sign * episode.nbytes

    def _fits(self, more: Episode | None = None) -> bool:
        """Whether what is there, and one more, stays within the capacity."""
        steps, nbytes = (0, 0) if more is None else (len(more), more.nbytes)
        return (
            self.steps + steps <= self.capacity_steps
            and self.nbytes + nbytes <= self.capacity_bytes
        )

    def write(self) -> None:
        """Write down what was added since the last time.

        Raises:
            OSError: The disk is full or the folder cannot be written; the next time tries again.
        """
        if self.directory is None:
            return
        while self._unwritten:
            # Those that had to go before they were written are not missed.
            if self._unwritten <= len(self._episodes):
                self.directory.mkdir(parents=True, exist_ok=True)
                save_episode(
                    self._episodes[-self._unwritten], self._path(self._numbers[-self._unwritten])
                )
            self._unwritten -= 1

    def prune(self) -> None:
        """Delete the files of episodes that no longer fit."""
        if self.directory is not None:
            while self._outdated:
                self._path(self._outdated[-1]).unlink(missing_ok=True)
                self._outdated.pop()

    def discard_unknown(self) -> None:
        """Delete the files from `next_number` on: of a run that went on from here, and was lost."""
        for number in self._numbers_on_disk():
            if number >= self.next_number:
                self._path(number).unlink(missing_ok=True)


def _check_like(first: Episode, other: Episode, name: str) -> None:
    if other.layout != first.layout:
        raise UserError(f"{name}: found {other.layout}, expected {first.layout}")
