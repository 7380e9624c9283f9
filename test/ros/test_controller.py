"""The controller node, as an independent subscriber sees it."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from nodes import ENVIRONMENT, Diagnostics, NodeProcess, Ros
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from std_msgs.msg import Float64MultiArray, String

from planet_ros.bundle.runtime import load_bundle
from planet_ros.messages.announcements import Announcement
from planet_ros.messages.vectors import read_vector, vector_message
from planet_ros.ros.topics import EVERY_STEP, LATCHED
from planet_ros.ros.types import make

pytestmark = pytest.mark.ros

SAFE = [0.25, -0.5]
STALE_S = 0.3
PERIOD_S = 0.05
ACTING = {
    "controller.safe_command": SAFE,
    "controller.stale_timeout_s": STALE_S,
    "controller.rate_hz": 1 / PERIOD_S,
}

NOT_ANNOUNCEMENTS = [
    "[" * 2000,
    '{"path": "/\\ud800", "hash": "x"}',
    "",
    "garbage",
    "{}",
    "[]",
    '{"path": "/a\\u0000b", "hash": "' + "0" * 64 + '"}',
    '{"path": 7, "hash": null}',
    "x" * 5_000_000,
]
"""Texts that are no announcement, the first one nested too deeply for a parser."""


def change_state(ros: Ros, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return ros.call(ChangeState, "controller/change_state", request).success


def is_safe(message: Float64MultiArray) -> bool:
    return np.allclose(message.data, SAFE)


def start_acting(ros: Ros, bundle: str) -> tuple[NodeProcess, NodeProcess, list]:
    """A real-time bridge and an active controller that sends other commands than the safe one."""
    commands = ros.collect(Float64MultiArray, "commands", EVERY_STEP)
    controller = ros.start("controller", {"model": bundle, **ACTING})
    ros.activate_controller()
    bridge = ros.start("gym_bridge", {**ENVIRONMENT, "bridge.mode": "real_time"})
    ros.until(lambda: sum(not is_safe(message) for message in commands) > 10)
    return controller, bridge, commands


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, "deactivate"])
def test_the_safe_command_is_the_last_one(ros: Ros, tiny_bundle: str, how: int | str) -> None:
    controller, _, commands = start_acting(ros, tiny_bundle)
    assert not is_safe(commands[-1])
    if how == "deactivate":
        assert change_state(ros, Transition.TRANSITION_DEACTIVATE)
    else:
        controller.send(int(how))
        ros.until(lambda: controller.poll() is not None)
        assert controller.poll() == 0
    ros.until(lambda: is_safe(commands[-1]))
    count = len(commands)
    ros.spin(10 * PERIOD_S)
    assert len(commands) == count


def test_it_has_real_time_priority_while_it_is_active(ros: Ros, tiny_bundle: str) -> None:
    """Where that is not allowed it acts all the same, and says so."""
    values = {"model": tiny_bundle, "controller.realtime_priority": 3, **ACTING}
    commands = ros.collect(Float64MultiArray, "commands", EVERY_STEP)
    reported = Diagnostics(ros)
    controller = ros.start("controller", values)
    ros.activate_controller()
    ros.start("gym_bridge", {**ENVIRONMENT, "bridge.mode": "real_time"})
    ros.until(lambda: sum(not is_safe(message) for message in commands) > 10)
    ros.until(lambda: float(reported.values.get("novelty", 0)) > 0)

    def policies() -> list[int]:
        tasks = Path(f"/proc/{controller.pid}/task").iterdir()
        return [os.sched_getscheduler(int(task.name)) for task in tasks]

    if "may not have it" not in controller.output:
        ros.until(lambda: reported.values.get("realtime_priority") == "3")
        assert policies().count(os.SCHED_FIFO) > 2  # the planning thread and the middleware's too
    assert change_state(ros, Transition.TRANSITION_DEACTIVATE)
    assert set(policies()) == {os.SCHED_OTHER}


def test_a_bridge_that_dies_makes_the_controller_send_the_safe_command(
    ros: Ros, tiny_bundle: str
) -> None:
    _, bridge, _ = start_acting(ros, tiny_bundle)
    seen: list[tuple[float, bool]] = []
    ros.observer.create_subscription(
        Float64MultiArray,
        "commands",
        lambda message: seen.append((time.monotonic(), is_safe(message))),
        EVERY_STEP,
    )
    observed: list[float] = []
    ros.observer.create_subscription(
        Float64MultiArray, "observation", lambda _: observed.append(time.monotonic()), EVERY_STEP
    )
    ros.until(lambda: len(seen) > 5 and len(observed) > 5)
    bridge.send(signal.SIGKILL)
    ros.until(lambda: seen[-1][1])
    silence = seen[-1][0] - observed[-1]
    assert STALE_S < silence < STALE_S + PERIOD_S + 0.15  # 0.15 s: this process is not real-time

    # It recovers by itself.
    ros.start("gym_bridge", {**ENVIRONMENT, "bridge.mode": "real_time"})
    ros.until(lambda: not seen[-1][1])


def test_the_process_holds_no_torch_and_little_memory(ros: Ros, tiny_bundle: str) -> None:
    controller, _, _ = start_acting(ros, tiny_bundle)
    maps = Path(f"/proc/{controller.pid}/maps").read_text()
    assert "onnxruntime" in maps
    assert "torch" not in maps
    status = Path(f"/proc/{controller.pid}/status").read_text()
    resident_kb = int(status.split("VmRSS:")[1].split()[0])
    assert resident_kb < 250e3


def test_a_missing_bundle_fails_configure_and_a_new_configure_can_succeed(
    ros: Ros, tiny_bundle: str
) -> None:
    controller = ros.start("controller", {"model": "/nowhere/model"})
    assert not change_state(ros, Transition.TRANSITION_CONFIGURE)
    assert "/nowhere/model: found nothing, expected the folder of a bundle" in controller.output
    value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=tiny_bundle)
    request = SetParameters.Request(parameters=[Parameter(name="model", value=value)])
    assert ros.call(SetParameters, "controller/set_parameters", request).results[0].successful
    assert change_state(ros, Transition.TRANSITION_CONFIGURE)


def test_an_invalid_transition_is_refused_and_the_node_lives(ros: Ros) -> None:
    controller = ros.start("controller", {})
    assert not change_state(ros, Transition.TRANSITION_ACTIVATE)
    state = ros.call(GetState, "controller/get_state", GetState.Request())
    assert state.current_state.label == "unconfigured"
    assert controller.poll() is None


def test_a_parameter_out_of_bounds_is_refused_with_its_bound(ros: Ros) -> None:
    ros.start("controller", {})
    value = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=-1.0)
    parameter = Parameter(name="controller.stale_timeout_s", value=value)
    request = SetParameters.Request(parameters=[parameter])
    result = ros.call(SetParameters, "controller/set_parameters", request).results[0]
    assert not result.successful
    assert "0 < value" in result.reason or "range" in result.reason


def test_an_announced_bundle_is_taken_over_and_a_damaged_one_is_not(
    ros: Ros, tiny_bundle: str, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    shutil.copytree(tiny_bundle, good)
    shutil.copytree(tiny_bundle, bad)
    digest = load_bundle(good).digest
    (bad / "imagine.onnx").write_bytes((bad / "imagine.onnx").read_bytes()[:-10])

    in_use = ros.collect(String, "model_in_use", LATCHED)
    diagnostics = Diagnostics(ros)
    commands = ros.collect(Float64MultiArray, "commands", EVERY_STEP)
    announcer = ros.observer.create_publisher(String, "model", LATCHED)
    controller = ros.start("controller", {"controller.trigger": "observation"})
    ros.activate_controller()
    ros.until(lambda: "waiting for a model" in diagnostics.text)
    assert not commands  # who has never acted has nothing to stop

    announcer.publish(String(data=Announcement(good, digest).to_text()))
    ros.until(lambda: in_use and Announcement.read(in_use[-1].data) == Announcement(good, digest))
    ros.start("gym_bridge", ENVIRONMENT)
    ros.until(lambda: len(commands) > 5)

    announcer.publish(String(data=Announcement(bad, digest).to_text()))
    ros.until(lambda: "imagine.onnx: found" in diagnostics.text)
    count = len(commands)
    ros.until(lambda: len(commands) > count + 5)
    assert controller.poll() is None
    assert len(in_use) == 1


def test_observations_that_do_not_fit_are_dropped_and_counted(ros: Ros, tiny_bundle: str) -> None:
    diagnostics = Diagnostics(ros)
    commands = ros.collect(Float64MultiArray, "commands", EVERY_STEP)
    controller = ros.start(
        "controller", {"model": tiny_bundle, "controller.trigger": "observation"}
    )
    ros.activate_controller()
    source = ros.observer.create_publisher(Float64MultiArray, "observation", 1)
    ros.connect(source, "controller")

    for dropped, vector in enumerate(([1.0, 2.0, 3.0], [np.nan, 0.0], [0.0] * 20_000), start=1):
        source.publish(Float64MultiArray(data=vector))
        ros.until(lambda: diagnostics.dropped == dropped)  # noqa: B023
    assert "found 3 numbers, expected 2" in controller.output
    assert max(map(len, controller.output.splitlines())) < 1000
    assert not commands
    source.publish(vector_message(make, "observation", np.zeros(2), 7_000_000_000))
    ros.until(lambda: commands)
    answer = read_vector(commands[-1])
    assert answer.label.stamp_ns == 7_000_000_000
    assert np.abs(answer.values).max() <= 1.0


def test_no_text_on_a_topic_ends_the_node_and_a_latched_one_no_later_one(
    ros: Ros, tiny_bundle: str
) -> None:
    diagnostics = Diagnostics(ros)
    in_use = ros.collect(String, "model_in_use", LATCHED)
    announcer = ros.observer.create_publisher(String, "model", LATCHED)
    announcer.publish(String(data=NOT_ANNOUNCEMENTS[0]))
    controller = ros.start("controller", {"controller.trigger": "observation"})
    assert change_state(ros, Transition.TRANSITION_CONFIGURE)
    ros.until(lambda: diagnostics.dropped == 1)
    for dropped, text in enumerate(NOT_ANNOUNCEMENTS[1:], start=2):
        announcer.publish(String(data=text))
        ros.until(lambda: diagnostics.dropped == dropped)  # noqa: B023
    assert controller.poll() is None
    assert "dropped a message on '/model': announcement: found '[[[" in controller.output
    assert max(map(len, controller.output.splitlines())) < 1000
    assert not in_use

    announcement = Announcement(Path(tiny_bundle), load_bundle(tiny_bundle).digest)
    announcer.publish(String(data=announcement.to_text()))
    ros.until(lambda: in_use)
    assert Announcement.read(in_use[-1].data) == announcement


def test_planner_settings_that_the_bundle_overrules_are_named_once_for_each_bundle(
    ros: Ros, tiny_bundle: str, tmp_path: Path
) -> None:
    given = {"planner.candidates": 7, "planner.horizon": 4, "planner.discount": 0.5}
    assert load_bundle(tiny_bundle).manifest.planner.horizon == 4
    in_use = ros.collect(String, "model_in_use", LATCHED)
    controller = ros.start("controller", {"model": tiny_bundle, **given})
    assert change_state(ros, Transition.TRANSITION_CONFIGURE)
    text = "planner settings given to this node are not used, the bundle decides: "
    ros.until(lambda: text in controller.output)
    (line,) = (line for line in controller.output.splitlines() if text in line)
    assert "planner.candidates is 7, the bundle's 16; planner.discount is 0.5, the bun" in line
    assert "horizon" not in line
    assert "planet-ros export" in line
    ros.spin(1.5)
    assert controller.output.count(text) == 1

    other = tmp_path / "other"
    shutil.copytree(tiny_bundle, other)
    announcer = ros.observer.create_publisher(String, "model", LATCHED)
    announcer.publish(String(data=Announcement(other, load_bundle(other).digest).to_text()))
    ros.until(lambda: len(in_use) == 2)
    ros.until(lambda: controller.output.count(text) == 2)
