"""YAML as ROS reads it in parameter files, so that one file says one thing to all.

ROS's parser and PyYAML differ in the words without quotes: ``1e-3`` is a number to ROS and a word
to PyYAML, ``y`` is true to ROS alone, ``1:30`` and ``1_000`` are numbers to PyYAML alone. Here ROS
is followed (rcl_yaml_param_parser, ``get_value``). Neither minds a name that is given twice in a
mapping, and each makes something else of it: that is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping
from typing import Any

import yaml

_TRUE = {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"}
_FALSE = {"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"}
# strtol with base 0, and strtod; a number that either cannot hold is a word.
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN")
_INFINITE_IN_C = re.compile(r"[-+]?(inf|infinity|nan)", re.IGNORECASE)

_TAGS = {bool: "bool", int: "int", float: "float", str: "str", type(None): "null"}


class RepeatedError(ValueError):
    """Something is given twice; the text says what, and where."""


def read_word(text: str) -> bool | int | float | str | None:
    """What a scalar without quotes is to ROS; None where there is nothing, which ROS refuses.

    Numbers below 2.3e-308, and those in hexadecimal with a fraction, are read otherwise there.
    """
    if text == "":
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        value = _integer(text)
        if -(2**63) <= value < 2**63:
            return value
    if _INFINITE.fullmatch(text) or _INFINITE_IN_C.fullmatch(text):
        return float(text.replace(".", ""))
    if _NUMBER.fullmatch(text):
        number = float(text)
        lost = math.isinf(number) or (number == 0 and re.match(r"[-+0.]*[1-9]", text) is not None)
        if not lost:
            return number
    return text


def _integer(text: str) -> int:
    digits = text.lstrip("+-")
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits.startswith("0") else 10
    return -int(digits, base) if text.startswith("-") else int(digits, base)


def _tag(text: str) -> str:
    return f"tag:yaml.org,2002:{_TAGS[type(read_word(text))]}"


class _Loader(yaml.SafeLoader):
    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is yaml.ScalarNode and implicit[0]:
            return _tag(value)
        return super().resolve(kind, value, implicit)

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse aliases, as ROS does; with one in itself there would be no end either."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="ROS knows no aliases (*name); write it out",
                problem_mark=self.peek_event().start_mark,
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        """Make a dictionary whose names are texts, as to ROS: ``y`` and ``1`` are names too."""
        mapping: dict[Hashable, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="expected a name", problem_mark=key.start_mark)
            if key.value in mapping:
                line = key.start_mark.line + 1
                raise RepeatedError(f"line {line}: {key.value!r} is given twice")
            mapping[key.value] = self.construct_object(value, deep=True)
        return mapping


def _word(loader: yaml.SafeLoader, node: Any) -> Any:
    return read_word(loader.construct_scalar(node))


for _name in ("bool", "int", "float", "null"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_name}", _word)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """Write out what occurs twice: ROS knows no aliases."""
        return True

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """Quote what is no word to ROS, and what is none to PyYAML, which `ros2 param` uses."""
        if kind is yaml.ScalarNode and implicit[0] and not isinstance(read_word(value), str):
            return _tag(value)
        return super().resolve(kind, value, implicit)


def load_yaml(text: str) -> Any:
    """Read the document of a file.

    Raises:
        RepeatedError: It gives a name twice, or there is another document: ROS merges them.
        yaml.YAMLError: It is not YAML.
    """
    documents = list(yaml.load_all(text, Loader=_Loader))
    if len(documents) > 1:
        raise RepeatedError(f"expected one document, found {len(documents)} (---)")
    return documents[0] if documents else None


def dump_yaml(document: Mapping[str, Any]) -> str:
    """Write a document that ROS, PyYAML and `load_yaml` read alike."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
