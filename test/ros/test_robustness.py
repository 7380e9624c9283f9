"""What other nodes and bundles can do to a controller: be named, and nothing worse."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
import torch
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nodes import ENVIRONMENT, Diagnostics, Ros
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Float64MultiArray, MultiArrayDimension, String

from planet_ros.bundle.export import BundleExporter
from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import PlannerSettings, WorldModelSettings
from planet_ros.data import ActionPart, ObservationPart, Signature
from planet_ros.errors import UserError
from planet_ros.interface.defaults import interface_of
from planet_ros.messages.announcements import Announcement
from planet_ros.messages.fields import time_message
from planet_ros.messages.vectors import VECTOR_TYPE, read_label, vector_message
from planet_ros.models import Ensemble
from planet_ros.ros.inputs import Inputs
from planet_ros.ros.standstill import LIMIT_S, Standstill
from planet_ros.ros.subscriptions import crowd, decoded, subscribe
from planet_ros.ros.topics import EVERY_STEP, LATCHED, NEWEST_RELIABLE
from planet_ros.ros.types import make

pytestmark = pytest.mark.ros

SAFE = [0.25, -0.5]
ALLOWED = Signature(
    (ObservationPart("observation", (2,)),),
    (ActionPart("x", -1, 1), ActionPart("y", -1, 1)),
    0.05,
)
HORIZON = 4


def write_bundle(folder: Path, signature: Signature, seed: int = 0) -> Announcement:
    """A bundle that has learned nothing."""
    torch.manual_seed(seed)
    about = {
        "model_kind": "ensemble",
        "horizon": HORIZON,
        "signature": signature,
        "planner": PlannerSettings(horizon=HORIZON, candidates=8, elites=3, iterations=1),
    }
    model = Ensemble(signature, WorldModelSettings(members=1, hidden_sizes=[4]))
    BundleExporter(model, HORIZON).export(folder, about)
    return Announcement(folder, load_bundle(folder).digest)


def change_state(ros: Ros, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(ros.call(ChangeState, "controller/change_state", request).success)


class Robot:
    """A source of observations with 50 Hz, until it is told otherwise."""

    def __init__(self, ros: Ros) -> None:
        self.publisher = ros.observer.create_publisher(
            Float64MultiArray, "observation", NEWEST_RELIABLE
        )
        self.stamp_ns: int | None = None
        self.data = [0.5, -0.5]
        self.timer = ros.observer.create_timer(0.02, self.show)

    def show(self) -> None:
        stamp_ns = time.time_ns() if self.stamp_ns is None else self.stamp_ns
        self.publisher.publish(
            vector_message(make, "observation", np.array(self.data), stamp_ns, index=1)
        )


# ── what a bundle may ask for ────────────────────────────────────────────────────────────────

STRANGERS = {
    "fifty": (
        replace(ALLOWED, action=tuple(ActionPart(f"a{i}", -2, 2) for i in range(50))),
        "found 50 numbers of action, expected 2",
    ),
    "strong": (
        replace(ALLOWED, action=(ActionPart("x", -1e6, 1e6), ALLOWED.action[1])),
        "found the action 'x' from -1e+06 to 1e+06, expected it within -1 to 1",
    ),
    "blind": (
        replace(ALLOWED, observation=(ObservationPart("observation", (1,)),)),
        "found 'observation' of float32 [1], expected 'observation' of float32 [2]",
    ),
    "slow": (replace(ALLOWED, period_s=0.5), "found a period of 0.5 s, expected 0.05 s"),
}


@pytest.mark.parametrize("configured", [True, False])
def test_what_the_robot_allows_stays_what_it_was_when_it_was_configured(
    ros: Ros, tmp_path: Path, configured: bool
) -> None:
    first = write_bundle(tmp_path / "first", ALLOWED)
    diagnostics = Diagnostics(ros)
    commands = ros.collect(Float64MultiArray, "commands", EVERY_STEP)
    in_use = ros.collect(String, "model_in_use", LATCHED)
    announcer = ros.observer.create_publisher(String, "model", LATCHED)
    parameters = {"model": str(first.path)} if configured else {}
    controller = ros.start("controller", parameters)
    ros.activate_controller()
    robot = Robot(ros)
    if not configured:
        announcer.publish(String(data=first.to_text()))
    ros.until(lambda: len(in_use) == 1)
    for name, (signature, reason) in STRANGERS.items():
        wanted = write_bundle(tmp_path / name, signature)
        announcer.publish(String(data=wanted.to_text()))
        ros.until(lambda: reason in diagnostics.text)  # noqa: B023
        assert "the newest model was refused" in diagnostics.text
    count = len(commands)
    ros.until(lambda: len(commands) > count + 20)
    assert all(len(message.data) == 2 for message in commands)
    assert np.abs([message.data for message in commands]).max() <= 1
    assert len(in_use) == 1

    narrow = replace(ALLOWED, action=(ActionPart("x", -0.1, 0.1), ALLOWED.action[1]))
    announcer.publish(String(data=write_bundle(tmp_path / "narrow", narrow).to_text()))
    ros.until(lambda: len(in_use) == 2)
    # A robot that allowed less for a while allows what it did before.
    announcer.publish(String(data=first.to_text()))
    ros.until(lambda: len(in_use) == 3)
    robot.timer.cancel()

    if not configured:
        assert change_state(ros, Transition.TRANSITION_DEACTIVATE)
        assert change_state(ros, Transition.TRANSITION_CLEANUP)
        fifty = load_bundle(tmp_path / "fifty")
        announcer.publish(String(data=Announcement(fifty.path, fifty.digest).to_text()))
        assert change_state(ros, Transition.TRANSITION_CONFIGURE)
        ros.until(lambda: len(in_use) == 4)
        assert Announcement.read(in_use[-1].data).digest == fifty.digest
    assert controller.poll() is None


def test_what_does_not_end_or_cannot_be_read_keeps_no_later_bundle_away(
    ros: Ros, tiny_bundle: str, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    shutil.copytree(tiny_bundle, pipe)
    (pipe / "manifest.json").unlink()
    os.mkfifo(pipe / "manifest.json")
    graph = tmp_path / "graph"
    shutil.copytree(tiny_bundle, graph)
    (graph / "imagine.onnx").unlink()
    os.mkfifo(graph / "imagine.onnx")
    diagnostics = Diagnostics(ros)
    in_use = ros.collect(String, "model_in_use", LATCHED)
    announcer = ros.observer.create_publisher(String, "model", LATCHED)
    controller = ros.start("controller", {})
    ros.activate_controller()
    digest = load_bundle(tiny_bundle).digest
    for path, reason in (
        (pipe, "manifest.json: cannot be read: found no regular file"),
        (graph, "imagine.onnx: cannot be read: found no regular file"),
        (Path("/dev"), "/dev/manifest.json"),
    ):
        announcer.publish(String(data=Announcement(path, digest).to_text()))
        # Without a model that is what it waits for; the reason is in the log.
        ros.until(lambda: reason in controller.output)  # noqa: B023
    announcer.publish(String(data=Announcement(Path(tiny_bundle), digest).to_text()))
    ros.until(lambda: in_use)
    ros.until(lambda: diagnostics.text)
    assert controller.end(signal.SIGTERM, timeout_s=10) == 0


# ── sources ──────────────────────────────────────────────────────────────────────────────────


def test_a_source_that_repeats_its_stamp_is_stale(ros: Ros, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "model", ALLOWED)
    diagnostics = Diagnostics(ros)
    commands = ros.collect(Float64MultiArray, "commands", EVERY_STEP)
    acting = {"model": str(bundle.path), "controller.safe_command": SAFE}
    ros.start("controller", acting)
    ros.activate_controller()
    robot = Robot(ros)
    ros.until(lambda: commands and not np.allclose(commands[-1].data, SAFE))
    ros.until(lambda: diagnostics.text == "acting")
    robot.stamp_ns = time.time_ns()
    ros.until(lambda: np.allclose(commands[-1].data, SAFE))
    ros.until(lambda: "nothing new on '/observation' (1 publishers)" in diagnostics.text)
    robot.stamp_ns = None
    ros.until(lambda: diagnostics.text == "acting")


def test_ticks_and_ages_are_of_simulated_time_where_that_is_asked_for(
    ros: Ros, tmp_path: Path
) -> None:
    bundle = write_bundle(tmp_path / "model", ALLOWED)
    diagnostics = Diagnostics(ros)
    commands = ros.collect(Float64MultiArray, "commands", EVERY_STEP)
    controller = ros.start(
        "controller",
        {"model": str(bundle.path), "controller.safe_command": SAFE, "use_sim_time": True},
    )
    ros.activate_controller()
    robot, now_ns = Robot(ros), [10**9]
    robot.timer.cancel()
    clock = ros.observer.create_publisher(Clock, "/clock", NEWEST_RELIABLE)
    ros.connect(clock, "controller")

    def step() -> None:
        """A period of simulated time in six of real time, as of a slow simulation."""
        now_ns[0] += 50_000_000
        robot.stamp_ns = now_ns[0]
        robot.show()
        clock.publish(Clock(clock=time_message(make, now_ns[0])))
        ros.spin(0.3)

    for _ in range(10):
        step()
    commands.clear()
    for _ in range(10):
        step()
    assert 9 <= len(commands) <= 11
    assert not any(np.allclose(message.data, SAFE) for message in commands)
    assert {read_label(message).stamp_ns for message in commands} <= {
        10**9 + 50_000_000 * index for index in range(9, 22)
    }
    count = len(commands)
    ros.until(lambda: "simulated time stands still at 2.000 s" in diagnostics.text)
    assert "simulated time stands still" in controller.output
    assert len(commands) == count
    step()
    ros.until(lambda: diagnostics.text == "acting")

    for _ in range(20):  # the source is silent for a second of simulated time
        now_ns[0] += 50_000_000
        clock.publish(Clock(clock=time_message(make, now_ns[0])))
        ros.spin(0.02)
    ros.until(lambda: np.allclose(commands[-1].data, SAFE))


def test_a_clock_that_goes_on_is_no_news() -> None:
    now, steady = [5.0], [100.0]
    watch = Standstill(lambda: now[0], lambda: steady[0])
    for _ in range(5):
        steady[0] += LIMIT_S
        assert watch.text() == ""
        now[0] += 0.001
    watch.text()
    steady[0] += LIMIT_S + 1
    assert "stands still at 5.005 s for 3 s" in watch.text()
    now[0] = 0.0  # it was begun anew
    assert watch.text() == ""


# ── who else is there ────────────────────────────────────────────────────────────────────────


def test_a_second_controller_and_a_second_simulation_are_named(ros: Ros, tiny_bundle: str) -> None:
    diagnostics = Diagnostics(ros)
    controller = ros.start("controller", {"model": tiny_bundle})
    ros.activate_controller()
    bridge = ros.start("gym_bridge", {**ENVIRONMENT, "bridge.mode": "real_time"})
    ros.until(lambda: diagnostics.text == "acting")
    other = ros.observer.create_publisher(Float64MultiArray, "commands", 1)
    text = "2 publish on '/commands', expected one: /controller, /supervisor"
    ros.until(lambda: diagnostics.text == f"acting; {text}")
    ros.until(lambda: text in controller.output and text in bridge.output)
    ros.observer.destroy_publisher(other)
    ros.until(lambda: diagnostics.text == "acting")
    second = ros.start("gym_bridge", {**ENVIRONMENT, "bridge.mode": "real_time"})
    text = "2 publish on '/observation', expected one: /gym_bridge, /gym_bridge"
    ros.until(lambda: text in diagnostics.values["other_publishers"])
    ros.until(lambda: "2 publish on '/step', expected one" in bridge.output + second.output)


@pytest.fixture
def node(domain: None) -> Iterator[Callable[..., Node]]:
    """Nodes of this process, with remaps, each in a context of its own and spun on a thread."""
    made: list[tuple[Node, SingleThreadedExecutor, threading.Thread]] = []

    def make_node(name: str, *remaps: str) -> Node:
        arguments = [part for remap in remaps for part in ("-r", remap)]
        context = Context()
        rclpy.init(args=[], context=context)
        one = Node(name, context=context, cli_args=["--ros-args", *arguments])
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(one)
        thread = threading.Thread(target=executor.spin, daemon=True)
        thread.start()
        made.append((one, executor, thread))
        return one

    yield make_node
    for one, executor, thread in made:
        executor.shutdown()
        thread.join(10)
        one.destroy_node()
        rclpy.try_shutdown(context=one.context)


def until(ready: Callable[[], Any], timeout_s: float = 20) -> None:
    until_s = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < until_s
        time.sleep(0.02)


def listening(node: Node) -> Inputs:
    inputs = Inputs(
        node, together=False, limit_s=0.3, clock=time.monotonic, take=lambda observation: None
    )
    inputs.follow(interface_of(ALLOWED), ALLOWED)
    inputs.begin()
    return inputs


def test_what_is_lacking_has_the_name_and_the_publishers_that_it_really_has(
    node: Callable[..., Node],
) -> None:
    inputs = listening(node("reader", "observation:=/robot/state"))
    assert inputs.lacking() == "nothing new on '/robot/state' (0 publishers)"
    writer = node("writer")
    writer.create_publisher(Float64MultiArray, "observation", 1)  # the name before the remap
    for _ in range(2):
        writer.create_publisher(Float64MultiArray, "robot/state", 1)
    until(lambda: inputs.lacking() == "nothing new on '/robot/state' (2 publishers)")


def test_publisher_of_another_type_is_named(node: Callable[..., Node]) -> None:
    inputs = listening(node("reader"))
    node("writer").create_publisher(String, "observation", 1)
    other = (
        ", and one of another type, std_msgs/msg/String, expected std_msgs/msg/Float64MultiArray"
    )
    until(lambda: inputs.lacking() == f"nothing new on '/observation' (0 publishers{other})")


def test_source_whose_messages_are_all_dropped_is_not_called_silent(
    node: Callable[..., Node],
) -> None:
    inputs = listening(node("reader"))
    publisher = node("writer").create_publisher(Float64MultiArray, "observation", 1)
    until(lambda: publisher.get_subscription_count() == 1)

    def show(*data: float) -> str:
        publisher.publish(Float64MultiArray(data=data))
        time.sleep(0.05)
        return inputs.lacking()

    until(lambda: "messages on" in show(1, 2, 3))
    text = inputs.lacking()
    assert text.startswith(f"all {inputs.dropped} messages on '/observation' (1 publishers) were ")
    assert text.endswith("observation: data: found 3 numbers, expected 2; a field keeps its length")
    until(lambda: show(1, 2) == "")
    time.sleep(0.4)
    assert "nothing new on" in inputs.lacking()


def test_crowd_is_more_than_one_publisher_that_counts(node: Callable[..., Node]) -> None:
    asking = node("asking")
    asking.create_publisher(String, "a", 1)
    assert crowd(asking, ["/a", "/b"]) == ""
    node("trainer").create_publisher(String, "a", 1)
    until(lambda: crowd(asking, ["/a"]) == "2 publish on '/a', expected one: /asking, /trainer")
    assert crowd(asking, ["/a"], may_share=["trainer"]) == ""


# ── sizes ────────────────────────────────────────────────────────────────────────────────────


def test_message_that_is_too_large_is_never_made_into_objects(
    node: Callable[..., Node],
) -> None:
    taken: list[Any] = []
    dropped: list[UserError] = []
    wanted = [True]
    reader, writer = node("reader"), node("writer")
    subscription = subscribe(
        reader,
        VECTOR_TYPE,
        "vector",
        EVERY_STEP,
        take=taken.append,
        drop=dropped.append,
        wanted=lambda: wanted[0],
        numbers=lambda: 2,
    )
    publisher = writer.create_publisher(Float64MultiArray, "vector", EVERY_STEP)
    until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(Float64MultiArray(data=[1.0, 2.0]))
    until(lambda: len(taken) == 1)
    assert list(taken[0].data) == [1, 2]
    many = Float64MultiArray()
    many.layout.dim = [MultiArrayDimension()] * 101
    for message, reason in (
        (Float64MultiArray(data=[0.0] * 10**6), "found a message of 8000"),
        (many, "found a layout of 101 parts, expected at most 100"),
    ):
        publisher.publish(message)
        until(lambda: dropped)
        assert str(dropped.pop()).startswith(reason)
    publisher.publish(serialize_message(Float64MultiArray(data=[1.0, 2.0]))[:-3])
    until(lambda: dropped)
    assert "bytes that are no std_msgs/msg/Float64MultiArray" in str(dropped.pop())
    wanted[0] = False
    publisher.publish(Float64MultiArray(data=[1.0, 2.0]))
    publisher.publish(many)
    time.sleep(0.5)
    assert len(taken) == 1 and not dropped
    assert subscription.raw


def test_bytes_of_another_type_are_refused() -> None:
    with pytest.raises(UserError):
        decoded(VECTOR_TYPE, b"")
    with pytest.raises(UserError):
        decoded(VECTOR_TYPE, serialize_message(String(data="x" * 50)))
