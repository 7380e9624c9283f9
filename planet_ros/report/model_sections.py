"""The parts of a report about the model: errors, certainty, planning time, where its data lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from planet_ros.control.events import NOVEL
from planet_ros.data import Episode, Signature
from planet_ros.report.axes import SMALL
from planet_ros.report.evidence import Evidence
from planet_ros.report.forecasts import HALF_WIDTH, INTERVAL, SAMPLES, Forecasts, Prediction
from planet_ros.report.markup import number, text
from planet_ros.report.page import folded, grid, table
from planet_ros.report.plots import INK, Line, Mark, chart, histogram
from planet_ros.report.run_sections import MOST_FIELDS, film
from planet_ros.report.timing import Timing
from planet_ros.report.verdict import CALIBRATED

_AHEAD = "steps ahead"
_MOST_DOTS = 1500  # of a group in a scatter plot
_MOST_NUMBERS = 64  # that are looked at for where the data lies
_FRAMES, _MOST_FILMS = 8, 3


def split_label(label: str) -> tuple[str, str]:
    """``angle [rad]`` as name and unit."""
    name, bracket, unit = label.rpartition(" [")
    return (name, unit.rstrip("]")) if bracket else (label, "")


def errors(forecasts: Forecasts) -> str:
    """Error against the number of steps ahead, with the spread that the model expects."""
    steps = np.arange(1, forecasts.steps + 1)
    figures = []
    if forecasts.labels:
        figures.append(
            chart(
                "All numbers together",
                [
                    Line(
                        "that all stays as it is",
                        steps,
                        forecasts.relative_unmoved,
                        INK,
                        dashed=True,
                    ),
                    Line(
                        "spread that the model expects",
                        steps,
                        forecasts.relative_spread,
                        2,
                        dashed=True,
                    ),
                    Line("error", steps, forecasts.relative_error, 1, dots=True),
                ],
                x=_AHEAD,
                y="standard deviations of the experience",
                log=True,
                caption="Root mean squares. 1 is the error of somebody who knows nothing but the "
                "mean.",
            )
        )
    for name, values in forecasts.pixels.items():
        figures.append(
            chart(
                f"Pixels of {name}",
                [Line("error", steps, values, 1, dots=True)],
                x=_AHEAD,
                y="levels of 0 to 255",
                from_zero=True,
                caption="Root mean square.",
            )
        )
    single = []
    for index, label in enumerate(forecasts.labels[:MOST_FIELDS]):
        name, unit = split_label(label)
        lines = [
            Line("expected spread", steps, forecasts.spread[:, index], 2, dashed=True),
            Line("error", steps, forecasts.error[:, index], 1),
        ]
        single.append(chart(name, lines, x=_AHEAD, y=unit, of=SMALL, from_zero=True))
    return grid(figures) + grid(single, small=True)


def calibration(forecasts: Forecasts) -> str:
    """Share of true values in the model's interval against the number of steps ahead."""
    if not forecasts.labels or not np.isfinite(forecasts.covered).any():
        return ""
    steps = np.arange(1, forecasts.steps + 1)
    together = 100 * forecasts.covered.mean(axis=1)
    single = [
        Line("", steps, 100 * forecasts.covered[:, index], 6, thin=True)
        for index in range(min(len(forecasts.labels), 4 * MOST_FIELDS))
    ]
    low, high = (100 * share for share in CALIBRATED)
    figure = chart(
        "Share of true values within the 90 % interval",
        [*single, Line("all numbers together", steps, together, 1, dots=True)],
        x=_AHEAD,
        y="%",
        y_range=(0, 104),
        marks=[
            Mark(f"{low:.0f} to {high:.0f} %: knows how sure it may be", low, high, False, 3),
            Mark("as it claims", 100 * INTERVAL, vertical=False),
        ],
        caption="The interval is the mean of the trajectories that the model holds possible, and "
        "1.645 of their standard deviations to both sides. Pale: each number by itself.",
    )
    rows = [
        [
            str(step),
            *(f"{forecasts.covered[step - 1, index]:.0%}" for index in _first(forecasts)),
            f"<b>{forecasts.covered[step - 1].mean():.0%}</b>",
        ]
        for step in sorted({1, 2, 5, 10, 20, 50, forecasts.steps})
        if step <= forecasts.steps
    ]
    head = [
        "steps ahead",
        *(text(forecasts.labels[index], 40) for index in _first(forecasts)),
        "all",
    ]
    return grid([figure]) + folded("The figures", table(head, rows, "figures"))


def _first(forecasts: Forecasts) -> range:
    return range(min(len(forecasts.labels), 8))


