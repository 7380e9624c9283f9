"""The launch files: with a stand-in for `launch` that takes down what they say, and for real where
ROS has it."""

from __future__ import annotations

import importlib
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from planet_ros.config import ROS_OWN_PARAMETERS, schema

ROOT = Path(__file__).resolve().parents[2]
COMMON = {"params_file", "namespace", "use_sim_time", "log_level", "seed"}
ARGUMENTS = {
    "sim.launch.py": COMMON | {"env_id", "mode", "wait_for_learner"},
    "control.launch.py": COMMON | {"autostart", "explore", "model", "trigger"},
    "learn.launch.py": COMMON | {"env_id", "output", "steps"},
}
EXECUTABLES = {
    "sim.launch.py": "gym_bridge",
    "control.launch.py": "controller",
    "learn.launch.py": "trainer",
}
HELPER = "planet_ros.ros.launch_arguments"


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


STAND_INS = (
    "launch",
    "launch.actions",
    "launch.conditions",
    "launch.events",
    "launch.substitutions",
    "launch_ros",
    "launch_ros.actions",
    "launch_ros.event_handlers",
    "launch_ros.events",
    "launch_ros.events.lifecycle",
    "launch_ros.parameter_descriptions",
    "launch_ros.substitutions",
    "lifecycle_msgs",
    "lifecycle_msgs.msg",
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
        values = dict.fromkeys(self.declared(), "") | given
        context = ModuleType("context")
        context.launch_configurations = values  # type: ignore[attr-defined]
        found: list[Said] = function.options["function"](context)
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


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Read]]:
    """``read("sim.launch.py")``: as `Read`."""
    for name in STAND_INS:
        monkeypatch.setitem(sys.modules, name, StandIn(name))
    sys.modules["lifecycle_msgs.msg"].Transition = Transition  # type: ignore[attr-defined]
    monkeypatch.delitem(sys.modules, HELPER, raising=False)
    yield Read
    sys.modules.pop(HELPER, None)  # it has the stand-in's names
    package = importlib.import_module("planet_ros.ros")
    if hasattr(package, "launch_arguments"):
        del package.launch_arguments


def configuration(name: str) -> Said:
    return Said("LaunchConfiguration", name)


