"""Launch files that run: started as `ros2 launch` does, in a process of their own."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from nodes import TEST_FOLDER


def missing(module: str) -> bool:
    """Whether ROS's package is not here; there may be a folder, or another package, of its name."""
    try:
        return importlib.util.find_spec(module) is None
    except ModuleNotFoundError:
        return True


LAUNCH_MARKS = [
    pytest.mark.ros,
    pytest.mark.slow,
    pytest.mark.skipif(
        missing("launch.launch_service") or missing("launch_ros.actions"),
        reason="launch and launch_ros are not installed (ROS brings them)",
    ),
]

ROOT = TEST_FOLDER.parent
END_LIMIT_S = 10.0
SAVE_LIMIT_S = 30.0
"""A trainer has a run to save."""
LAUNCH = """
import signal
import sys
# Whoever runs in the background of a shell ignores Ctrl-C, and so do the processes it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource

file, *given = sys.argv[1:]
service = LaunchService(argv=given)
source = AnyLaunchDescriptionSource(file)
arguments = [tuple(one.split(":=", 1)) for one in given]
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)])
)
sys.exit(service.run())
"""
"""What `ros2 launch` does, without ros2cli."""

SETTINGS = """
/**:
  ros__parameters:
    env_id: PlanetRosTest/PointMass-v0
    env_modules: [tiny_environments]
    training: {steps: 100000, random_steps: 60, updates: 5, update_every_steps: 40}
    planner: {horizon: 3, candidates: 8, iterations: 1}
    world_model: {hidden_sizes: [8], members: 2}
    controller: {stale_timeout_s: 60.0}
"""
"""Learning that goes on until someone ends it."""


class Launched:
    """A launch file that runs, as the leader of a group of processes, as in a terminal."""

    def __init__(self, file: Path, arguments: dict[str, Any], folder: Path, prefix: Path) -> None:
        self.log = folder / "launch.log"
        paths = [str(TEST_FOLDER), str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "AMENT_PREFIX_PATH": os.pathsep.join(
                path for path in (str(prefix), os.environ.get("AMENT_PREFIX_PATH", "")) if path
            ),
            "ROS_LOG_DIR": str(folder / "ros_log"),
        }
        given = [f"{name}:={value}" for name, value in arguments.items()]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", LAUNCH, str(file), *given],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def pids(self) -> dict[str, int]:
        """The nodes that were started."""
        found = re.findall(r"\[(\w+)-\d+\]: process started with pid \[(\d+)\]", self.output)
        return {name: int(pid) for name, pid in found}

    def until(self, pattern: str, timeout_s: float = 60) -> None:
        """Wait until something is said."""
        until_s = time.monotonic() + timeout_s
        while not re.search(pattern, self.output):
            if time.monotonic() > until_s or self._process.poll() is not None:
                pytest.fail(f"never said {pattern!r}:\n{self.output}")
            time.sleep(0.05)

    def press_ctrl_c(self) -> None:
        """SIGINT to all that a terminal would send it to."""
        os.killpg(self._process.pid, signal.SIGINT)

    def exit_code(self, timeout_s: float = END_LIMIT_S) -> int:
        """Wait for the end, see that nothing is left, and give the exit code."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"did not end within {timeout_s} s:\n{self.output}")
        left = [name for name, pid in self.pids.items() if Path(f"/proc/{pid}").exists()]
        assert not left, self.output
        assert "adapter" not in self.output
        return code

    def close(self) -> None:
        if self._process.poll() is None:
            self.press_ctrl_c()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
