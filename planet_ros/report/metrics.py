"""The lines of ``metrics.jsonl`` as somebody else may have written them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from planet_ros.errors import UserError
from planet_ros.report.sources import read_bounded

MOST_BYTES, MOST_LINES = 64_000_000, 200_000
"""Of the file; one with more bytes is not read, and lines beyond are not."""

MOVING_AVERAGE = 10
PARTS_OF_THE_LOSS = (
    "loss",
    "observation_loss",
    "reward_loss",
    "continue_loss",
    "kl",
    "overshooting_kl",
)
REWARD_ERRORS = {
    "one_step_reward_error": "one step ahead",
    "horizon_reward_error": "over the horizon",
}
_NEEDED = {
    "episode": ("return", "environment_steps"),
    "fit": ("environment_steps",),
    "evaluation": ("environment_steps",),
}
_MOST_NAMED = 5


Records: TypeAlias = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Metrics:
    """What was recorded of a run.

    Attributes:
        records: The lines that are whole, in order: numbers are finite.
        problems: What is wrong with others, for a person.
    """

    records: Records
    problems: Sequence[str]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Those of a kind."""
        return [record for record in self.records if record["kind"] == kind]


def read_metrics(file: Path) -> Metrics:
    """Every line that can be used; a missing file has none.

    A line that is no object, or lacks a number that its kind always has, is left out and named;
    a number that is not finite is left out of its line.
    """
    if not file.exists():
        return Metrics([], [])
    try:
        lines = read_bounded(file, MOST_BYTES).decode("utf-8", "replace").splitlines()
    except UserError as error:
        return Metrics([], [str(error)])
    records, wrong = [], []
    if len(lines) > MOST_LINES:
        wrong.append(f"{file.name}: found {len(lines)} lines, of which {MOST_LINES} are read")
    for count, line in enumerate(lines[:MOST_LINES], 1):
        if not line.strip():
            continue
        record = _record(line)
        if isinstance(record, str):
            wrong.append(f"{file.name}, line {count}: {record}; it is left out")
        elif record:
            records.append(record)
    if len(wrong) > _MOST_NAMED:
        more = len(wrong) - _MOST_NAMED
        wrong = [*wrong[:_MOST_NAMED], f"{file.name}: {more} more lines are left out"]
    return Metrics(records, wrong)


def _record(line: str) -> dict[str, Any] | str:
    """A line, or what is wrong with it; nothing of a kind that is not known."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return "is not JSON, as of a line that was cut short"
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        return "is no object with a kind"
    if found["kind"] not in _NEEDED:
        return {}
    record = {name: value for name, value in found.items() if _usable(value)}
    missing = [
        name for name in _NEEDED[found["kind"]] if not isinstance(record.get(name), int | float)
    ]
    if missing:
        return f"of the kind {found['kind']}, without a finite number as {', '.join(missing)}"
    return record


def _usable(value: Any) -> bool:
    if isinstance(value, int | float):
        try:
            return math.isfinite(float(value))
        except OverflowError:
            return False
    return isinstance(value, str)


def column(records: Records, name: str) -> NDArray[np.float64]:
    """One number of each record; NaN where it has none."""
    values = [record.get(name) for record in records]
    return np.array(
        [float(one) if isinstance(one, int | float) else np.nan for one in values], np.float64
    )


def fits_axis(records: Records) -> tuple[NDArray[np.float64], str]:
    """Where fits stand on the axis x, and what that is.

    Environment steps where some were taken between any two; else the number of the fit, as in
    learning from episodes that are there already.
    """
    steps = column(records, "environment_steps")
    if len(np.unique(steps)) < len(steps):
        return np.arange(1.0, len(records) + 1), "fit"
    return steps, "environment steps"


def moving_average(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of `MOVING_AVERAGE` values up to each, from the first on that has so many."""
    return np.convolve(values, np.ones(MOVING_AVERAGE) / MOVING_AVERAGE, mode="valid")


def groups_of_episodes(records: Records) -> dict[str, Records]:
    """Lines of episodes by who acted; those without a line are left out."""
    groups: dict[str, list[dict[str, Any]]] = {
        "random actions": [],
        "planned": [],
        "from data": [],
    }
    for record in records:
        name = "random actions" if record.get("random") else "planned"
        groups["from data" if record.get("imported") else name].append(record)
    return {name: lines for name, lines in groups.items() if lines}
