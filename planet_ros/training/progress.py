"""Progress of long work: a bar on a terminal, lines in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import TextIO

from tqdm import tqdm


class Progress:
    """Counts up to a total, with a note on how it goes.

    On a terminal there is one bar that moves. Anywhere else `line` prints a line, with the time
    left, and `advance` nothing, so that a log holds what a person would read.
    """

    def __init__(
        self,
        total: int,
        unit: str,
        *,
        stream: TextIO | None = None,
        write: Callable[[str], None] | None = None,
    ) -> None:
        """Begin.

        Args:
            total: Where it ends.
            unit: What is counted, in the plural.
            stream: Where it goes; standard error by default.
            write: Takes the lines in place of the stream; there is no bar then.
        """
        self._stream = stream or sys.stderr
        self._write = write
        self._total, self._unit = total, unit
        self._start = self._done = 0
        self._began = time.monotonic()
        self._bar = (
            tqdm(total=total, unit=unit, file=self._stream, dynamic_ncols=True)
            if write is None and self._stream.isatty()
            else None
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()

    def start_at(self, done: int) -> None:
        """Count what an earlier run did, which says nothing of the speed of this one."""
        self._start = self._done = done
        if self._bar is not None:
            self._bar.reset()
            self._bar.update(done)

    def advance(self, count: int = 1) -> None:
        """Count work done."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)

    def line(self, note: str) -> None:
        """Say how it goes, with the count and the time left."""
        if self._bar is not None:
            tqdm.write(note, file=self._stream)
            return
        text = f"[{self._done}/{self._total} {self._unit}, {self.time_left()} left] {note}"
        if self._write is not None:
            self._write(text)
        else:
            print(text, file=self._stream, flush=True)

    def time_left(self) -> str:
        """The time left at the mean speed so far, as hours:minutes:seconds."""
        done = self._done - self._start
        if done == 0:
            return "?"
        seconds = (time.monotonic() - self._began) / done * (self._total - self._done)
        return str(timedelta(seconds=round(max(0.0, seconds))))
