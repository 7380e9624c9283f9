"""Percentiles of recent durations."""

from __future__ import annotations

from collections import deque

import numpy as np


class Latency:
    """The newest durations, up to a number of them."""

    def __init__(self, window: int = 1000) -> None:
        self._values: deque[float] = deque(maxlen=window)

    def add(self, seconds: float) -> None:
        """Take in a duration."""
        self._values.append(seconds)

    def milliseconds(self) -> dict[str, float]:
        """``p50``, ``p99`` and ``max`` of the window; empty before the first duration."""
        newest = tuple(self._values)  # at one go, while another thread adds to them
        if not newest:
            return {}
        values = np.array(newest) * 1e3
        p50, p99 = np.percentile(values, [50, 99])
        return {"p50": float(p50), "p99": float(p99), "max": float(values.max())}
