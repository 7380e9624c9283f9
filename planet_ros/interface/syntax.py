"""How a path into a message is written; what it means is said in `planet_ros.interface.paths`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from planet_ros.errors import UserError
from planet_ros.messages.fields import MAX_LENGTH, quoted, shortened

MAX_TEXT = 1000
"""Characters of a path at most."""

MAX_DEPTH = 16
"""Fields in fields at most."""

_PART = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*(?:\[([^\[\]]*)\])?\s*")
_SPAN = re.compile(r"([0-9]*)\s*:\s*([0-9]*)\s*(?::\s*([0-9]*))?")
_NAME = re.compile(r"[^\s\[\],](?:[^\[\],\n]{0,98}[^\s\[\],])?")


MAX_SELECTED = 1024
"""Elements that a path names one by one at most."""


@dataclass(frozen=True)
class Places:
    """Elements by their numbers."""

    numbers: tuple[int, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.numbers))


@dataclass(frozen=True)
class Span:
    """Elements from start, to stop where there is one, in steps."""

    start: int
    stop: int | None
    step: int

    def __str__(self) -> str:
        start = "" if self.stop is None and not self.start else self.start
        step = f":{self.step}" if self.step != 1 else ""
        return f"{start}:{'' if self.stop is None else self.stop}{step}"

    @property
    def size(self) -> int:
        """How many, 0 where there is no stop."""
        return 0 if self.stop is None else len(range(self.start, self.stop, self.step))


@dataclass(frozen=True)
class Names:
    """Elements by their names."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(self.names)


Selector: TypeAlias = Places | Span | Names


@dataclass(frozen=True)
class Part:
    """A field, and what of it."""

    name: str
    selector: Selector | None = None

    def __str__(self) -> str:
        return self.name if self.selector is None else f"{self.name}[{self.selector}]"


def parse_parts(text: str) -> tuple[Part, ...]:
    """Read a path.

    Raises:
        UserError: It is none; the text says where.
    """
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_TEXT:
        raise UserError(f"path: found {quoted(text)}, expected 1 to {MAX_TEXT} characters")
    parts: list[Part] = []
    at = 0
    while True:
        found = _PART.match(text, at)
        if found is None:
            raise _no_path(text, at, "a field, such as pose.position.x or data[0:3]")
        name, selector = found.groups()
        parts.append(Part(name, None if selector is None else _selector(text, selector)))
        at = found.end()
        if at == len(text):
            break
        if text[at] != ".":
            raise _no_path(text, at, "a dot, or the end")
        if not _selects_one(parts[-1]):
            raise _no_path(text, at, "nothing behind several elements; name one, such as [0]")
        at += 1
    if len(parts) > MAX_DEPTH:
        raise UserError(f"path {quoted(text)}: found {len(parts)} fields, at most {MAX_DEPTH}")
    return tuple(parts)


def _selects_one(part: Part) -> bool:
    selector = part.selector
    if isinstance(selector, Span):
        return False
    return (
        selector is None
        or len(selector.numbers if isinstance(selector, Places) else selector.names) == 1
    )


def _selector(text: str, inside: str) -> Selector:
    span = _SPAN.fullmatch(inside.strip())
    if span is not None:
        start, stop, step = (_number(text, one) if one else None for one in span.groups())
        chosen = Span(start or 0, stop, 1 if step is None else step)
        if chosen.step < 1 or (stop is not None and chosen.size < 1):
            raise UserError(f"path {quoted(text)}: found no elements in [{inside}], expected some")
        return chosen
    words = [word.strip() for word in inside.split(",")]
    if len(words) > MAX_SELECTED or not all(_NAME.fullmatch(word) for word in words):
        raise UserError(
            f"path {quoted(text)}: found [{shortened(inside)}], expected numbers, start:stop:step, "
            f"or names of 1 to 100 characters, such as [shoulder, elbow]"
        )
    if len(set(words)) < len(words):
        raise UserError(f"path {quoted(text)}: found one twice in [{shortened(inside)}]")
    if all(re.fullmatch("[0-9]+", word) for word in words):
        return Places(tuple(_number(text, word) for word in words))
    return Names(tuple(words))


def _number(text: str, digits: str) -> int:
    if len(digits) > 7 or int(digits) > MAX_LENGTH:
        raise UserError(f"path {quoted(text)}: found {digits[:20]}, expected at most {MAX_LENGTH}")
    return int(digits)


def _no_path(text: str, at: int, expected: str) -> UserError:
    found = quoted(text[at : at + 20]) if at < len(text) else "the end"
    return UserError(f"path {quoted(text)}: found {found} at {at}, expected {expected}")
