"""The launch files: loaded for real where ROS has `launch`, and otherwise read as source."""

from __future__ import annotations

import ast
import re
from pathlib import Path
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


def parse(name: str) -> ast.Module:
    path = ROOT / "launch" / name
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def calls(tree: ast.Module, *functions: str) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in functions
    ]


def keywords(call: ast.Call) -> dict[str, ast.expr]:
    return {item.arg: item.value for item in call.keywords if item.arg}


def overrides(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """The OVERRIDES table of a launch file: argument to parameter name and name of its type."""
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "OVERRIDES"
    )
    assert isinstance(value, ast.Dict)
    table = {}
    for key, item in zip(value.keys, value.values, strict=True):
        assert isinstance(item, ast.Tuple)
        parameter, kind = item.elts
        table[ast.literal_eval(key)] = (ast.literal_eval(parameter), ast.unparse(kind))
    return table


def test_these_are_the_launch_files() -> None:
    assert {path.name for path in (ROOT / "launch").glob("*.py")} == set(ARGUMENTS)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_are_declared_and_described(name: str) -> None:
    declared = {}
    for call in calls(parse(name), "DeclareLaunchArgument"):
        assert "default_value" in keywords(call), ast.unparse(call)
        declared[ast.literal_eval(call.args[0])] = ast.literal_eval(keywords(call)["description"])
    assert set(declared) == ARGUMENTS[name]
    assert all(text.strip().endswith(".") for text in declared.values())


@pytest.mark.parametrize("name", ARGUMENTS)
def test_used_arguments_are_declared(name: str) -> None:
    used = {
        call.args[0].value
        for call in calls(parse(name), "LaunchConfiguration")
        if isinstance(call.args[0], ast.Constant)
    }
    assert used <= ARGUMENTS[name]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_executable_is_a_command_of_this_package(name: str) -> None:
    (node,) = calls(parse(name), "Node", "LifecycleNode")
    given = keywords(node)
    executable = ast.literal_eval(given["executable"])
    assert executable == ast.literal_eval(given["name"]) == EXECUTABLES[name]
    assert ast.literal_eval(given["package"]) == "planet_ros"
    commands = re.findall(r'"([\w-]+) = [\w.]+:\w+"', (ROOT / "setup.py").read_text("utf-8"))
    assert executable in commands


@pytest.mark.parametrize("name", ARGUMENTS)
def test_overridden_parameters_are_settings(name: str) -> None:
    settings = {setting.name: setting.type.__name__ for setting in schema()}
    settings |= {"use_sim_time": "bool"}
    assert "use_sim_time" in ROS_OWN_PARAMETERS
    for argument, (parameter, kind) in overrides(parse(name)).items():
        assert argument in ARGUMENTS[name]
        assert settings[parameter] == kind, parameter


def test_learning_passes_on_what_the_other_files_declare() -> None:
    includes = calls(parse("learn.launch.py"), "include")
    assert [ast.literal_eval(call.args[0]) for call in includes] == [
        "sim.launch.py",
        "control.launch.py",
    ]
    choices = {setting.name: setting.choices for setting in schema()}
    for call in includes:
        name = ast.literal_eval(call.args[0])
        passed = keywords(call)
        assert set(passed) <= ARGUMENTS[name]
        for argument, (parameter, _kind) in overrides(parse(name)).items():
            if isinstance(value := passed.get(argument), ast.Constant) and choices.get(parameter):
                assert value.value in choices[parameter]


def test_learning_runs_in_lock_step() -> None:
    sim, control = (keywords(c) for c in calls(parse("learn.launch.py"), "include"))
    assert ast.literal_eval(sim["mode"]) == "lock_step"
    assert ast.literal_eval(sim["wait_for_learner"]) == "true"
    assert ast.literal_eval(control["trigger"]) == "observation"
    assert ast.literal_eval(control["explore"]) == "true"


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
