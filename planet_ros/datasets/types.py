"""Empty messages of the types that a bag defines, as `planet_ros.messages` asks for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from planet_ros.errors import UserError

_DTYPES = {"byte": "uint8", "char": "uint8", "octet": "uint8", "bool": "bool_"}


def default_types() -> Typestore:
    """Those of ROS 2 Jazzy, for bags that define none themselves."""
    return get_typestore(Stores.ROS2_JAZZY)


class BagTypes:
    """Makes empty messages, as rclpy would: zeros, empty texts and empty arrays."""

    def __init__(self, *stores: Typestore) -> None:
        """Know some types, such as a bag's own, and others for what these do not define."""
        self._stores = stores

    def __call__(self, type_name: str) -> Any:
        """An empty message.

        Raises:
            UserError: Nobody defines the type.
        """
        return self._empty(self._store_of(type_name), type_name)

    def fields(self, type_name: str) -> list[tuple[str, str]]:
        """Names of a message's fields, each with its type as a person writes it: ``float64[]``.

        Raises:
            UserError: Nobody defines the type.
        """
        _, fields = self._store_of(type_name).fielddefs[type_name]
        return [(name, _text(kind)) for name, kind in fields]

    def _store_of(self, type_name: str) -> Typestore:
        for store in self._stores:
            if type_name in store.fielddefs:
                return store
        raise UserError(
            f"found the message type {type_name!r}, expected one that the bag or ROS 2 defines"
        )

    def _empty(self, store: Typestore, type_name: str) -> Any:
        _, fields = store.fielddefs[type_name]
        values = {name: self._value(store, kind) for name, kind in fields}
        return store.types[type_name](**values)

    def _value(self, store: Typestore, kind: Any) -> Any:
        node, about = kind
        if node == Nodetype.BASE:
            return _zero(about[0])
        if node == Nodetype.NAME:
            return self._empty(store, about)
        inner, size = about
        count = size if node == Nodetype.ARRAY else 0
        if inner[0] == Nodetype.BASE and "string" not in inner[1][0]:
            return np.zeros(count, getattr(np, _DTYPES.get(inner[1][0], inner[1][0])))
        return [self._value(store, inner) for _ in range(count)]


def _zero(base: str) -> Any:
    if "string" in base:
        return ""
    if base == "bool":
        return False
    return 0.0 if base.startswith("float") else 0


def _text(kind: Any) -> str:
    node, about = kind
    if node == Nodetype.BASE:
        return str(about[0])
    if node == Nodetype.NAME:
        return str(about)
    inner, size = about
    return f"{_text(inner)}[{size if node == Nodetype.ARRAY else ''}]"


def define(type_name: str, class_of: Callable[[str], Any]) -> Typestore:
    """A store that knows a type, and those in it, as they are installed.

    Args:
        type_name: Such as ``sensor_msgs/msg/JointState``.
        class_of: Gives the class of a type, as rclpy has it.
    """
    store, found = get_typestore(Stores.EMPTY), {}
    waiting = [type_name]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        lines, inner = [], []
        for field, kind in class_of(name).get_fields_and_field_types().items():
            text, message = _as_defined(kind)
            lines.append(f"{text} {field}")
            inner += [message] if message else []
        found[name] = get_types_from_msg("\n".join(lines), name)[name]
        waiting += inner
    store.register(found)
    return store


_BASES = {"boolean": "bool", "octet": "byte", "float": "float32", "double": "float64"}
_SEQUENCE = re.compile(r"sequence<(.+?)(?:, (\d+))?>")
_ARRAY = re.compile(r"(.+)\[(\d+)\]")


def _as_defined(kind: str) -> tuple[str, str]:
    """A field's type as in a message definition, and the name of the message in it, if any."""
    suffix = ""
    if sequence := _SEQUENCE.fullmatch(kind):
        kind, suffix = sequence[1], f"[<={sequence[2]}]" if sequence[2] else "[]"
    elif array := _ARRAY.fullmatch(kind):
        kind, suffix = array[1], f"[{array[2]}]"
    if (bounded := re.fullmatch(r"(w?string)<(\d+)>", kind)) is not None:
        kind = f"{bounded[1]}<={bounded[2]}"
    message = kind.replace("/", "/msg/") if "/" in kind else ""
    return f"{_BASES.get(kind, kind)}{suffix}", message
