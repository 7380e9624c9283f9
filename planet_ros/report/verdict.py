"""What the figures of a report mean, in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from planet_ros.control.events import NOVEL
from planet_ros.report.evidence import Evidence
from planet_ros.report.forecasts import Forecasts
from planet_ros.report.markup import number, text
from planet_ros.report.metrics import column
from planet_ros.report.timing import Timing

Grade: TypeAlias = Literal["good", "fair", "bad"]

GOOD_ERROR, FAIR_ERROR = 0.3, 0.7
"""Of predictions at the end of the horizon, in standard deviations of the experience."""

CALIBRATED = 0.80, 0.97
"""Share of true values in the model's 90 % interval, with which it knows how sure it may be."""

_FAIR_COVER = 0.6
_NEWEST = 10

_OVERALL = {
    "good": "Sound: nothing here speaks against trying it.",
    "fair": "To be tried with care: look at what is marked ~ first.",
    "bad": "Not to be trusted yet: look at what is marked ✗.",
}


class Finding(NamedTuple):
    """Something that speaks for or against a model; the text is HTML."""

    grade: Grade
    text: str


class Worth(NamedTuple):
    """What the newest evaluation says, or else the newest whole episodes with planned actions."""

    mean: float
    worst: float
    source: str


def worth_of(evidence: Evidence) -> Worth | None:
    """Mean and worst return; None where nobody has looked."""
    for record in reversed(evidence.metrics.of("evaluation")):
        mean, worst = record.get("mean_return"), record.get("worst_return")
        if isinstance(mean, int | float) and isinstance(worst, int | float):
            return Worth(mean, worst, str(record.get("source", "")))
    if evidence.bundle is not None:
        known = evidence.bundle.manifest.evaluation
        if known.mean_return is not None and known.worst_return is not None:
            return Worth(known.mean_return, known.worst_return, known.source)
    returns = column(planned(evidence), "return")[-_NEWEST:]
    if not len(returns):
        return None
    return Worth(
        float(returns.mean()),
        float(returns.min()),
        f"newest {len(returns)} episodes with planned actions",
    )


def planned(evidence: Evidence) -> list[dict[str, object]]:
    """Lines of episodes that the model acted in."""
    return [
        record
        for record in evidence.metrics.of("episode")
        if not record.get("random") and not record.get("imported")
    ]


def findings(
    evidence: Evidence, forecasts: Forecasts | None, timing: Timing | None, hints: Sequence[str]
) -> list[Finding]:
    """All that there is to say, in the order of weight."""
    found = [
        *_of_returns(evidence),
        *_of_forecasts(evidence, forecasts),
        *_of_timing(evidence, timing),
    ]
    found += [Finding("fair", text(hint)) for hint in hints]
    if evidence.problems:
        found.append(
            Finding(
                "fair",
                f"{len(evidence.problems)} things in its files could not be used, see below.",
            )
        )
    return found


def overall(found: Sequence[Finding]) -> tuple[Grade, str]:
    """The worst of the findings, as a sentence."""
    grades = {one.grade for one in found}
    grade: Grade = "bad" if "bad" in grades else "fair" if "fair" in grades else "good"
    return grade, _OVERALL[grade]


def _of_returns(evidence: Evidence) -> list[Finding]:
    found = []
    worth = worth_of(evidence)
    if evidence.run is None:
        found.append(
            Finding(
                "fair",
                "A bundle does not hold what it was learned from: how well it predicts says the "
                "report of its run.",
            )
        )
    elif worth is None:
        found.append(
            Finding("fair", "What it is worth when it acts was not measured: it has not acted yet.")
        )
    acted, explored = (
        planned(evidence),
        [one for one in evidence.metrics.of("episode") if one.get("random")],
    )
    ours, theirs = _a_decision(acted[-_NEWEST:]), _a_decision(explored)
    if np.isfinite([ours, theirs]).all():
        found.append(
            Finding(
                "good" if ours > theirs else "bad",
                f"Its plans earned {number(ours)} a decision in the newest "
                f"{min(len(acted), _NEWEST)} episodes, random actions {number(theirs)}.",
            )
        )
    return found


def _a_decision(records: Sequence[dict[str, object]]) -> float:
    """Reward of a decision, over all of some episodes; NaN where nothing is known of any."""
    decisions = column(records, "decisions")
    known = np.isfinite(decisions) & (decisions > 0)
    if not known.any():
        return float("nan")
    return float(column(records, "return")[known].sum() / decisions[known].sum())


def _of_forecasts(evidence: Evidence, forecasts: Forecasts | None) -> list[Finding]:
    if forecasts is None or not forecasts.labels:
        return []
    error, unmoved = forecasts.relative_error[-1], forecasts.relative_unmoved[-1]
    grade: Grade = "good" if error < GOOD_ERROR else "fair" if error < FAIR_ERROR else "bad"
    whose = "held-out episodes" if evidence.held_out else "episodes that it has learned from"
    words = (
        f"{forecasts.steps} steps ahead its predictions of {whose} are off by {number(error, 2)} "
        f"standard deviations (1: knows nothing but the mean; that all stays as it is: "
        f"{number(unmoved, 2)})."
    )
    if error >= unmoved:
        grade = "bad"
    found = [Finding(grade, words)]
    covered = cover_at(forecasts)
    if not np.isnan(covered):
        low, high = CALIBRATED
        if covered < low:
            # Members that agree say nothing of a sensor's noise, which does no harm.
            harmless = error < GOOD_ERROR
            grade = "fair" if covered >= _FAIR_COVER or harmless else "bad"
            meaning = "it is too sure of itself" + (
                ", of what is off by little" if harmless else ""
            )
        elif covered > high:
            grade, meaning = "fair", "it is better than it thinks"
        else:
            grade, meaning = "good", "it knows how sure it may be"
        found.append(
            Finding(
                grade,
                f"Its 90 % interval holds {covered:.0%} of what comes true "
                f"{steps_judged(forecasts)} steps ahead: {meaning}.",
            )
        )
    if not evidence.held_out:
        found.append(
            Finding("fair", "No episodes were held out: on new ones its errors are larger.")
        )
    return found


def steps_judged(forecasts: Forecasts) -> int:
    """How many steps ahead calibration is judged: ten, where there are as many."""
    return min(10, forecasts.steps)


def cover_at(forecasts: Forecasts) -> float:
    """Share of true values in the model's interval so many steps ahead; NaN where it has none."""
    values = forecasts.covered[steps_judged(forecasts) - 1]
    return float(values.mean()) if len(values) else float("nan")


def _of_timing(evidence: Evidence, timing: Timing | None) -> list[Finding]:
    if timing is None or evidence.signature is None:
        return []
    period_ms = 1000 * evidence.signature.period_s
    slow = float(np.percentile(timing.ms, 99))
    found = []
    if timing.stored and len(timing.novelty):
        novelty = float(timing.novelty.mean())
        leaves = "they leave what the data covers, and may be wrong there"
        found.append(
            Finding(
                "good" if novelty <= NOVEL else "fair",
                f"On its plans from stored observations its members disagree {number(novelty, 2)} "
                "times as much as on the data: "
                f"{'the data covers them' if novelty <= NOVEL else leaves}.",
            )
        )
    grade: Grade = "good" if slow < 0.5 * period_ms else "fair" if slow < period_ms else "bad"
    found.append(
        Finding(
            grade,
            f"A decision takes {number(float(np.median(timing.ms)))} ms, 99 of 100 less than "
            f"{number(slow)} ms on this machine; it is due every {number(period_ms)} ms.",
        )
    )
    return found
