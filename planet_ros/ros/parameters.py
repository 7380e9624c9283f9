"""ROS parameters from the schema in `planet_ros.config`."""

from __future__ import annotations

from array import array
from typing import Any, Generic

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from planet_ros.config import (
    ROS_OWN_PARAMETERS,
    AnySection,
    Setting,
    closest,
    schema,
    settings_from,
)
from planet_ros.errors import UserError

_FLOAT_MAX, _INTEGER_MAX = 1.7e308, 2**63 - 1


class NodeSettings(Generic[AnySection]):
    """Declares a node's part of all settings, and reads it back checked.

    Attributes:
        given: What files and the command line gave this node of it, by dotted name.
        unused: What they gave it of settings that it has no use for: one file serves all nodes.
    """

    def __init__(self, node: Node, section: type[AnySection]) -> None:
        """Declare every setting of a class of `planet_ros.config`, and say what is not used.

        Raises:
            UserError: A parameter file names a setting that does not exist, or gives one a wrong
                type or a value out of bounds.
        """
        self._node = node
        self._section = section
        self._declared = {setting.name: setting for setting in schema(section)}
        overrides = _overrides(node)
        self.given = {name: value for name, value in overrides.items() if name in self._declared}
        self.unused: dict[str, Any] = {
            name: value for name, value in overrides.items() if name not in self._declared
        }
        self._checked(self.given)  # all errors at once, before declaring
        for setting in self._declared.values():
            node.declare_parameter(setting.name, setting.default, _descriptor(setting))
        node.add_on_set_parameters_callback(self._check)
        if self.unused:
            node.get_logger().info(
                "given, but not used by this node: " + ", ".join(self._unused_sections())
            )

    def read(self) -> AnySection:
        """The settings as they are now."""
        return self._checked(self._values())

    def _checked(self, values: dict[str, Any]) -> AnySection:
        return settings_from(values, source=self._node.get_name(), schema=self._section)

    def _unused_sections(self) -> list[str]:
        """Sections of which nothing is used, as ``planner.*``, and single names of others."""
        used = {name.partition(".")[0] for name in self._declared}
        heads = {name: name.partition(".")[0] for name in self.unused}
        texts = [
            f"{head}.*" if head != name and head not in used else name
            for name, head in heads.items()
        ]
        return sorted(set(texts))

    def _values(self) -> dict[str, Any]:
        return {
            name: _given(setting, self._node.get_parameter(name).value)
            for name, setting in self._declared.items()
        }

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        changed = {
            parameter.name: _plain(self._declared[parameter.name], parameter.value)
            for parameter in parameters
            if parameter.name in self._declared
        }
        try:
            self._checked({**self._values(), **changed})
        except UserError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)


def _overrides(node: Node) -> dict[str, Any]:
    """What files and the command line give this node, every name of it known."""
    known = {setting.name: setting for setting in schema()}
    values = {}
    for name, parameter in node._parameter_overrides.items():  # rclpy offers no other way
        if name.partition(".")[0] in ROS_OWN_PARAMETERS:
            continue
        if name not in known:
            raise UserError(f"parameter {name}: unknown setting{closest(name, known)}")
        values[name] = _given(known[name], parameter.value)
    return values


def _plain(setting: Setting, value: Any) -> Any:
    """A parameter's value as the schema has it: rclpy gives arrays, or bytes, for lists."""
    listed = _is_list(setting) and isinstance(value, (list, tuple, array, bytes))
    return list(value) if listed else value


def _given(setting: Setting, value: Any) -> Any:
    """As `_plain`, of a file or the command line, where an empty list has no type: it is None."""
    return [] if value is None and _is_list(setting) else _plain(setting, value)


def _is_list(setting: Setting) -> bool:
    return setting.type not in (str, int, float, bool)


def _descriptor(setting: Setting) -> ParameterDescriptor:
    allowed = f" ({setting.range_text})" if setting.range_text else ""
    descriptor = ParameterDescriptor(
        description=setting.description + allowed,
        # `rate_hz: 50` in a file is an integer, and an empty list has no type: the schema checks
        # types, more kindly than rclpy does.
        dynamic_typing=True,
    )
    low, high = setting.bounds
    if setting.type is float and (low is not None or high is not None):
        descriptor.floating_point_range = [
            FloatingPointRange(
                from_value=float(-_FLOAT_MAX if low is None else low),
                to_value=float(_FLOAT_MAX if high is None else high),
            )
        ]
    elif setting.type is int and (low is not None or high is not None):
        descriptor.integer_range = [
            IntegerRange(
                from_value=int(-_INTEGER_MAX if low is None else low),
                to_value=int(_INTEGER_MAX if high is None else high),
                step=1,
            )
        ]
    return descriptor
