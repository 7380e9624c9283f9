"""The trainer says how late a robot's commands act, and warns where its interface does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nodes import Ros

from planet_ros.interface.files import interface_text, load_interface

pytestmark = pytest.mark.ros

LEARNING: dict[str, Any] = {
    "training.collect": "random",
    "training.lock_step": True,
    "training.pause_service": "robot/pause",
    "training.steps": 300,
    "training.random_steps": 250,
    "training.update_every_steps": 50,
    "training.updates": 5,
    "world_model.members": 2,
    "world_model.hidden_sizes": [16],
    "world_model.predict_continue": False,
    "planner.horizon": 4,
}


@pytest.mark.parametrize(
    ("compensated", "expected"),
    [
        (0, "compensated 0, found 2 more; set delay_periods: 2 in the interface"),
        (2, "compensated 2, found 0 more; delay_periods: 2 is right"),
    ],
)
def test_trainer_finds_the_delay_of_a_robot(
    ros: Ros, root: Path, tmp_path: Path, compensated: int, expected: str
) -> None:
    document = load_interface(root / "config/interfaces/pendulum.yaml")
    document = document.model_copy(update={"delay_periods": compensated})
    path = tmp_path / "interface.yaml"
    path.write_text(interface_text(document), encoding="utf-8")
    ros.start(
        "robot",
        {
            "robot.name": "pendulum",
            "robot.mode": "lock_step",
            "robot.start_paused": True,
            "robot.pause_every_steps": 0,
            "robot.episode_s": 2.5,
            "robot.extra_delay_periods": 2,
        },
    )
    output = {"training.output": str(tmp_path / "run")}
    trainer = ros.start("trainer", {**LEARNING, **output, "interface": str(path)})
    ros.until(lambda: trainer.poll() is not None, timeout_s=120)
    assert trainer.poll() == 0, trainer.output
    lines = [line for line in trainer.output.splitlines() if "delay:" in line]
    assert len(lines) == 2, trainer.output  # after the random steps, and at the end
    for line in lines:
        assert expected in line
        assert ("WARN" in line) == (compensated == 0)
