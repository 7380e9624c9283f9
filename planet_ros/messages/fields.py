"""What all readers of messages share: bounds, conversions, short texts, stamps."""

from __future__ import annotations

import functools
from array import array
from collections.abc import Callable
from typing import Any, ParamSpec, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from planet_ros.errors import UserError

Make: TypeAlias = Callable[[str], Any]
"""Gives an empty message of a type by its name, such as ``std_msgs/msg/Float64MultiArray``."""

MAX_LENGTH = 2**20
"""Numbers in one vector or step at most."""

MAX_LABEL = 1000
"""Characters in a label at most."""

MAX_TEXT = 200
"""Characters of what was found that an error repeats."""

# What a field of another type, or of a type that it does not have, leads to.
UNREADABLE = (AttributeError, ArithmeticError, BufferError, LookupError, TypeError, ValueError)

_FLOAT32_MAX = float(np.finfo(np.float32).max)

P = ParamSpec("P")
T = TypeVar("T")


def shortened(found: object, limit: int = MAX_TEXT) -> str:
    """A text, or another thing as text, cut where it is longer than `limit` characters.

    Long texts are cut before anything is done with them; other things are to be small.
    """
    text = found if isinstance(found, str) else str(found)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def quoted(found: object) -> str:
    """A text as `shortened`, in quotes, what does not print escaped; of other things the type."""
    if not isinstance(found, str):
        return f"a {type(found).__name__}"
    if len(found) <= MAX_TEXT:
        return repr(found)
    return f"{found[:MAX_TEXT]!r}… ({len(found)} characters)"


def reads(what: str, type_name: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a reader refuse a message of another type, or with fields of another one."""

    def decorate(read: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(read)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return read(*args, **kwargs)
            except UNREADABLE as error:
                raise UserError(
                    f"{what}: found a {type(args[0]).__name__} that cannot be read "
                    f"({shortened(error)}), expected a {type_name}"
                ) from None

        return wrapped

    return decorate


def numbers_of(data: Any, what: str, size: int | None = None) -> NDArray[np.float64]:
    """The numbers (n,) of a field; its size is compared first. It may be a view.

    Raises:
        UserError: They are not `size` numbers; or, where that is None, more than `MAX_LENGTH`.
    """
    count = len(data)
    if count > MAX_LENGTH or (size is not None and count != size):
        expected = f"at most {MAX_LENGTH}" if size is None else f"{size} finite numbers"
        raise UserError(f"{what}: found {count} numbers, expected {expected}")
    values = np.asarray(data, dtype=np.float64)
    if values.ndim != 1:
        raise UserError(f"{what}: found numbers in the shape {values.shape}, expected a row")
    return values


def text_of(label: Any, what: str) -> str:
    """A label as it is.

    Raises:
        UserError: It is no text, or too long.
    """
    if not isinstance(label, str) or len(label) > MAX_LABEL:
        raise UserError(
            f"{what}: found the label {quoted(label)}, expected at most {MAX_LABEL} characters"
        )
    return label


def put_bytes(message: Any, values: NDArray[np.uint8]) -> None:
    """Set ``data`` of an Image: an array, which rclpy need not check one by one."""
    data = array("B")
    data.frombytes(np.ascontiguousarray(values).data)
    message.data = data


def all_finite(values: NDArray[np.floating]) -> bool:
    """Whether numbers are finite, as float32 too."""
    return bool((np.abs(values) <= _FLOAT32_MAX).all())


def first_not_finite(values: NDArray[np.floating]) -> str:
    """The first of numbers that are not all finite, for a person: ``nan at 3``."""
    index = int(np.argmin(np.abs(values) <= _FLOAT32_MAX))
    return f"{values[index]:g} at {index}"


def time_message(make: Make, stamp_ns: int) -> Any:
    """Nanoseconds as a ``builtin_interfaces/msg/Time``."""
    message = make("builtin_interfaces/msg/Time")
    message.sec, message.nanosec = divmod(stamp_ns, 10**9)
    return message


def header_stamp_ns(message: Any) -> int | None:
    """The stamp of a message with a header, in nanoseconds; None where it does not say."""
    stamp = message.header.stamp
    return int(stamp.sec) * 10**9 + int(stamp.nanosec) or None
