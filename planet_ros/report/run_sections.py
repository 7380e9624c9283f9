"""The parts of a report about what a run did: learning, returns, its best and its worst episode."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from planet_ros.data import Episode, Signature
from planet_ros.report.axes import SMALL
from planet_ros.report.evidence import Evidence
from planet_ros.report.markup import number, text
from planet_ros.report.metrics import (
    MOVING_AVERAGE,
    PARTS_OF_THE_LOSS,
    REWARD_ERRORS,
    column,
    fits_axis,
    groups_of_episodes,
    moving_average,
)
from planet_ros.report.page import grid, picture
from planet_ros.report.plots import INK, Line, Mark, chart, histogram

MOST_FIELDS = 12
"""Numbers that have a chart of their own."""

FRAMES, MOST_FILMS = 10, 3
"""Frames of a film, and films of an episode."""


def learning(evidence: Evidence) -> str:
    """Learning curves."""
    episodes, fits = evidence.metrics.of("episode"), evidence.metrics.of("fit")
    lines = [
        Line(
            name,
            column(records, "environment_steps"),
            column(records, "return"),
            colour,
            dots=True,
            stroke=False,
        )
        for colour, (name, records) in enumerate(groups_of_episodes(episodes).items(), 1)
    ]
    if len(episodes) >= MOVING_AVERAGE:
        steps, returns = column(episodes, "environment_steps"), column(episodes, "return")
        average = moving_average(returns)
        lines.append(Line(f"mean of {MOVING_AVERAGE}", steps[MOVING_AVERAGE - 1 :], average, INK))
    places, name = fits_axis(fits)
    losses = [
        Line(part.replace("_", " "), places, column(fits, part), colour)
        for colour, part in enumerate(PARTS_OF_THE_LOSS)
        if np.isfinite(column(fits, part)).any()
    ]
    positive = all(np.nanmin(np.asarray(line.y)) > 0 for line in losses)
    held = column(fits, "held_out_error")
    errors = [
        Line(label, places, column(fits, error), colour, dots=True)
        for colour, (error, label) in enumerate(REWARD_ERRORS.items(), 1)
        if np.isfinite(column(fits, error)).any()
    ]
    return grid(
        [
            chart("Return of each episode", lines, x="environment steps", y="return"),
            chart(
                "Loss of the model, mean of each fit",
                losses,
                x=name,
                y="loss",
                log=bool(losses) and positive,
            ),
            _held_out(places, name, held),
            chart(
                "Error of the predicted reward on steps not yet learned from",
                errors,
                x=name,
                y="root mean square",
                log=True,
            ),
        ]
    )


def _held_out(places: NDArray[np.float64], name: str, held: NDArray[np.float64]) -> str:
    known = np.isfinite(held)
    if not known.any():
        return ""
    best = int(np.nanargmin(held))
    return chart(
        "Error on held-out episodes over rounds",
        [Line("held-out error", places[known], held[known], 1, dots=True)],
        x=name,
        y="standard deviations",
        log=bool((held[known] > 0).all()),
        marks=[Mark(f"best: {number(held[best])}, kept", float(places[best]), colour=3)],
    )


def returns(evidence: Evidence) -> str:
    """How returns are distributed."""
    records = evidence.metrics.of("episode")
    groups = {name: column(lines, "return") for name, lines in groups_of_episodes(records).items()}
    figures = [histogram("Returns of episodes", groups, x="return", y="episodes")]
    lengths = {
        name: column(lines, "decisions") for name, lines in groups_of_episodes(records).items()
    }
    every = np.concatenate([*lengths.values(), []])
    if len(every) and np.ptp(every[np.isfinite(every)] if np.isfinite(every).any() else [0]) > 0:
        figures.append(histogram("Lengths of episodes", lengths, x="decisions", y="episodes"))
    return grid(figures)


def extremes(evidence: Evidence) -> str:
    """The best and the worst episode of those that can be shown, side by side."""
    if len(evidence.episodes) < 2:
        return ""
    by_return = sorted(evidence.episodes.items(), key=lambda item: item[1].total_reward)
    shown = {
        f"best, episode {by_return[-1][0]}: {number(by_return[-1][1].total_reward, 4)}": (
            by_return[-1][1]
        ),
        f"worst, episode {by_return[0][0]}: {number(by_return[0][1].total_reward, 4)}": (
            by_return[0][1]
        ),
    }
    signature = evidence.signature
    parts = [_films(shown)]
    period_s = 1.0 if signature is None else signature.period_s
    along = "steps" if signature is None else "s"
    panels = []
    for title, unit, curves in _curves(shown, signature):
        lines = [
            Line(name, np.arange(len(values)) * period_s, values, colour)
            for colour, (name, values) in enumerate(curves.items(), 1)
        ]
        panels.append(chart(title, lines, x=along, y=unit, of=SMALL))
    return "".join(parts) + grid(panels, small=True)


def _curves(
    shown: Mapping[str, Episode], signature: Signature | None
) -> Iterator[tuple[str, str, dict[str, NDArray[Any]]]]:
    """Yield title, unit, and a curve of each episode: reward, actions, numbers seen."""
    yield "reward", "", {name: episode.reward for name, episode in shown.items()}
    actions = next(iter(shown.values())).action.shape[1]
    for index in range(min(actions, MOST_FIELDS)):
        title, unit = f"action {index}", ""
        if signature is not None:
            title, unit = signature.action[index].name, signature.action[index].unit
        yield title, unit, {name: episode.action[:, index] for name, episode in shown.items()}
    for part, index, title, unit in fields_of(shown, signature):
        yield (
            title,
            unit,
            {name: episode.observation[part][:, index] for name, episode in shown.items()},
        )


def fields_of(
    shown: Mapping[str, Episode], signature: Signature | None
) -> Iterator[tuple[str, int, str, str]]:
    """Yield the first numbers of vectors: part, index, label and unit."""
    count = 0
    for part, values in next(iter(shown.values())).observation.items():
        if values.ndim != 2:
            continue
        about = None
        if signature is not None:
            about = next(one for one in signature.observation if one.name == part)
        for index in range(values.shape[1]):
            if count == MOST_FIELDS:
                return
            count += 1
            label = f"{part} {index}" if about is None else about.label(index)
            name, bracket, unit = label.rpartition(" [")
            yield part, index, name if bracket else label, unit.rstrip("]") if bracket else ""


def _films(shown: Mapping[str, Episode]) -> str:
    """Pictures of each episode, evenly spread."""
    films = []
    for name, episode in shown.items():
        pictures = [one for one in episode.observation.items() if one[1].ndim == 4]
        for part, frames in pictures[:MOST_FILMS]:
            places = np.unique(np.linspace(0, len(frames) - 1, FRAMES).astype(int))
            films.append(film(f"{name} ({part})", {f"step {one}": frames[one] for one in places}))
    return "".join(films)


def film(title: str, frames: Mapping[str, NDArray[np.uint8]]) -> str:
    """Pictures in a row, each with a word on it."""
    cells = "".join(
        f"<figure>{picture(png(frame), f'{title}, {word}')}{text(word)}</figure>"
        for word, frame in frames.items()
    )
    return f'<h3>{text(title)}</h3><div class="film">{cells}</div>'


def png(frame: NDArray[np.uint8], largest: int = 96) -> bytes:
    """A picture, no larger than it is shown."""
    height, width, channels = frame.shape
    if channels == 2 or channels > 3:  # something that has no colours of its own
        frame = frame.mean(axis=2, keepdims=True).astype(np.uint8)
    image = Image.fromarray(frame[:, :, 0] if frame.shape[2] == 1 else frame)
    if max(height, width) > largest:
        image.thumbnail((largest, largest))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
