"""A bag of a live run holds the very steps that the trainer made of it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nodes import Ros

from planet_ros.data import EpisodeStore
from planet_ros.datasets.bags import Bag
from planet_ros.datasets.importing import import_bags
from planet_ros.interface.files import load_interface

pytestmark = pytest.mark.ros

LEARNING: dict[str, Any] = {
    "training.collect": "random",
    "training.random_steps": 150,
    "training.updates": 2,
    "world_model.members": 2,
    "world_model.hidden_sizes": [16],
    "world_model.predict_continue": False,
    "planner.horizon": 4,
    "training.update_every_steps": 50,
}


@contextmanager
def recorded(root: Path, folder: Path, *arguments: str) -> Iterator[Path]:
    """Record while the block runs; give the folder of the bag."""
    log = folder / "recorder.log"
    bag = folder / "bag"
    command = [sys.executable, "-m", "planet_ros.cli.main", "record", "--output", str(bag)]
    with log.open("w") as out:
        recorder = subprocess.Popen([*command, *arguments], cwd=root, stdout=out, stderr=out)
    try:
        until_s = time.monotonic() + 60
        while "recording" not in log.read_text():
            assert recorder.poll() is None and time.monotonic() < until_s, log.read_text()
            time.sleep(0.1)
        time.sleep(1)
        yield bag
        recorder.terminate()  # as Ctrl-C, which whoever starts the tests may have told to ignore
        assert recorder.wait(30) == 0, log.read_text()
    finally:
        recorder.kill()


@pytest.mark.parametrize("robot", ["pendulum", "base"])
def test_import_of_a_recorded_run_is_the_run(
    ros: Ros, root: Path, tmp_path: Path, robot: str
) -> None:
    with recorded(root, tmp_path, "--interface", robot, "--lock-step") as bag:
        lock_step = {"training.lock_step": True, "training.pause_service": "robot/pause"}
        output = {"training.output": str(tmp_path / "run"), "interface": robot}
        simulated = {
            "robot.name": robot,
            "robot.mode": "lock_step",
            "robot.start_paused": True,
            "robot.episode_s": 2.5,
            "robot.target_every_s": 2.0,
        }
        ros.start("robot", simulated)
        trainer = ros.start("trainer", {**LEARNING, **lock_step, **output, "training.steps": 200})
        ros.until(lambda: trainer.poll() is not None, timeout_s=120)
        assert trainer.poll() == 0, trainer.output
    interface = load_interface(robot)
    result = import_bags([bag], interface, tmp_path / "episodes", together=True)
    live = EpisodeStore(tmp_path / "run" / "episodes").episodes
    found = EpisodeStore(tmp_path / "episodes").episodes
    assert len(live) >= 4 and result.steps >= sum(map(len, live))
    for one, other in zip(live, found, strict=False):
        steps = min(len(one), len(other))
        assert steps == len(one)
        for name, values in one.observation.items():
            again = other.observation[name][: steps + 1]
            if name != "goal":
                np.testing.assert_array_equal(values, again)
                continue
            # States belong together by their stamps; of a goal the newest counts that was received,
            # which one of the two may have had before a state and the other after it.
            late, early = np.roll(again, 1, axis=0), np.roll(again, -1, axis=0)
            now, then, soon = (np.all(values == one, axis=1) for one in (again, late, early))
            assert np.mean(now) > 0.8 and np.all((now | then | soon)[1:-1])
        np.testing.assert_array_equal(one.action, other.action[:steps])
        if "goal" not in one.observation:
            # The trainer's are of float32, as the model computes them.
            np.testing.assert_allclose(one.reward, other.reward[:steps], rtol=1e-5, atol=1e-6)


def test_recording_in_real_time_has_every_message_and_its_types(
    ros: Ros, root: Path, tmp_path: Path
) -> None:
    with recorded(root, tmp_path, "--interface", "arm") as bag:
        ros.start("robot", {"robot.name": "arm", "robot.mode": "real_time"})
        ros.spin(4)
    with Bag([bag]) as opened:
        topics = opened.topics
        assert set(topics) == {"/joint_states", "/target_pose", "/arm_controller/joint_trajectory"}
        assert 10 < topics["/joint_states"].count < 110  # 20 Hz, from when it was there
        messages = [message for _, _, message in opened.messages(["/joint_states"])]
        assert all(set(one.name) >= {"shoulder", "elbow"} for one in messages)
        fields = opened.make.fields("trajectory_msgs/msg/JointTrajectory")
        assert fields[2] == ("points", "trajectory_msgs/msg/JointTrajectoryPoint[]")
