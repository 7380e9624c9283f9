"""What is set otherwise than when a run was begun: named, and refused unless it is meant."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from planet_ros.config import LearnerSettings, flatten, load_settings
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.interface.files import load_interface
from planet_ros.training.run import RunFolder

OF_THE_MOMENT = frozenset(
    f"training.{name}"
    for name in (
        *("steps", "output", "resume", "accept_changes"),
        *(
            "threads",
            "device",
            "evaluation_episodes",
            "publish_bundle",
            "tensorboard",
            "controller_timeout_s",
            "vector",
        ),
    )
)
"""How far a run goes, where it is computed and who is told: what may differ without a word."""

KEPT = "offline.data"
"""What has no effect on a run that has begun, whoever means it: it keeps what it learns from."""


def accepted_changes(
    run: RunFolder, settings: LearnerSettings, interface: Interface | None
) -> list[str]:
    """A line for a person on each of the `changes`, all of which are meant.

    Raises:
        UserError: There are some, and ``training.accept_changes`` is not set.
    """
    found = changes(run, settings, interface)
    check_meant(run, found, found if settings.training.accept_changes else ())
    return [f"changed: {name}: {text}" for name, text in found.items()]


def changes(
    run: RunFolder, settings: LearnerSettings, interface: Interface | None = None
) -> dict[str, str]:
    """What differs from a run that is there: each setting, and a text such as ``8 → 4``.

    Nothing, where what the run wrote down cannot be read: then it cannot be compared.

    Args:
        run: That is to be continued.
        settings: With which.
        interface: The document of the robot; None: there is none, or it is not known yet.
    """
    compares = interface is not None and run.interface_file.exists()
    try:
        recorded = load_settings(run.settings_file, schema=type(settings))
        robot = load_interface(run.interface_file) if compares else interface
    except UserError:
        return {}
    before = dict(flatten(recorded.model_dump()))
    found = {
        name: f"{_text(before.get(name))} → {_text(value)}"
        for name, value in flatten(settings.model_dump())
        if name not in OF_THE_MOMENT and before.get(name) != value
    }
    if robot != interface and "interface" not in found:
        found["interface"] = f"{settings.interface} is another document than {run.interface_file}"
    return found


def check_meant(run: RunFolder, found: Mapping[str, str], accepted: Iterable[str]) -> None:
    """See that every change is meant.

    Args:
        run: That is to be continued.
        found: See `changes`.
        accepted: Names of settings that are meant.

    Raises:
        UserError: There is another one.
    """
    meant = set(accepted) - {KEPT}
    others = [f"{name}: {text}" for name, text in found.items() if name not in meant]
    if not others:
        return
    raise UserError(
        f"{run.path}: is continued with other settings than it was begun with: {'; '.join(others)}"
        + (
            "; a run keeps the data that it began with: learn from other data in another folder"
            if KEPT in found
            else "; leave them as they were, or say that you mean it: planet-ros train --set "
            "NAME=VALUE, for a node training.accept_changes:=true"
        )
    )


def _text(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


_MOST_SHOWN = 100
