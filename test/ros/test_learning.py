"""Three processes learn over topics."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrays import float32
from nodes import ENVIRONMENT, NodeProcess, Ros
from rcl_interfaces.srv import DescribeParameters
from std_msgs.msg import Float64MultiArray, String

from planet_ros.bundle.runtime import load_bundle
from planet_ros.data import EpisodeStore, Step
from planet_ros.environments import Environment
from planet_ros.messages.steps import step_message
from planet_ros.ros.topics import EVERY_STEP, LATCHED
from planet_ros.ros.types import make
from planet_ros.training.evaluate import environment_of, evaluate
from planet_ros.training.run import RunFolder

pytestmark = pytest.mark.ros

LEARNING: dict[str, Any] = {
    **ENVIRONMENT,
    "world_model.members": 3,
    "world_model.hidden_sizes": [32],
    "world_model.predict_continue": False,
    "training.steps": 200,
    "training.random_steps": 100,
    "training.updates": 150,
    "planner.horizon": 5,
    "planner.candidates": 40,
    "planner.elites": 8,
    "planner.iterations": 2,
}
LOCK_STEP = {"bridge.wait_for_learner": True}
HELD_OUT_SEED = 40_000
EPISODES = 10


def start(ros: Ros, output: Path, **overrides: Any) -> NodeProcess:
    """Bridge, controller and trainer; give the trainer."""
    settings = {**LEARNING, "training.output": str(output), **overrides}
    bridge = {key: settings[key] for key in settings if key.startswith(("env_", "training."))}
    ros.start("gym_bridge", {**bridge, **LOCK_STEP, "seed": 3})
    ros.start("controller", {"controller.trigger": "observation", "seed": 3})
    ros.activate_controller()
    return ros.start("trainer", {**settings, "seed": 3})


def learn(ros: Ros, output: Path, **overrides: Any) -> RunFolder:
    trainer = start(ros, output, **overrides)
    ros.until(lambda: trainer.poll() is not None, timeout_s=150)
    assert trainer.poll() == 0, trainer.output
    return RunFolder(output)


def test_the_loop_learns_what_random_play_cannot_do(ros: Ros, tmp_path: Path) -> None:
    run = learn(ros, tmp_path / "run")
    ros.close()

    manifest = load_bundle(run.bundle).manifest
    assert manifest.environment_steps == 200
    assert manifest.evaluation.source == "last 5 training episodes"
    assert run.curves_file.exists()
    episodes = EpisodeStore(run.episodes).episodes
    assert [len(episode) for episode in episodes] == [20] * 10
    assert all(episode.truncated and not episode.terminated for episode in episodes)
    random = [episode.total_reward for episode in episodes[:5]]

    seed = {"seed": HELD_OUT_SEED}
    ros.start("gym_bridge", {**ENVIRONMENT, **LOCK_STEP, **seed})
    ros.start("controller", {"model": str(run.bundle), "controller.trigger": "observation", **seed})
    ros.activate_controller()
    record = ros.supervisor.record_episodes(EPISODES, say=lambda text: None)
    assert len(record.returns) == EPISODES
    # Perfect play has -1.2 to -0.9. Random play has -26 on average, and more than -5.5 in one
    # episode of a hundred.
    assert record.worst > -4.0
    assert record.worst > max(random)
    assert set(record.tick_ms) == {"p50", "p99", "max"}

    bundle = load_bundle(run.bundle)
    environment = Environment(environment_of(bundle, ["tiny_environments"]))
    in_one_process = evaluate(bundle, environment, episodes=EPISODES, seed=HELD_OUT_SEED)
    environment.close()
    assert record.returns == pytest.approx(in_one_process.returns, abs=1e-5)


@pytest.mark.parametrize("update_every_steps", [0, 30])
def test_the_same_seed_gives_the_same_steps(
    ros: Ros, tmp_path: Path, update_every_steps: int
) -> None:
    runs = []
    for name in ("first", "second"):
        overrides = {
            "training.steps": 140,
            "training.random_steps": 60,
            "training.update_every_steps": update_every_steps,
            "training.updates": 40,
        }
        runs.append(EpisodeStore(learn(ros, tmp_path / name, **overrides).episodes).episodes)
        ros.close()
    first, second = runs
    assert sum(len(episode) for episode in first) == 140
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        for name in one.observation.keys() | other.observation.keys():
            np.testing.assert_array_equal(one.observation[name], other.observation[name])
        np.testing.assert_array_equal(one.action, other.action)
        np.testing.assert_array_equal(one.reward, other.reward)


def test_sigint_saves_and_the_run_can_be_resumed(ros: Ros, tmp_path: Path) -> None:
    output = tmp_path / "run"
    trainer = start(ros, output, **{"training.steps": 100_000})
    ros.until(lambda: "fit 2" in trainer.output, timeout_s=120)
    assert trainer.end(signal.SIGINT) == 0
    assert "all is saved" in trainer.output
    run = RunFolder(output)
    load_bundle(run.bundle)
    steps = EpisodeStore(run.episodes).steps
    assert steps >= 120
    ros.close()

    goal = steps + 60
    overrides = {"training.steps": goal, "training.resume": True}
    run = learn(ros, output, **overrides)
    assert EpisodeStore(run.episodes).steps == goal
    assert load_bundle(run.bundle).manifest.environment_steps == goal


def test_no_text_on_model_in_use_ends_the_trainer(ros: Ros, tmp_path: Path) -> None:
    speaker = ros.observer.create_publisher(String, "model_in_use", LATCHED)
    texts = ["garbage", "{}", "[]", "", "[" * 2000, '{"path": "/\\ud800", "hash": "x"}']
    speaker.publish(String(data=texts[0]))
    trainer = ros.start("trainer", {**LEARNING, "training.output": str(tmp_path / "run")})
    ros.until(lambda: "dropped a message on 'model_in_use': announcement: found" in trainer.output)
    for text in texts[1:]:
        speaker.publish(String(data=text))
        ros.spin(0.1)  # the newest alone is kept for a reader
    ros.spin(2.0)
    speaker.publish(String(data="once more"))
    # Not each is said, but each is counted.
    ros.until(lambda: f"({len(texts) + 1} dropped so far)" in trainer.output)
    assert trainer.poll() is None
    assert max(map(len, trainer.output.splitlines())) < 1000
    assert trainer.end() == 0


def test_no_step_of_other_sizes_ends_the_trainer(ros: Ros, tmp_path: Path) -> None:
    speaker = ros.observer.create_publisher(Float64MultiArray, "step", EVERY_STEP)
    trainer = ros.start("trainer", {**LEARNING, "training.output": str(tmp_path / "run")})
    ros.connect(speaker, "trainer")
    for observation, action in (([1, 2, 3], [0, 0]), ([1, 2], [0]), ([], [0, 0])):
        seen = {"observation": float32(observation)} if observation else {}
        step = Step(1, seen, float32(action), -1.0, False, False, 10**9)
        speaker.publish(step_message(make, step))
    speaker.publish(Float64MultiArray(data=[0.0] * 2_000_000))
    reason = "step: found 3 numbers of observation and 2 of action, expected 2 and 2"
    ros.until(lambda: f"dropped a step: {reason}" in trainer.output)
    ros.until(
        lambda: "no steps for 2 s: all 4 messages on '/step' (1 publishers)" in trainer.output
    )
    assert trainer.poll() is None
    assert trainer.end() == 0


def test_an_output_folder_that_holds_a_run_is_refused(ros: Ros, tiny_run: Path) -> None:
    before = sorted(path.read_bytes() for path in tiny_run.rglob("*") if path.is_file())
    trainer = ros.start("trainer", {**LEARNING, "training.output": str(tiny_run)})
    ros.until(lambda: trainer.poll() is not None)
    assert trainer.poll() == 2
    assert "already holds a run" in trainer.output
    assert sorted(path.read_bytes() for path in tiny_run.rglob("*") if path.is_file()) == before


def test_nothing_of_the_trainer_can_be_changed_while_it_runs(ros: Ros, tmp_path: Path) -> None:
    ros.start("trainer", {**ENVIRONMENT, "training.output": str(tmp_path / "run")})
    names = ["env_id", "seed", "training.steps", "planner.horizon"]
    request = DescribeParameters.Request(names=names)
    found = ros.call(DescribeParameters, "trainer/describe_parameters", request).descriptors
    assert [(one.name, one.read_only) for one in found] == [(name, True) for name in names]
