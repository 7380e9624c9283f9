"""What the launch files have in common: arguments, and how these override parameters of a node.

Only launch files import it, where ROS has brought the package `launch`. An argument that is left
empty leaves its parameter to the parameter file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PACKAGE = "planet_ros"

Overrides: TypeAlias = Mapping[str, tuple[str, type]]
"""Launch argument: the parameter that it overrides, and its type."""

COMMON_OVERRIDES: Overrides = {"use_sim_time": ("use_sim_time", bool), "seed": ("seed", int)}

COMMON = ("params_file", "namespace", "log_level", *COMMON_OVERRIDES)
"""Names of the arguments that every launch file has."""


def argument(name: str, description: str, default: Any = "") -> DeclareLaunchArgument:
    """Declare an argument."""
    return DeclareLaunchArgument(name, default_value=default, description=description)


def common_arguments(nodes: str, use_sim_time: str) -> list[DeclareLaunchArgument]:
    """Declare the arguments of `COMMON`.

    Args:
        nodes: Whose they are, such as ``the node``.
        use_sim_time: What that one means here.
    """
    preset = PathJoinSubstitution([FindPackageShare(PACKAGE), "config", "pendulum.yaml"])
    return [
        argument("params_file", f"Full path to the ROS parameter file of {nodes}.", preset),
        argument("namespace", f"Namespace of {nodes}."),
        argument("log_level", "Least severity that is logged.", "info"),
        argument("use_sim_time", use_sim_time),
        argument("seed", "Seed of everything random."),
    ]


def node_arguments(executable: str, overrides: Overrides, context: LaunchContext) -> dict[str, Any]:
    """What `Node` and `LifecycleNode` are given, now that the values of the arguments are known.

    Args:
        executable: A command of this package, whose name the node has too.
        overrides: Of the launch file, besides the common ones.
        context: Knows the values.
    """
    given = {
        parameter: ParameterValue(LaunchConfiguration(name), value_type=value_type)
        for name, (parameter, value_type) in {**COMMON_OVERRIDES, **overrides}.items()
        if context.launch_configurations[name]
    }
    return {
        "package": PACKAGE,
        "executable": executable,
        "name": executable,
        "namespace": LaunchConfiguration("namespace"),
        "parameters": [LaunchConfiguration("params_file"), given],
        "ros_arguments": ["--log-level", LaunchConfiguration("log_level")],
        "output": "screen",
    }
