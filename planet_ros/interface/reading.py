"""Parts of an observation out of messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from planet_ros.data.images import fit_image
from planet_ros.data.signature import NamedNumber, ObservationPart
from planet_ros.errors import UserError
from planet_ros.interface import encodings
from planet_ros.interface.document import Goal, ImageSource, ObservedField, ObservedPart
from planet_ros.interface.encodings import Numbers
from planet_ros.interface.paths import parse_path
from planet_ros.messages.compressed import COMPRESSED_TYPE, read_compressed
from planet_ros.messages.fields import UNREADABLE, Make, all_finite, first_not_finite, shortened
from planet_ros.messages.images import IMAGE_TYPE, read_depth, read_image
from planet_ros.messages.vectors import VECTOR_TYPE, Label, read_label

GOAL_PART = "goal"
"""What the part of a goal is called."""

LONGEST_GAP_S = 1.0
"""Seconds over which a difference still is a rate, where the part says nothing about its age."""

_STAMP_RANGE_NS = 2**63
_NO_LABEL = Label()


@dataclass(frozen=True)
class Reading:
    """What one message says.

    Attributes:
        measured: Numbers (k,) float64 by the names of fields, scaled, before clip and encoding; of
            a rate the rate, of a yaw the angle in radians. Where a field has several numbers, each
            (1,) is there by its own name too. None of a picture.
        stamp_ns: When it was measured; None where the message does not say.
        label: Of a labelled vector; empty of all others.
    """

    measured: Mapping[str, Numbers]
    stamp_ns: int | None
    _decode: Callable[[], NDArray[Any]]
    label: Label = _NO_LABEL

    @cached_property
    def values(self) -> NDArray[Any]:
        """What the model sees: (n,) float32, or (height, width, channels) uint8.

        A picture is decoded when it is first asked for.

        Raises:
            UserError: It cannot be decoded.
        """
        return self._decode()


class PartReader:
    """Reads the messages of one topic, in their order.

    Attributes:
        name: Of the part.
        signature_part: What they give.
        sizes: Numbers k of each field, by its name, as they are measured.
        encoded_sizes: Numbers n of each field, by its name, as the model sees them.
        names: Of all that is measured, fields and single numbers.
    """

    def __init__(
        self, part: ObservedPart | Goal, make: Make, longest_gap_s: float | None = None
    ) -> None:
        """Find out the sizes, from the paths, from an empty message, or from what was given.

        Args:
            part: What to read.
            make: Gives empty messages.
            longest_gap_s: Seconds between two messages over which a difference still is a rate;
                None: the age from which the part is stale, else `LONGEST_GAP_S`.

        Raises:
            UserError: A message of the type does not have such fields, or sizes are not known.
        """
        self._type = part.type
        example = make(part.type)
        self._has_header = hasattr(example, "header")
        image = part.image if isinstance(part, ObservedPart) else None
        self.name = GOAL_PART if isinstance(part, Goal) else part.name
        self._image = image
        self._fields = [_FieldReader(field, part.type, make, self.name) for field in part.fields]
        stale_s = part.stale_after_s if isinstance(part, ObservedPart) else 0.0
        gap_s = (stale_s or LONGEST_GAP_S) if longest_gap_s is None else longest_gap_s
        self._longest_gap_ns = round(gap_s * 1e9)
        self.sizes = {field.label: field.measured_size for field in self._fields}
        self.encoded_sizes = {field.label: field.encoded_size for field in self._fields}
        self.names = tuple(name for field in self._fields for name in field.names)
        self._rates = [field for field in self._fields if field.is_rate]
        # A set-point may come once and for all, as one that is clicked: it is taken to stand still.
        self._stands = isinstance(part, Goal)
        if image is not None:
            self._check_image_type()
        if len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise UserError(f"{self.name}: found {twice!r} twice, expected another name")
        try:
            self.signature_part = self._part("goal" if isinstance(part, Goal) else "vector")
        except ValueError as error:
            raise UserError(f"observation: {error}") from None

    def _part(self, role: Literal["vector", "goal"]) -> ObservationPart:
        if self._image is not None:
            shape = self._image.height, self._image.width, self._image.channels
            return ObservationPart(self.name, shape, "image", "uint8")
        return ObservationPart(
            self.name,
            (sum(field.encoded_size for field in self._fields),),
            role,
            numbers=tuple(
                NamedNumber(name, field.unit)
                for field in self._fields
                for name in field.encoded_names
            ),
        )

    def reset(self) -> None:
        """Forget the message before, as after a jump in time."""
        for field in self._rates:
            field.before = None
            field.rate = None

    def read(self, message: Any, time_ns: int) -> Reading | None:
        """What a message says.

        Args:
            message: Of the part's type.
            time_ns: When it was received.

        Returns:
            None where there is a rate and no message shortly before, from which to know it; the
            rate of a goal is 0 then.

        Raises:
            UserError: It is of another type, a field is missing or of another length, or a number
                is not finite; nothing is kept of it.
        """
        try:
            label = read_label(message) if self._type == VECTOR_TYPE else _NO_LABEL
            stamp_ns = self._stamp_ns(message, label)
            if self._image is not None:
                return Reading({}, stamp_ns, self._picture(message))
            raw = [field.read(message) for field in self._fields]
            return self._vector(raw, stamp_ns, time_ns, label)
        except UNREADABLE as error:
            raise UserError(
                f"{self.name}: found a {type(message).__name__} that cannot be read "
                f"({shortened(error)}), expected a {self._type}"
            ) from None

    def _vector(
        self, raw: list[Numbers], stamp_ns: int | None, time_ns: int, label: Label
    ) -> Reading | None:
        measured: dict[str, Numbers] = {}
        rows: list[Numbers] = []
        complete = True
        # All fields are looked at before anything is kept, so that a refused message leaves none.
        rates: list[tuple[_FieldReader, Numbers, Numbers | None]] = []
        now = _Moment(stamp_ns is not None, time_ns if stamp_ns is None else stamp_ns)
        for field, numbers in zip(self._fields, raw, strict=True):
            if field.is_rate:
                rate = field.rate_at(numbers, now, self._longest_gap_ns)
                if rate is None and self._stands:
                    rate = np.zeros_like(numbers)
                rates.append((field, numbers, rate))
                complete = complete and rate is not None
                if rate is None:
                    continue
                numbers = rate
            row, seen = field.encode(numbers)
            rows.append(row)
            field.add_to(measured, seen)
        for field, numbers, rate in rates:
            field.before, field.rate = (now, numbers), rate
        if not complete:
            return None
        values = np.concatenate(rows).astype(np.float32)
        return Reading(measured, stamp_ns, lambda: values, label)

    def _picture(self, message: Any) -> Callable[[], NDArray[np.uint8]]:
        """What gives the picture; one that is not compressed is looked at already here."""
        assert self._image is not None
        image, type_name = self._image, self._type
        shape = image.height, image.width, image.channels
        if type_name == IMAGE_TYPE and not image.range:
            pixels = read_image(message)
            return lambda: fit_image(pixels, shape)
        return lambda: fit_image(_decoded(image, type_name, message), shape)

    def _stamp_ns(self, message: Any, label: Label) -> int | None:
        if self._has_header:
            stamp = message.header.stamp
            found = int(stamp.sec) * 10**9 + int(stamp.nanosec)
        elif self._type == VECTOR_TYPE:
            found = label.stamp_ns or 0
        else:
            return None
        if abs(found) >= _STAMP_RANGE_NS:
            raise UserError(f"{self.name}: found a stamp of {found:.3g} ns, expected a time")
        return found or None

    def _check_image_type(self) -> None:
        assert self._image is not None
        allowed = [IMAGE_TYPE] if self._image.range else [IMAGE_TYPE, COMPRESSED_TYPE]
        if self._type not in allowed:
            what = "a picture with range" if self._image.range else "a picture"
            raise UserError(
                f"{self.name}: found the type {self._type} for {what}, expected "
                f"{' or '.join(allowed)}"
            )


def _decoded(image: ImageSource, type_name: str, message: Any) -> NDArray[np.uint8]:
    if type_name == COMPRESSED_TYPE:
        return read_compressed(message)
    if image.range:
        return read_depth(message, image.range[0], image.range[1])
    return read_image(message)


@dataclass(frozen=True)
class _Moment:
    """A time by one of two clocks, which are not to be compared."""

    is_stamp: bool
    ns: int


class _FieldReader:
    """One field: its numbers, and what the model sees of them."""

    def __init__(self, field: ObservedField, type_name: str, make: Make, where: str) -> None:
        self.label = field.label
        # Cosines and columns of rotations have none.
        self.unit = field.unit if field.encoding in ("none", "rate") else ""
        self.is_rate = field.encoding == "rate"
        self.before: tuple[_Moment, Numbers] | None = None
        self.rate: Numbers | None = None
        self._where = f"{where}: {field.label}"
        self._encoding, self._wraps, self._scale = field.encoding, field.wraps, field.scale
        self._clip = field.clip
        self._path = parse_path(field.path)
        self._size = known_size(field.path, field.size, type_name, make, where)
        self.encoded_size = encodings.encoded_size(field.encoding, self._size, self._where)
        labels = self._path.labels(self._size, field.name, make(type_name))
        self.encoded_names = encodings.encoded_names(field.encoding, labels, field.label)
        self.measured_size = 1 if field.encoding == "yaw" else self._size
        self._single = labels if self.measured_size > 1 else ()
        self.names = dict.fromkeys((self.label, *self._single))

    def read(self, message: Any) -> Numbers:
        """The numbers (k,), scaled."""
        numbers = self._path.read(message)
        if len(numbers) != self._size:
            raise UserError(
                f"{self._where}: found {len(numbers)} numbers, expected {self._size}; a field "
                "keeps its length"
            )
        if self._scale != 1.0:
            numbers = numbers * self._scale
        if not all_finite(numbers):
            raise UserError(
                f"{self._where}: found {first_not_finite(numbers)}, expected finite numbers"
            )
        return numbers

    def rate_at(self, numbers: Numbers, now: _Moment, longest_gap_ns: int) -> Numbers | None:
        """The change per second since the message before; None where that says nothing."""
        if self.before is None or self.before[0].is_stamp != now.is_stamp:
            return None
        moment, previous = self.before
        passed_ns = now.ns - moment.ns
        if passed_ns == 0:
            return self.rate
        if not 0 < passed_ns <= longest_gap_ns:
            return None
        change = numbers - previous
        rate = (encodings.turned(change) if self._wraps else change) / (passed_ns / 1e9)
        if not all_finite(rate):
            raise UserError(
                f"{self._where}: found a rate of {first_not_finite(rate)}, expected finite numbers"
            )
        return rate

    def encode(self, numbers: Numbers) -> tuple[Numbers, Numbers]:
        """What the model sees (n,), and what counts as measured (k,)."""
        seen = np.clip(numbers, self._clip[0], self._clip[1]) if self._clip else numbers
        if self._encoding == "angle":
            return encodings.angles(seen), numbers
        if self._encoding == "quaternion":
            return encodings.columns(seen, self._where), numbers
        if self._encoding == "yaw":
            angle = encodings.yaw(seen, self._where)
            return encodings.angles(angle), angle
        return seen, numbers

    def add_to(self, measured: dict[str, Numbers], numbers: Numbers) -> None:
        """Enter them by the field's name and, where there are several, by the names of each."""
        measured[self.label] = numbers
        for index, name in enumerate(self._single):
            measured[name] = numbers[index : index + 1]


def known_size(text: str, size: int, type_name: str, make: Make, where: str) -> int:
    """How many numbers a path gives.

    Args:
        text: The path.
        size: What the document says; 0: nothing.
        type_name: Type of the messages.
        make: Gives empty messages.
        where: For the error.

    Raises:
        UserError: Nothing says it, two things say different numbers, or there is no such field.
    """
    path = parse_path(text)
    try:
        found = path.resolve(make(type_name), make)
    except UserError as error:
        raise UserError(f"{where}: {type_name}: {error}") from None
    found = path.size or found
    if not found and not size:
        raise UserError(
            f"{where}: {path.text}: found nothing that says how many numbers these are, expected "
            "size beside the path, or a path that says it, such as data[0:3]"
        )
    if found and size and found != size:
        raise UserError(f"{where}: {path.text}: found size {size}, expected {found}")
    return found or size
