"""ROS parameters from the schema in `planet_ros.config`."""

from __future__ import annotations

from array import array
from collections.abc import Collection
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
    foreign,
    foreign_text,
    schema,
    settings_from,
)
from planet_ros.errors import UserError

_TYPES = {
    bool: Parameter.Type.BOOL,
    int: Parameter.Type.INTEGER,
    float: Parameter.Type.DOUBLE,
    str: Parameter.Type.STRING,
    list[int]: Parameter.Type.INTEGER_ARRAY,
    list[float]: Parameter.Type.DOUBLE_ARRAY,
    list[str]: Parameter.Type.STRING_ARRAY,
}

_FLOAT_MAX, _INTEGER_MAX = 1.7e308, 2**63 - 1


class NodeSettings(Generic[AnySection]):
    """Declares a node's part of all settings, and reads it back checked.

    Attributes:
        given: What files and the command line gave this node of it, by dotted name.
        unused: What they gave it of settings that it has no use for: one file serves all nodes.
    """

    def __init__(
        self,
        node: Node,
        section: type[AnySection],
        *,
        changeable: Collection[str] | None = None,
        effect: str = "",
    ) -> None:
        """Declare every setting of a class of `planet_ros.config`, and say what is not used.

        Args:
            node: Whose they are.
            section: Which settings.
            changeable: Those that may change while the node runs; None: all. The others are
                read-only, so that no change is promised that never comes.
            effect: When a change takes effect, for the log, such as ``at the next configure``.

        Raises:
            UserError: A parameter file names a setting that does not exist, or gives one a wrong
                type or a value out of bounds.
        """
        self._node = node
        self._section = section
        self._effect = effect
        self._declared = {setting.name: setting for setting in schema(section)}
        overrides, strangers = _overrides(node)
        self.given = {name: value for name, value in overrides.items() if name in self._declared}
        self.unused: dict[str, Any] = {
            name: value for name, value in overrides.items() if name not in self._declared
        }
        self._checked(self.given)  # all errors at once, before declaring
        for name, setting in self._declared.items():
            parameter = node.declare_parameter(name, setting.default, _descriptor(setting))
            # rclpy takes the type from the value: bytes where a list is empty.
            typed = _typed(setting, parameter)
            if typed.type_ is not parameter.type_:
                node.set_parameters([typed])
            if changeable is not None and name not in changeable:
                node.set_descriptor(name, _descriptor(setting, read_only=True))
        node.add_pre_set_parameters_callback(self._with_types)
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._say_when)
        if strangers:
            node.get_logger().warn(foreign_text(strangers))
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

    def _with_types(self, parameters: list[Parameter]) -> list[Parameter]:
        """What is to be set, as the schema's types: ``50`` for a number, an empty list."""
        return [
            _typed(self._declared[parameter.name], parameter)
            if parameter.name in self._declared and parameter.value is not None
            else parameter  # one without a value is to be deleted
            for parameter in parameters
        ]

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

    def _say_when(self, parameters: list[Parameter]) -> None:
        names = [parameter.name for parameter in parameters if parameter.name in self._declared]
        if names and self._effect:
            self._node.get_logger().info(f"{', '.join(names)}: taken up {self._effect}")


def _overrides(node: Node) -> tuple[dict[str, Any], list[str]]:
    """What files and the command line give this node; and names that are meant for others.

    A section ``/**`` of a file is for all nodes, those of other packages too.
    """
    known = {setting.name: setting for setting in schema()}
    given = {
        name: parameter.value
        for name, parameter in node._parameter_overrides.items()  # rclpy offers no other way
        if name.partition(".")[0] not in ROS_OWN_PARAMETERS
    }
    strangers = foreign(given)
    values = {}
    for name, value in given.items():
        if name in strangers:
            continue
        if name not in known:
            raise UserError(f"parameter {name}: unknown setting{closest(name, known)}")
        values[name] = _given(known[name], value)
    return values, strangers


def _typed(setting: Setting, parameter: Parameter) -> Parameter:
    """A parameter with the type that the schema has; as it was, if its value is not of that."""
    value = _given(setting, parameter.value)
    if setting.type is float and type(value) is int:
        value = float(value)
    elif setting.type == list[float] and isinstance(value, list):
        value = [float(one) if type(one) is int else one for one in value]
    kind = _TYPES.get(setting.type)
    if kind is None or not kind.check(value):
        return parameter
    return Parameter(parameter.name, kind, value)


def _plain(setting: Setting, value: Any) -> Any:
    """A parameter's value as the schema has it: rclpy gives arrays, or bytes, for lists."""
    listed = _is_list(setting) and isinstance(value, (list, tuple, array, bytes))
    return list(value) if listed else value


def _given(setting: Setting, value: Any) -> Any:
    """As `_plain`, of a file or the command line, where an empty list has no type: it is None."""
    return [] if value is None and _is_list(setting) else _plain(setting, value)


def _is_list(setting: Setting) -> bool:
    return setting.type not in (str, int, float, bool)


def _descriptor(setting: Setting, *, read_only: bool = False) -> ParameterDescriptor:
    allowed = f" ({setting.range_text})" if setting.range_text else ""
    descriptor = ParameterDescriptor(
        description=setting.description + allowed,
        # `rate_hz: 50` in a file is an integer, and an empty list has no type: the schema checks
        # types, more kindly than rclpy does.
        dynamic_typing=True,
        read_only=read_only,
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
