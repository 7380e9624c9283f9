"""The folded part of a report: settings, interface, versions, hashes."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from planet_ros.config import flatten, schema
from planet_ros.data import Signature
from planet_ros.interface.files import interface_text
from planet_ros.report.evidence import Evidence
from planet_ros.report.markup import lines, number, size, text
from planet_ros.report.page import folded, table
from planet_ros.report.sources import sha256

MOST_INTERFACE_CHARACTERS = 30_000
_MOST_NAMES = 100  # of the numbers of one part


def details(evidence: Evidence) -> str:
    """All of it; each can be opened."""
    return "".join(
        [
            folded("What is seen and done", _signature(evidence.signature)),
            folded("Settings", _settings(evidence)),
            folded("Interface of the robot", _interface(evidence)),
            folded("Versions", _versions(evidence)),
            folded("Files and their hashes", _files(evidence)),
        ]
    )


def _signature(signature: Signature | None) -> str:
    if signature is None:
        return ""
    seen = []
    for part in signature.observation:
        shape = " × ".join(map(str, part.shape))
        numbers = range(0 if part.role == "image" else min(part.shape[0], _MOST_NAMES))
        names = ", ".join(part.label(index) for index in numbers)
        seen.append([text(part.name), text(part.role), shape, text(names, 1000)])
    done = [
        [
            text(part.name),
            f"{number(part.low)} to {number(part.high)}",
            text(part.unit),
            "" if part.max_rate is None else f"at most {number(part.max_rate)} a second",
        ]
        for part in signature.action
    ]
    delay = f", acting {signature.delay_periods} periods later" if signature.delay_periods else ""
    return (
        table(["observation", "role", "size", "numbers"], seen[:100])
        + table(["action", "range", "unit", "change"], done[:100])
        + f"<p>A decision every {number(signature.period_s)} s{delay}.</p>"
    )


def _settings(evidence: Evidence) -> str:
    if evidence.settings is None:
        return ""
    defaults = {setting.name: setting.default for setting in schema(type(evidence.settings))}
    values = list(flatten(evidence.settings.model_dump()))
    changed = [(name, value) for name, value in values if value != defaults.get(name)]
    kept = [(name, value) for name, value in values if value == defaults.get(name)]

    def rows(shown: list[tuple[str, object]]) -> Iterator[list[str]]:
        for name, value in shown:
            yield [f"<code>{text(name)}</code>", f"<code>{text(json.dumps(value))}</code>"]

    return table(["other than by default", "value"], rows(changed)) + table(
        ["as by default", "value"], rows(kept)
    )


def _interface(evidence: Evidence) -> str:
    if evidence.interface is None:
        return ""
    shown = lines(interface_text(evidence.interface), MOST_INTERFACE_CHARACTERS)
    return f"<pre>{shown}</pre>"


def _versions(evidence: Evidence) -> str:
    rows = []
    if evidence.bundle is not None:
        manifest = evidence.bundle.manifest
        rows = [
            ["bundle made", text(manifest.created)],
            *([f"by {text(name)}", text(value)] for name, value in manifest.software.items()),
        ][:50]
    rows += [
        ["report made with Python", platform.python_version()],
        ["and numpy", text(np.__version__)],
        ["on", text(f"{platform.system()} {platform.machine()}, {sys.platform}")],
    ]
    return table(["", ""], rows)


def _files(evidence: Evidence) -> str:
    rows = []
    for path in _known_files(evidence):
        if path.is_file():
            name = path.relative_to(evidence.path)
            rows.append(
                [
                    f"<code>{text(name)}</code>",
                    size(path.stat().st_size),
                    f"<code>{text(sha256(path))}</code>",
                ]
            )
    return table(["file", "size", "SHA-256"], rows) if rows else ""


def _known_files(evidence: Evidence) -> Iterator[Path]:
    folders = [evidence.path]
    if evidence.run is not None:
        run = evidence.run
        yield from (run.settings_file, run.interface_file, run.metrics_file)
        folders = [run.bundle, run.checkpoint, run.best]
    for folder in folders:
        if folder.is_dir():
            yield from [one for one in sorted(folder.iterdir()) if one.is_file()][:10]
