"""The profile that the nodes give Fast DDS leaves it to the person how far they are seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from nodes import Ros

pytestmark = pytest.mark.ros


def test_a_node_is_not_seen_beyond_its_range(ros: Ros, monkeypatch: pytest.MonkeyPatch) -> None:
    # This process, and so the domain, is that of LOCALHOST.
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    hidden = ros.start("robot", {"robot.start_paused": True})
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    ros.start("controller", {})
    ros.until(lambda: "mode, paused" in hidden.output)
    ros.until(lambda: "controller" in ros.observer.get_node_names())
    ros.spin(1.0)
    assert "robot" not in ros.observer.get_node_names()
    assert hidden.poll() is None


def test_nobody_who_is_killed_can_hold_a_lock_that_a_node_needs(
    ros: Ros, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader's lock in shared memory, that is: see `planet_ros.ros.middleware`."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    node = ros.start("robot", {"robot.start_paused": True})
    ros.until(lambda: "mode, paused" in node.output)
    assert "/dev/shm/fast" not in Path(f"/proc/{node.pid}/maps").read_text()
