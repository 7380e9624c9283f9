"""Files as somebody else may have made them: read in bounded time and memory, or refused."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

from planet_ros.data import Episode
from planet_ros.data.store import load_episode
from planet_ros.errors import UserError

MOST_EPISODE_BYTES = 200_000_000
"""Of one episode in memory, and of all that are read: what a page shows of more is no better."""

MOST_EPISODES = 400
"""That are read."""

MOST_HASHED_BYTES = 1_000_000_000


def check_regular(path: Path, most: int) -> int:
    """The size of a file that can be read without waiting for anybody.

    Raises:
        UserError: It is a pipe or a device, is larger, or cannot be looked at.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise UserError(f"{path.name}: cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path.name}: found no regular file")
    if status.st_size > most:
        raise UserError(f"{path.name}: found {status.st_size} bytes, expected at most {most}")
    return status.st_size


def read_bounded(path: Path, most: int) -> bytes:
    """The content of a regular file.

    Raises:
        UserError: As of `check_regular`.
    """
    check_regular(path, most)
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise UserError(f"{path.name}: cannot be read: {error.strerror}") from None
    if len(content) > most:
        raise UserError(f"{path.name}: grows while it is read")
    return content


def unpacked_bytes(path: Path, most: int) -> int:
    """What the arrays of an npz file say that they take in memory.

    Raises:
        UserError: It is no such file, or they take more than `most`.
    """
    check_regular(path, most)
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(item.file_size for item in archive.infolist())
    except Exception as error:  # zip parsing raises many kinds
        raise UserError(f"{path.name}: not a whole npz file: {error}") from None
    if total > most:
        raise UserError(f"{path.name}: found {total} bytes unpacked, expected at most {most}")
    return total


def sha256(path: Path) -> str:
    """SHA-256 of a file, or why there is none."""
    try:
        check_regular(path, MOST_HASHED_BYTES)
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(2**20):
                digest.update(piece)
    except (OSError, UserError) as error:
        return str(error)
    return digest.hexdigest()


def numbered_files(folder: Path) -> dict[int, Path]:
    """The episodes of a folder by their numbers, in order."""
    found = {}
    for path in folder.glob("episode-*.npz"):
        digits = path.stem.removeprefix("episode-")
        if digits.isascii() and digits.isdigit() and len(digits) <= 12:
            found[int(digits)] = path
    return dict(sorted(found.items()))


class Budget:
    """How much more is read of all episodes together."""

    def __init__(self) -> None:
        """Begin with all of it."""
        self.bytes = MOST_EPISODE_BYTES
        self.episodes = MOST_EPISODES

    def load(
        self, files: dict[int, Path], order: Iterator[int], problems: list[str]
    ) -> Iterator[tuple[int, Episode]]:
        """Yield episodes with their numbers as long as there is budget; say what is damaged.

        Args:
            files: By number.
            order: Which first; a number may come twice.
            problems: Takes what is wrong.
        """
        seen = set()
        for number in order:
            if number in seen or number not in files:
                continue
            seen.add(number)
            try:
                taken = unpacked_bytes(files[number], MOST_EPISODE_BYTES)
                if taken > self.bytes or not self.episodes:
                    return
                episode = load_episode(files[number])
            except UserError as error:
                text = str(error).replace(str(files[number]), files[number].name)
                problems.append(f"{files[number].parent.name}/{text}; it is left out")
                continue
            self.bytes -= taken
            self.episodes -= 1
            yield number, episode
