"""The launch files, run by the real `launch`: how they start, and how they end whatever happens."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from launched import END_LIMIT_S, LAUNCH_MARKS, SAVE_LIMIT_S, SETTINGS, Launched
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from nodes import Ros
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from std_msgs.msg import String

from planet_ros.bundle.runtime import load_bundle
from planet_ros.messages.announcements import Announcement
from planet_ros.ros.topics import LATCHED

pytestmark = LAUNCH_MARKS

SHORT = SETTINGS.replace("steps: 100000", "steps: 120")


RUNNING = {
    "sim.launch.py": ("gym_bridge", r"in lock_step mode"),
    "control.launch.py": ("controller", r"no model is set"),
    "learn.launch.py": ("trainer", r"model .* in use"),
}
"""What is said once all is well, and by whom."""


def run(launch: Callable[..., Launched], file: str) -> Launched:
    """Start a file and wait until its nodes work."""
    launched = launch(file)
    launched.until(RUNNING[file][1])
    return launched


# ── the end ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file", RUNNING)
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_it_with_code_0(launch: Callable[..., Launched], file: str, times: int) -> None:
    launched = run(launch, file)
    for _ in range(times):
        launched.press_ctrl_c()
        time.sleep(0.2)
    limit_s = SAVE_LIMIT_S if file == "learn.launch.py" else END_LIMIT_S
    assert launched.exit_code(limit_s) == 0
    ended = re.findall(r"process has (finished cleanly|died)", launched.output)
    assert ended == ["finished cleanly"] * len(launched.pids), launched.output
    assert "Traceback" not in launched.output


@pytest.mark.parametrize("file", RUNNING)
@pytest.mark.parametrize("delay_s", [0.0, 1.0])
def test_ctrl_c_while_it_starts_ends_it_with_code_0(
    launch: Callable[..., Launched], file: str, delay_s: float
) -> None:
    launched = launch(file)
    launched.until("process started")
    time.sleep(delay_s)
    launched.press_ctrl_c()
    assert launched.exit_code(SAVE_LIMIT_S) == 0


@pytest.mark.parametrize("file", RUNNING)
def test_it_ends_with_code_1_and_names_a_node_that_dies_at_start(
    launch: Callable[..., Launched], file: str
) -> None:
    launched = launch(file, seed=-5)  # an integer, and out of bounds
    assert launched.exit_code(30) == 1
    assert re.search(r"the (gym_bridge|controller|trainer) ended with code 2", launched.output)
    assert "0 ≤ value" in launched.output


@pytest.mark.parametrize(
    ("file", "node"),
    [
        ("sim.launch.py", "gym_bridge"),
        ("control.launch.py", "controller"),
        ("learn.launch.py", "gym_bridge"),
        ("learn.launch.py", "controller"),
        ("learn.launch.py", "trainer"),
    ],
)
def test_it_ends_with_code_1_and_names_a_node_that_is_killed(
    launch: Callable[..., Launched], file: str, node: str
) -> None:
    launched = run(launch, file)
    os.kill(launched.pids[node], signal.SIGKILL)
    limit_s = SAVE_LIMIT_S if file == "learn.launch.py" and node != "trainer" else END_LIMIT_S
    assert launched.exit_code(limit_s) == 1
    assert f"the {node} was ended by SIGKILL" in launched.output


def test_learning_ends_with_code_0_once_the_trainer_is_done(
    launch: Callable[..., Launched], tmp_path: Path
) -> None:
    launched = launch("learn.launch.py", SHORT)
    launched.until("learned from")
    assert launched.exit_code(SAVE_LIMIT_S) == 0
    assert (tmp_path / "run" / "model" / "manifest.json").exists()

    # The folder holds a run now: it is gone on with where that is asked for, and only there.
    again = launch("learn.launch.py", SHORT)
    assert again.exit_code(30) == 1
    assert "resume:=true" in again.output
    resumed = launch("learn.launch.py", SHORT, resume="true", steps=160)
    resumed.until("learned from 160")
    assert resumed.exit_code(SAVE_LIMIT_S) == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"params_file": "absent.yaml"}, r"params_file:=absent\.yaml: there is no such file"),
        ({"params_file": "/nowhere/pendulum.yaml"}, r"there is no such file.*pendulum\.yaml"),
        ({"seed": "abc"}, "seed:=abc: expected an integer"),
        ({"use_sim_time": "maybe"}, "use_sim_time:=maybe: expected true or false"),
    ],
)
@pytest.mark.parametrize("file", RUNNING)
def test_wrong_arguments_start_nothing(
    launch: Callable[..., Launched], file: str, arguments: dict[str, str], reason: str
) -> None:
    launched = launch(file, **arguments)
    assert launched.exit_code(20) == 1
    assert re.search(reason, launched.output)
    assert launched.pids == {}


@pytest.mark.parametrize(
    ("file", "argument"), [("sim.launch.py", "mode"), ("control.launch.py", "trigger")]
)
def test_a_value_that_is_no_choice_starts_nothing(
    launch: Callable[..., Launched], file: str, argument: str
) -> None:
    launched = launch(file, **{argument: "often"})
    assert launched.exit_code(20) == 1
    assert "not in" in launched.output or "not valid" in launched.output
    assert launched.pids == {}


def test_a_preset_is_found_by_its_name(launch: Callable[..., Launched]) -> None:
    launched = launch("sim.launch.py", params_file="pendulum_no_velocity.yaml")
    launched.until("Pendulum-v1 in lock_step mode")
    assert "given, but not used by this node: planner.*" in launched.output
    launched.press_ctrl_c()
    assert launched.exit_code() == 0


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ("/**:\n  ros__parameters:\n    seed: [1\n", "cannot start"),
        ("/**:\n  ros__parameters:\n    controller: {safe_command: [0, 0.5]}\n", "cannot start"),
    ],
)
def test_a_file_that_ros_cannot_read_is_a_reason_and_no_traceback(
    launch: Callable[..., Launched], settings: str, reason: str
) -> None:
    launched = launch("control.launch.py", settings)
    assert launched.exit_code(20) == 1
    assert "the controller ended with code 2" in launched.output
    assert reason in launched.output
    assert "Traceback" not in launched.output


# ── the start of the controller ──────────────────────────────────────────────────────────────


def transition(ros: Ros, number: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=number))
    return bool(ros.call(ChangeState, "controller/change_state", request).success)


def state(ros: Ros) -> int:
    return int(ros.call(GetState, "controller/get_state", GetState.Request()).current_state.id)


def stays(ros: Ros, expected: int, seconds: float = 3.0) -> bool:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        if state(ros) != expected:
            return False
        ros.spin(0.1)
    return True


def test_it_activates_the_controller_once_and_never_at_a_configure_by_hand(
    launch: Callable[..., Launched], ros: Ros
) -> None:
    launch("control.launch.py")
    ros.until(lambda: state(ros) == State.PRIMARY_STATE_ACTIVE)
    assert transition(ros, Transition.TRANSITION_DEACTIVATE)
    assert transition(ros, Transition.TRANSITION_CLEANUP)
    assert transition(ros, Transition.TRANSITION_CONFIGURE)
    assert stays(ros, State.PRIMARY_STATE_INACTIVE)


def test_a_start_that_failed_is_not_made_up_for_at_a_configure_by_hand(
    launch: Callable[..., Launched], ros: Ros
) -> None:
    launched = launch("control.launch.py", model="/nowhere/model")
    launched.until("autostart: the transition configure failed")
    assert state(ros) == State.PRIMARY_STATE_UNCONFIGURED
    value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value="")
    request = SetParameters.Request(parameters=[Parameter(name="model", value=value)])
    (result,) = ros.call(SetParameters, "controller/set_parameters", request).results
    assert result.successful
    assert transition(ros, Transition.TRANSITION_CONFIGURE)
    assert stays(ros, State.PRIMARY_STATE_INACTIVE)


def test_without_autostart_the_controller_waits(launch: Callable[..., Launched], ros: Ros) -> None:
    launched = launch("control.launch.py", autostart="false")
    launched.until("process started")
    assert stays(ros, State.PRIMARY_STATE_UNCONFIGURED)


def test_a_relative_model_is_announced_by_its_absolute_path(
    launch: Callable[..., Launched], ros: Ros, tiny_bundle: str, tmp_path: Path
) -> None:
    in_use = ros.collect(String, "model_in_use", LATCHED)
    launch("control.launch.py", model=os.path.relpath(tiny_bundle, tmp_path))
    ros.until(lambda: in_use)
    assert Announcement.read(in_use[0].data).path == Path(tiny_bundle)


def test_announced_models_come_from_the_folder_that_is_given(
    launch: Callable[..., Launched], ros: Ros, tiny_bundle: str, tmp_path: Path
) -> None:
    models = ros.observer.create_publisher(String, "model", LATCHED)
    announcement = Announcement(Path(tiny_bundle), load_bundle(tiny_bundle).digest)
    models.publish(String(data=announcement.to_text()))
    launched = launch("control.launch.py", model_folder=tmp_path / "run")
    launched.until(f"{tiny_bundle}: outside the folders that controller.model_folders allows")


# ── several in one domain ────────────────────────────────────────────────────────────────────


def test_simulators_in_namespaces_can_have_clocks_of_their_own(
    launch: Callable[..., Launched], ros: Ros
) -> None:
    launched = launch("sim.launch.py", namespace="left", clock_topic="clock", use_sim_time="true")
    launched.until("in lock_step mode")
    ros.until(lambda: ros.observer.count_publishers("/left/clock") == 1)
    ros.until(lambda: ros.observer.count_subscribers("/left/clock") == 1)
    assert ros.observer.count_publishers("/clock") == 0
