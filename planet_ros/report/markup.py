"""Texts of strangers as HTML, and numbers as a person reads them."""

from __future__ import annotations

import html
import math

LONGEST_TEXT = 300
"""Characters of one text that are shown."""


def text(value: object, longest: int = LONGEST_TEXT) -> str:
    """A text as HTML that shows it and does nothing else, whatever is in it.

    What cannot be printed, such as control characters and those that turn the direction of
    writing, is shown as �; what is too long is cut.
    """
    shown = str(value)
    if len(shown) > longest:
        shown = f"{shown[:longest]}…"
    return html.escape("".join(one if one.isprintable() else "�" for one in shown))


def lines(value: str, longest: int) -> str:
    """A text of several lines likewise."""
    cut = value if len(value) <= longest else f"{value[:longest]}…"
    return "\n".join(text(line, longest) for line in cut.split("\n"))


def number(value: float | None, digits: int = 3) -> str:
    """A number with at most so many digits, and all before the point; — for none."""
    if value is None or not math.isfinite(value):
        return "—"
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if not -4 <= magnitude < 7:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    shown = f"{value:.{max(0, digits - 1 - magnitude)}f}".replace("-", "−")
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def size(count: float) -> str:
    """Bytes for a person."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
