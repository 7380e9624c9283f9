"""The launch file of the simulated robots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_origin

import pytest
from launch_files import ROBOT_FILE, ROOT, Context, Read, configuration, exits, overridden

from planet_ros.config import load_settings, schema


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
            "controller.model_folders": ["runs/p"],
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
            assert type(value) is (get_origin(kind) or kind)
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
