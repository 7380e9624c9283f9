"""What a trainer waits for before it is gone, and its announcements with it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nodes import Ros
from test_robustness import ALLOWED, write_bundle

from planet_ros.bundle.runtime import load_bundle
from planet_ros.ros.listening import Listener
from planet_ros.ros.robot_link import RobotLink

pytestmark = pytest.mark.ros

READER = """
import rclpy
from std_msgs.msg import UInt8MultiArray
from planet_ros.ros.topics import LATCHED

rclpy.init()
node = rclpy.create_node("reader")
node.create_subscription(UInt8MultiArray, "model_bundle", lambda message: None, LATCHED)
rclpy.spin(node)
"""


def test_a_bundle_on_its_way_to_a_slow_reader_is_waited_for(ros: Ros, tmp_path: Path) -> None:
    written = write_bundle(tmp_path / "model", ALLOWED)
    link = RobotLink(
        ros.observer,
        Listener(ros.observer),
        "",
        pause_service="",
        publish_bundle=True,
        heard=lambda: None,
    )
    reader = subprocess.Popen([sys.executable, "-c", READER])
    try:
        ros.until(lambda: ros.observer.count_subscribers("model_bundle"))
        ros.supervisor.wait_until_known("reader")
        reader.send_signal(signal.SIGSTOP)  # nobody listens on the topic of paths
        link.announce(load_bundle(written.path), wait_s=0.0)
        began_s = time.monotonic()
        assert not link.flush(1.0)
        assert time.monotonic() - began_s > 0.9
        reader.send_signal(signal.SIGCONT)
        assert link.flush(30.0)
    finally:
        reader.kill()
        reader.wait()
