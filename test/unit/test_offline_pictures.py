"""Pictures, learned from without a camera: out of a bag, and out of another run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bags import INTERFACE, MAKE, PERIOD_NS, drive, write_bag, write_interface

from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import Settings, load_settings
from planet_ros.data import EpisodeStore
from planet_ros.training.checkpoint import read_checkpoint
from planet_ros.training.experience import read_experience
from planet_ros.training.held_out import HeldOut
from planet_ros.training.offline import train_offline
from planet_ros.training.run import RunFolder

pytestmark = pytest.mark.slow

IMAGES = "sensor_msgs/msg/Image"
SIDE = 8


def picture(index: int) -> tuple[str, int, Any]:
    """What a camera sees at a tick, a little before it: every pixel is the tick's number."""
    message = MAKE(IMAGES)
    at_ns = index * PERIOD_NS - 8_000_000
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(10**9 + at_ns, 10**9)
    message.height = message.width = SIDE
    message.step, message.encoding = 3 * SIDE, "rgb8"
    message.data = np.full(3 * SIDE * SIDE, index, np.uint8)
    return "/camera", at_ns, message


def test_pictures_of_a_bag_are_those_of_their_ticks(
    tmp_path: Path, prints: Callable[..., str]
) -> None:
    size = {"height": SIDE, "width": SIDE}
    camera = {"name": "camera", "topic": "camera", "type": IMAGES, "image": size}
    parts = [*INTERFACE["observation"], camera]
    interface = write_interface(tmp_path / "own.yaml", observation=parts)
    messages = [*drive(60), *map(picture, range(60))]
    types = [
        ("/joint_states", "sensor_msgs/msg/JointState"),
        ("/camera", IMAGES),
        ("/efforts", "std_msgs/msg/Float64MultiArray"),
    ]
    bag = write_bag(tmp_path / "bag", messages, types=types)
    prints("import", bag, "--interface", interface, "--output", tmp_path / "data")
    (episode,) = EpisodeStore(tmp_path / "data").episodes
    assert episode.observation["camera"].shape == (len(episode) + 1, SIDE, SIDE, 3)
    shown = episode.observation["camera"][:, 0, 0, 0]
    np.testing.assert_array_equal(np.diff(shown.astype(int)), 1)
    np.testing.assert_allclose(shown / 100, episode.observation["joint"][:, 0], atol=1e-6)
    assert (episode.observation["camera"] == shown[:, None, None, None]).all()


def test_pictures_are_learned_offline_and_a_resumed_run_is_the_uninterrupted_one(
    picture_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def learn(name: str, **training: Any) -> RunFolder:
        overrides = {"offline.rounds": 3, "training.output": str(tmp_path / name)}
        overrides |= {f"training.{key}": value for key, value in training.items()}
        settings: Settings = load_settings(picture_run / "settings.yaml", overrides)
        return train_offline(settings, lambda: read_experience([picture_run], settings, MAKE))

    whole = learn("whole")
    real, fits = HeldOut.error, iter(range(9))

    def interrupted(self: HeldOut, model: Any) -> float:
        if next(fits) == 1:
            raise KeyboardInterrupt
        return real(self, model)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match="after 1 fits"):
        patch.setattr(HeldOut, "error", interrupted)
        learn("cut")
    cut = learn("cut", resume=True)
    one, other = (read_checkpoint(run.checkpoint) for run in (whole, cut))
    for tensor, values in one.tensors.items():
        np.testing.assert_array_equal(values, other.tensors[tensor])
    manifest = load_bundle(cut.bundle).manifest
    assert manifest.signature.images and manifest.data_disagreement
