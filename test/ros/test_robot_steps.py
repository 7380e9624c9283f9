"""The trainer learns from a robot's own topics: no environment, no topic of steps."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrays import float32
from nodes import NodeProcess, Ros
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String

from planet_ros.bundle.runtime import load_bundle
from planet_ros.data import EpisodeStore
from planet_ros.interface.document import Interface
from planet_ros.interface.files import interface_text
from planet_ros.messages.vectors import read_label
from planet_ros.ros.topics import LATCHED
from planet_ros.training.run import RunFolder

pytestmark = pytest.mark.ros

STATES, COMMANDS = "joint_states", "effort/commands"
PERIOD_S = 0.02
LIMIT, MAX_RATE = 2.0, 20.0
DOCUMENT: dict[str, Any] = {
    "period_s": PERIOD_S,
    "observation": [
        {
            "name": "joint",
            "topic": STATES,
            "type": "sensor_msgs/msg/JointState",
            "fields": [
                {"path": "position[hinge]", "encoding": "angle"},
                {"path": "velocity[hinge]"},
            ],
        }
    ],
    "action": [
        {
            "topic": COMMANDS,
            "type": "std_msgs/msg/Float64MultiArray",
            "fields": [{"path": "data[0]", "low": -LIMIT, "high": LIMIT, "max_rate": MAX_RATE}],
        }
    ],
    "reward": {
        "kind": "quadratic",
        "observation": [{"field": "velocity[hinge]", "weight": 1.0, "setpoint": 1.0}],
    },
}
LEARNING: dict[str, Any] = {
    "world_model.members": 2,
    "world_model.hidden_sizes": [16],
    "world_model.predict_continue": False,
    "training.steps": 250,
    "training.random_steps": 100,
    "training.updates": 20,
    "training.update_every_steps": 100,
    "training.random_noise_beta": 1.0,
    "planner.horizon": 4,
    "planner.candidates": 16,
    "planner.elites": 4,
    "planner.iterations": 2,
}


class Robot:
    """A hinge with a torque, and another joint; it lives while the test spins."""

    def __init__(
        self,
        ros: Ros,
        *,
        lock_step: bool = False,
        joint: str = "hinge",
        deaf: bool = False,
        within: str = "",
    ) -> None:
        self.commands: list[Float64MultiArray] = []
        self._ros, self._lock_step = ros, lock_step
        self._names = ["other", joint]
        self.silent = False
        self._torque, self._position, self._velocity, self.ticks = 0.0, 0.0, 0.0, 1
        node = ros.observer
        self.states = node.create_publisher(JointState, within + STATES, qos_profile_sensor_data)
        if not deaf:
            node.create_subscription(Float64MultiArray, within + COMMANDS, self._on_command, 10)
        node.create_timer(0.3 if lock_step else PERIOD_S / 2, self._tell if lock_step else self._go)

    def _on_command(self, message: Float64MultiArray) -> None:
        if not np.isfinite(message.data).all() or len(message.data) != 1:
            return
        self.commands.append(message)
        self._torque = message.data[0]
        if self._lock_step and read_label(message).stamp_ns == self._stamp_ns:
            self.ticks += 1
            self._go()

    @property
    def _stamp_ns(self) -> int:
        return self.ticks * round(PERIOD_S * 1e9)

    def _go(self) -> None:
        self._velocity += PERIOD_S * (5 * self._torque - self._velocity)
        self._position += PERIOD_S * self._velocity
        self._tell()

    def _tell(self) -> None:
        message = JointState(
            name=self._names, position=[9.0, self._position], velocity=[0.0, self._velocity]
        )
        now_ns = self._ros.observer.get_clock().now().nanoseconds
        stamp_ns = self._stamp_ns if self._lock_step else now_ns
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        if not self.silent:
            self.states.publish(message)

    @property
    def values(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(N,) what was commanded."""
        return np.array([message.data[0] for message in self.commands])


def start(ros: Ros, folder: Path, collect: str, **overrides: Any) -> NodeProcess:
    path = folder / "robot.yaml"
    path.write_text(interface_text(Interface.model_validate(DOCUMENT)), encoding="utf-8")
    settings = {
        **LEARNING,
        "interface": str(path),
        "training.collect": collect,
        "training.output": str(folder / "run"),
    }
    return ros.start("trainer", {**settings, **overrides})


def announced(ros: Ros) -> list[String]:
    return ros.collect(String, "model", LATCHED)


def learned(ros: Ros, trainer: NodeProcess, folder: Path, models: list[String]) -> RunFolder:
    ros.until(lambda: trainer.poll() is not None, timeout_s=150)
    assert trainer.poll() == 0, trainer.output
    run = RunFolder(folder / "run")
    bundle = load_bundle(run.bundle)
    manifest = bundle.manifest
    assert manifest.interface == Interface.model_validate(DOCUMENT)
    assert list(manifest.requires) == ["interface"]
    assert manifest.environment is None
    assert manifest.environment_steps == 250
    assert len(models) >= 2
    assert json.loads(models[-1].data)["path"] == str(run.bundle.resolve())
    return run


