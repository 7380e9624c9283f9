"""The launch files: with a stand-in for `launch` that takes down what they say, and for real where
ROS has it."""

from __future__ import annotations

import importlib
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from planet_ros.config import ROS_OWN_PARAMETERS, load_settings, schema

ROOT = Path(__file__).resolve().parents[2]
COMMON = {"params_file", "namespace", "use_sim_time", "log_level", "clock_topic", "seed"}
ARGUMENTS = {
    "sim.launch.py": COMMON | {"env_id", "mode", "wait_for_learner"},
    "control.launch.py": COMMON | {"autostart", "explore", "model", "trigger"},
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
VALUES = {bool: ("true", True), int: ("7", 7), str: ("some", "some")}
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


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Read]]:
    """``read("sim.launch.py")``: as `Read`."""
    for name in STAND_INS:
        monkeypatch.setitem(sys.modules, name, StandIn(name))
    sys.modules["lifecycle_msgs.msg"].Transition = Transition  # type: ignore[attr-defined]
    sys.modules["launch_ros.substitutions"].FindPackageShare = Share  # type: ignore[attr-defined]
    for helper in HELPERS:
        monkeypatch.delitem(sys.modules, helper, raising=False)
    yield Read
    package = importlib.import_module("planet_ros.ros")
    for helper in HELPERS:
        sys.modules.pop(helper, None)  # it has the stand-in's names
        if hasattr(package, helper.rpartition(".")[2]):
            delattr(package, helper.rpartition(".")[2])


def configuration(name: str) -> Said:
    return Said("LaunchConfiguration", name)


