"""Three simulated robots in one domain, each with a controller, and one trainer for all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from nodes import ENVIRONMENT, Ros
from numpy.typing import NDArray
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from planet_ros.bundle.runtime import load_bundle
from planet_ros.data import EpisodeStore
from planet_ros.messages.fields import header_stamp_ns
from planet_ros.ros.topics import EVERY_STEP, LATCHED
from planet_ros.training.run import RunFolder

pytestmark = pytest.mark.ros

ROBOTS = ["robot1", "robot2", "robot3"]
STEPS = 1400
PERIODS = 20
"""After which each robot waits for the trainer."""

LEARNING: dict[str, Any] = {
    "interface": "pendulum",
    "robots": ROBOTS,
    "world_model.members": 2,
    "world_model.hidden_sizes": [16],
    "world_model.predict_continue": False,
    "training.lock_step": True,
    "training.pause_service": "robot/pause",
    "training.steps": STEPS,
    "training.random_steps": 100,
    "training.update_every_steps": len(ROBOTS) * PERIODS,
    "training.updates": 10,
    "training.controller_timeout_s": 3.0,
    "planner.horizon": 4,
    "planner.candidates": 16,
    "planner.elites": 4,
    "planner.iterations": 2,
}
SIMULATION: dict[str, Any] = {
    "robot.name": "pendulum",
    "robot.mode": "lock_step",
    "robot.start_paused": True,
    "robot.pause_every_steps": PERIODS,
    "robot.episode_s": 1.75,
}


def seen(messages: list[JointState]) -> NDArray[np.float32]:
    """(N, 3) the observations that a robot's messages show, without those that it showed again."""
    by_stamp = {}
    for message in messages:
        at = message.name.index("hinge")
        angle, velocity = message.position[at], message.velocity[at]
        by_stamp[header_stamp_ns(message)] = [np.cos(angle), np.sin(angle), velocity]
    return np.array([*by_stamp.values()], dtype=np.float32)


def begins_at(episode: NDArray[np.float32], shown: NDArray[np.float32]) -> int | None:
    """Where an episode's observations stand, one after the other, in what a robot has shown."""
    for start in range(len(shown) - len(episode) + 1):
        if np.allclose(shown[start : start + len(episode)], episode, atol=1e-5):
            return start
    return None


