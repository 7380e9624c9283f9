"""``planet-ros report``: one page by which a person can judge a run, or a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from planet_ros.errors import UserError
from planet_ros.messages.fields import shortened
from planet_ros.report import model_sections, run_sections
from planet_ros.report.details import details
from planet_ros.report.evidence import Evidence, gather
from planet_ros.report.forecasts import Forecasts
from planet_ros.report.markup import number, size, text
from planet_ros.report.page import Section, page, tiles
from planet_ros.report.timing import Timing, planning_times
from planet_ros.report.verdict import (
    Finding,
    cover_at,
    findings,
    overall,
    planned,
    steps_judged,
    worth_of,
)
from planet_ros.training.hints import hints as hints_of

_MOST_PROBLEMS = 30


def report_page(path: Path) -> str:
    """The report of a run or of a bundle, as HTML.

    What of it cannot be used is named on the page; nothing in the folder is touched.

    Raises:
        UserError: It is neither, or a bundle that is damaged.
    """
    evidence = gather(path)
    forecasts = predict(evidence)
    timing = _timing(evidence)
    hints: list[str] = []
    if evidence.signature is not None:
        hints = list(hints_of(evidence.signature, list(evidence.episodes.values())))
    found = findings(evidence, forecasts, timing, hints)
    return page(
        f"{evidence.name}: {path.name}",
        _head(evidence, forecasts, found),
        _sections(evidence, forecasts, timing, hints),
    )


def predict(evidence: Evidence) -> Forecasts | None:
    """How wrong the model of a run is; None, and a problem said, where that cannot be told."""
    if evidence.run is None:
        return None
    from planet_ros.report.forecasting import forecasts_of, load_model  # of torch

    try:
        if evidence.settings is None:
            raise UserError("without settings the checkpoint cannot be read")
        model = load_model(evidence.run, evidence.settings, evidence.interface)
        for episode in evidence.judges.values():
            model.signature.check(episode.layout, "an episode")
        experience = list(evidence.episodes.values()) or list(evidence.judges.values())
        return forecasts_of(model, evidence.judges, experience, evidence.settings.planner.horizon)
    except UserError as error:
        evidence.problems.append(f"predictions: {error}")
    return None


def _timing(evidence: Evidence) -> Timing | None:
    if evidence.bundle is None:
        return None
    try:
        return planning_times(evidence.bundle, evidence.judges)
    except UserError as error:
        evidence.problems.append(str(error))
    return None


def _head(evidence: Evidence, forecasts: Forecasts | None, found: Sequence[Finding]) -> str:
    grade, sentence = overall(found)
    points = "".join(f'<li class="{one.grade}">{one.text}</li>' for one in found)
    what = "A run" if evidence.run is not None else "A bundle"
    kind = ""
    if evidence.bundle is not None:
        kind = f", a model of the kind {text(evidence.bundle.manifest.model_kind, 40)}"
    problems = "".join(
        f'<li class="note">{text(shortened(one, 300), 300)}</li>'
        for one in evidence.problems[:_MOST_PROBLEMS]
    )
    more = len(evidence.problems) - _MOST_PROBLEMS
    if more > 0:
        problems += f'<li class="note">and {more} more</li>'
    return (
        f"<h1>{text(evidence.name)}</h1>"
        f'<p class="sub">{what} in <code>{text(evidence.path)}</code>{kind}</p>'
        f"{tiles(_tiles(evidence, forecasts))}"
        f'<div class="verdict {grade}" id="verdict"><strong>{sentence}</strong>'
        f"<ul>{points}</ul></div>"
        + (
            f'<div class="notes" id="problems"><h3>What could not be used</h3><ul>{problems}</ul>'
            "</div>"
            if problems
            else ""
        )
    )


def _tiles(evidence: Evidence, forecasts: Forecasts | None) -> dict[str, tuple[str, str]]:
    shown: dict[str, tuple[str, str]] = {}
    bundle = evidence.bundle
    steps = episodes = None
    if bundle is not None:
        steps, episodes = bundle.manifest.environment_steps, bundle.manifest.episodes
    lines = evidence.metrics.of("episode")
    if lines:
        steps, episodes = int(lines[-1]["environment_steps"]), len(lines)
    if steps is not None:
        held = f", {len(evidence.held_out)} held out" if evidence.held_out else ""
        shown["Experience"] = (
            f"{steps:,}".replace(",", "\u202f"),
            f"steps in {episodes} episodes{held}",
        )
    worth = worth_of(evidence)
    if worth is not None:
        shown["Mean return"] = (number(worth.mean, 4), text(worth.source, 80))
        shown["Worst return"] = (number(worth.worst, 4), "of these")
    else:
        acted = planned(evidence)
        shown["Return"] = ("—", "not measured" if not acted else "not known")
    if forecasts is not None and forecasts.labels:
        shown["Error"] = (
            number(float(forecasts.relative_error[-1]), 2),
            f"standard deviations, {forecasts.steps} steps ahead",
        )
        if not np.isnan(cover_at(forecasts)):
            shown["In its 90 % interval"] = (
                f"{cover_at(forecasts):.0%}",
                f"of what comes true {steps_judged(forecasts)} steps ahead",
            )
    if bundle is not None and evidence.run is None:
        total = sum(graph.bytes for graph in bundle.manifest.graphs.values())
        shown["Size"] = (size(total), f"horizon {bundle.manifest.horizon}")
    return shown


def _sections(
    evidence: Evidence,
    forecasts: Forecasts | None,
    timing: Timing | None,
    hints: Sequence[str],
) -> list[Section]:
    sections = []
    signature = evidence.signature
    if evidence.run is not None:
        sections.append(Section("learning", "Learning", run_sections.learning(evidence)))
    if forecasts is not None:
        period_s = 1.0 if signature is None else signature.period_s
        sections += [
            Section(
                "ahead",
                "Error ahead",
                model_sections.errors(forecasts),
                model_sections.samples_text(forecasts, bool(evidence.held_out)),
            ),
            Section(
                "calibration",
                "Certainty",
                model_sections.calibration(forecasts),
                "Does the model know how wrong it may be? Of what comes true, nine in ten should "
                "lie within its 90 % interval.",
            ),
            Section(
                "trajectories",
                "Predicted and real",
                model_sections.trajectories(forecasts, period_s),
                "The prediction with the median error, and the worst of all. The band is the "
                "model's 90 % interval.",
            ),
        ]
    if evidence.run is not None:
        sections += [
            Section(
                "episodes",
                "Best and worst episode",
                run_sections.extremes(evidence),
                "Of those that it learned from.",
            ),
            Section("returns", "Returns", run_sections.returns(evidence)),
        ]
    if timing is not None and signature is not None:
        sections.append(Section("planning", "Planning", model_sections.planning(timing, signature)))
    if evidence.run is not None:
        few = (
            f"{len(evidence.episodes)} of {evidence.episode_files} episodes are shown. "
            if len(evidence.episodes) < evidence.episode_files
            else ""
        )
        sections.append(
            Section(
                "data",
                "Where the experience lies",
                model_sections.coverage(evidence, hints),
                f"{few}A model knows nothing of where nobody was.",
            )
        )
    sections.append(Section("details", "Details", details(evidence)))
    return sections
