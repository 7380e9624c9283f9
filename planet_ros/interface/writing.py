"""Messages out of an action, and the way back: what a command of whoever sent it means."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.data.signature import MAX_ACTIONS, ActionPart
from planet_ros.errors import UserError
from planet_ros.interface.document import CommandedField, CommandedPart
from planet_ros.interface.paths import FieldPath, NotNamedError, parse_path
from planet_ros.interface.reading import known_size
from planet_ros.interface.safe import Hold, SafeCommand
from planet_ros.interface.structure import names_in
from planet_ros.messages.fields import (
    UNREADABLE,
    Make,
    all_finite,
    first_not_finite,
    shortened,
    time_message,
)
from planet_ros.messages.vectors import VECTOR_TYPE, read_label, vector_message

Numbers = NDArray[np.float64]


class ActionWriter:
    """Makes messages of an action (A,), and reads them.

    Attributes:
        topics: The topics, in the order of the messages.
        types: The types of their messages, by topic.
        signature_parts: The numbers of the action.
        sizes: How many numbers each field has, by its name.
        places: Where each field is in its message, joints by their names, and its indices in the
            action.
        safe: What is sent where nothing better is known.
    """

    def __init__(self, parts: Sequence[CommandedPart], make: Make) -> None:
        """Find out sizes, make a template of each message, and try it.

        Args:
            parts: What to command.
            make: Gives empty messages.

        Raises:
            UserError: A field or a constant does not fit the type, ranges are empty, a safe command
                lies outside, or two fields are in one place.
        """
        self._make = make
        self._parts: list[_Part] = []
        first = 0
        for part in parts:
            self._parts.append(_Part(part, make, first))
            first += self._parts[-1].size
        if not 1 <= first <= MAX_ACTIONS:
            raise UserError(f"action: found {first} numbers, expected 1 to {MAX_ACTIONS}")
        self._by_topic = {part.topic: part for part in self._parts}
        fields = [field for part in self._parts for field in part.fields]
        self.topics = tuple(self._by_topic)
        self.types = {part.topic: part.type for part in self._parts}
        self.signature_parts = tuple(one for field in fields for one in field.signature_parts)
        self.sizes = {field.label: field.size for field in fields}
        self.places = tuple((field.path, field.indices) for field in fields)
        self.safe = SafeCommand(
            np.concatenate([field.safe for field in fields]).astype(np.float32),
            np.concatenate([field.within_s for field in fields]),
            tuple(Hold(field.indices, field.hold) for field in fields if field.hold),
        )
        self._try()

    def messages(self, action: NDArray[np.floating], stamp_ns: int) -> list[tuple[str, Any]]:
        """The topics and messages of an action.

        Args:
            action: (A,) finite.
            stamp_ns: For the headers, and for the label of a Float64MultiArray.

        Raises:
            UserError: It has another length.
        """
        if action.shape != (len(self.signature_parts),):
            raise UserError(
                f"action: found the shape {action.shape}, expected ({len(self.signature_parts)},)"
            )
        return [(part.topic, part.message(action, stamp_ns)) for part in self._parts]

    def read(self, topic: str, message: Any) -> tuple[NDArray[np.intp], Numbers, int | None]:
        """What a command message, whoever sent it, means as part of the action.

        Of joints by name it may have more, or some alone: those that it has are given.

        Args:
            topic: One of `topics`.
            message: The message.

        Returns:
            Indices (k,) into the action, values (k,), and the stamp; None where it does not say.

        Raises:
            UserError: The topic is another, a field is missing, or a number is not finite.
        """
        part = self._by_topic.get(topic)
        if part is None:
            raise UserError(f"action: found the topic {topic!r}, expected one of {self.topics}")
        return part.read(message)

    def _try(self) -> None:
        """See that what is written is what is read: no two numbers are in one place."""
        count = len(self.signature_parts)
        low = np.array([part.low for part in self.signature_parts])
        high = np.array([part.high for part in self.signature_parts])
        for action in (low, high, low + (high - low) * (np.arange(count) + 1) / (count + 1)):
            for topic, message in self.messages(action, 1):
                indices, found, _ = self.read(topic, message)
                part = self._by_topic[topic]
                close = np.isclose(found, action[indices], rtol=1e-6)
                if len(indices) != part.size or not close.all():
                    at = int(np.argmin(close))
                    name = self.signature_parts[indices[at]].name
                    raise UserError(
                        f"action: {topic}: {name}: found {found[at]:g} where "
                        f"{action[indices[at]]:g} was written; expected a number with a fraction, "
                        "and that nothing else is in its place"
                    )


class _Field:
    """One field: its place, and what is allowed."""

    def __init__(
        self, field: CommandedField, path: FieldPath, size: int, first: int, where: str
    ) -> None:
        self.path, self.size, self.label = path, size, field.label
        self.indices = tuple(range(first, first + size))
        where = f"{where}: {field.label}"
        low, high = (
            spread(values, size, f"{where}: {name}")
            for name, values in (("low", field.low), ("high", field.high))
        )
        if not (low < high).all():
            at = int(np.argmin(low < high))
            raise UserError(
                f"{where}: found low {low[at]:g} and high {high[at]:g}, expected low < high"
            )
        self.labels = path.labels(size, field.name)
        rates = spread(field.max_rate or [np.inf], size, f"{where}: max_rate")
        if not (rates > 0).all():
            raise UserError(f"{where}: max_rate: found {rates.min():g}, expected more than 0")
        self.signature_parts = tuple(
            ActionPart(
                name,
                float(least),
                float(most),
                field.unit,
                float(rate) if np.isfinite(rate) else None,
            )
            for name, least, most, rate in zip(self.labels, low, high, rates, strict=True)
        )
        self.hold = field.safe.hold
        self.within_s = np.full(size, field.safe.within_s)
        self.safe = np.full(size, np.nan)
        if not self.hold:
            self.safe = spread(field.safe.constant, size, f"{where}: safe")
            outside = (self.safe < low) | (self.safe > high)
            if outside.any():
                at = int(np.argmax(outside))
                raise UserError(
                    f"{where}: safe: found {self.safe[at]:g}, expected {low[at]:g} to "
                    f"{high[at]:g}; say what is safe there, a number or hold"
                )


class _Part:
    """The messages on one topic."""

    def __init__(self, part: CommandedPart, make: Make, first: int) -> None:
        self.topic, self.type = part.topic, part.type
        self._make = make
        where = f"action: {part.topic}"
        self._template = make(part.type)
        self._has_header = hasattr(self._template, "header")
        constants = {text: parse_path(text) for text in part.constants}
        for text, value in part.constants.items():
            try:
                constants[text].put(self._template, value, make)
            except UserError as error:
                raise UserError(f"{where}: constants: {error}") from None
        self.fields: list[_Field] = []
        for field in part.fields:
            size = known_size(field.path, field.size, part.type, make, where)
            path = self._named(parse_path(field.path), size)
            self.fields.append(_Field(field, path, size, first, where))
            first += size
        self.size = sum(field.size for field in self.fields)
        places = [place for field in self.fields for place in field.path.labels(field.size)]
        # A constant that is a list of names is no number, and in nobody's way.
        places += [path.text for path in constants.values()]
        twice = sorted({place for place in places if places.count(place) > 1})
        if twice:
            raise UserError(f"{where}: found {', '.join(twice)} twice, expected different places")
        # What is written once need not be made at every tick: arrays of their length, and names.
        self._write(self._template, np.zeros(first), where)
        # One name at a time, as others may command some joints alone.
        self._single = [
            (index, _single(field.path, place))
            for field in self.fields
            for place, index in enumerate(field.indices)
            if field.path.names
        ]

    def _named(self, path: FieldPath, size: int) -> FieldPath:
        """The path, by name where a constant says the names of what it gives.

        Others may send the same joints in another order.
        """
        if path.size:
            return path
        try:
            _, _, names = names_in([self._template], path.text)
        except UserError:
            return path
        return path.named(tuple(names)) if len(names) == size else path

    def message(self, action: NDArray[np.floating], stamp_ns: int) -> Any:
        if self.type == VECTOR_TYPE:
            self._write(self._template, action, f"action: {self.topic}")
            return vector_message(self._make, "action", self._template.data, stamp_ns)
        message = copy.deepcopy(self._template)
        self._write(message, action, f"action: {self.topic}")
        if self._has_header:
            message.header.stamp = time_message(self._make, stamp_ns)
        return message

    def _write(self, message: Any, action: NDArray[np.floating], where: str) -> None:
        for field in self.fields:
            try:
                values = action[field.indices[0] : field.indices[-1] + 1]
                field.path.write(message, values, self._make)
            except UserError as error:
                raise UserError(f"{where}: {error}") from None

    def read(self, message: Any) -> tuple[NDArray[np.intp], Numbers, int | None]:
        try:
            indices, values = self._numbers(message)
            return indices, values, self._stamp_ns(message)
        except UserError as error:
            raise UserError(f"action: {self.topic}: {error}") from None
        except UNREADABLE as error:
            raise UserError(
                f"action: {self.topic}: found a {type(message).__name__} that cannot be read "
                f"({shortened(error)}), expected a {self.type}"
            ) from None

    def _numbers(self, message: Any) -> tuple[NDArray[np.intp], Numbers]:
        indices: list[int] = []
        rows: list[Numbers] = []
        missing: NotNamedError | None = None
        for field in self.fields:
            if field.path.names:
                continue
            row = field.path.read(message)
            if len(row) != field.size:
                raise UserError(
                    f"{field.path.text}: found {len(row)} numbers, expected {field.size}"
                )
            indices += field.indices
            rows.append(row)
        for index, path in self._single:
            try:
                rows.append(path.read(message))
            except NotNamedError as error:
                missing = error
                continue
            indices.append(index)
        if missing is not None and not indices:
            raise missing
        values: Numbers = np.concatenate(rows)
        if not all_finite(values):
            raise UserError(f"found {first_not_finite(values)}, expected finite numbers")
        return np.array(indices, np.intp), values

    def _stamp_ns(self, message: Any) -> int | None:
        if self.type == VECTOR_TYPE:
            return read_label(message).stamp_ns
        if not self._has_header:
            return None
        stamp = message.header.stamp
        return int(stamp.sec) * 10**9 + int(stamp.nanosec) or None


def _single(path: FieldPath, place: int) -> FieldPath:
    return path.named((path.names[place],))


def spread(values: Sequence[float], size: int, where: str) -> Numbers:
    """One number for all, or one for each.

    Raises:
        UserError: They are as many as neither.
    """
    if len(values) not in (1, size):
        raise UserError(f"{where}: found {len(values)} numbers, expected 1 or {size}")
    return np.broadcast_to(np.array(values, np.float64), size).copy()
