"""Labelled vectors as ``std_msgs/Float64MultiArray``, and back; docs/topics.md describes them.

A label of the layout holds a name and, after it, ``key=value`` pairs::

    observation stamp=1.250000000 episode=3 index=24
    action stamp=1.250000000

The stamp of a command is that of the observation it answers. A consumer that knows nothing of
this, such as ros2_control's forward_command_controller, reads ``data`` alone.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.data.signature import VECTOR_PART, Parts
from planet_ros.errors import UserError
from planet_ros.messages.fields import (
    Make,
    all_finite,
    first_not_finite,
    numbers_of,
    reads,
    text_of,
)

VECTOR_TYPE = "std_msgs/msg/Float64MultiArray"
_DIMENSION_TYPE = "std_msgs/msg/MultiArrayDimension"

_NO_NUMBERS = np.zeros(0, dtype=np.float32)
_STAMP = re.compile(r"(-?[0-9]{1,10})(?:\.([0-9]*))?")


@dataclass(frozen=True)
class Label:
    """What a label says.

    Attributes:
        stamp_ns: Nanoseconds; None where there is no stamp that can be read.
        tags: The other pairs.
    """

    stamp_ns: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def count(self, key: str) -> int | None:
        """The natural number of a pair; None where it is missing or is none."""
        text = self.tags.get(key, "")
        return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


@dataclass(frozen=True)
class Vector:
    """A vector with its label.

    Attributes:
        values: (n,) float32, finite.
        label: What its label says.
    """

    values: NDArray[np.float32]
    label: Label


def vector_message(
    make: Make, name: str, values: NDArray[np.floating], stamp_ns: int, **tags: int
) -> Any:
    """A message of one labelled vector (n,)."""
    pairs = {"stamp": stamp_text(stamp_ns), **tags}
    label = " ".join([name, *(f"{key}={value}" for key, value in pairs.items())])
    return labelled_message(make, [(label, values)])


@reads("vector", VECTOR_TYPE)
def read_label(message: Any) -> Label:
    """The label of a vector, whatever its numbers are; a message without one says nothing.

    Raises:
        UserError: The label is too long.
    """
    dimensions = message.layout.dim
    text = text_of(dimensions[0].label, "vector") if len(dimensions) else ""
    tags = dict(pair.split("=", 1) for pair in text.split() if "=" in pair)
    return Label(_stamp_ns(tags.pop("stamp", "")), tags)


@reads("vector", VECTOR_TYPE)
def read_vector(message: Any, size: int | None = None) -> Vector:
    """Undo `vector_message`; a message without a label gives a vector without a stamp.

    Args:
        message: The message.
        size: Numbers that are expected; None: any.

    Raises:
        UserError: There are more or fewer, one is not finite as float32, or the label is too long.
    """
    numbers = numbers_of(message.data, "vector", size)
    if not all_finite(numbers):
        raise UserError(
            f"vector: found {first_not_finite(numbers)}, expected {len(numbers)} finite numbers"
        )
    return Vector(numbers.astype(np.float32), read_label(message))


def vector_of(observation: Parts) -> NDArray[np.float32]:
    """The numbers (n,) of an observation that go over a topic; none where it has images alone."""
    return observation.get(VECTOR_PART, _NO_NUMBERS)


def labelled_message(
    make: Make, parts: Iterable[tuple[str, NDArray[np.floating] | Sequence[float]]]
) -> Any:
    """A message of vectors, one after the other, each with its label."""
    message = make(VECTOR_TYPE)
    numbers: list[float] = []
    for label, values in parts:
        message.layout.dim.append(dimension(make, label, len(values), len(values)))
        numbers.extend(values.tolist() if isinstance(values, np.ndarray) else values)
    message.data = array("d", numbers)  # rclpy need not check it number by number
    return message


def dimension(make: Make, label: str, size: int, stride: int) -> Any:
    """A dimension of a layout; its stride counts the numbers of it and of those after it."""
    made = make(_DIMENSION_TYPE)
    made.label, made.size, made.stride = label, size, stride
    return made


def stamp_text(stamp_ns: int) -> str:
    """Seconds with nine decimals, exactly."""
    seconds, nanoseconds = divmod(stamp_ns, 10**9)
    return f"{seconds}.{nanoseconds:09d}"


def _stamp_ns(text: str) -> int | None:
    found = _STAMP.fullmatch(text)
    if found is None:
        return None
    seconds, decimals = found.group(1), found.group(2) or ""
    return int(seconds) * 10**9 + int(decimals.ljust(9, "0")[:9])
