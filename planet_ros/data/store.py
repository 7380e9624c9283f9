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


class EpisodeStore:
    """Episodes in memory and, when given a folder, on disk; append-only up to a capacity."""

    def __init__(
        self,
        directory: Path | None = None,
        *,
        capacity_steps: int = 100_000,
        capacity_bytes: int = 2**31,
    ) -> None:
        """Open a store, with the episodes that the folder already holds.

        A file that cannot be read is skipped with a warning and left where it is.

        Args:
            directory: Where the files are; None: in memory alone.
            capacity_steps: Steps kept; past that the oldest episodes go, from disk too.
            capacity_bytes: Bytes of memory kept, likewise. The newest episode always stays.
        """
        self.directory = directory
        self.capacity_steps = capacity_steps
        self.capacity_bytes = capacity_bytes
        self._episodes: list[tuple[Path | None, Episode]] = []
        self._next_number = 0
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            self._load(directory)

    def _load(self, directory: Path) -> None:
        for path in sorted(directory.glob("episode-*.npz")):
            number = re.fullmatch(r"episode-(\d+)", path.stem)
            if number is None:
                continue
            self._next_number = max(self._next_number, int(number[1]) + 1)
            try:
                self._append(path, load_episode(path))
            except UserError as error:
                warnings.warn(f"skipped {error}", stacklevel=3)

    @property
    def episodes(self) -> Sequence[Episode]:
        """All episodes kept, oldest first."""
        return [episode for _, episode in self._episodes]

    @property
    def steps(self) -> int:
        """Steps kept."""
        return sum(len(episode) for _, episode in self._episodes)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the episodes take."""
        return sum(episode.nbytes for _, episode in self._episodes)

    def add(self, episode: Episode) -> None:
        """Append an episode; the oldest go when the capacity is exceeded.

        Raises:
            UserError: The shape of its observation or action differs from the episodes before.
        """
        path = None
        if self._episodes:
            self._check_like(self._episodes[0][1], episode, "the new episode")
        if self.directory is not None:
            path = self.directory / f"episode-{self._next_number:06d}.npz"
            save_episode(episode, path)
        self._next_number += 1
        self._append(path, episode)

    def _append(self, path: Path | None, episode: Episode) -> None:
        if self._episodes:
            self._check_like(self._episodes[0][1], episode, str(path))
        self._episodes.append((path, episode))
        steps, size = self.steps, self.nbytes
        while (steps > self.capacity_steps or size > self.capacity_bytes) and len(
            self._episodes
        ) > 1:
            oldest, gone = self._episodes.pop(0)
            steps -= len(gone)
            size -= gone.nbytes
            if oldest is not None:
                oldest.unlink(missing_ok=True)

    @staticmethod
    def _check_like(first: Episode, other: Episode, name: str) -> None:
        if other.layout != first.layout:
            raise UserError(f"{name}: found {other.layout}, expected {first.layout}")
