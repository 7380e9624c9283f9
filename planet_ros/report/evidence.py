"""What a run, or a bundle, holds that a person can judge it by.

Its files may be damaged, or somebody else's: what cannot be used is left out and named, nothing of
it is executed, and time and memory are bounded.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from planet_ros.bundle.manifest import MANIFEST_FILE
from planet_ros.bundle.runtime import Bundle, load_bundle
from planet_ros.config import LearnerSettings, load_settings
from planet_ros.data import Episode, Signature
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.interface.files import load_interface
from planet_ros.report.metrics import Metrics, column, read_metrics
from planet_ros.report.sources import Budget, check_regular, numbered_files
from planet_ros.training.run import RunFolder

MOST_TEXT_BYTES = 1_000_000
"""Of settings, and of the document about a robot."""

_NEWEST = 5


@dataclass
class Evidence:
    """All that a report is made of.

    Attributes:
        path: Folder of the run or of the bundle.
        run: The run; None: a bundle is all there is.
        problems: What could not be used, for a person.
        settings: Of the run.
        bundle: The model as a controller takes it.
        interface: Of a robot.
        signature: What is seen and done.
        metrics: Of the run.
        episodes: Some of those learned from, by number, oldest first.
        held_out: Likewise of those that are not.
        episode_files: How many there are.
    """

    path: Path
    run: RunFolder | None = None
    problems: list[str] = field(default_factory=list)
    settings: LearnerSettings | None = None
    bundle: Bundle | None = None
    interface: Interface | None = None
    signature: Signature | None = None
    metrics: Metrics = field(default_factory=lambda: Metrics([], []))
    episodes: Mapping[int, Episode] = field(default_factory=dict)
    held_out: Mapping[int, Episode] = field(default_factory=dict)
    episode_files: int = 0

    @property
    def judges(self) -> Mapping[int, Episode]:
        """Episodes to predict: those held out, else the newest, of which the model saw least."""
        if self.held_out:
            return self.held_out
        return dict(list(self.episodes.items())[-_NEWEST:])

    @property
    def name(self) -> str:
        """Of the environment or the robot."""
        if self.interface is not None:
            return f"Robot commanded on {self.interface.action[0].topic}"
        if self.bundle is not None and self.bundle.manifest.environment is not None:
            return self.bundle.manifest.environment.id
        return "Unknown environment" if self.settings is None else self.settings.env_id


def gather(path: Path) -> Evidence:
    """Read a run or a bundle.

    Raises:
        UserError: It is neither.
    """
    run = RunFolder(path)
    is_bundle = (path / MANIFEST_FILE).exists()
    is_run = any(
        one.exists() for one in (run.settings_file, run.metrics_file, run.checkpoint, run.episodes)
    )
    if not (is_bundle or is_run):
        found = "another folder" if path.is_dir() else "a file" if path.exists() else "nothing"
        raise UserError(
            f"{path}: found {found}, expected the folder of a run (settings.yaml, metrics.jsonl, "
            f"…) or of a bundle ({MANIFEST_FILE})"
        )
    evidence = Evidence(path)
    if is_bundle:
        evidence.bundle = load_bundle(path)
        evidence.interface = evidence.bundle.manifest.interface
        evidence.signature = evidence.bundle.manifest.signature
        return evidence
    evidence.run = run
    _read_run(evidence, run)
    return evidence


def _read_run(evidence: Evidence, run: RunFolder) -> None:
    problems = evidence.problems
    evidence.metrics = read_metrics(run.metrics_file)
    problems += evidence.metrics.problems
    for said, there in (
        ("settings.yaml is missing: what the run was told is not known", run.settings_file),
        ("there is no bundle yet: no fit was finished", run.bundle),
    ):
        if not there.exists():
            problems.append(said)
    try:
        if run.settings_file.exists():
            check_regular(run.settings_file, MOST_TEXT_BYTES)
            evidence.settings = load_settings(run.settings_file, schema=LearnerSettings)
    except UserError as error:
        problems.append(str(error))
    try:
        if run.bundle.exists():
            evidence.bundle = load_bundle(run.bundle)
            evidence.signature = evidence.bundle.manifest.signature
            evidence.interface = evidence.bundle.manifest.interface
    except UserError as error:
        problems.append(str(error))
    try:
        if run.interface_file.exists():
            check_regular(run.interface_file, MOST_TEXT_BYTES)
            evidence.interface = load_interface(run.interface_file)
    except UserError as error:
        problems.append(str(error))
    _read_episodes(evidence, run)


def _read_episodes(evidence: Evidence, run: RunFolder) -> None:
    """Those that judge first, then the best and the worst, the newest, and some of the others."""
    budget, problems = Budget(), evidence.problems
    held = numbered_files(run.held_out)
    evidence.held_out = _fitting(evidence, dict(budget.load(held, iter(held), problems)))
    files = numbered_files(run.episodes)
    evidence.episode_files = len(files)
    records = evidence.metrics.of("episode")
    numbers, returns = column(records, "episode"), column(records, "return")
    known = np.isin(numbers, list(files)) & np.isfinite(returns)
    extremes: list[int] = []
    if known.any():
        numbers, returns = numbers[known].astype(int), returns[known]
        extremes = [int(numbers[returns.argmax()]), int(numbers[returns.argmin()])]
    order = itertools.chain(extremes, list(files)[-_NEWEST:], _spread(list(files)))
    evidence.episodes = _fitting(evidence, dict(budget.load(files, order, problems)))


def _spread(numbers: list[int]) -> Iterator[int]:
    """All of them, each next one far from those before (in van der Corput's order)."""
    bits = max(1, (len(numbers) - 1).bit_length())
    for index in range(2**bits):
        place = int(f"{index:0{bits}b}"[::-1], 2)
        if place < len(numbers):
            yield numbers[place]


def _fitting(evidence: Evidence, episodes: dict[int, Episode]) -> dict[int, Episode]:
    """Those of the model's signature, or where that is not known of the first one's, in order."""
    kept: dict[int, Episode] = {}
    for number, episode in sorted(episodes.items()):
        try:
            if evidence.signature is not None:
                evidence.signature.check(episode.layout, f"episode {number}")
            elif kept and episode.layout != next(iter(kept.values())).layout:
                raise UserError(f"episode {number}: is of another layout than the first")
        except UserError as error:
            evidence.problems.append(f"{error}; it is left out")
            continue
        kept[number] = episode
    return kept
