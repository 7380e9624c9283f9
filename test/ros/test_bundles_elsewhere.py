"""A trainer and a controller that share no files; a bundle that is too large to be kept."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest
from nodes import Diagnostics, Ros
from std_msgs.msg import UInt8MultiArray
from test_bundle_topics import announced, sent
from test_robustness import ALLOWED, write_bundle

from planet_ros.bundle.runtime import load_bundle
from planet_ros.ros.topics import LATCHED

pytestmark = pytest.mark.ros


def test_one_that_is_too_large_is_named_in_the_diagnostics(ros: Ros, tmp_path: Path) -> None:
    diagnostics = Diagnostics(ros)
    bundles = ros.observer.create_publisher(UInt8MultiArray, "model_bundle", LATCHED)
    first = write_bundle(tmp_path / "first", ALLOWED)
    ros.start(
        "controller",
        {
            "model": str(first.path),
            "controller.accept_bundles": True,
            "controller.bundle_folder": str(tmp_path / "kept"),
            "controller.max_bundle_mb": 0.5,
        },
    )
    ros.activate_controller()
    bundles.publish(UInt8MultiArray(data=array("B", bytes(2_000_000))))
    ros.until(lambda: "refused: found a message of 2000" in diagnostics.text)
    assert "controller.max_bundle_mb" in diagnostics.text
    bundles.publish(sent(first.path))
    ros.until(lambda: "refused" not in diagnostics.text)


def test_a_controller_learns_of_a_trainer_s_models_without_its_files(
    ros: Ros, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The three on one network, with the controller's files elsewhere than the trainer's."""
    run, away = tmp_path / "run", tmp_path / "robot"
    away.mkdir()
    used = announced(ros, "model_in_use")
    ros.start("gym_bridge", {"bridge.mode": "lock_step", "bridge.wait_for_learner": True})
    trainer = ros.start(
        "trainer",
        {
            "training.output": str(run),
            "training.steps": 120,
            "training.random_steps": 60,
            "training.update_every_steps": 30,
            "training.updates": 2,
            "training.publish_bundle": True,
            "planner.horizon": 3,
            "planner.candidates": 8,
            "planner.iterations": 1,
        },
    )
    monkeypatch.chdir(away)
    monkeypatch.setenv("ROS_HOME", str(away))
    controller = ros.start(
        "controller", {"controller.trigger": "observation", "controller.accept_bundles": True}
    )
    ros.activate_controller()
    ros.until(lambda: trainer.poll() is not None)
    assert trainer.end() == 0
    kept = away / "planet_ros" / "bundles" / "controller"
    assert "no controller has taken over" not in trainer.output
    assert len(used) > 1
    assert {one.path.parent for one in used} == {kept}
    assert used[-1].digest == load_bundle(run / "model").digest
    assert {one.name for one in kept.iterdir()} == {one.digest for one in used}
    assert str(run) not in controller.output