def trajectories(forecasts: Forecasts, period_s: float) -> str:
    """Predicted beside what came true: the prediction with the median error, and the worst."""
    parts = []
    for title, one in (("Usual", forecasts.usual), ("Worst", forecasts.worst)):
        where = f"from step {one.start} of episode {one.episode}"
        figures = [
            _trajectory(one, index, label, period_s)
            for index, label in enumerate(forecasts.labels[:MOST_FIELDS])
        ]
        films = "".join(_films(one))
        parts.append(f"<h3>{title}: {where}</h3>{films}{grid(figures, small=True)}")
        if one is forecasts.worst and forecasts.usual is forecasts.worst:
            break
    return "".join(parts)


def _trajectory(one: Prediction, index: int, label: str, period_s: float) -> str:
    name, unit = split_label(label)
    before, truth = one.before[:, index], one.truth[:, index]
    expected = np.concatenate([before[-1:], one.expected[:, index]])
    spread = np.concatenate([[0.0], one.spread[:, index]])
    ahead = np.arange(len(expected)) * period_s
    seen = np.arange(1 - len(before), 1) * period_s
    known = np.isfinite(spread).all()
    return chart(
        name,
        [
            Line(
                "predicted",
                ahead,
                expected,
                2,
                low=expected - HALF_WIDTH * spread if known else None,
                high=expected + HALF_WIDTH * spread if known else None,
            ),
            Line(
                "came true",
                np.concatenate([seen, ahead[1:]]),
                np.concatenate([before, truth]),
                1,
                dashed=True,
            ),
        ],
        x="seconds ahead",
        y=unit,
        of=SMALL,
        marks=[Mark("", 0.0)],
    )


def _films(one: Prediction) -> Iterator[str]:
    for name, (true, expected) in list(one.images.items())[:_MOST_FILMS]:
        places = np.unique(np.linspace(0, len(true) - 1, _FRAMES).astype(int))
        yield film(f"{name}: came true", {f"{at + 1} ahead": true[at] for at in places})
        yield film(f"{name}: predicted", {f"{at + 1} ahead": expected[at] for at in places})


def planning(timing: Timing, signature: Signature) -> str:
    """How long decisions take, and how far plans leave what the data covers."""
    period_ms = 1000 * signature.period_s
    shown = timing.ms.max() > 0.2 * period_ms
    marks = [Mark(f"control period, {number(period_ms)} ms", period_ms)] if shown else []
    what = "stored observations" if timing.stored else "observations of zeros"
    return grid(
        [
            histogram(
                "Time of a decision",
                {"": timing.ms},
                x="ms",
                y="decisions",
                marks=marks,
                caption=f"{len(timing.ms)} decisions for {what}, in onnxruntime on this machine, "
                f"now. Half take less than {number(float(np.median(timing.ms)))} ms, the slowest "
                f"{number(float(timing.ms.max()))} ms; one is due every {number(period_ms)} ms.",
            ),
            histogram(
                "Novelty of plans",
                {"": timing.novelty},
                x="disagreement, in parts of that on the data",
                y="decisions",
                marks=[Mark(f"from {NOVEL:g} on plans leave the data", NOVEL)],
                caption="How far the members of the model disagree on what it plans: 1 is as on "
                "the data that it learned from.",
            ),
        ]
    )


# ── where the data lies ──────────────────────────────────────────────────────────────────────


