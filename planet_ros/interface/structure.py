"""What a message consists of, whoever made its class: rclpy, a reader of bags, or nobody known.

Fields are asked for by attribute alone. Which there are says ``get_fields_and_field_types``
(rclpy), the fields of a dataclass (rosbags), ``__slots__`` or ``__dict__``.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.errors import UserError
from planet_ros.messages.fields import MAX_LENGTH, Make, quoted, shortened

MAX_NESTING = 16
"""Messages in messages at most."""

MAX_ELEMENTS = 1024
"""Elements that are added to an array for a command at most."""

_NUMBER = (int, float, np.integer, np.floating, np.bool_)  # a bool is an int
_WHOLE = re.compile(r"u?int(8|16|32|64)")
_ELEMENT = re.compile(r"([a-z][a-z0-9_]*)(?:__msg__|/msg/|/)([A-Z][A-Za-z0-9]*)")


def field_names(message: object) -> tuple[str, ...]:
    """The fields of a message in the order of their definition; none where it is no message."""
    kind: type = type(message)
    declared = _declared(kind)
    if declared is not None:
        return declared
    return tuple(getattr(message, "__dict__", ()))


def is_declared(kind: type) -> bool:
    """Whether a class says which fields its messages have, so that all have the same."""
    return _declared(kind) is not None


@functools.lru_cache(maxsize=1024)
def _declared(kind: type) -> tuple[str, ...] | None:
    fields = getattr(kind, "get_fields_and_field_types", None)
    if fields is not None:
        return tuple(fields())
    if dataclasses.is_dataclass(kind):
        fields = (field.name for field in dataclasses.fields(kind))
        return tuple(name for name in fields if not name.startswith("__"))  # rosbags: __msgtype__
    slots = getattr(kind, "__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name.lstrip("_") for name in names) or None


def field_of(message: object, name: str, where: str) -> Any:
    """A field of a message.

    Raises:
        UserError: It has no such field; the text lists those that it has.
    """
    try:
        return getattr(message, name)
    except AttributeError:
        fields = shortened(", ".join(field_names(message)), 500)
        raise UserError(
            f"{where}: found no field {name!r} in a {type(message).__name__}, expected "
            + (f"one of {fields}" if fields else "a message with fields")
        ) from None


def is_number(value: object) -> bool:
    """Whether it is one number, or true or false."""
    return isinstance(value, _NUMBER) or (
        isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "biuf"
    )


def is_array(value: object) -> bool:
    """Whether it is what an array in a message can be."""
    if isinstance(value, np.ndarray):  # first, since a bag has them in every message
        return value.ndim >= 1
    return isinstance(value, (list, tuple, array))


def number_of(value: object, where: str) -> float:
    """One number.

    Raises:
        UserError: It is none; a text is never read as one.
    """
    if not is_number(value):
        raise UserError(f"{where}: found {_kind(value)}, expected a number")
    return float(value)  # type: ignore[arg-type]


def row_of(data: Any, where: str) -> NDArray[np.float64]:
    """The numbers (n,) of an array; its length is compared first.

    Raises:
        UserError: There are too many, or something is no number.
    """
    if len(data) > MAX_LENGTH:
        raise UserError(f"{where}: found {len(data)} numbers, expected at most {MAX_LENGTH}")
    if isinstance(data, np.ndarray):
        if data.dtype.kind not in "biuf" or data.ndim != 1:
            raise UserError(
                f"{where}: found {data.dtype.name} in the shape {data.shape}, expected a row of "
                "numbers"
            )
    elif isinstance(data, array):
        if data.typecode in "uw":
            raise UserError(f"{where}: found a text, expected numbers")
    else:
        for value in data:
            if not isinstance(value, _NUMBER):
                raise UserError(f"{where}: found {_kind(value)}, expected numbers")
    return np.asarray(data, np.float64)


def _kind(value: object) -> str:
    return f"the text {quoted(value)}" if isinstance(value, str) else f"a {type(value).__name__}"


def leaves(message: object, where: str) -> list[tuple[str, Any]]:
    """Dotted names and values of all numbers in a message, in the order of their definition.

    Raises:
        UserError: There is something else in it, such as a text, or there are too many.
    """
    found = list(_leaves(message, where, "", MAX_NESTING))
    if not found:
        raise UserError(f"{where}: found {_kind(message)}, expected numbers")
    return found


def _leaves(message: object, where: str, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    names = field_names(message)
    if len(names) > MAX_ELEMENTS or depth == 0:
        raise UserError(f"{where}: found a {type(message).__name__} too large to be taken whole")
    for name in names:
        value = field_of(message, name, where)
        if is_number(value):
            yield prefix + name, value
        elif is_array(value):
            row_of(value, f"{where}.{prefix}{name}")
            yield prefix + name, value
        elif field_names(value):
            yield from _leaves(value, where, f"{prefix}{name}.", depth - 1)
        else:
            raise UserError(f"{where}.{prefix}{name}: found {_kind(value)}, expected numbers")


def names_in(chain: Sequence[object], where: str) -> tuple[object, str, Any]:
    """The list that names the elements of arrays: ``joint_names`` or ``name``.

    Args:
        chain: The message, and those in it on the way to the array; the innermost list counts.
        where: For the error.

    Returns:
        The message that holds the list, the name of the field, and the list.

    Raises:
        UserError: There is none.
    """
    for holder in reversed(chain):
        for field in ("joint_names", "name"):
            value = getattr(holder, field, None)
            if is_array(value):
                return holder, field, value
    raise UserError(
        f"{where}: found no field name or joint_names in a {type(chain[0]).__name__}, which says "
        "what belongs to which name; expected a number in the brackets, such as [0]"
    )


def element(holder: object, name: str, index: int, make: Make, where: str) -> Any:
    """The message at a place in an array of messages, which is made longer where it is too short.

    Raises:
        UserError: Its type is not known, or the array would be too long.
    """
    elements = field_of(holder, name, where)
    if not is_array(elements):
        raise UserError(f"{where}: found {name} to be {_kind(elements)}, expected an array")
    if index >= len(elements):
        if index >= MAX_ELEMENTS:
            raise UserError(f"{where}: found the place {index}, expected less than {MAX_ELEMENTS}")
        type_name = element_type(holder, name)
        if type_name is None:
            raise UserError(f"{where}: found no type of {name}'s elements, expected messages")
        more = [make(type_name) for _ in range(index + 1 - len(elements))]
        setattr(holder, name, [*elements, *more])
        elements = getattr(holder, name)
    return elements[index]


def element_type(holder: object, name: str) -> str | None:
    """The type of the messages in an array, such as ``trajectory_msgs/msg/JointTrajectoryPoint``.

    None where the class does not say.
    """
    found = _ELEMENT.search(declared_type(holder, name))
    return f"{found.group(1)}/msg/{found.group(2)}" if found else None


def declared_type(holder: object, name: str) -> str:
    """What a field is by its class: ``sequence<string>``, ``list[str]``; empty: not said."""
    kind = type(holder)
    fields = getattr(kind, "get_fields_and_field_types", None)
    text = fields().get(name, "") if fields else getattr(kind, "__annotations__", {}).get(name, "")
    return text if isinstance(text, str) else repr(text)


def holds_texts(holder: object, name: str) -> bool:
    """Whether a field is, by its class, a text or a list of texts."""
    return re.search(r"\b(w?string|str)\b", declared_type(holder, name)) is not None


def like(current: Any, value: float) -> Any:
    """A number of the kind of another."""
    if isinstance(current, (bool, np.bool_)):
        return type(current)(value >= 0.5)
    if isinstance(current, (int, np.integer)):
        return type(current)(round(value))
    return type(current)(value) if isinstance(current, np.floating) else float(value)


def row_like(current: Any, values: Sequence[float]) -> Any:
    """An array of numbers of the kind of another."""
    if isinstance(current, array):
        whole = current.typecode not in "fd"
        return array(current.typecode, [round(one) for one in values] if whole else values)
    if isinstance(current, np.ndarray):
        whole = current.dtype.kind in "iu"
        return np.array([round(one) for one in values] if whole else values, current.dtype)
    first = current[0] if len(current) and is_number(current[0]) else 0.0
    return type(current)(like(first, one) for one in values)


def put_number(message: object, dotted: str, value: float, where: str) -> None:
    """Set one number, which may lie in a message in the message."""
    *way, name = dotted.split(".")
    for step in way:
        message = field_of(message, step, where)
    number = like(getattr(message, name), value)
    bounds = _WHOLE.fullmatch(declared_type(message, name))
    if bounds is not None:  # rclpy checks it when the message is sent, and then it is too late
        least, greatest = np.iinfo(bounds[0]).min, np.iinfo(bounds[0]).max
        if not least <= number <= greatest:
            raise UserError(f"{where}: found {number}, expected {least} to {greatest}")
    setattr(message, name, number)


def is_duration(value: object) -> bool:
    """Whether it is a time in seconds and nanoseconds."""
    return field_names(value) == ("sec", "nanosec")


def put_seconds(value: Any, seconds: float) -> None:
    """Set a time in seconds and nanoseconds."""
    value.sec, value.nanosec = divmod(round(seconds * 1e9), 10**9)
