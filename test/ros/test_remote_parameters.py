"""What somebody else's process may set in a node: nothing that names code, files or permissions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from nodes import ENVIRONMENT, Ros
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.parameter import Parameter
from test_robustness import ALLOWED, change_state, write_bundle

from planet_ros.config import NODES, schema

pytestmark = pytest.mark.ros

VALUES: dict[Any, Any] = {
    bool: True,
    int: 1,
    float: 1.0,
    str: "a_strangers:module",
    list[int]: [1],
    list[float]: [1.0],
    list[str]: ["a_strangers_module"],
}
STARTED: dict[str, dict[str, Any]] = {
    "gym_bridge": {**ENVIRONMENT, "bridge.mode": "real_time", "bridge.wait_for_learner": True},
    "trainer": ENVIRONMENT,
    "robot": {"robot.start_paused": True},
    "controller": {},
}
CHANGEABLE = {
    "gym_bridge": {"bridge.real_time_factor"},
    "trainer": set[str](),
    "robot": {"robot.real_time_factor"},
    "controller": {
        "seed",
        "model",
        "training.exploration_noise",
        "controller.trigger",
        "controller.rate_hz",
        "controller.stale_timeout_s",
        "controller.max_missed",
        "controller.explore",
        "controller.safe_command",
    },
}


def set_to(ros: Ros, node: str, values: dict[str, Any]) -> dict[str, SetParametersResult]:
    """What a node says to each of these values, as ``ros2 param set`` asks it."""
    asked = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
    request = SetParameters.Request(parameters=asked)
    results = ros.call(SetParameters, f"{node}/set_parameters", request).results
    return dict(zip(values, results, strict=True))


@pytest.mark.parametrize("node", NODES)
def test_what_names_code_or_files_or_what_is_allowed_is_read_only(
    ros: Ros, tmp_path: Path, node: str
) -> None:
    output = {"training.output": str(tmp_path / "run")} if node == "trainer" else {}
    process = ros.start(node, {**STARTED[node], **output})
    # Of the right type, so that it is not refused for that.
    values = {setting.name: VALUES[setting.type] for setting in schema(NODES[node])}
    fixed = {name: value for name, value in values.items() if name not in CHANGEABLE[node]}
    assert len(fixed) == len(values) - len(CHANGEABLE[node])
    for name, result in set_to(ros, node, fixed).items():
        assert not result.successful, name
        assert "read-only" in result.reason, (name, result.reason)

    # Neither together with one that may be changed.
    both = {name: values[name] for name in (*sorted(CHANGEABLE[node])[:1], *list(fixed)[:1])}
    asked = [Parameter(name, value=value).to_parameter_msg() for name, value in both.items()]
    request = SetParametersAtomically.Request(parameters=asked)
    answer = ros.call(SetParametersAtomically, f"{node}/set_parameters_atomically", request)
    assert not answer.result.successful
    assert process.poll() is None


def test_what_a_controller_may_be_told_while_it_runs(ros: Ros) -> None:
    ros.start("controller", {})
    values = {
        setting.name: setting.choices[0] if setting.choices else VALUES[setting.type]
        for setting in schema(NODES["controller"])
        if setting.name in CHANGEABLE["controller"]
    }
    for name, result in set_to(ros, "controller", values).items():
        assert result.successful, (name, result.reason)


def test_a_model_that_is_set_later_has_to_be_in_an_allowed_folder(ros: Ros, tmp_path: Path) -> None:
    mine = write_bundle(tmp_path / "mine" / "model", ALLOWED).path
    other = write_bundle(tmp_path / "other" / "model", ALLOWED).path
    controller = ros.start(
        "controller", {"model": str(mine), "controller.model_folders": [str(mine.parent)]}
    )
    assert change_state(ros, Transition.TRANSITION_CONFIGURE)
    assert change_state(ros, Transition.TRANSITION_CLEANUP)
    assert set_to(ros, "controller", {"model": str(other)})["model"].successful
    assert not change_state(ros, Transition.TRANSITION_CONFIGURE)
    ros.until(lambda: "outside the folders that controller.model_folders" in controller.output)
    assert set_to(ros, "controller", {"model": str(mine)})["model"].successful
    assert change_state(ros, Transition.TRANSITION_CONFIGURE)