def check_rewards(run: RunFolder) -> None:
    """Each is that of the observation before, and of the dynamics that are the robot's."""
    for episode in EpisodeStore(run.episodes).episodes:
        velocity = episode.observation["joint"][:-1, 2].astype(float)
        np.testing.assert_allclose(episode.reward, -((velocity - 1) ** 2), rtol=1e-5, atol=1e-6)


def test_it_listens_to_whoever_drives_and_never_commands(ros: Ros, tmp_path: Path) -> None:
    robot, models = Robot(ros), announced(ros)
    driver = ros.observer.create_publisher(Float64MultiArray, COMMANDS, 10)
    sent: list[float] = []

    def drive() -> None:
        sent.append(float(np.sin(0.1 * len(sent))))
        driver.publish(Float64MultiArray(data=sent[-1:]))

    ros.observer.create_timer(PERIOD_S, drive)
    trainer = start(ros, tmp_path, "listen")
    ros.until(lambda: "fit 1" in trainer.output, timeout_s=150)
    publishers = ros.observer.get_publishers_info_by_topic(f"/{COMMANDS}")
    assert {info.node_name for info in publishers} == {ros.observer.get_name()}
    run = learned(ros, trainer, tmp_path, models)
    assert set(robot.values) <= set(sent)
    assert "random actions" not in trainer.output
    check_rewards(run)
    actions = np.concatenate([one.action[:, 0] for one in EpisodeStore(run.episodes).episodes])
    assert np.isin(actions, float32(sent)).all()
    assert actions.std() > 0.3


def test_it_explores_within_limits_and_rates_and_comes_to_rest(ros: Ros, tmp_path: Path) -> None:
    robot, models = Robot(ros), announced(ros)
    run = learned(ros, start(ros, tmp_path, "random"), tmp_path, models)
    check_rewards(run)
    values = robot.values
    assert len(values) > 250
    assert values.std() > 0.3
    assert np.abs(values).max() <= LIMIT
    assert np.abs(np.diff(values, prepend=0.0)).max() <= MAX_RATE * PERIOD_S + 1e-9
    assert values[-1] == 0.0


def test_a_robot_that_falls_silent_is_brought_to_rest(ros: Ros, tmp_path: Path) -> None:
    robot = Robot(ros)
    trainer = start(ros, tmp_path, "plan", **{"training.steps": 100_000})
    ros.until(lambda: len(robot.commands) > 30)
    robot.silent = True
    ros.until(lambda: f"no steps for 2 s: nothing new on '/{STATES}' (1 publ" in trainer.output)
    assert not robot.values[-10:].any()
    robot.silent = False
    ros.until(lambda: "fit 1" in trainer.output, timeout_s=150)
    # Now there is a model, and nobody who plans with it.
    ros.until(lambda: robot.values[-1] == 0.0)
    count = len(robot.commands)
    ros.spin(1.0)
    assert len(robot.commands) == count
    assert np.abs(np.diff(robot.values, prepend=0.0)).max() <= MAX_RATE * PERIOD_S + 1e-9
    ros.until(lambda: re.search("; cuts: .*nothing new of joint", trainer.output))


def test_of_two_robots_one_that_falls_silent_rests_and_the_other_is_learned(
    ros: Ros, tmp_path: Path
) -> None:
    robots = [Robot(ros, within=f"{name}/") for name in ("left", "right")]
    announcements = [ros.collect(String, f"{name}/model", LATCHED) for name in ("left", "right")]
    overrides = {
        "robots": ["left", "right"],
        "training.steps": 600,
        "training.update_every_steps": 50,
    }
    trainer = start(ros, tmp_path, "random", **overrides)
    ros.until(lambda: min(len(robot.commands) for robot in robots) > 50)
    robots[0].silent = True
    ros.until(lambda: "no steps for 2 s: left: nothing new on '/left/joint_st" in trainer.output)
    assert not robots[0].values[-10:].any()
    assert robots[1].values[-10:].any()
    ros.until(lambda: trainer.poll() is not None, timeout_s=60)
    assert trainer.poll() == 0, trainer.output
    run = RunFolder(tmp_path / "run")
    check_rewards(run)
    records = [one for one in run.metrics() if one["kind"] == "episode"]
    taken = {
        name: sum(one["decisions"] for one in records if one["robot"] == name)
        for name in ("left", "right")
    }
    assert sum(taken.values()) == 600
    assert 20 < taken["left"] < taken["right"]
    assert {said[-1].data for said in announcements} == {announcements[0][-1].data}
    assert re.search(r"left: \d+ steps of \d+ ticks; cuts: .*nothing new of joint", trainer.output)
    count = min(len(robot.values) for robot in robots)
    assert not np.allclose(robots[0].values[:count], robots[1].values[:count])


