"""The one place that decides what of a run is on disk, and when.

A commit writes in this order, so that whatever moment the process is killed at, a resume finds the
run as it was at one commit or at the next::

    new episode files ─► lines of metrics.jsonl ─► checkpoint/ takes the place of the old one
                                                     │  ← from here on the commit counts
                                                     └─► files of episodes that no longer fit go

The checkpoint's `RunState` says how many episodes and how many bytes of metrics belong to it. What
a process that was killed wrote beyond that is taken away when the run is continued, and happens
again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

from planet_ros.data import EpisodeStore
from planet_ros.errors import UserError
from planet_ros.files import mend
from planet_ros.training.run import RunFolder
from planet_ros.training.tensorboard import EventLog


class Journal:
    """Keeps what a run has to tell until the next commit."""

    def __init__(self, run: RunFolder, store: EpisodeStore, tensorboard: bool = False) -> None:
        """Begin with nothing to write.

        Args:
            run: Folder of the run.
            store: Its episodes.
            tensorboard: Whether to write the metrics for TensorBoard too.

        Raises:
            UserError: TensorBoard is wanted and not installed.
        """
        self._events = EventLog(run.tensorboard) if tensorboard else None
        self._run = run
        self._store = store
        self._lines: list[dict[str, Any]] = []
        self._committed_s = time.monotonic()

    @property
    def age_s(self) -> float:
        """Seconds since the last commit."""
        return time.monotonic() - self._committed_s

    def record(self, line: dict[str, Any]) -> None:
        """Take a line for the metrics."""
        self._lines.append(line)

    def records(self) -> list[dict[str, Any]]:
        """All lines of the metrics, those that are not yet on disk too."""
        return [*self._run.metrics(), *self._lines]

    def go_back(self, metrics_bytes: int) -> None:
        """Take away what was written after the last commit, and what a kill left half done.

        Args:
            metrics_bytes: Length of the metrics at that commit.

        Raises:
            UserError: The folder cannot be written.
        """
        run = self._run
        try:
            for path in (run.settings_file, run.checkpoint, run.bundle, run.curves_file):
                mend(path)
            mend(run.episodes / "episode-*.npz")
            self._store.discard_unknown()
            if run.metrics_file.exists():
                _cut(run, metrics_bytes)
            if self._events is not None:
                self._events.restart(run.metrics())
        except OSError as error:
            raise unwritable(run, error) from error

    def commit(self, save_checkpoint: Callable[[int], None]) -> None:
        """Make everything so far durable.

        Args:
            save_checkpoint: Writes the checkpoint, given the length of the metrics in bytes.

        Raises:
            UserError: The disk is full or the folder cannot be written: the last commit still
                counts.
        """
        lines = [*self._lines]
        try:
            self._store.write()
            save_checkpoint(self._append_metrics())
            self._store.prune()
            if self._events is not None:
                self._events.add(lines)
        except OSError as error:
            raise unwritable(self._run, error) from error
        self._committed_s = time.monotonic()

    def _append_metrics(self) -> int:
        """Append the lines; give the length of the file."""
        content = "".join(json.dumps(line) + "\n" for line in self._lines).encode()
        with self._run.metrics_file.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                rest = memoryview(content)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(before)  # or the next time would write them twice
                raise
        self._lines.clear()
        return before + len(content)


def _cut(run: RunFolder, length: int) -> None:
    """Cut the metrics to a length, or where they are shorter, to their last whole line."""
    content = run.metrics_file.read_bytes()
    kept = content[:length]
    if len(kept) < length:
        kept = kept[: kept.rfind(b"\n") + 1]
    if len(kept) < len(content):
        os.truncate(run.metrics_file, len(kept))


def unwritable(run: RunFolder, error: OSError) -> UserError:
    """What to tell a person when something of a run could not be written."""
    return UserError(
        f"{run.path}: cannot be written: {error}; what was saved before is whole: mend it, and "
        "continue with --resume, in a launch resume:=true (training.resume)"
    )
