"""The launch files, run by the real `launch`: how they start, and how they end whatever happens."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from nodes import MODULES, TEST_FOLDER, Ros
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from std_msgs.msg import String

from planet_ros.messages.announcements import Announcement
from planet_ros.ros.topics import LATCHED


def missing(module: str) -> bool:
    """Whether ROS's package is not here; there may be a folder, or another package, of its name."""
    try:
        return importlib.util.find_spec(module) is None
    except ModuleNotFoundError:
        return True


pytestmark = [
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

SHORT = SETTINGS.replace("steps: 100000", "steps: 120")


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


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Where ROS finds this package, as colcon would install it."""
    prefix = tmp_path / "install"
    share, lib = prefix / "share", prefix / "lib" / "planet_ros"
    index = share / "ament_index" / "resource_index" / "packages"
    for folder in (index, lib, share / "planet_ros"):
        folder.mkdir(parents=True)
    (index / "planet_ros").touch()
    for part in ("launch", "config"):
        (share / "planet_ros" / part).symlink_to(ROOT / part)
    for name, module in MODULES.items():
        script = lib / name
        script.write_text(
            f"#!{sys.executable}\nimport sys\nfrom {module} import main\nsys.exit(main())\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return prefix


@pytest.fixture
def launch(ros: Ros, prefix: Path, tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    """``launch("sim.launch.py", seed=7)``: runs it until the test ends."""
    running: list[Launched] = []

    def start(name: str, settings: str = SETTINGS, **arguments: Any) -> Launched:
        file = prefix / "share" / "planet_ros" / "launch" / name
        (tmp_path / "settings.yaml").write_text(settings)
        if name in ("learn.launch.py", "robot.launch.py") and "model" not in arguments:
            arguments.setdefault("output", tmp_path / "run")
        arguments.setdefault("params_file", tmp_path / "settings.yaml")
        running.append(Launched(file, arguments, tmp_path, prefix))
        return running[-1]

    yield start
    for one in running:
        one.close()


RUNNING = {
    "sim.launch.py": ("gym_bridge", r"in lock_step mode"),
    "control.launch.py": ("controller", r"no model is set"),
    "learn.launch.py": ("trainer", r"model .* in use"),
}
"""What is said once all is well, and by whom."""


def run(launch: Callable[..., Launched], file: str) -> Launched:
    """Start a file and wait until its nodes work."""
    launched = launch(file)
    launched.until(RUNNING[file][1])
    return launched


# ── the end ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file", RUNNING)
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_it_with_code_0(launch: Callable[..., Launched], file: str, times: int) -> None:
    launched = run(launch, file)
    for _ in range(times):
        launched.press_ctrl_c()
        time.sleep(0.2)
    limit_s = SAVE_LIMIT_S if file == "learn.launch.py" else END_LIMIT_S
    assert launched.exit_code(limit_s) == 0
    ended = re.findall(r"process has (finished cleanly|died)", launched.output)
    assert ended == ["finished cleanly"] * len(launched.pids), launched.output
    assert "Traceback" not in launched.output


@pytest.mark.parametrize("file", RUNNING)
@pytest.mark.parametrize("delay_s", [0.0, 1.0])
def test_ctrl_c_while_it_starts_ends_it_with_code_0(
    launch: Callable[..., Launched], file: str, delay_s: float
) -> None:
    launched = launch(file)
    launched.until("process started")
    time.sleep(delay_s)
    launched.press_ctrl_c()
    assert launched.exit_code(SAVE_LIMIT_S) == 0


@pytest.mark.parametrize("file", RUNNING)
def test_it_ends_with_code_1_and_names_a_node_that_dies_at_start(
    launch: Callable[..., Launched], file: str
) -> None:
    launched = launch(file, seed=-5)  # an integer, and out of bounds
    assert launched.exit_code(30) == 1
    assert re.search(r"the (gym_bridge|controller|trainer) ended with code 2", launched.output)
    assert "0 ≤ value" in launched.output


@pytest.mark.parametrize(
    ("file", "node"),
    [
        ("sim.launch.py", "gym_bridge"),
        ("control.launch.py", "controller"),
        ("learn.launch.py", "gym_bridge"),
        ("learn.launch.py", "controller"),
        ("learn.launch.py", "trainer"),
    ],
)
def test_it_ends_with_code_1_and_names_a_node_that_is_killed(
    launch: Callable[..., Launched], file: str, node: str
) -> None:
    launched = run(launch, file)
    os.kill(launched.pids[node], signal.SIGKILL)
    limit_s = SAVE_LIMIT_S if file == "learn.launch.py" and node != "trainer" else END_LIMIT_S
    assert launched.exit_code(limit_s) == 1
    assert f"the {node} was ended by SIGKILL" in launched.output


def test_learning_ends_with_code_0_once_the_trainer_is_done(
    launch: Callable[..., Launched], tmp_path: Path
) -> None:
    launched = launch("learn.launch.py", SHORT)
    launched.until("learned from")
    assert launched.exit_code(SAVE_LIMIT_S) == 0
    assert (tmp_path / "run" / "model" / "manifest.json").exists()

    # The folder holds a run now: it is gone on with where that is asked for, and only there.
    again = launch("learn.launch.py", SHORT)
    assert again.exit_code(30) == 1
    assert "resume:=true" in again.output
    resumed = launch("learn.launch.py", SHORT, resume="true", steps=160)
    resumed.until("learned from 160")
    assert resumed.exit_code(SAVE_LIMIT_S) == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"params_file": "absent.yaml"}, r"params_file:=absent\.yaml: there is no such file"),
        ({"params_file": "/nowhere/pendulum.yaml"}, r"there is no such file.*pendulum\.yaml"),
        ({"seed": "abc"}, "seed:=abc: expected an integer"),
        ({"use_sim_time": "maybe"}, "use_sim_time:=maybe: expected true or false"),
    ],
)
@pytest.mark.parametrize("file", RUNNING)
def test_wrong_arguments_start_nothing(
    launch: Callable[..., Launched], file: str, arguments: dict[str, str], reason: str
) -> None:
    launched = launch(file, **arguments)
    assert launched.exit_code(20) == 1
    assert re.search(reason, launched.output)
    assert launched.pids == {}


@pytest.mark.parametrize(
    ("file", "argument"), [("sim.launch.py", "mode"), ("control.launch.py", "trigger")]
)
def test_a_value_that_is_no_choice_starts_nothing(
    launch: Callable[..., Launched], file: str, argument: str
) -> None:
    launched = launch(file, **{argument: "often"})
    assert launched.exit_code(20) == 1
    assert "not in" in launched.output or "not valid" in launched.output
    assert launched.pids == {}


def test_a_preset_is_found_by_its_name(launch: Callable[..., Launched]) -> None:
    launched = launch("sim.launch.py", params_file="pendulum_no_velocity.yaml")
    launched.until("Pendulum-v1 in lock_step mode")
    assert "given, but not used by this node: planner.*" in launched.output
    launched.press_ctrl_c()
    assert launched.exit_code() == 0


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ("/**:\n  ros__parameters:\n    seed: [1\n", "cannot start"),
        ("/**:\n  ros__parameters:\n    controller: {safe_command: [0, 0.5]}\n", "cannot start"),
    ],
)
def test_a_file_that_ros_cannot_read_is_a_reason_and_no_traceback(
    launch: Callable[..., Launched], settings: str, reason: str
) -> None:
    launched = launch("control.launch.py", settings)
    assert launched.exit_code(20) == 1
    assert "the controller ended with code 2" in launched.output
    assert reason in launched.output
    assert "Traceback" not in launched.output


# ── a robot ──────────────────────────────────────────────────────────────────────────────────


ROBOT = """
/**:
  ros__parameters:
    interface: pendulum
    robot: {episode_s: 2.5}
    training: {steps: 120, random_steps: 40, updates: 5, update_every_steps: 40}
    planner: {horizon: 3, candidates: 8, iterations: 1}
    world_model: {hidden_sizes: [8], members: 2, predict_continue: false}
"""
"""Learning the pendulum from its topics, in a moment."""

ENDLESS = ROBOT.replace("steps: 120", "steps: 100000")


def test_a_robot_is_learned_and_then_driven_with_its_model(
    launch: Callable[..., Launched], tmp_path: Path
) -> None:
    learning = launch("robot.launch.py", ROBOT, robot="pendulum")
    learning.until("learned from 120")
    assert learning.exit_code(SAVE_LIMIT_S) == 0
    assert set(learning.pids) == {"robot", "controller", "trainer"}
    model = tmp_path / "run" / "model"
    assert (model / "manifest.json").exists()

    driving = launch("robot.launch.py", ROBOT, robot="pendulum", model=model)
    driving.until(r"model .* in use")
    assert set(driving.pids) == {"robot", "controller"}
    driving.until("in real_time mode")
    driving.press_ctrl_c()
    assert driving.exit_code() == 0


def test_a_robot_is_learned_in_real_time(launch: Callable[..., Launched]) -> None:
    launched = launch("robot.launch.py", ROBOT, robot="pendulum", mode="real_time")
    launched.until("in real_time mode")
    launched.until("learned from 120")  # six seconds of the robot's time
    assert launched.exit_code(SAVE_LIMIT_S) == 0


@pytest.mark.parametrize("node", ["robot", "controller", "trainer"])
def test_learning_a_robot_ends_with_code_1_and_names_a_node_that_is_killed(
    launch: Callable[..., Launched], node: str
) -> None:
    launched = launch("robot.launch.py", ENDLESS, robot="pendulum")
    launched.until(r"model .* in use")
    os.kill(launched.pids[node], signal.SIGKILL)
    assert launched.exit_code(END_LIMIT_S if node == "trainer" else SAVE_LIMIT_S) == 1
    assert f"the {node} was ended by SIGKILL" in launched.output


def test_ctrl_c_ends_learning_a_robot_with_code_0(
    launch: Callable[..., Launched], tmp_path: Path
) -> None:
    launched = launch("robot.launch.py", ENDLESS, robot="pendulum")
    launched.until(r"model .* in use")
    launched.press_ctrl_c()
    assert launched.exit_code(SAVE_LIMIT_S) == 0
    assert (tmp_path / "run" / "model" / "manifest.json").exists()
    assert "Traceback" not in launched.output


def test_a_robot_learns_within_a_namespace(launch: Callable[..., Launched], ros: Ros) -> None:
    launched = launch("robot.launch.py", ENDLESS, robot="pendulum", namespace="left")
    launched.until(r"model .* in use")
    assert ros.observer.count_publishers("/left/joint_states") == 1
    assert ros.observer.count_publishers("/joint_states") == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"robot": "hexapod", "params_file": ""}, r"robot:=hexapod: expected one of .*pendulum"),
        ({"robot": "pendulum", "steps": "many"}, "steps:=many: expected an integer"),
        ({"robot": "pendulum", "mode": "often"}, "often"),
    ],
)
def test_wrong_arguments_start_no_robot(
    launch: Callable[..., Launched], arguments: dict[str, str], reason: str
) -> None:
    launched = launch("robot.launch.py", ROBOT, **arguments)
    assert launched.exit_code(20) == 1
    assert re.search(reason, launched.output)
    assert launched.pids == {}


# ── the start of the controller ──────────────────────────────────────────────────────────────


def transition(ros: Ros, number: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=number))
    return bool(ros.call(ChangeState, "controller/change_state", request).success)


def state(ros: Ros) -> int:
    return int(ros.call(GetState, "controller/get_state", GetState.Request()).current_state.id)


def stays(ros: Ros, expected: int, seconds: float = 3.0) -> bool:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        if state(ros) != expected:
            return False
        ros.spin(0.1)
    return True


def test_it_activates_the_controller_once_and_never_at_a_configure_by_hand(
    launch: Callable[..., Launched], ros: Ros
) -> None:
    launch("control.launch.py")
    ros.until(lambda: state(ros) == State.PRIMARY_STATE_ACTIVE)
    assert transition(ros, Transition.TRANSITION_DEACTIVATE)
    assert transition(ros, Transition.TRANSITION_CLEANUP)
    assert transition(ros, Transition.TRANSITION_CONFIGURE)
    assert stays(ros, State.PRIMARY_STATE_INACTIVE)


def test_a_start_that_failed_is_not_made_up_for_at_a_configure_by_hand(
    launch: Callable[..., Launched], ros: Ros
) -> None:
    launched = launch("control.launch.py", model="/nowhere/model")
    launched.until("autostart: the transition configure failed")
    assert state(ros) == State.PRIMARY_STATE_UNCONFIGURED
    value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value="")
    request = SetParameters.Request(parameters=[Parameter(name="model", value=value)])
    (result,) = ros.call(SetParameters, "controller/set_parameters", request).results
    assert result.successful
    assert transition(ros, Transition.TRANSITION_CONFIGURE)
    assert stays(ros, State.PRIMARY_STATE_INACTIVE)


def test_without_autostart_the_controller_waits(launch: Callable[..., Launched], ros: Ros) -> None:
    launched = launch("control.launch.py", autostart="false")
    launched.until("process started")
    assert stays(ros, State.PRIMARY_STATE_UNCONFIGURED)


def test_a_relative_model_is_announced_by_its_absolute_path(
    launch: Callable[..., Launched], ros: Ros, tiny_bundle: str, tmp_path: Path
) -> None:
    in_use = ros.collect(String, "model_in_use", LATCHED)
    launch("control.launch.py", model=os.path.relpath(tiny_bundle, tmp_path))
    ros.until(lambda: in_use)
    assert Announcement.read(in_use[0].data).path == Path(tiny_bundle)


# ── several in one domain ────────────────────────────────────────────────────────────────────


def test_simulators_in_namespaces_can_have_clocks_of_their_own(
    launch: Callable[..., Launched], ros: Ros
) -> None:
    launched = launch("sim.launch.py", namespace="left", clock_topic="clock", use_sim_time="true")
    launched.until("in lock_step mode")
    ros.until(lambda: ros.observer.count_publishers("/left/clock") == 1)
    ros.until(lambda: ros.observer.count_subscribers("/left/clock") == 1)
    assert ros.observer.count_publishers("/clock") == 0