def coverage(evidence: Evidence, hints: Sequence[str]) -> str:
    """Where in the space of observations the experience lies, and what a person may change."""
    groups = _groups(evidence)
    notes = "".join(f'<li class="note">{text(hint)}</li>' for hint in hints)
    notes = f'<div class="notes"><ul>{notes}</ul></div>' if notes else ""
    if not groups:
        return notes
    labels = _labels(evidence, next(iter(groups.values())).shape[1])
    every = np.concatenate(list(groups.values()))
    figures = []
    plain, names = _without_circles(every, labels)
    moving, whitened = _whitened(plain)
    if len(moving) >= 2:
        first, second = (moving[one] for one in _telling(whitened))
        starts = np.cumsum([0, *map(len, groups.values())])
        figures.append(
            _scatter(
                "The two numbers that tell most of the others",
                {
                    name: plain[start : start + len(rows), [first, second]]
                    for (name, rows), start in zip(groups.items(), starts, strict=False)
                },
                names[first],
                names[second],
            )
        )
    mean, scale = every.mean(axis=0), every.std(axis=0)
    moving, whitened = _whitened(every)
    if len(moving) >= 3:
        _, sizes, axes = np.linalg.svd(whitened[:: max(1, len(whitened) // 5000)], False)
        share = np.square(sizes) / np.square(sizes).sum()
        names = [f"component {one + 1}, {share[one]:.0%} of the spread" for one in range(2)]
        figures.append(
            _scatter(
                "The first two principal components",
                {
                    name: (rows - mean)[:, moving] / scale[moving] @ axes[:2].T
                    for name, rows in groups.items()
                },
                *names,
            )
        )
    return notes + grid(figures) + folded("Every number", _ranges(every, labels))


def _scatter(title: str, groups: Mapping[str, NDArray[np.float64]], x: str, y: str) -> str:
    lines = []
    for colour, (name, points) in enumerate(groups.items(), 1):
        kept = points[:: max(1, -(-len(points) // _MOST_DOTS))]
        lines.append(Line(name, kept[:, 0], kept[:, 1], colour, dots=True, stroke=False, thin=True))
    return chart(title, lines, x=x, y=y)


def _groups(evidence: Evidence) -> dict[str, NDArray[np.float64]]:
    """All numbers seen, (n, D), by whose they are."""
    who = {
        int(record["episode"]): (
            "from data"
            if record.get("imported")
            else "random actions"
            if record.get("random")
            else "planned"
        )
        for record in evidence.metrics.of("episode")
        if isinstance(record.get("episode"), int)
    }
    rows: dict[str, list[NDArray[np.float64]]] = {}
    for number_, episode in evidence.episodes.items():
        rows.setdefault(who.get(number_, "learned from"), []).append(_vectors(episode))
    for episode in evidence.held_out.values():
        rows.setdefault("held out", []).append(_vectors(episode))
    joined = {name: np.concatenate(values)[:, :_MOST_NUMBERS] for name, values in rows.items()}
    return {name: values for name, values in joined.items() if values.shape[1]}


def _vectors(episode: Episode) -> NDArray[np.float64]:
    parts = [
        values.astype(np.float64) for values in episode.observation.values() if values.ndim == 2
    ]
    return np.concatenate(parts, axis=1) if parts else np.zeros((len(episode) + 1, 0))


def _labels(evidence: Evidence, count: int) -> list[str]:
    first = next(iter({**evidence.held_out, **evidence.episodes}.values()))
    about = {}
    if evidence.signature is not None:
        about = {part.name: part for part in evidence.signature.observation}
    labels = [
        about[name].label(index) if name in about else f"{name} {index}"
        for name, values in first.observation.items()
        if values.ndim == 2
        for index in range(values.shape[1])
    ]
    return labels[:count]


def _whitened(rows: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Which numbers change at all, and these around 0 with a spread of 1."""
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    moving = np.flatnonzero(scale > 1e-9 * np.maximum(1.0, np.abs(mean)))
    return moving, (rows - mean)[:, moving] / scale[moving]


def _without_circles(
    rows: NDArray[np.float64], labels: Sequence[str]
) -> tuple[NDArray[np.float64], list[str]]:
    """With the angle in place of its cosine and sine, which would be drawn as a circle."""
    columns: list[NDArray[np.float64]] = []
    names: list[str] = []
    index = 0
    while index < rows.shape[1]:
        pair = rows[:, index : index + 2]
        on_circle = pair.shape[1] == 2 and bool(
            (np.abs(np.square(pair).sum(axis=1) - 1) < 1e-3).all() and (pair.std(axis=0) > 0).all()
        )
        if on_circle:
            columns.append(np.arctan2(pair[:, 1], pair[:, 0]))
            name = labels[index].removeprefix("cos").strip(" ()")
            names.append(f"{name or 'angle'} [rad]")
        else:
            columns.append(pair[:, 0])
            names.append(labels[index])
        index += 1 + on_circle
    return np.stack(columns, axis=1), names


def _telling(whitened: NDArray[np.float64]) -> tuple[int, int]:
    """Two numbers of which the others, linearly, can be told best; one after the other."""
    rows = whitened[:: max(1, len(whitened) // 5000)].copy()
    chosen: list[int] = []
    for _ in range(2):
        lengths = np.square(rows).sum(axis=0)
        shared = np.square(rows.T @ rows).sum(axis=0)
        gain = np.where(lengths > 1e-6 * len(rows), shared / np.maximum(lengths, 1e-12), -1.0)
        gain[chosen] = -1.0
        best = int(gain.argmax())
        chosen.append(best)
        axis = rows[:, best] / max(1e-12, float(np.linalg.norm(rows[:, best])))
        rows -= np.outer(axis, axis @ rows)
    return chosen[0], chosen[1]


def _ranges(every: NDArray[np.float64], labels: Sequence[str]) -> str:
    rows = [
        [
            text(label),
            *(
                number(float(value))
                for value in (column.min(), column.mean(), column.max(), column.std())
            ),
        ]
        for label, column in list(zip(labels, every.T, strict=True))[:100]
    ]
    head = ["number", "least", "mean", "greatest", "standard deviation"]
    return table(head, rows, "figures")


def samples_text(forecasts: Forecasts, held_out: bool) -> str:
    """What the predictions are made from."""
    whose = (
        "held-out episodes, of which the model learned nothing"
        if held_out
        else "the newest episodes, which the model has learned from: errors on new ones are larger"
    )
    return (
        f"{forecasts.starts} predictions from places in {forecasts.episodes} episodes: {whose}. "
        f"The model is shown an episode up to there, and predicts what its actions bring; "
        f"up to {SAMPLES} trajectories say what else it holds possible."
    )
