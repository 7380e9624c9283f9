"""Scalars of YAML without quotes, and a few with them, as ROS reads them."""

from __future__ import annotations

from typing import Any

WORDS: dict[str, Any] = {
    "1e-3": 0.001,
    "1E5": 100000.0,
    "1.": 1.0,
    ".5": 0.5,
    "+1": 1,
    "010": 8,
    "08": 8.0,
    "-0x10": -16,
    "9223372036854775808": 9223372036854775808.0,
    "-inf": float("-inf"),
    "-.inf": float("-inf"),
    "y": True,
    "Off": False,
    "tRue": "tRue",
    "~": "~",
    "null": "null",
    "0o10": "0o10",
    "0b11": "0b11",
    "1_000": "1_000",
    "1:30": "1:30",
    "2020-01-01": "2020-01-01",
    "1e400": "1e400",
    "<<": "<<",
    "=": "=",
    "'1e-3'": "1e-3",
    '"y"': "y",
    "!!str 1": "1",
}
"""As ROS 2 Jazzy's parser gives them; a test asks it."""
