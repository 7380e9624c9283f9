"""Message classes by the names of their types, as `planet_ros.messages` asks for them.

A type may be named by somebody else's document, such as a bundle that was announced: what is
imported for it is a package that was made from message definitions, and nothing else.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
from pathlib import Path
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
        if named is not None and _is_generated(*named.groups()):
            return getattr(importlib.import_module(f"{named.group(1)}.msg"), named.group(2))
    except (ImportError, AttributeError):
        pass
    raise UserError(
        f"found the message type {type_name!r}, expected one that is installed, such as "
        "std_msgs/msg/String; install its package, and source the workspace that has it"
    )


def _is_generated(package: str, name: str) -> bool:
    """Whether ROS has made a class of a package's message, seen by its file; nothing is imported.

    An import would run the package first, and see what it is only then.
    """
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)  # as rosidl names files
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", words).lower()
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):  # ValueError: a module that was made by hand
        return False
    folders = [] if found is None else found.submodule_search_locations or []
    return any((Path(folder) / "msg" / f"_{words}.py").is_file() for folder in folders)
