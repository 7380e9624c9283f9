"""Charts as inline SVG: lines with bands, points and bars, with axes and values to point at.

Colours are names of the page's style, so that a chart is right in light, in dark and on paper. What
is drawn is bounded, however much there is: lines are thinned so that no peak is lost.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from planet_ros.report.axes import NORMAL, Axis, Numbers, Size, edges_of, grid_lines, range_of
from planet_ros.report.markup import text

MOST_POINTS = 300
"""Of a line; and of points, all that a page can carry, ten times as many."""

_LARGEST = 1e30


INK = 0
"""The colour of text, for what all else is compared with; series count from 1 to 6."""


@dataclass(frozen=True)
class Line:
    """Values over x; where both are no number there is a gap.

    Attributes:
        label: For the legend and for who points at it; empty: neither.
        x: (n,).
        y: (n,).
        colour: `INK`, or 1 to 6.
        low: (n,) lower end of a band around it; None: no band.
        high: (n,) its upper end.
        dots: Draw the points.
        stroke: Draw the line between them.
        dashed: As a dashed line.
        thin: As one among many.
    """

    label: str
    x: ArrayLike
    y: ArrayLike
    colour: int = 1
    low: ArrayLike | None = None
    high: ArrayLike | None = None
    dots: bool = False
    stroke: bool = True
    dashed: bool = False
    thin: bool = False


@dataclass(frozen=True)
class Mark:
    """A part of an axis that is shaded, or a place on it that is marked by a line.

    Attributes:
        label: For the legend; empty: none.
        low: Where it begins.
        high: Where it ends; None: it is a line.
        vertical: Whether it is on the axis x.
        colour: As of `Line`.
    """

    label: str
    low: float
    high: float | None = None
    vertical: bool = True
    colour: int = INK


def chart(
    title: str,
    series: Sequence[Line],
    *,
    x: str,
    y: str,
    log: bool = False,
    marks: Sequence[Mark] = (),
    caption: str = "",
    from_zero: bool = False,
    y_range: tuple[float, float] | None = None,
    of: Size = NORMAL,
    legend: bool = True,
) -> str:
    """A figure with lines, points and bands; empty where there is nothing to draw.

    Args:
        title: Above it.
        series: What to draw, the last on top.
        x: What is along the axis x, with its unit.
        y: Likewise.
        log: Whether y is logarithmic; what is not positive is left out then.
        marks: Behind the lines.
        caption: Below, HTML.
        from_zero: Whether y begins at 0.
        y_range: Of the axis; None: of what is drawn.
        of: How large it is.
        legend: Whether to say what the colours are.
    """
    drawn = [_thinned(one) for one in series]
    if log:
        drawn = [
            {name: np.where(v > 0, v, np.nan) if name != "x" else v for name, v in one.items()}
            for one in drawn
        ]
    values = [one[name] for one in drawn for name in ("y", "low", "high") if name in one]
    finite = _finite(values)
    if not finite.size:
        return ""
    places = _finite([one["x"] for one in drawn])
    across = Axis.of(places, of.across)
    if y_range is None:
        extra = [mark.low for mark in marks if not mark.vertical and mark.high is None]
        y_range = range_of(np.concatenate([finite, extra, [0.0] if from_zero else []]), log)
        if from_zero:
            y_range = 0.0, y_range[1]
    up = Axis(*y_range, *of.up, log)
    body = [grid_lines(across, up, x, y, of), *(_mark(mark, across, up, of) for mark in marks)]
    for one, line in zip(drawn, series, strict=True):
        body.append(_line(line, one, across, up))
    pointed = [
        {"n": line.label, "x": _rounded(one["x"]), "y": _rounded(one["y"])}
        for one, line in zip(drawn, series, strict=True)
        if line.label
    ]
    keys = [(mark.label, _mark_key(mark)) for mark in marks if mark.label]
    keys += [(line.label, _line_key(line)) for line in series if line.label]
    return _figure(
        title,
        body,
        of,
        legend=keys if legend else [],
        caption=caption,
        data={"a": [across.start, across.end, across.low, across.high], "l": x, "s": pointed},
    )


def histogram(
    title: str,
    groups: Mapping[str, ArrayLike],
    *,
    x: str,
    y: str,
    marks: Sequence[Mark] = (),
    caption: str = "",
    bins: int = 24,
) -> str:
    """A figure with bars, of several groups on top of one another; empty without a value."""
    of = NORMAL
    known = {name: _finite([values]) for name, values in groups.items()}
    every = np.concatenate([*known.values(), []])
    if not every.size:
        return ""
    edges = edges_of(every, bins)
    counts = {name: np.histogram(values, edges)[0] for name, values in known.items()}
    total = np.sum(list(counts.values()), axis=0)
    places = [edges[0], edges[-1], *(mark.low for mark in marks)]
    across = Axis.of(np.array(places), of.across)
    up = Axis(0.0, range_of(np.array([0.0, float(total.max())]))[1], *of.up)
    body = [grid_lines(across, up, x, y, of)]
    below = np.zeros(len(total))
    for colour, values in enumerate(counts.values(), 1):
        for start, end, foot, count in zip(edges, edges[1:], below, values, strict=False):
            if count:
                left, right = across.place(start) + 0.5, across.place(end) - 0.5
                top = up.place(foot + count)
                body.append(
                    f'<rect class="b c{colour}" x="{left:.1f}" y="{top:.1f}" '
                    f'width="{max(1.0, right - left):.1f}" height="{up.place(foot) - top:.1f}"/>'
                )
        below = below + values
    body += [_mark(mark, across, up, of) for mark in marks]
    centres = _rounded((edges[1:] + edges[:-1]) / 2)
    pointed = [{"n": name, "x": centres, "y": values.tolist()} for name, values in counts.items()]
    keys = [
        (name, f'<i class="k box c{colour}"></i>') for colour, name in enumerate(counts, 1) if name
    ]
    keys += [(mark.label, _mark_key(mark)) for mark in marks if mark.label]
    return _figure(
        title,
        body,
        of,
        legend=keys,
        caption=caption,
        data={"a": [across.start, across.end, across.low, across.high], "l": x, "s": pointed},
    )


# ── what is drawn ────────────────────────────────────────────────────────────────────────────


def _thinned(line: Line) -> dict[str, Numbers]:
    """The arrays of a line by name, without more points than are drawn."""
    arrays = {
        name: _clipped(values)
        for name, values in (("x", line.x), ("y", line.y), ("low", line.low), ("high", line.high))
        if values is not None
    }
    count, most = len(arrays["x"]), MOST_POINTS if line.stroke else 10 * MOST_POINTS
    if count <= most:
        return arrays
    if not line.stroke:
        kept = np.linspace(0, count - 1, most).astype(int)
    else:  # the least and the greatest of each piece
        kept_ones = {0, count - 1}
        for piece in np.array_split(np.arange(count), most // 2):
            values = arrays["y"][piece]
            if np.isfinite(values).any():
                kept_ones |= {int(piece[np.nanargmin(values)]), int(piece[np.nanargmax(values)])}
        kept = np.array(sorted(kept_ones))
    return {name: values[kept] for name, values in arrays.items()}


def _clipped(values: ArrayLike) -> Numbers:
    array = np.asarray(values, np.float64).reshape(-1)
    return np.where(np.isfinite(array) & (np.abs(array) < _LARGEST), array, np.nan)


def _finite(arrays: Sequence[ArrayLike]) -> Numbers:
    joined = np.concatenate([_clipped(one) for one in arrays] or [np.zeros(0)])
    return joined[np.isfinite(joined)]


def _line(line: Line, arrays: Mapping[str, Numbers], across: Axis, up: Axis) -> str:
    x, y = across.place(arrays["x"]), up.place(arrays["y"])
    parts = []
    if "low" in arrays and "high" in arrays:
        low, high = up.place(arrays["low"]), up.place(arrays["high"])
        whole = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
        if whole.any():
            outline = [*zip(x[whole], high[whole], strict=True)]
            outline += [*zip(x[whole], low[whole], strict=True)][::-1]
            parts.append(f'<path class="f c{line.colour}" d="M{_points(outline)}Z"/>')
    if line.stroke:
        whole = np.isfinite(x) & np.isfinite(y)
        runs = np.split(np.arange(len(x)), np.flatnonzero(np.diff(whole.astype(int))) + 1)
        path = "".join(
            f"M{_points([*zip(x[run], y[run], strict=True)])}"
            for run in runs
            if len(run) and whole[run[0]]
        )
        kind = f"s c{line.colour}{' d' if line.dashed else ''}{' t' if line.thin else ''}"
        parts.append(f'<path class="{kind}" d="{path}"/>')
    if line.dots:
        # A path of strokes without length, with round ends: a fifth of the bytes of circles.
        dots = "".join(
            f"M{one:.1f} {other:.1f}h0"
            for one, other in zip(x, y, strict=True)
            if np.isfinite(one) and np.isfinite(other)
        )
        parts.append(f'<path class="p c{line.colour}{" t" if line.thin else ""}" d="{dots}"/>')
    return "".join(parts)


def _points(points: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _mark(mark: Mark, across: Axis, up: Axis, of: Size) -> str:
    axis = across if mark.vertical else up
    first = float(axis.place(mark.low))
    (left, right), (bottom, top) = of.across, of.up
    if mark.high is None:
        ends = (
            f'x1="{first:.1f}" x2="{first:.1f}" y1="{top}" y2="{bottom}"'
            if mark.vertical
            else f'x1="{left}" x2="{right}" y1="{first:.1f}" y2="{first:.1f}"'
        )
        return f'<line class="m c{mark.colour}" {ends}/>'
    last = float(axis.place(mark.high))
    low, wide = min(first, last), abs(last - first)
    area = (
        f'x="{low:.1f}" width="{wide:.1f}" y="{top}" height="{bottom - top}"'
        if mark.vertical
        else f'x="{left}" width="{right - left}" y="{low:.1f}" height="{wide:.1f}"'
    )
    return f'<rect class="z c{mark.colour}" {area}/>'


def _line_key(line: Line) -> str:
    if not line.stroke:
        return f'<i class="k dot c{line.colour}"></i>'
    return f'<i class="k{" dash" if line.dashed else ""} c{line.colour}"></i>'


def _mark_key(mark: Mark) -> str:
    kind = "dash" if mark.high is None else "pale"
    return f'<i class="k {kind} c{mark.colour}"></i>'


def _rounded(values: Numbers) -> list[float | None]:
    return [None if not math.isfinite(one) else float(f"{one:.4g}") for one in values]


def _figure(
    title: str,
    body: Sequence[str],
    of: Size,
    *,
    legend: Sequence[tuple[str, str]],
    caption: str,
    data: Mapping[str, Any],
) -> str:
    keys = "".join(f"<li>{key}{text(label, 80)}</li>" for label, key in legend)
    said = html.escape(json.dumps(data, separators=(",", ":"), allow_nan=False))
    return (
        f'<figure class="chart"><h3>{text(title, 100)}</h3>'
        + (f'<ul class="legend">{keys}</ul>' if keys else "")
        + f'<svg viewBox="0 0 {of.width} {of.height}" role="img" aria-label="{text(title, 100)}" '
        f'data-plot="{said}">{"".join(body)}</svg>'
        + (f"<figcaption>{caption}</figcaption>" if caption else "")
        + "</figure>"
    )