def overridden(node: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Parameters that a node is given beside its file: value and type."""
    file, parameters = node["parameters"]
    assert file == configuration("params_file")
    return {
        name: (value.values[0], value.options["value_type"]) for name, value in parameters.items()
    }


def test_these_are_the_launch_files() -> None:
    assert {path.name for path in (ROOT / "launch").glob("*.py")} == set(ARGUMENTS)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_are_declared_and_described(read: Callable[[str], Read], name: str) -> None:
    declared = read(name).declared()
    assert set(declared) == ARGUMENTS[name]
    assert all(options["description"].strip().endswith(".") for options in declared.values())


@pytest.mark.parametrize("name", ARGUMENTS)
def test_what_is_not_given_is_left_to_the_parameter_file(
    read: Callable[[str], Read], name: str
) -> None:
    defaults = {
        argument: options["default_value"] for argument, options in read(name).declared().items()
    }
    share = Said("FindPackageShare", "planet_ros")
    preset = Said("PathJoinSubstitution", [share, "config", "pendulum.yaml"])
    assert defaults.pop("params_file") == preset
    assert defaults.pop("log_level") == "info"
    assert defaults.pop("autostart", "true") == "true"
    assert set(defaults.values()) == {""}
    assert overridden(read(name).node()) == {}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_used_arguments_are_declared(read: Callable[[str], Read], name: str) -> None:
    file = read(name)
    given = dict.fromkeys(ARGUMENTS[name], "1")
    used = {
        part.values[0]
        for one in (*file.entities, *file.started(**given))
        for part in one.within()
        if part.what == "LaunchConfiguration"
    }
    assert {"params_file", "namespace", "log_level"} < used <= ARGUMENTS[name]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_executable_is_a_command_of_this_package(read: Callable[[str], Read], name: str) -> None:
    node = read(name).node()
    assert node["executable"] == node["name"] == EXECUTABLES[name]
    assert node["package"] == "planet_ros"
    assert node["namespace"] == configuration("namespace")
    assert node["ros_arguments"] == ["--log-level", configuration("log_level")]
    commands = re.findall(r'"([\w-]+) = [\w.]+:\w+"', (ROOT / "setup.py").read_text("utf-8"))
    assert node["executable"] in commands


@pytest.mark.parametrize("name", ARGUMENTS)
def test_overridden_parameters_are_settings(read: Callable[[str], Read], name: str) -> None:
    settings = {setting.name: setting.type for setting in schema()} | {"use_sim_time": bool}
    assert "use_sim_time" in ROS_OWN_PARAMETERS
    # All but those that say where the node and its file are, and whether it starts.
    arguments = ARGUMENTS[name] - {"params_file", "namespace", "log_level", "autostart"}
    values = set()
    for argument in arguments:
        ((parameter, (value, kind)),) = overridden(read(name).node(**{argument: "1"})).items()
        assert value == configuration(argument)
        assert settings[parameter] is kind, parameter
        values.add(parameter)
    assert {"use_sim_time", "seed"} < values
    assert len(values) == len(arguments)


def test_learning_passes_on_what_the_other_files_declare(read: Callable[[str], Read]) -> None:
    includes = read("learn.launch.py").includes()
    assert list(includes) == ["sim.launch.py", "control.launch.py"]
    choices = {setting.name: setting.choices for setting in schema()}
    for name, passed in includes.items():
        assert set(passed) <= ARGUMENTS[name]
        for argument in COMMON:
            assert passed[argument] == configuration(argument)
        given = {argument: value for argument, value in passed.items() if isinstance(value, str)}
        for parameter, (value, _kind) in overridden(read(name).node(**given)).items():
            if choices.get(parameter):
                assert given[value.values[0]] in choices[parameter]


def test_learning_runs_in_lock_step(read: Callable[[str], Read]) -> None:
    includes = read("learn.launch.py").includes()
    sim, control = includes["sim.launch.py"], includes["control.launch.py"]
    assert (sim["mode"], sim["wait_for_learner"]) == ("lock_step", "true")
    assert sim["env_id"] == configuration("env_id")
    assert (control["trigger"], control["explore"]) == ("observation", "true")
    assert control["autostart"] == "true"


def test_learning_ends_with_the_trainer(read: Callable[[str], Read]) -> None:
    assert read("learn.launch.py").node()["on_exit"].what == "Shutdown"


def test_controller_is_configured_and_then_activated_where_it_starts_itself(
    read: Callable[[str], Read],
) -> None:
    activate, controller, configure = read("control.launch.py").started(autostart="true")
    assert controller.what == "LifecycleNode"
    condition = Said("IfCondition", configuration("autostart"))
    assert activate.options["condition"] == configure.options["condition"] == condition
    asked = configure.options["event"].options
    assert asked["transition_id"] == Transition.TRANSITION_CONFIGURE
    assert asked["lifecycle_node_matcher"] == Said("matches_action", controller)
    (transition,) = activate.values
    assert transition.options["target_lifecycle_node"] == controller
    states = transition.options["start_state"], transition.options["goal_state"]
    assert states == ("configuring", "inactive")
    (event,) = transition.options["entities"]
    assert event.options["event"].options["transition_id"] == Transition.TRANSITION_ACTIVATE


@pytest.fixture
def described(request: pytest.FixtureRequest) -> tuple[str, Any]:
    """Name and LaunchDescription of a launch file, loaded as `ros2 launch` does."""
    sources = pytest.importorskip(
        "launch.launch_description_sources", reason="launch is not installed (ROS brings it)"
    )
    pytest.importorskip("launch_ros.actions", reason="launch_ros is not installed")
    load = sources.get_launch_description_from_python_launch_file
    return request.param, load(str(ROOT / "launch" / request.param))


@pytest.mark.parametrize("described", ARGUMENTS, indirect=True)
def test_launch_loads_it(described: tuple[str, Any]) -> None:
    name, description = described
    assert {argument.name for argument in description.get_launch_arguments()} == ARGUMENTS[name]


@pytest.mark.parametrize("described", ["sim.launch.py", "control.launch.py"], indirect=True)
@pytest.mark.parametrize("given", [{}, {"seed": "7", "namespace": "robot"}])
def test_only_given_arguments_override_the_file(
    described: tuple[str, Any], given: dict[str, str]
) -> None:
    import launch
    from launch.actions import DeclareLaunchArgument, OpaqueFunction

    _name, description = described
    context = launch.LaunchContext()
    context.launch_configurations.update({"params_file": "/some/file.yaml", **given})
    actions: list[Any] = []
    for entity in description.entities:
        if isinstance(entity, DeclareLaunchArgument | OpaqueFunction):
            actions += entity.execute(context) or []
    (node,) = (action for action in actions if hasattr(action, "node_executable"))
    file, overridden = node._Node__parameters
    assert file is not None
    names = {"".join(part.perform(context) for part in key) for key in overridden}
    assert names == ({"seed"} if given else set())
