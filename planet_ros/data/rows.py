"""An array that grows and shrinks as experience comes and goes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_FIRST_CAPACITY = 256


class Rows:
    """An array (rows, …) that grows at its end and shrinks at both.

    Appending takes time for what is appended alone, on average: where there is no room left, the
    rows move to an array twice as long as they are.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        """Start without rows, each of which will have this shape."""
        self._buffer: NDArray[Any] = np.empty((_FIRST_CAPACITY, *shape), dtype)
        self._begin = self._end = 0

    def __len__(self) -> int:
        return self._end - self._begin

    @property
    def view(self) -> NDArray[Any]:
        """The rows, without a copy: good until the next change."""
        return self._buffer[self._begin : self._end]

    def append(self, values: NDArray[Any]) -> None:
        """Add rows (n, …) at the end."""
        if self._end + len(values) > len(self._buffer):
            rows = self.view
            length = max(_FIRST_CAPACITY, 2 * (len(rows) + len(values)))
            self._buffer = np.empty((length, *rows.shape[1:]), rows.dtype)
            self._buffer[: len(rows)] = rows
            self._begin, self._end = 0, len(rows)
        self._buffer[self._end : self._end + len(values)] = values
        self._end += len(values)

    def drop_first(self, count: int) -> None:
        """Take rows away from the beginning."""
        self._begin += count

    def drop_last(self, count: int) -> None:
        """Take rows away from the end."""
        self._end -= count
