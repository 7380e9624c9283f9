"""Models that come over topics themselves, and paths that are not allowed."""

from __future__ import annotations

import shutil
from array import array
from pathlib import Path
from typing import Any

import pytest
from nodes import Ros
from std_msgs.msg import Float64MultiArray, String, UInt8MultiArray
from test_robustness import ALLOWED, Robot, write_bundle

from planet_ros.bundle.archive import pack
from planet_ros.messages.announcements import Announcement
from planet_ros.ros.topics import LATCHED, NEWEST_RELIABLE

pytestmark = pytest.mark.ros


def commands(ros: Ros) -> list[Float64MultiArray]:
    heard: list[Float64MultiArray] = []
    ros.observer.create_subscription(Float64MultiArray, "commands", heard.append, NEWEST_RELIABLE)
    return heard


def announced(ros: Ros, topic: str) -> list[Announcement]:
    heard: list[Announcement] = []

    def hear(message: String) -> None:
        heard.append(Announcement.read(message.data))

    ros.observer.create_subscription(String, topic, hear, LATCHED)
    return heard


def sent(path: Path, change: Any = bytes) -> UInt8MultiArray:
    return UInt8MultiArray(data=array("B", change(pack(path))))


def test_a_bundle_comes_without_a_file_and_a_damaged_one_changes_nothing(
    ros: Ros, tmp_path: Path
) -> None:
    kept, used, heard = tmp_path / "kept", announced(ros, "model_in_use"), commands(ros)
    bundles = ros.observer.create_publisher(UInt8MultiArray, "model_bundle", LATCHED)
    first = write_bundle(tmp_path / "first", ALLOWED)
    bundles.publish(sent(first.path))
    shutil.move(first.path, tmp_path / "elsewhere")  # nothing is to be read from there
    controller = ros.start(
        "controller",
        {
            "controller.accept_bundles": True,
            "controller.bundle_folder": str(kept),
            "controller.max_bundle_mb": 1.0,
            "controller.max_bundles": 2,
        },
    )
    Robot(ros)
    ros.activate_controller()
    ros.until(lambda: heard and used)
    assert used[-1] == Announcement(kept / first.digest, first.digest)

    for damaged in (
        sent(tmp_path / "elsewhere", lambda data: data[:-1]),
        sent(tmp_path / "elsewhere", lambda data: data[:500] + b"\0" + data[501:]),
        UInt8MultiArray(data=array("B", b"planet_ros bundle\n" + b"\xff" * 100)),
    ):
        told = controller.output.count("is refused")
        bundles.publish(damaged)
        ros.until(lambda told=told: controller.output.count("is refused") > told)  # type: ignore[misc]
    bundles.publish(UInt8MultiArray(data=array("B", bytes(2_000_000))))
    ros.until(lambda: "found a message of 2000" in controller.output)
    assert len(used) == 1
    assert [one.name for one in kept.iterdir()] == [first.digest]
    count = len(heard)
    ros.until(lambda: len(heard) > count + 5)

    second = write_bundle(tmp_path / "second", ALLOWED, seed=1)
    bundles.publish(sent(second.path))
    ros.until(lambda: len(used) == 2)
    assert used[-1] == Announcement(kept / second.digest, second.digest)
    assert {one.name for one in kept.iterdir()} == {first.digest, second.digest}
    assert controller.end() == 0


def test_paths_outside_the_allowed_folders_are_refused_all_alike(ros: Ros, tmp_path: Path) -> None:
    used = announced(ros, "model_in_use")
    models = ros.observer.create_publisher(String, "model", LATCHED)
    allowed = tmp_path / "allowed"
    inside = write_bundle(allowed / "model", ALLOWED)
    outside = write_bundle(tmp_path / "outside", ALLOWED)
    (allowed / "link").symlink_to(outside.path)
    controller = ros.start("controller", {"controller.model_folders": [str(allowed)]})
    ros.activate_controller()
    reason = ": outside the folders that controller.model_folders allows"
    for path in (
        outside.path,
        tmp_path / "nothing",
        allowed / "link",
        allowed / ".." / "outside",
        Path("/etc/passwd"),
        Path("outside"),
    ):
        models.publish(String(data=Announcement(path, outside.digest).to_text()))
        ros.until(lambda path=path: f"refused: {path}{reason}" in controller.output)  # type: ignore[misc]
    assert not used
    models.publish(String(data=inside.to_text()))
    ros.until(lambda: used)
    assert used[-1].digest == inside.digest


def test_a_trainer_publishes_its_bundle_beside_the_path(ros: Ros, tmp_path: Path) -> None:
    bundles: list[UInt8MultiArray] = []
    ros.observer.create_subscription(UInt8MultiArray, "model_bundle", bundles.append, LATCHED)
    models = announced(ros, "model")
    run = tmp_path / "run"
    ros.start("gym_bridge", {"bridge.mode": "lock_step", "bridge.wait_for_learner": True})
    trainer = ros.start(
        "trainer",
        {
            "training.output": str(run),
            "training.steps": 60,
            "training.random_steps": 60,
            "training.updates": 2,
            "training.publish_bundle": True,
            "training.collect": "random",
        },
    )
    ros.until(lambda: bundles and models, timeout_s=60)
    ros.until(lambda: trainer.poll() is not None, timeout_s=60)
    ros.until(lambda: bytes(bundles[-1].data) == pack(run / "model", models[-1].digest))
