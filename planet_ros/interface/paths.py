"""Where in a message numbers are: paths, read and written by attribute access.

```
pose.pose.position.x          one number
twist.twist.linear            all numbers of a message in it, as defined: x, y, z
data                          a whole array
data[3]  data[0, 2]           elements, counted from 0
data[0:3]  ranges[::8]        start:stop:step, as in Python, without negative numbers
position[shoulder, elbow]     elements by the names in `name` or `joint_names`
points[0].positions           through an array of messages, by number or by name
```

There is no other syntax, and nothing is evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planet_ros.errors import UserError
from planet_ros.interface import structure
from planet_ros.interface.syntax import MAX_DEPTH, Names, Part, Places, Span, parse_parts
from planet_ros.messages.fields import MAX_LENGTH, UNREADABLE, Make, shortened


class NotNamedError(UserError):
    """A name that a path asks for is not in the message."""


@dataclass(frozen=True)
class FieldPath:
    """Where in a message numbers are; made by `parse_path`.

    Attributes:
        parts: Field after field.
    """

    parts: tuple[Part, ...]
    # Where names were found last, by the part, and how a nested message was taken apart. A joint
    # keeps its place in nearly all messages, which is seen at each of them.
    _found: dict[int, tuple[int, ...]] = field(
        default_factory=dict, compare=False, repr=False, hash=False
    )
    _nested: dict[type, attrgetter[Any]] = field(
        default_factory=dict, compare=False, repr=False, hash=False
    )

    @cached_property
    def text(self) -> str:
        """The path as it is usually written."""
        return ".".join(map(str, self.parts))

    @property
    def size(self) -> int:
        """How many numbers the text itself says; 0: it does not say."""
        selector = self.parts[-1].selector
        if isinstance(selector, Span):
            return selector.size
        if selector is None:
            return 0
        return len(selector.numbers if isinstance(selector, Places) else selector.names)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the last field's elements are looked up by; none where they are not."""
        selector = self.parts[-1].selector
        return selector.names if isinstance(selector, Names) else ()

    def labels(self, size: int, name: str = "", example: object = None) -> tuple[str, ...]:
        """What each of the numbers is called: ``position[shoulder]``.

        Args:
            size: How many there are.
            name: What they are called together, in place of the path.
            example: A message, from which the numbers of a nested one get their names.
        """
        if name and size == 1:
            return (name,)
        last = self.parts[-1]
        stem = name or ".".join(map(str, (*self.parts[:-1], last.name)))
        if isinstance(last.selector, Names):
            return tuple(f"{stem}[{one}]" for one in last.selector.names)
        if isinstance(last.selector, Places):
            return tuple(f"{stem}[{one}]" for one in last.selector.numbers)
        if isinstance(last.selector, Span):
            start, step = last.selector.start, last.selector.step
            return tuple(f"{stem}[{start + index * step}]" for index in range(size))
        nested = self._leaf_names(example) if example is not None else ()
        if len(nested) == size:
            return tuple(f"{stem}.{one}" for one in nested)
        return (stem,) if size == 1 else tuple(f"{stem}[{index}]" for index in range(size))

    def read(self, message: Any) -> NDArray[np.float64]:
        """The numbers (n,) in a message; whether they are finite is for the caller to see.

        Raises:
            NotNamedError: A name is not in the message.
            UserError: A field is missing, a place is behind the end, or it is no number.
        """
        try:
            return self._read(message)
        except UNREADABLE as error:
            raise self._unreadable(message, error) from None

    def write(self, message: Any, values: ArrayLike, make: Make) -> None:
        """Set the numbers in a message.

        Arrays become as long as is needed, with zeros; messages in arrays are made; names that the
        message does not have are added to those that it has.

        Args:
            message: A message that may be changed.
            values: (n,).
            make: Gives empty messages.

        Raises:
            UserError: A field is missing, or cannot hold them.
        """
        try:
            self._write(message, np.asarray(values, np.float64).reshape(-1).tolist(), make)
        except (*UNREADABLE, AssertionError) as error:  # the latter from rclpy, of what cannot be
            raise self._unreadable(message, error) from None

    def put(self, message: Any, value: object, make: Make) -> None:
        """Set a constant: a text, a number, a list of either, or a time in seconds.

        Raises:
            UserError: A field is missing, or is of another kind.
        """
        try:
            holder = self._enter(message, make)[-1]
            last = self.parts[-1]
            current = structure.field_of(holder, last.name, self.text)
            texts = value if isinstance(value, list) and value else [value]
            if any(isinstance(one, str) for one in texts):
                if isinstance(current, str):
                    expected = "" if isinstance(value, str) else "a text"
                elif structure.holds_texts(holder, last.name):
                    expected = "texts" if isinstance(value, str) or last.selector else ""
                else:
                    expected = "numbers" if structure.is_array(current) else "a number"
                if expected:
                    raise UserError(f"{self.text}: found {value!r}, expected {expected}")
                setattr(holder, last.name, value)
            elif isinstance(current, str) or structure.holds_texts(holder, last.name):
                raise UserError(f"{self.text}: found {value!r}, expected a text, or several")
            elif structure.is_duration(current) and structure.is_number(value):
                structure.put_seconds(current, structure.number_of(value, self.text))
            else:
                self._write(message, np.asarray(value, np.float64).reshape(-1).tolist(), make)
        except (*UNREADABLE, AssertionError) as error:
            raise self._unreadable(message, error) from None

    def resolve(self, message: Any, make: Make) -> int:
        """See that an empty message has the fields, and how many numbers they are.

        Args:
            message: An empty message of the type, which may be changed.
            make: Gives empty messages.

        Returns:
            The size, 0 where the message does not say, as of an array that is empty in it.

        Raises:
            UserError: A field is missing, is a text, or its elements have no names.
        """
        try:
            chain = self._enter(message, make)
            last = self.parts[-1]
            value = structure.field_of(chain[-1], last.name, self.text)
            if last.selector is not None:
                if not structure.is_array(value):
                    raise self._no_array(last, value)
                if isinstance(last.selector, Names):
                    structure.names_in(chain, self.text)
                return self.size
            if structure.is_array(value):
                return len(structure.row_of(value, self.text))
            return len(self._numbers(value))
        except (*UNREADABLE, AssertionError) as error:
            raise self._unreadable(message, error) from None

    def named(self, names: tuple[str, ...]) -> FieldPath:
        """The path to the same array, with its elements by their names."""
        last = Part(self.parts[-1].name, Names(names))
        return FieldPath((*self.parts[:-1], last))

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    def _read(self, message: Any) -> NDArray[np.float64]:
        here, chain = message, [message]
        for index, part in enumerate(self.parts[:-1]):
            here = structure.field_of(here, part.name, self.text)
            if part.selector is not None:
                here = self._one_of(here, index, chain)
            chain.append(here)
        last = self.parts[-1]
        value = structure.field_of(here, last.name, self.text)
        selector = last.selector
        if selector is None:
            if structure.is_array(value):
                return structure.row_of(value, self.text)
            return self._numbers(value)
        if not structure.is_array(value):
            raise self._no_array(last, value)
        if isinstance(selector, Span):
            needed = selector.start + (selector.size - 1) * selector.step + 1
            if selector.stop is not None and needed > len(value):
                raise self._too_short(last, len(value), needed)
            return structure.row_of(
                value[selector.start : selector.stop : selector.step], self.text
            )
        places = self._places(len(self.parts) - 1, chain)
        if max(places) >= len(value):
            raise self._too_short(last, len(value), max(places) + 1)
        if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype == np.float64:
            return value[list(places)]
        return np.array([structure.number_of(value[place], self.text) for place in places])

    def _numbers(self, value: Any) -> NDArray[np.float64]:
        """Those of a field that is no array."""
        if structure.is_number(value):
            return np.array([float(value)])
        take = self._nested.get(type(value))
        if take is None:
            names = [name for name, _ in structure.leaves(value, self.text)]
            take = attrgetter(*names)
            if structure.is_declared(type(value)) and len(self._nested) < MAX_DEPTH:
                self._nested[type(value)] = take
        found = take(value)
        found = found if isinstance(found, tuple) else (found,)
        rows = [
            structure.row_of(one, self.text)
            if structure.is_array(one)
            else [structure.number_of(one, self.text)]
            for one in found
        ]
        return np.concatenate(rows)

    def _one_of(self, elements: Any, index: int, chain: list[Any]) -> Any:
        """The message in an array of messages."""
        part = self.parts[index]
        if not structure.is_array(elements):
            raise self._no_array(part, elements)
        (place,) = self._places(index, chain)
        if place >= len(elements):
            raise self._too_short(part, len(elements), place + 1)
        return elements[place]

    def _places(self, index: int, chain: list[Any]) -> tuple[int, ...]:
        """Numbers of the elements that a part selects."""
        selector = self.parts[index].selector
        if isinstance(selector, Places):
            return selector.numbers
        assert isinstance(selector, Names)
        _, _, names = structure.names_in(chain, self.text)
        places, count = self._found.get(index), len(names)
        if places is not None:
            for place, name in zip(places, selector.names, strict=True):
                if place >= count or names[place] != name:
                    break
            else:
                return places
        if count > MAX_LENGTH:
            raise UserError(f"{self.text}: found {count} names, expected at most {MAX_LENGTH}")
        where: dict[object, int] = {}
        for place, name in enumerate(names):
            if isinstance(name, str):
                where.setdefault(name, place)
        missing = [name for name in selector.names if name not in where]
        if missing:
            known = shortened(", ".join(map(repr, [*where][:50])), 500)
            raise NotNamedError(
                f"{self.text}: found no {', '.join(map(repr, missing))} in the message, expected "
                f"one of [{known}]"
            )
        self._found[index] = places = tuple(where[name] for name in selector.names)
        return places

    # ── writing ──────────────────────────────────────────────────────────────────────────────

    def _enter(self, message: Any, make: Make) -> list[Any]:
        """The message and those in it on the way to the last field, which are made where needed."""
        here, chain = message, [message]
        for index, part in enumerate(self.parts[:-1]):
            if part.selector is None:
                here = structure.field_of(here, part.name, self.text)
            else:
                (place,) = self._places_to_write(index, chain)
                here = structure.element(here, part.name, place, make, self.text)
            chain.append(here)
        return chain

    def _places_to_write(self, index: int, chain: list[Any]) -> tuple[int, ...]:
        """As `_places`; names that are missing are added."""
        selector = self.parts[index].selector
        if isinstance(selector, Names):
            holder, attribute, names = structure.names_in(chain, self.text)
            missing = [name for name in selector.names if name not in names]
            if missing:
                setattr(holder, attribute, [*names, *missing])
        return self._places(index, chain)

    def _write(self, message: Any, values: list[float], make: Make) -> None:
        chain = self._enter(message, make)
        holder, last = chain[-1], self.parts[-1]
        current = structure.field_of(holder, last.name, self.text)
        if last.selector is None and not structure.is_array(current):
            self._write_single(holder, last.name, current, values)
            return
        if not structure.is_array(current):
            raise self._no_array(last, current)
        if last.selector is None:
            row = values
        else:
            if isinstance(last.selector, Span):
                start, step = last.selector.start, last.selector.step
                places = tuple(range(start, start + step * len(values), step))
            else:
                places = self._places_to_write(len(self.parts) - 1, chain)
            if len(places) != len(values) or (self.size and self.size != len(values)):
                raise self._wrong_size(len(values), self.size or len(places))
            row = structure.row_of(current, self.text).tolist()
            row += [0.0] * (max(places, default=-1) + 1 - len(row))
            for place, value in zip(places, values, strict=True):
                row[place] = value
        setattr(holder, last.name, structure.row_like(current, row))

    def _write_single(self, holder: Any, name: str, current: Any, values: list[float]) -> None:
        """Set a number, or all those of a nested message."""
        if structure.is_number(current):
            if len(values) != 1:
                raise self._wrong_size(len(values), 1)
            structure.put_number(holder, name, values[0], self.text)
            return
        names = [
            one for one, value in structure.leaves(current, self.text) if structure.is_number(value)
        ]
        if len(names) != len(values):
            raise self._wrong_size(len(values), len(names))
        for one, value in zip(names, values, strict=True):
            structure.put_number(current, one, value, self.text)

    def _leaf_names(self, message: Any) -> tuple[str, ...]:
        """Dotted names of the numbers of a nested message; none where there is no such message."""
        try:
            for part in self.parts:
                message = getattr(message, part.name)
            if structure.is_number(message) or structure.is_array(message):
                return ()
            names: list[str] = []
            for name, value in structure.leaves(message, self.text):
                array = structure.is_array(value)
                names += [f"{name}[{i}]" for i in range(len(value))] if array else [name]
            return tuple(names)
        except (*UNREADABLE, UserError):
            return ()

    # ── errors ───────────────────────────────────────────────────────────────────────────────

    def _unreadable(self, message: object, error: BaseException) -> UserError:
        return UserError(
            f"{self.text}: found a {type(message).__name__} that has no such numbers "
            f"({shortened(error)})"
        )

    def _no_array(self, part: Part, value: object) -> UserError:
        return UserError(
            f"{self.text}: found {part.name} to be a {type(value).__name__}, expected an array, of "
            f"which [{part.selector}] is a part"
        )

    def _too_short(self, part: Part, found: int, expected: int) -> UserError:
        return UserError(
            f"{self.text}: found {found} elements of {part.name}, expected at least {expected}"
        )

    def _wrong_size(self, found: int, expected: int) -> UserError:
        return UserError(f"{self.text}: found {found} numbers, expected {expected}")


def parse_path(text: str) -> FieldPath:
    """Read a path.

    Raises:
        UserError: It is none; the text says where.
    """
    return FieldPath(parse_parts(text))
