"""Errors in somebody else's code: whose, of what kind, and where."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

from planet_ros.errors import UserError

_PACKAGE = str(Path(__file__).resolve().parents[1])
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))


class BrokenEnvironment(UserError):
    """An environment raised an error, or gave what is not a step.

    What came before it can be kept; the next episode may go better.
    """


def reason(error: BaseException) -> str:
    """Kind, text and place of an error, for a person who is to mend it.

    A bare ``assert`` has no text: it is quoted.
    """
    kind, text, frame = type(error).__name__, str(error).strip(), _frame(error)
    if frame is None:
        return f"{kind}: {text}" if text else kind
    if not text and frame.line:
        text = frame.line
    place = f"{frame.filename}, line {frame.lineno}, in {frame.name}"
    return f"{kind}: {text} ({place})" if text else f"{kind} ({place})"


def _frame(error: BaseException) -> traceback.FrameSummary | None:
    """The innermost place that is in nobody's library, else the innermost outside this package."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_PACKAGE, "<"))
    ]
    own = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)]
    return next(reversed(own or frames), None)
