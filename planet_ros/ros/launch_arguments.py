"""What the launch files have in common: arguments, and how these override parameters of a node.

Only launch files import it, where ROS has brought the package `launch`. An argument that is left
empty leaves its parameter to the parameter file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from planet_ros.ros.launch_events import ended

PACKAGE = "planet_ros"
PRESET = "pendulum.yaml"

SIGTERM_TIMEOUT_S = 60
"""Seconds from Ctrl-C until a trainer that has still a bundle to export and a run to save is
terminated; launch's own 5 s are too short for large models."""

_ROBOT_FILE = "robot_{}.yaml"

Overrides: TypeAlias = Mapping[str, tuple[str, Any]]
"""Launch argument: the parameter that it overrides, and its type."""

COMMON_OVERRIDES: Overrides = {"use_sim_time": ("use_sim_time", bool), "seed": ("seed", int)}

COMMON = ("params_file", "namespace", "log_level", "clock_topic", *COMMON_OVERRIDES)
"""Names of the arguments that every launch file has."""

_TRUTHS = {"true": True, "True": True, "false": False, "False": False}


def argument(
    name: str, description: str, default: Any = "", choices: Sequence[str] = ()
) -> DeclareLaunchArgument:
    """Declare an argument; of choices, the empty one is always there."""
    allowed = {"choices": ["", *choices]} if choices else {}
    return DeclareLaunchArgument(name, default_value=default, description=description, **allowed)


def common_arguments(
    nodes: str, use_sim_time: str, params_file: str = PRESET
) -> list[DeclareLaunchArgument]:
    """Declare the arguments of `COMMON`.

    Args:
        nodes: Whose they are, such as ``the node``.
        use_sim_time: What that one means here.
        params_file: The file that is read where none is given.
    """
    return [
        argument(
            "params_file",
            f"ROS parameter file of {nodes}: a path, or the name of one in the folder config of "
            "this package.",
            params_file,
        ),
        argument("namespace", f"Namespace of {nodes}."),
        argument("log_level", "Least severity that is logged.", "info"),
        argument(
            "clock_topic",
            "Topic in place of /clock, such as clock, which is relative to the namespace: for "
            "several simulators in one domain.",
        ),
        argument("use_sim_time", use_sim_time),
        argument("seed", "Seed of everything random."),
    ]


def node_arguments(
    executable: str,
    overrides: Overrides,
    context: LaunchContext,
    *,
    file: str | None = None,
    fixed: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """What `Node` and `LifecycleNode` are given, now that the values of the arguments are known.

    Args:
        executable: A command of this package, whose name the node has too.
        overrides: Of the launch file, besides the common ones.
        context: Knows the values.
        file: Path of the parameter file; None: the one that the arguments name.
        fixed: Parameters that follow from what is launched, by their names.

    Raises:
        ValueError: An argument's value is not of its type, or names a file that does not exist.
    """
    values = context.launch_configurations
    given = {
        parameter: ParameterValue(value, value_type=type(value))
        for parameter, value in fixed.items()
    } | {
        parameter: ParameterValue(converted(name, values[name], kind), value_type=kind)
        for name, (parameter, kind) in {**COMMON_OVERRIDES, **overrides}.items()
        if values[name]
    }
    clock = values["clock_topic"]
    return {
        "package": PACKAGE,
        "executable": executable,
        "name": executable,
        "namespace": LaunchConfiguration("namespace"),
        "parameters": [file or parameter_file(values["params_file"], context), given],
        "remappings": [("/clock", clock)] if clock else [],
        "ros_arguments": ["--log-level", LaunchConfiguration("log_level")],
        "output": "screen",
        "on_exit": ended(executable),
    }


def converted(name: str, text: str, kind: Any) -> bool | int | str | list[str]:
    """The value of an argument, as one of its type; of a list it is the one element.

    Raises:
        ValueError: It is none.
    """
    if kind is int:
        if not re.fullmatch(r"[-+]?\d+", text):
            raise ValueError(f"{name}:={text}: expected an integer, such as {name}:=7")
        return int(text)
    if kind is bool:
        if text not in _TRUTHS:
            raise ValueError(f"{name}:={text}: expected true or false")
        return _TRUTHS[text]
    return [text] if kind == list[str] else text


def parameter_file(text: str, context: LaunchContext) -> str:
    """The absolute path of a parameter file.

    ROS itself would start every node with its defaults, the safe command's too, and a warning.

    Args:
        text: A path, relative to the working directory or absolute, or the bare name of a preset.
        context: Of the launch.

    Raises:
        ValueError: There is no such file.
    """
    path = Path(text).expanduser()
    if path.is_file():
        return str(path.absolute())
    presets = Path(FindPackageShare(PACKAGE).perform(context), "config")
    if path.name == text and (presets / text).is_file():
        return str(presets / text)
    names = ", ".join(sorted(preset.name for preset in presets.glob("*.yaml")))
    raise ValueError(
        f"params_file:={text}: there is no such file in {Path.cwd()}; expected a path, or the "
        f"name of one in {presets}: {names}"
    )


def robot_file(name: str, params_file: str, context: LaunchContext) -> str:
    """The absolute path of the parameter file of a simulated robot.

    Args:
        name: Of the robot; empty: the file says.
        params_file: The file to take in place of the robot's own; empty: none.
        context: Of the launch.

    Raises:
        ValueError: There is no such file, or no robot of that name.
    """
    if params_file:
        return parameter_file(params_file, context)
    presets = Path(FindPackageShare(PACKAGE).perform(context), "config")
    before, after = _ROBOT_FILE.split("{}")
    names = sorted(
        path.name.removeprefix(before).removesuffix(after)
        for path in presets.glob(_ROBOT_FILE.format("*"))
    )
    if name not in names:
        raise ValueError(
            f"robot:={name}: expected one of {', '.join(names)}, which have a file "
            f"{_ROBOT_FILE.format('NAME')} in {presets}; or give params_file:="
        )
    return str(presets / _ROBOT_FILE.format(name))
