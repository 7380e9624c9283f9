"""The launch files: with a stand-in for `launch` that takes down what they say, and for real where
ROS has it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from launch_files import (
    ALL,
    ARGUMENTS,
    COMMON,
    EXECUTABLES,
    ROBOT_FILE,
    ROOT,
    VALUES,
    Context,
    Read,
    configuration,
    exits,
    overridden,
)

from planet_ros.config import ROS_OWN_PARAMETERS, schema


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
        assert settings[parameter] == kind, parameter
        names.add(parameter)
    assert {"use_sim_time", "seed"} < names
    assert len(names) == len(ARGUMENTS[name] - elsewhere)


def given_as(file: Read, argument: str, kind: Any) -> bool:
    """Whether a launch file passes an argument on as a parameter of this type."""
    try:
        ((_, found),) = overridden(file.node(**{argument: VALUES[kind][0]})).values()
    except ValueError:
        return False
    return bool(found == kind)


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


def test_while_learning_models_come_from_the_run_alone(read: Callable[[str], Read]) -> None:
    control = read("learn.launch.py").includes()["control.launch.py"]
    assert control["model_folder"] == configuration("output")


def test_a_trainer_has_time_to_save(read: Callable[[str], Read]) -> None:
    timeout = read("learn.launch.py").node()["sigterm_timeout"]
    assert timeout.values == ("sigterm_timeout",)
    assert float(timeout.options["default"]) >= 30


# ── how a launch ends ────────────────────────────────────────────────────────────────────────


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
