"""The metrics of a run once more, as TensorBoard reads them.

What is in ``metrics.jsonl`` is what counts. Its lines are appended here after each commit; when a
run is continued all is written anew from them, so that nothing is there twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from planet_ros.errors import UserError

_PATTERN = "events.out.tfevents.*"
_AXES = {"episode": "environment_steps", "evaluation": "environment_steps", "fit": "fit"}
"""What is along the axis of each kind of lines: fits may follow one another without a step."""


class EventLog:
    """A folder with one file of events."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is written yet.

        Raises:
            UserError: The package tensorboard is not installed.
        """
        try:
            import torch.utils.tensorboard  # noqa: F401
        except ImportError as error:
            raise UserError(
                f"training.tensorboard: found true, but {error}; install it with: pip install "
                "'.[tensorboard]' in the folder of planet_ros, or set it to false"
            ) from None
        self._folder = folder
        self._file = folder / _PATTERN

    def restart(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Put these lines in the place of all that was there.

        Raises:
            OSError: They cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for file in self._folder.glob(_PATTERN):
            file.unlink()
        # A name of its own each time: TensorBoard goes on where it stopped in a file that it knows.
        self._file = self._folder / _PATTERN.replace("*", f"{time.time_ns()}.planet_ros")
        self.add(records)

    def add(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Append lines.

        Raises:
            OSError: They cannot be written.
        """
        from tensorboard.compat.proto.event_pb2 import Event
        from torch.utils.tensorboard import RecordWriter
        from torch.utils.tensorboard.summary import scalar

        with self._file.open("ab") as file:
            writer = RecordWriter(file)
            if not file.tell():
                writer.write(
                    Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString()
                )
            for step, tag, value in _scalars(records):
                event = Event(wall_time=time.time(), step=step, summary=scalar(tag, value))
                writer.write(event.SerializeToString())
            writer.flush()


def _scalars(records: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, str, float]]:
    """Yield step, tag such as ``fit/loss``, and value of every number."""
    for record in records:
        kind = record.get("kind")
        axis = _AXES.get(str(kind))
        if axis is None or not isinstance(record.get(axis), int):
            continue
        for name, value in record.items():
            plain = isinstance(value, int | float) and not isinstance(value, bool)
            if plain and name not in ("episode", "fit") and math.isfinite(value):
                yield record[axis], f"{kind}/{name}", float(value)
