"""Launch files, read with a stand-in for `launch` that takes down what they say."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMMON = {"params_file", "namespace", "use_sim_time", "log_level", "clock_topic", "seed"}
ARGUMENTS = {
    "sim.launch.py": COMMON | {"env_id", "mode", "wait_for_learner"},
    "control.launch.py": COMMON | {"autostart", "explore", "model", "model_folder", "trigger"},
    "learn.launch.py": COMMON | {"env_id", "output", "resume", "steps"},
}
ROBOT_FILE = "robot.launch.py"
ALL = ARGUMENTS | {ROBOT_FILE: COMMON | {"robot", "mode", "model", "output", "resume", "steps"}}
EXECUTABLES = {
    "sim.launch.py": "gym_bridge",
    "control.launch.py": "controller",
    "learn.launch.py": "trainer",
}
HELPERS = ("planet_ros.ros.launch_arguments", "planet_ros.ros.launch_events")
VALUES: dict[Any, tuple[str, Any]] = {
    bool: ("true", True),
    int: ("7", 7),
    str: ("some", "some"),
    list[str]: ("some", ["some"]),
}
"""A value of each type, as an argument and as it is meant."""


class Said:
    """Something of `launch` that was made: which class, and with what."""

    def __init__(self, what: str, *values: Any, **options: Any) -> None:
        self.what, self.values, self.options = what, values, options

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Said) and vars(other) == vars(self)

    def within(self) -> Iterator[Said]:
        """This and all that it was made with."""
        yield self
        waiting = [*self.values, *self.options.values()]
        while waiting:
            one = waiting.pop()
            if isinstance(one, Said):
                yield from one.within()
            elif isinstance(one, dict):
                waiting += one.values()
            elif isinstance(one, list | tuple):
                waiting += one


class StandIn(ModuleType):
    """A module that has every name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *values, **options: Said(name, *values, **options)


class Transition:
    """The transitions that the launch files ask for, as numbers that differ."""

    TRANSITION_CONFIGURE = 1
    TRANSITION_ACTIVATE = 3


class Share:
    """The folder where the package's presets are, with the name of launch_ros's."""

    def __init__(self, package: str) -> None:
        assert package == "planet_ros"

    def perform(self, context: Any) -> str:
        return str(ROOT)


class Context:
    """What the launch files ask of a launch."""

    def __init__(self, values: dict[str, str] | None = None) -> None:
        self.launch_configurations = values or {}
        self.is_shutdown = False
        self.locals = SimpleNamespace()

    def extend_globals(self, values: dict[str, Any]) -> None:
        vars(self.locals).update(values)


STAND_INS = (
    "launch",
    "launch.actions",
    "launch.logging",
    "launch.substitutions",
    "launch_ros",
    "launch_ros.actions",
    "launch_ros.parameter_descriptions",
    "launch_ros.ros_adapters",
    "launch_ros.substitutions",
    "lifecycle_msgs",
    "lifecycle_msgs.msg",
    "lifecycle_msgs.srv",
)


class Read:
    """A launch file, read with the stand-in."""

    def __init__(self, name: str) -> None:
        self.module = runpy.run_path(str(ROOT / "launch" / name))
        (self.entities,) = self.module["generate_launch_description"]().values

    def declared(self) -> dict[str, dict[str, Any]]:
        """Default value and description of each argument."""
        declarations = [one for one in self.entities if one.what == "DeclareLaunchArgument"]
        names = [one.values[0] for one in declarations]
        assert len(set(names)) == len(names)
        return {one.values[0]: one.options for one in declarations}

    def started(self, **given: str) -> list[Said]:
        """What follows where these arguments are given, and the others are not."""
        (function,) = (one for one in self.entities if one.what == "OpaqueFunction")
        defaults = {name: one["default_value"] for name, one in self.declared().items()}
        found: list[Said] = function.options["function"](Context(defaults | given))
        return found

    def node(self, **given: str) -> dict[str, Any]:
        """What the node is made with."""
        (node,) = (one for one in self.started(**given) if one.what in ("Node", "LifecycleNode"))
        return node.options

    def includes(self) -> dict[str, dict[str, Any]]:
        """The launch files that it includes, and the arguments that they get."""
        found = {}
        for one in self.entities:
            if one.what == "IncludeLaunchDescription":
                folder, file = one.values[0].values[0]
                assert folder == Said("ThisLaunchFileDir")
                pairs = one.options["launch_arguments"]
                assert len(dict(pairs)) == len(pairs)
                found[file] = dict(pairs)
        return found


def configuration(name: str) -> Said:
    return Said("LaunchConfiguration", name)


def overridden(node: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Parameters that a node is given beside its file: value and type."""
    _file, parameters = node["parameters"]
    return {
        name: (value.values[0], value.options["value_type"]) for name, value in parameters.items()
    }


def exits(node: dict[str, Any], context: Context, code: int) -> Any:
    return node["on_exit"](SimpleNamespace(returncode=code), context)
