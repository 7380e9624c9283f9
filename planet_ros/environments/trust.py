"""What somebody else's document may name without being asked for: no Python of its own choice.

A bundle says in which environment it was learned, and so names Python: modules to import, wrappers.
Whoever made the bundle chose those names, and importing a module runs it. So a name that is not on
the list below has to be allowed by the person who uses the bundle, in so many words.
"""

from __future__ import annotations

from collections.abc import Collection

from planet_ros.environments.environment import EnvironmentSpec
from planet_ros.errors import UserError

_OWN_WRAPPERS = {
    "planet_ros.environments.wrappers": (
        "ActionRepeat",
        "AngleEncoding",
        "ArrangeImage",
        "RenderedImage",
        "SelectObservation",
    ),
    "planet_ros.environments.action_wrappers": (
        "BoundedAction",
        "NormalizedAction",
        "SelectAction",
    ),
}
"""Where those of this project are; `planet_ros.wrappers` has them all."""

KNOWN_WRAPPERS = frozenset(
    {
        *(
            f"{module}:{name}"
            for home, names in _OWN_WRAPPERS.items()
            for module in ("planet_ros.wrappers", home)
            for name in names
        ),
        # Those of Gymnasium that only compute: none writes files, opens a window or takes a
        # function.
        *(
            f"gymnasium.wrappers:{name}"
            for name in (
                "AddRenderObservation",
                "ClipAction",
                "ClipReward",
                "DelayObservation",
                "DtypeObservation",
                "FilterObservation",
                "FlattenObservation",
                "FrameStackObservation",
                "GrayscaleObservation",
                "MaxAndSkipObservation",
                "NormalizeObservation",
                "NormalizeReward",
                "OrderEnforcing",
                "PassiveEnvChecker",
                "RecordEpisodeStatistics",
                "RepeatAction",
                "RescaleAction",
                "RescaleObservation",
                "ReshapeObservation",
                "ResizeObservation",
                "StickyAction",
                "TimeAwareObservation",
                "TimeLimit",
            )
        ),
    }
)
"""Wrappers that any document may name."""


def check_names(spec: EnvironmentSpec, allowed: Collection[str], where: str) -> None:
    """See that an environment names no Python but what is known here or was allowed.

    Nothing is imported for it. The environment's id counts where Gymnasium's registry knows it
    once the allowed modules are imported; an id that says a module itself (``module:Name-v0``)
    names that module.

    Args:
        spec: As a document gives it, its arguments plain JSON, which stays what it is.
        allowed: Modules that may be imported, by their full names.
        where: The document, for the error.

    Raises:
        UserError: It names another module or wrapper; the text says the flag that allows it.
    """
    wanted = python_of(spec)
    refused = {name: what for name, what in wanted.items() if name not in allowed}
    if refused:
        flags = " ".join(f"--allow-python {_short(name)}" for name in list(refused)[:5])
        named = ", ".join(_short(what) for what in list(refused.values())[:5])
        raise UserError(
            f"{where}: names {named}, which would run Python that whoever made the bundle chose; "
            f"if you know and trust it, add {flags}"
        )


def python_of(spec: EnvironmentSpec) -> dict[str, str]:
    """Modules that an environment needs beside those known here, each with what names it."""
    module, colon, _ = spec.id.rpartition(":")
    modules = {name: f"the module {name}" for name in spec.modules}
    if colon:
        modules.setdefault(module, f"the environment {spec.id}")
    for text in spec.wrappers:
        entry_point = text.partition(" ")[0]
        if entry_point not in KNOWN_WRAPPERS:
            modules.setdefault(entry_point.partition(":")[0], f"the wrapper {entry_point}")
    return modules


def _short(text: str) -> str:
    """On one line, and what does not print escaped: it is to be read, and perhaps copied."""
    plain = text if text.isprintable() else repr(text)
    return plain if len(plain) <= 100 else f"{plain[:100]}…"
