"""Message classes by the names of their types, as `planet_ros.messages` asks for them."""

from __future__ import annotations

import functools
import importlib
import re
from typing import Any

from planet_ros.errors import UserError


def make(type_name: str) -> Any:
    """An empty message of a type such as ``std_msgs/msg/String``.

    Raises:
        UserError: There is no such type.
    """
    return message_class(type_name)()


@functools.cache
def message_class(type_name: str) -> Any:
    """The class of a type's messages, as rclpy's publishers and subscriptions want it.

    Raises:
        UserError: There is no such type.
    """
    named = re.fullmatch(r"([a-z][a-z0-9_]*)/msg/([A-Z][A-Za-z0-9]*)", type_name)
    try:
        if named is not None:
            return getattr(importlib.import_module(f"{named.group(1)}.msg"), named.group(2))
    except (ImportError, AttributeError):
        pass
    raise UserError(
        f"found the message type {type_name!r}, expected one that is installed, such as "
        "std_msgs/msg/String; install its package, and source the workspace that has it"
    )