def test_ctrl_c_sends_the_safe_command_and_saves(ros: Ros, tmp_path: Path) -> None:
    robot = Robot(ros)
    trainer = start(ros, tmp_path, "random", **{"training.steps": 100_000})
    ros.until(lambda: len(robot.commands) > 50)
    trainer.send(signal.SIGINT)
    ros.until(lambda: trainer.poll() is not None)
    assert trainer.poll() == 0
    ros.spin(0.2)
    assert robot.values[-10:-1].all()
    assert robot.values[-1] == 0.0
    assert "all is saved" in trainer.output
    assert EpisodeStore(RunFolder(tmp_path / "run").episodes).steps > 20


def test_in_lock_step_each_state_is_answered_by_its_stamp(ros: Ros, tmp_path: Path) -> None:
    robot, models = Robot(ros, lock_step=True), announced(ros)
    trainer = start(ros, tmp_path, "random", **{"training.lock_step": True})
    run = learned(ros, trainer, tmp_path, models)
    check_rewards(run)
    assert len(EpisodeStore(run.episodes).episodes) == 1  # nothing was missed
    stamps = [read_label(message).stamp_ns or 0 for message in robot.commands]
    assert (np.diff(stamps) >= 0).all()
    assert robot.ticks > 250
    answers = dict(zip(stamps, robot.values.tolist(), strict=True))
    assert len(answers) >= 250
    assert np.abs(np.diff(list(answers.values()), prepend=0.0)).max() <= MAX_RATE * PERIOD_S + 1e-9


def test_what_cannot_be_learned_from_is_named_and_ends_nothing(ros: Ros, tmp_path: Path) -> None:
    Robot(ros, joint="elbow", deaf=True)  # one process cannot have two types on a topic
    ros.observer.create_publisher(String, COMMANDS, 10)
    trainer = start(ros, tmp_path, "listen")
    ros.until(
        lambda: (
            "dropped a message on 'joint_states': position[hinge]: found no 'hinge'"
            in trainer.output
        )
    )
    said = f"nothing new on '/{COMMANDS}' (0 publishers, and one of another type, std_msgs/msg/Str"
    ros.until(lambda: said in trainer.output)
    lines = [line for line in trainer.output.splitlines() if "no steps for 2 s" in line]
    assert "messages on '/joint_states' (1 publishers) were dropped, the last: posit" in lines[-1]
    assert "'hinge'" in lines[-1]
    assert "elbow" in lines[-1]
    assert trainer.poll() is None
    assert trainer.end() == 0


def test_damaged_messages_are_counted_and_end_nothing(ros: Ros, tmp_path: Path) -> None:
    robot = Robot(ros)
    damaged = ros.observer.create_publisher(Float64MultiArray, COMMANDS, 10)
    trainer = start(ros, tmp_path, "listen", **{"training.steps": 100_000})
    ros.connect(damaged, "trainer")
    ros.connect(robot.states, "trainer")
    big = JointState(name=["hinge"] * 10_000, position=[0.0] * 10_000)
    messages: list[Any] = [
        *(Float64MultiArray(data=data) for data in ([], [float("nan")], [1e308] * 200_000)),
        b"\x00\x01\x00\x00\xff\xff\xff\xff",
    ]
    for message in messages:
        damaged.publish(message)
    robot.states.publish(big)
    ros.until(lambda: f"; dropped: {COMMANDS} 4, {STATES} 1" in trainer.output)
    assert "dropped a message on 'effort/commands'" in trainer.output
    # And it learns all the same.
    ros.observer.create_timer(PERIOD_S, lambda: damaged.publish(Float64MultiArray(data=[0.5])))
    ros.until(lambda: "fit 1" in trainer.output, timeout_s=120)
    assert max(map(len, trainer.output.splitlines())) < 1000
    assert trainer.end() == 0


@pytest.mark.parametrize(
    ("changes", "overrides", "reason"),
    [
        (
            {"reward": {"kind": "step"}},
            {},
            "reward: found none, expected kind quadratic, function or topic",
        ),
        ({}, {"training.command_period_s": 0.1}, "training.command_period_s: found 0.1 beside"),
        (
            {"reward": {"kind": "function", "function": "nowhere:b"}},
            {},
            "reward.function: nowhere:b: the module nowhere cannot be imported",
        ),
        ({}, {"training.pause_service": "a//b"}, "training.pause_service"),
        ({}, {"interface": "", "robots": ["a"]}, "robots: found ['a'] without interface"),
        (
            {"action": [{**DOCUMENT["action"][0], "topic": "/commands"}]},
            {"robots": ["a", "b"]},
            "action: found the topic '/commands', which is the same one for all of a, b",
        ),
        (
            {"action": [{**DOCUMENT["action"][0], "topic": "a/1"}]},
            {},
            "topic 'a/1': cannot be the name of a topic",
        ),
    ],
)
def test_what_cannot_be_is_refused_at_the_start(
    ros: Ros, tmp_path: Path, changes: dict[str, Any], overrides: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(interface_text(Interface.model_validate({**DOCUMENT, **changes})), "utf-8")
    trainer = start(ros, tmp_path, "listen", **{"interface": str(path), **overrides})
    ros.until(lambda: trainer.poll() is not None)
    assert trainer.poll() == 2
    assert reason in trainer.output
