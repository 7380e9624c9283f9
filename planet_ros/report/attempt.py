"""A picture that cannot be drawn costs no run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path


def on_stderr(text: str) -> None:
    """Warn a person at a terminal."""
    print(f"warning: {text}", file=sys.stderr, flush=True)


def attempt(
    path: Path, draw: Callable[[], object], warn: Callable[[str], object] = on_stderr
) -> bool:
    """Draw a picture of what is saved already; where that fails, say so and go on.

    Args:
        path: The picture, for the warning.
        draw: Draws it.
        warn: Takes the warning, a line for a person.

    Returns:
        Whether it was drawn.
    """
    try:
        draw()
    except Exception as error:  # of matplotlib, the disk, an environment that cannot render …
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        warn(f"{path} could not be drawn ({reason}); all else is saved")
        return False
    return True