def overridden(node: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Parameters that a node is given beside its file: value and type."""
    _file, parameters = node["parameters"]
    return {
        name: (value.values[0], value.options["value_type"]) for name, value in parameters.items()
    }


def test_these_are_the_launch_files() -> None:
    assert {path.name for path in (ROOT / "launch").glob("*.py")} == set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_arguments_are_declared_and_described(read: Callable[[str], Read], name: str) -> None:
    declared = read(name).declared()
    assert set(declared) == ALL[name]
    assert all(options["description"].strip().endswith(".") for options in declared.values())


@pytest.mark.parametrize("name", ARGUMENTS)
def test_what_is_not_given_is_left_to_the_parameter_file(
    read: Callable[[str], Read], name: str
) -> None:
    defaults = {
        argument: options["default_value"] for argument, options in read(name).declared().items()
    }
    assert defaults.pop("params_file") == "pendulum.yaml"
    assert defaults.pop("log_level") == "info"
    assert defaults.pop("autostart", "true") == "true"
    assert set(defaults.values()) == {""}
    node = read(name).node()
    assert overridden(node) == {}
    assert node["remappings"] == []
    assert node["parameters"][0] == str(ROOT / "config" / "pendulum.yaml")


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
    elsewhere = {"params_file", "namespace", "log_level", "clock_topic", "autostart"}
    names = set()
    for argument in ARGUMENTS[name] - elsewhere:
        (kind,) = {one for one in VALUES if given_as(read(name), argument, one)}
        ((parameter, (value, _)),) = overridden(
            read(name).node(**{argument: VALUES[kind][0]})
        ).items()
        assert value == VALUES[kind][1]
        assert settings[parameter] is kind, parameter
        names.add(parameter)
    assert {"use_sim_time", "seed"} < names
    assert len(names) == len(ARGUMENTS[name] - elsewhere)


def given_as(file: Read, argument: str, kind: type) -> bool:
    """Whether a launch file passes an argument on as a parameter of this type."""
    try:
        ((_, found),) = overridden(file.node(**{argument: VALUES[kind][0]})).values()
    except ValueError:
        return False
    return found is kind


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize(
    ("argument", "text", "expected"),
    [
        ("seed", "abc", "expected an integer"),
        ("seed", "1.5", "expected an integer"),
        ("use_sim_time", "maybe", "expected true or false"),
        ("params_file", "absent.yaml", r"pendulum\.yaml, "),
        ("params_file", "/nowhere/pendulum.yaml", "there is no such file"),
        ("params_file", "config", "there is no such file"),
    ],
)
def test_a_wrong_argument_is_refused_with_a_reason(
    read: Callable[[str], Read], name: str, argument: str, text: str, expected: str
) -> None:
    with pytest.raises(ValueError, match=f"^{argument}:={text}: .*{expected}"):
        read(name).node(**{argument: text})


def test_a_parameter_file_is_found_by_path_and_then_by_the_name_of_a_preset(
    read: Callable[[str], Read], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    preset = ROOT / "config" / "pendulum_pixels.yaml"
    file = read("sim.launch.py")

    def found(text: str) -> str:
        return str(file.node(params_file=text)["parameters"][0])

    assert found("pendulum_pixels.yaml") == str(preset)
    (tmp_path / "pendulum_pixels.yaml").touch()
    assert found("pendulum_pixels.yaml") == str(tmp_path / "pendulum_pixels.yaml")
    assert found(str(preset)) == str(preset)


@pytest.mark.parametrize(
    ("name", "argument", "setting"),
    [
        ("sim.launch.py", "mode", "bridge.mode"),
        ("control.launch.py", "trigger", "controller.trigger"),
        (ROBOT_FILE, "mode", "robot.mode"),
    ],
)
def test_choices_are_those_of_the_setting(
    read: Callable[[str], Read], name: str, argument: str, setting: str
) -> None:
    (choices,) = (one.choices for one in schema() if one.name == setting)
    assert read(name).declared()[argument]["choices"] == ["", *choices]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_the_clock_can_be_one_of_a_namespace(read: Callable[[str], Read], name: str) -> None:
    assert read(name).node(clock_topic="clock")["remappings"] == [("/clock", "clock")]


def test_learning_passes_on_what_the_other_files_declare(read: Callable[[str], Read]) -> None:
    includes = read("learn.launch.py").includes()
    assert list(includes) == ["sim.launch.py", "control.launch.py"]
    choices = {setting.name: setting.choices for setting in schema()}
    for name, passed in includes.items():
        assert set(passed) <= ARGUMENTS[name]
        for argument in COMMON:
            assert passed[argument] == configuration(argument)
        given = {argument: value for argument, value in passed.items() if isinstance(value, str)}
        for parameter, (value, _) in overridden(read(name).node(**given)).items():
            if choices.get(parameter):
                assert value in choices[parameter]


def test_learning_runs_in_lock_step(read: Callable[[str], Read]) -> None:
    includes = read("learn.launch.py").includes()
    sim, control = includes["sim.launch.py"], includes["control.launch.py"]
    assert (sim["mode"], sim["wait_for_learner"]) == ("lock_step", "true")
    assert sim["env_id"] == configuration("env_id")
    assert (control["trigger"], control["explore"]) == ("observation", "true")
    assert control["autostart"] == "true"


def test_a_trainer_has_time_to_save(read: Callable[[str], Read]) -> None:
    timeout = read("learn.launch.py").node()["sigterm_timeout"]
    assert timeout.values == ("sigterm_timeout",)
    assert float(timeout.options["default"]) >= 30


# ── a robot ──────────────────────────────────────────────────────────────────────────────────


def robot_nodes(file: Read, **given: str) -> dict[str, dict[str, Any]]:
    """What each node of the robot's launch file is made with, by its name."""
    return {
        one.options["executable"]: one.options
        for one in file.started(**given)
        if one.what in ("Node", "LifecycleNode")
    }


def values_of(node: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, (value, _) in overridden(node).items()}


def test_a_robot_is_learned_as_the_demo_does(read: Callable[[str], Read]) -> None:
    found = robot_nodes(read(ROBOT_FILE), robot="pendulum", seed="3", output="runs/p", steps="400")
    every = load_settings(ROOT / "config" / "robot_pendulum.yaml").training.update_every_steps
    assert every > 0
    assert {name: values_of(node) for name, node in found.items()} == {
        "robot": {
            "seed": 3,
            "robot.name": "pendulum",
            "robot.mode": "lock_step",
            "robot.start_paused": True,
            "robot.pause_every_steps": every,
        },
        "controller": {
            "seed": 3,
            "controller.trigger": "observation",
            "controller.explore": True,
        },
        "trainer": {
            "seed": 3,
            "training.output": "runs/p",
            "training.steps": 400,
            "training.lock_step": True,
            "training.pause_service": "robot/pause",
        },
    }
    for name, node in found.items():
        assert node["name"] == name
        assert node["namespace"] == configuration("namespace")
        assert node["parameters"][0] == str(ROOT / "config" / "robot_pendulum.yaml")
        with pytest.raises(RuntimeError, match=f"the {name} ended with code 2"):
            exits(node, Context(), 2)


def test_a_robot_is_learned_in_real_time_where_that_is_asked_for(
    read: Callable[[str], Read],
) -> None:
    found = robot_nodes(read(ROBOT_FILE), robot="pendulum", mode="real_time")
    assert values_of(found["robot"]) == {
        "robot.name": "pendulum",
        "robot.mode": "real_time",
        "robot.start_paused": False,
        "robot.pause_every_steps": 0,
    }
    assert values_of(found["controller"]) == {
        "controller.trigger": "timer",
        "controller.explore": True,
    }
    assert values_of(found["trainer"]) == {
        "training.lock_step": False,
        "training.pause_service": "",
    }


@pytest.mark.parametrize(
    ("given", "mode", "trigger"),
    [("", "real_time", "timer"), ("lock_step", "lock_step", "observation")],
)
def test_with_a_model_a_robot_is_driven_and_nobody_learns(
    read: Callable[[str], Read], given: str, mode: str, trigger: str
) -> None:
    found = robot_nodes(read(ROBOT_FILE), robot="pendulum", model="runs/p/model", mode=given)
    assert set(found) == {"robot", "controller"}
    robot, controller = values_of(found["robot"]), values_of(found["controller"])
    assert (robot["robot.mode"], robot["robot.start_paused"]) == (mode, False)
    assert robot["robot.pause_every_steps"] == 0
    assert controller == {
        "model": "runs/p/model",
        "controller.trigger": trigger,
        "controller.explore": False,
    }


def test_parameters_of_a_robot_are_settings_of_its_nodes(read: Callable[[str], Read]) -> None:
    settings = {setting.name: setting.type for setting in schema()}
    given = {"robot": "pendulum", "output": "o", "resume": "true", "steps": "9", "seed": "1"}
    for node in robot_nodes(read(ROBOT_FILE), **given).values():
        for name, (value, kind) in overridden(node).items():
            assert type(value) is kind
            assert settings[name] in (kind, str), name


@pytest.mark.parametrize("robot", ["", "hexapod", "../robot_pendulum"])
def test_a_robot_without_a_file_is_refused_with_those_that_have_one(
    read: Callable[[str], Read], robot: str
) -> None:
    with pytest.raises(ValueError, match=f"^robot:={robot}: expected one of .*pendulum"):
        read(ROBOT_FILE).started(robot=robot)


def test_a_robot_can_have_a_file_of_ones_own(read: Callable[[str], Read], tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("/**: {ros__parameters: {training: {update_every_steps: 7}}}")
    found = robot_nodes(read(ROBOT_FILE), params_file=str(file))
    assert {node["parameters"][0] for node in found.values()} == {str(file)}
    robot = values_of(found["robot"])
    assert "robot.name" not in robot  # the file says
    assert robot["robot.pause_every_steps"] == 7
    with pytest.raises(ValueError, match=r"^params_file:=absent\.yaml: there is no such file"):
        read(ROBOT_FILE).started(robot="pendulum", params_file="absent.yaml")


# ── how a launch ends ────────────────────────────────────────────────────────────────────────


def exits(node: dict[str, Any], context: Context, code: int) -> Any:
    return node["on_exit"](SimpleNamespace(returncode=code), context)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_launch_ends_with_each_of_its_nodes(read: Callable[[str], Read], name: str) -> None:
    (shutdown,) = exits(read(name).node(), Context(), 0)
    assert shutdown.what == "Shutdown"
    assert EXECUTABLES[name] in shutdown.options["reason"]


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize(
    ("code", "said"), [(2, "ended with code 2"), (-9, "SIGKILL"), (-11, "SIGSEGV"), (-99, "99")]
)
def test_a_node_that_fails_is_an_error_that_names_it(
    read: Callable[[str], Read], name: str, code: int, said: str
) -> None:
    with pytest.raises(RuntimeError, match=f"the {EXECUTABLES[name]} .*{said}"):
        exits(read(name).node(), Context(), code)


@pytest.mark.parametrize("code", [0, 1, -2])
def test_only_the_first_end_ends_the_launch(read: Callable[[str], Read], code: int) -> None:
    node, ending = read("sim.launch.py").node(), Context()
    ending.is_shutdown = True  # by Ctrl-C
    assert exits(node, ending, code) is None
    context = Context()
    exits(node, context, 0)  # what it asks for has not happened yet
    assert exits(read("control.launch.py").node(), context, code) is None


# ── how the controller starts ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("given", "starts"), [("true", True), ("True", True), ("false", False)])
def test_the_controller_starts_itself_where_that_is_asked_for(
    read: Callable[[str], Read], given: str, starts: bool
) -> None:
    controller, *rest = read("control.launch.py").started(autostart=given)
    assert controller.what == "LifecycleNode"
    assert [one.what for one in rest] == (["OpaqueFunction"] if starts else [])


@pytest.mark.parametrize(
    ("answers", "asked", "told"),
    [
        ([True, True], [1, 3], False),
        ([False], [1], True),
        ([True, False], [1, 3], True),
        ([None], [1], False),
    ],
)
def test_each_transition_is_asked_for_once_and_only_after_the_one_before(
    read: Callable[[str], Read], answers: list[bool | None], asked: list[int], told: bool
) -> None:
    read("control.launch.py")
    events = importlib.import_module("planet_ros.ros.launch_events")
    left = list(answers)
    found: list[int] = []
    said: list[str] = []

    def change_state(transition: int) -> bool | None:
        found.append(transition)
        return left.pop(0)

    events.configure_and_activate(change_state, said.append)
    assert found == asked
    assert bool(said) == told


# ── with the real launch ─────────────────────────────────────────────────────────────────────


@pytest.fixture
def described(request: pytest.FixtureRequest) -> tuple[str, Any]:
    """Name and LaunchDescription of a launch file, loaded as `ros2 launch` does."""
    sources = pytest.importorskip(
        "launch.launch_description_sources", reason="launch is not installed (ROS brings it)"
    )
    pytest.importorskip("launch_ros.actions", reason="launch_ros is not installed")
    load = sources.get_launch_description_from_python_launch_file
    return request.param, load(str(ROOT / "launch" / request.param))


@pytest.mark.parametrize("described", ALL, indirect=True)
def test_launch_loads_it(described: tuple[str, Any]) -> None:
    name, description = described
    assert {argument.name for argument in description.get_launch_arguments()} == ALL[name]


@pytest.mark.parametrize("described", ["sim.launch.py", "control.launch.py"], indirect=True)
@pytest.mark.parametrize("given", [{}, {"seed": "7", "namespace": "robot"}])
def test_only_given_arguments_override_the_file(
    described: tuple[str, Any], given: dict[str, str]
) -> None:
    import launch
    from launch.actions import DeclareLaunchArgument, OpaqueFunction

    _name, description = described
    context = launch.LaunchContext()
    preset = str(ROOT / "config" / "pendulum.yaml")
    context.launch_configurations.update({"params_file": preset, **given})
    actions: list[Any] = []
    for entity in description.entities:
        if isinstance(entity, DeclareLaunchArgument | OpaqueFunction):
            actions += entity.execute(context) or []
    (node,) = (action for action in actions if hasattr(action, "node_executable"))
    file, overridden = node._Node__parameters
    assert file is not None
    names = {"".join(part.perform(context) for part in key) for key in overridden}
    assert names == ({"seed"} if given else set())