@pytest.mark.timeout(180)
def test_one_trainer_learns_from_three_robots_and_one_that_ends_stops_nobody(
    ros: Ros, tmp_path: Path
) -> None:
    shown = {name: ros.collect(JointState, f"{name}/joint_states", EVERY_STEP) for name in ROBOTS}
    models = {name: ros.collect(String, f"{name}/model", LATCHED) for name in ROBOTS}
    in_use = {name: ros.collect(String, f"{name}/model_in_use", LATCHED) for name in ROBOTS}
    clocks = ros.collect(Clock, "robot2/clock")
    diagnostics = ros.collect(DiagnosticArray, "/diagnostics")
    nodes = {}
    for seed, name in enumerate(ROBOTS):
        act = {"controller.trigger": "observation"}
        nodes[name] = [
            ros.start("robot", {**SIMULATION, "seed": 100 * seed}, namespace=name),
            ros.start("controller", act, namespace=name),
        ]
    for name in ROBOTS:
        ros.activate_controller(name)
    trainer = ros.start("trainer", {**LEARNING, "training.output": str(tmp_path / "run")})

    ros.until(lambda: all(len(used) >= 2 for used in in_use.values()), timeout_s=120)
    for node in nodes["robot3"]:
        node.end()
    ros.until(lambda: trainer.poll() is not None, timeout_s=120)
    assert trainer.poll() == 0, trainer.output

    run = RunFolder(tmp_path / "run")
    bundle = load_bundle(run.bundle)
    assert bundle.manifest.environment_steps == STEPS
    # All of them got the same one, and those that live have taken it over.
    assert {json.loads(said[-1].data)["hash"] for said in models.values()} == {bundle.digest}
    assert [json.loads(in_use[name][-1].data)["hash"] for name in ROBOTS[:2]] == [bundle.digest] * 2
    assert bundle.manifest.interface is not None
    assert bundle.manifest.interface.action[0].topic == "effort_controller/commands"

    # Each episode is what one robot has shown, one state after the other.
    episodes = EpisodeStore(run.episodes).episodes
    whose = [one["robot"] for one in run.metrics() if one["kind"] == "episode"]
    assert len(whose) == len(episodes)
    observations = {name: seen(messages) for name, messages in shown.items()}
    for episode, owner in zip(episodes, whose, strict=True):
        found = [
            name
            for name in ROBOTS
            if begins_at(episode.observation["joint"], observations[name]) is not None
        ]
        assert found == [owner]
    taken = {
        name: sum(len(one) for one, owner in zip(episodes, whose, strict=True) if owner == name)
        for name in ROBOTS
    }
    assert sum(taken.values()) == STEPS
    assert taken["robot3"] >= 2 * PERIODS
    assert min(taken["robot1"], taken["robot2"]) > taken["robot3"]
    # What two robots are told at random is not the same.
    firsts = [
        next(one for one, owner in zip(episodes, whose, strict=True) if owner == name).action
        for name in ROBOTS
    ]
    assert not np.array_equal(firsts[0][:5], firsts[1][:5])

    assert "robot3: nothing new on '/robot3/joint_states' (0 publishers)" in trainer.output
    # It is waited for once, and the others meanwhile learn on.
    assert trainer.output.count("no controller of robot3 has taken over the new model within") == 1
    assert "no controller of robot1" not in trainer.output
    said = {status.name for message in diagnostics for status in message.status}
    assert said == {f"{name}/controller: control" for name in ROBOTS}
    assert clocks[-1].clock.sec > 1
    assert ros.observer.count_publishers("/clock") == 0
    assert "expected one" not in "".join(node.output for name in ROBOTS for node in nodes[name])


GLOBAL = {"/diagnostics", "/parameter_events", "/rosout"}


def test_all_that_nodes_in_a_namespace_have_is_in_it(ros: Ros, tmp_path: Path) -> None:
    def names() -> set[str]:
        node = ros.observer
        found = [*node.get_topic_names_and_types(), *node.get_service_names_and_types()]
        return {name for name, _ in found}

    own, place = names(), "cell/left"
    steps = {"training.steps": 60, "training.random_steps": 20}
    collect = {**ENVIRONMENT, **steps, "bridge.wait_for_learner": True, "bridge.max_episodes": 0}
    diagnostics = ros.collect(DiagnosticArray, "/diagnostics")
    ros.start("gym_bridge", collect, namespace=place)
    ros.start("controller", {"controller.trigger": "observation"}, namespace=place)
    ros.activate_controller(place)
    learning = {key: value for key, value in LEARNING.items() if key.startswith(("world", "plan"))}
    learn = {**ENVIRONMENT, **steps, **learning, "training.updates": 5}
    run = {"training.output": str(tmp_path / "run")}
    trainer = ros.start("trainer", {**learn, **run}, namespace=place)
    seen: set[str] = set()

    def ended() -> bool:
        seen.update(names())
        return trainer.poll() is not None

    ros.until(ended)
    assert trainer.poll() == 0, trainer.output
    assert "no controller" not in trainer.output
    there = {name for name in seen - own - GLOBAL if not name.startswith(f"/{place}/")}
    assert not there
    for name in ("observation", "commands", "step", "model", "model_in_use", "clock"):
        assert f"/{place}/{name}" in seen
    for name in ("gym_bridge/reset", "gym_bridge/pause", "controller/change_state"):
        assert f"/{place}/{name}" in seen
    said = {status.name for message in diagnostics for status in message.status}
    assert said == {f"{place}/controller: control"}
