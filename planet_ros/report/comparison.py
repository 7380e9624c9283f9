"""``planet-ros compare``: the learning curves of several runs in one page, and what differs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.config import flatten
from planet_ros.errors import UserError
from planet_ros.messages.fields import shortened
from planet_ros.report.evidence import Evidence, gather
from planet_ros.report.forecasts import Forecasts
from planet_ros.report.markup import number, text
from planet_ros.report.metrics import MOVING_AVERAGE, column, moving_average
from planet_ros.report.page import Section, grid, page, table
from planet_ros.report.plots import Line, chart
from planet_ros.report.report import predict
from planet_ros.report.verdict import cover_at, steps_judged, worth_of
from planet_ros.training.changes import OF_THE_MOMENT

MOST_RUNS = 50
MOST_GROUPS = 6
"""With a colour of their own; the others share the last."""

_NOT_COMPARED = {"seed", *OF_THE_MOMENT} - {"training.steps"}
_GRID = 200  # places of a mean curve
_MOST_DIFFERENCES = 60


@dataclass(frozen=True)
class _Run:
    name: str
    evidence: Evidence
    settings: Mapping[str, Any]
    forecasts: Forecasts | None


@dataclass(frozen=True)
class _Group:
    """Runs whose settings differ by nothing but the seed.

    Attributes:
        name: A letter, and what the runs are called.
        colour: Of its lines.
        runs: At least one.
    """

    name: str
    colour: int
    runs: Sequence[_Run]


def comparison_page(paths: Sequence[Path]) -> str:
    """The page, as HTML.

    Raises:
        UserError: One of the folders is no run, or there are too many.
    """
    if len(paths) > MOST_RUNS:
        raise UserError(f"found {len(paths)} runs, expected at most {MOST_RUNS}")
    groups = _grouped([_read(path) for path in paths])
    head = (
        f"<h1>{_counted(len(paths), 'run')} in {_counted(len(groups), 'group')}</h1>"
        '<p class="sub">Runs of a group differ by nothing but the seed. Thin lines are single '
        "runs, thick ones the mean of a group.</p>"
    )
    problems = "".join(
        f'<li class="note">{text(run.name)}: {text(shortened(problem, 300))}</li>'
        for group in groups
        for run in group.runs
        for problem in run.evidence.problems[:5]
    )
    if problems:
        head += (
            '<div class="notes" id="problems"><h3>What could not be used</h3>'
            f"<ul>{problems}</ul></div>"
        )
    return page(
        "Comparison",
        head,
        [
            Section("curves", "Learning curves", _curves(groups)),
            Section("reached", "What each reached", _reached(groups)),
            Section("settings", "What differs", _differences(groups)),
        ],
    )


def _read(path: Path) -> _Run:
    evidence = gather(path)
    if evidence.run is None:
        raise UserError(f"{path}: found a bundle, expected the folder of a run")
    settings = {} if evidence.settings is None else dict(flatten(evidence.settings.model_dump()))
    if settings:
        imported = any(one.get("imported") for one in evidence.metrics.of("episode"))
        settings["experience"] = "episodes that were there" if imported else "its own"
    return _Run(str(path), evidence, settings, predict(evidence))


def _grouped(runs: Sequence[_Run]) -> list[_Group]:
    found: dict[str, list[_Run]] = {}
    for run in runs:
        kept = {name: value for name, value in run.settings.items() if name not in _NOT_COMPARED}
        # Runs of which the settings are not known are groups of their own.
        key = json.dumps(kept, sort_keys=True) if kept else run.name
        found.setdefault(key, []).append(run)
    return [
        _Group(
            f"{_letters(index)}: {members[0].name}"
            + (f" and {len(members) - 1} more" if len(members) > 1 else ""),
            min(index + 1, MOST_GROUPS),
            members,
        )
        for index, members in enumerate(found.values())
    ]


def _letters(index: int) -> str:
    return chr(65 + index % 26) * (1 + index // 26)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _curves(groups: Sequence[_Group]) -> str:
    figures = []
    for title, kind, name, y, log in (
        ("Return of each episode", "episode", "return", "return", False),
        ("Error on held-out episodes", "fit", "held_out_error", "standard deviations", True),
        ("Loss of the model", "fit", "loss", "loss", True),
        ("Error of the predicted reward over the horizon", "fit", "horizon_reward_error",
         "root mean square", True),
    ):  # fmt: skip
        single: list[Line] = []
        means: list[Line] = []
        along = "environment steps"
        for group in groups:
            curves = []
            for run in group.runs:
                records = run.evidence.metrics.of(kind)
                if kind == "fit":  # the one axis that runs with and without steps share
                    places, along = np.arange(1.0, len(records) + 1), "fit"
                else:
                    places = column(records, "environment_steps")
                values = column(records, name)
                known = np.isfinite(values)
                if known.any():
                    curves.append((places[known], values[known]))
                    single.append(Line("", *curves[-1], group.colour, thin=True))
            if curves:
                means.append(Line(group.name, *_mean(curves, kind == "episode"), group.colour))
        positive = all((np.asarray(line.y) > 0).all() for line in single)
        caption = (
            f"Thick: mean of the runs, over {MOVING_AVERAGE} episodes." if kind == "episode" else ""
        )
        figures.append(
            chart(
                title,
                [*single, *means],
                x=along,
                y=y,
                log=log and positive and bool(single),
                caption=caption,
            )
        )
    return grid(figures)


def _mean(
    curves: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], smooth: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Over the runs of a group, as far as all of them go."""
    if smooth:
        curves = [
            (places[MOVING_AVERAGE - 1 :], moving_average(values))
            if len(values) >= 2 * MOVING_AVERAGE
            else (places, values)
            for places, values in curves
        ]
    first = max(places[0] for places, _ in curves)
    last = min(places[-1] for places, _ in curves)
    if len(curves) == 1 or first >= last:
        return curves[0]
    shared = np.linspace(first, last, _GRID)
    return shared, np.mean([np.interp(shared, *curve) for curve in curves], axis=0)


