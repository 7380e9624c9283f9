"""Axes of charts: from values to places, ticks and their texts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.report.markup import text

Numbers = NDArray[np.float64]

_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 18, 26, 48


@dataclass(frozen=True)
class Size:
    """Of a drawing, in units that are about a pixel of a desktop's screen."""

    width: int
    height: int

    @property
    def across(self) -> tuple[float, float]:
        """Where the axis x begins and ends."""
        return _LEFT, self.width - _RIGHT

    @property
    def up(self) -> tuple[float, float]:
        """Where the axis y begins and ends."""
        return self.height - _BOTTOM, _TOP


NORMAL, SMALL = Size(460, 276), Size(330, 196)


@dataclass(frozen=True)
class Axis:
    """From values to places: `low` is at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def of(cls, values: Numbers, ends: tuple[float, float]) -> Axis:
        """One that ends where the values do."""
        low, high = float(values.min()), float(values.max())
        if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
            middle, half = low, 0.5 * max(abs(low), 1.0)
            low, high = middle - half, middle + half
        return cls(low, high, *ends)

    def place(self, value: Any) -> Any:
        """Where a value is, or many; what is far off the axis is just beyond its end."""
        if self.log:
            share = (np.log10(value) - math.log10(self.low)) / math.log10(self.high / self.low)
        else:
            share = (np.asarray(value, float) - self.low) / (self.high - self.low)
        return self.start + (self.end - self.start) * np.clip(share, -0.02, 1.02)

    def ticks(self, most: int) -> list[float]:
        """Round values on it, about as many as `most`."""
        if self.log:
            return _log_ticks(self.low, self.high)
        step = _step((self.high - self.low) / most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


def _step(least: float) -> float:
    """1, 2 or 5 times a power of ten, no less than something."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    stride = max(1, (last - first) // 6)
    tens = [10.0**power for power in range(first, last + 1, stride)]
    found = [one for one in tens if low <= one <= high]
    if len(found) >= 3:
        return found
    finer = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    return [one for one in finer if low <= one <= high]


def range_of(values: Numbers, log: bool = False) -> tuple[float, float]:
    """A little more than values take."""
    low, high = float(values.min()), float(values.max())
    if log:
        if high / low < 1.5:
            return low / 1.5, high * 1.5
        margin = (high / low) ** 0.05
        return low / margin, high * margin
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = 0.5 * max(abs(low), 1.0) if low else 0.5
        return low - margin, high + margin
    margin = 0.05 * (high - low)
    return low - margin, high + margin


def edges_of(values: Numbers, bins: int) -> Numbers:
    """Round edges of bins that hold all values, about as many as `bins` or fewer for few values."""
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        half = 0.05 * max(abs(low), 1.0)
        return np.array([low - half, low + half])
    step = _step((high - low) / min(bins, max(4, 2 * math.isqrt(len(values)))))
    first, last = math.floor(low / step), math.ceil(high / step)
    edges: Numbers = step * np.arange(first, max(last, first + 1) + 1, dtype=np.float64)
    return edges


def _tick_text(value: float, ticks: Sequence[float]) -> str:
    """With as many digits as the ticks need to differ."""
    if len(ticks) > 1:
        step = min(abs(b - a) for a, b in itertools.pairwise(ticks))
        if step >= 1e-4 and max(abs(one) for one in ticks) < 1e6:
            digits = max(0, -math.floor(math.log10(step) + 1e-9))
            return f"{value + 0.0:.{digits}f}".replace("-", "−")
    return f"{value:.4g}".replace("-", "−")


def _log_text(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def grid_lines(across: Axis, up: Axis, x: str, y: str, of: Size) -> str:
    """Lines at the ticks of both axes with their values, and what is along the axes."""
    parts, (left, right), (bottom, top) = [], of.across, of.up
    ticks = up.ticks(5)
    for tick in ticks:
        place = float(up.place(tick))
        label = _log_text(tick) if up.log else _tick_text(tick, ticks)
        parts.append(
            f'<line class="g" x1="{left}" x2="{right}" y1="{place:.1f}" '
            f'y2="{place:.1f}"/><text x="{left - 6}" y="{place + 4:.1f}" '
            f'text-anchor="end">{label}</text>'
        )
    ticks = across.ticks(6 if of is NORMAL else 5)
    for tick in ticks:
        place = float(across.place(tick))
        parts.append(
            f'<line class="g" x1="{place:.1f}" x2="{place:.1f}" y1="{top}" '
            f'y2="{bottom}"/><text x="{place:.1f}" y="{bottom + 20}" '
            f'text-anchor="middle">{_tick_text(tick, ticks)}</text>'
        )
    parts.append(
        f'<text class="a" x="2" y="14">{text(y, 60)}</text>'
        f'<text class="a" x="{(left + right) / 2}" y="{of.height - 6}" '
        f'text-anchor="middle">{text(x, 60)}</text>'
    )
    return "".join(parts)