def _reached(groups: Sequence[_Group]) -> str:
    head = [
        "run", "group", "seed", "steps", "mean return", "worst return", "of",
        "held-out error", "error ahead", "in the 90 % interval",
    ]  # fmt: skip
    rows = [_row(run, group.name.partition(":")[0]) for group in groups for run in group.runs]
    note = (
        "<p class='sub'>Errors are in standard deviations of the experience, at the end of the "
        "horizon; returns of different sources cannot be compared with one another.</p>"
    )
    return table(head, rows) + note


def _row(run: _Run, group: str) -> list[str]:
    evidence, forecasts = run.evidence, run.forecasts
    worth = worth_of(evidence)
    held = column(evidence.metrics.of("fit"), "held_out_error")
    episodes = evidence.metrics.of("episode")
    steps = int(episodes[-1]["environment_steps"]) if episodes else None
    ahead = covered = "—"
    if forecasts is not None and forecasts.labels:
        whose = "held out" if evidence.held_out else "learned from"
        ahead = f"{number(float(forecasts.relative_error[-1]))} ({forecasts.steps} steps, {whose})"
        if np.isfinite(cover_at(forecasts)):
            covered = f"{cover_at(forecasts):.0%} ({steps_judged(forecasts)} steps)"
    return [
        f"<code>{text(run.name)}</code>",
        group,
        text(run.settings.get("seed", "—")),
        "—" if steps is None else str(steps),
        number(None if worth is None else worth.mean, 4),
        number(None if worth is None else worth.worst, 4),
        "—" if worth is None else text(worth.source, 80),
        number(float(np.nanmin(held)) if np.isfinite(held).any() else None),
        ahead,
        covered,
    ]


def _differences(groups: Sequence[_Group]) -> str:
    known = [group for group in groups if group.runs[0].settings]
    if len(known) < 2:
        return "<p>Nothing but the seed.</p>" if len(groups) == 1 else ""
    names = {name: None for group in known for name in group.runs[0].settings}
    rows = []
    for name in names:
        values = [json.dumps(group.runs[0].settings.get(name)) for group in known]
        if name not in _NOT_COMPARED and len(set(values)) > 1:
            rows.append(
                [f"<code>{text(name)}</code>", *(f"<code>{text(v)}</code>" for v in values)]
            )
    return table(["setting", *(text(group.name, 60) for group in known)], rows[:_MOST_DIFFERENCES])
