"""``planet-ros demo``: the whole loop in three processes over ROS topics, without ROS's launch.

    gym_bridge ──observation──► controller ──commands──► gym_bridge
        └──────step──────► trainer ──model──► controller

What `learn.launch.py` does where ROS is installed, followed by an evaluation over the same topics:
this process then takes the learner's place, and only listens.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from planet_ros.bundle.runtime import Bundle, load_bundle
from planet_ros.supervision.supervisor import Supervisor
from planet_ros.config import load_settings
from planet_ros.environments import EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.training.evaluate import environment_of
from planet_ros.report.curves import save_episode_gif

EVALUATION_SEED = 1_000_000
"""First of the fresh starts; training starts count up from the run's seed."""

_NODES = {
    "gym_bridge": "sim_bridge.gym_bridge",
    "controller": "planet_ros.ros.controller_node",
    "trainer": "planet_ros.ros.trainer_node",
}

_NodeProcess: TypeAlias = AbstractContextManager["subprocess.Popen[bytes]"]


def run_demo(options: argparse.Namespace) -> int:
    """Learn, evaluate, report."""
    config = options.config or find_config("pendulum.yaml")
    settings = load_settings(config)
    output = options.output
    if options.episodes < 1:
        raise UserError(f"--episodes: found {options.episodes}, expected at least 1")
    _keep_earlier(output)
    logs = output / "logs"
    logs.mkdir(parents=True)
    # Not on the network of some robot, and not among the nodes that run on this machine already.
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    began = time.monotonic()

    bridge = {"bridge.mode": "lock_step", "bridge.wait_for_learner": True}
    act = {"controller.trigger": "observation", "seed": options.seed}
    learn = {"training.output": str(output), "seed": options.seed}
    if options.steps is not None:
        learn["training.steps"] = options.steps
    bundle_path = output / "model"

    def node(name: str, parameters: dict[str, Any], log: str | None = None) -> _NodeProcess:
        return node_process(name, config, parameters, logs / f"{name}-{log}.log" if log else None)

    _say(f"learning {settings.env_id} with three processes over ROS topics; logs: {logs}")
    with Supervisor() as supervisor:
        with (
            node("gym_bridge", {**bridge, "seed": options.seed}, "learning"),
            node("controller", {**act, "controller.explore": True}, "learning") as controller,
        ):
            supervisor.activate("controller", while_alive=_alive(controller, logs))
            with node("trainer", learn) as trainer:
                code = supervisor.spin_until(trainer.poll)
            if code != 0:
                raise UserError(f"the trainer ended with code {code}; see above and {logs}")
        _say(f"evaluating {bundle_path} on {options.episodes} fresh starts, over topics")
        with (
            node("gym_bridge", {**bridge, "seed": EVALUATION_SEED}, "evaluation"),
            node("controller", {**act, "model": str(bundle_path)}, "evaluation") as controller,
        ):
            supervisor.activate("controller", while_alive=_alive(controller, logs))
            record = supervisor.record_episodes(options.episodes, say=_say)

    bundle = load_bundle(bundle_path)
    gif = output / "episode.gif"
    save_episode_gif(bundle, EnvironmentSpec.of(settings), gif, seed=EVALUATION_SEED)
    _say(f"bundle: {bundle_path}; curves: {output}/learning_curves.png; episode: {gif}")
    result = {
        "mean_return": record.mean,
        "worst_return": record.worst,
        "returns": record.returns,
        "environment_steps": bundle.manifest.environment_steps,
        "tick_ms": record.tick_ms,
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(result))
    return 0


def find_config(name: str) -> Path:
    """A parameter file of this package: in the checkout, or where it was installed."""
    candidates = [
        Path(__file__).resolve().parents[2] / "config" / name,
        Path(sys.prefix) / "share" / "planet_ros" / "config" / name,
    ]
    candidates += [
        Path(prefix) / "share" / "planet_ros" / "config" / name
        for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(":")
        if prefix
    ]
    for path in candidates:
        if path.exists():
            return path
    raise UserError(f"{name} is not in {[str(path.parent) for path in candidates]}; use --config")


def _keep_earlier(output: Path) -> None:
    """Move what an earlier demo left out of the way: nothing is lost."""
    if output.exists():
        made = datetime.fromtimestamp(output.stat().st_mtime)
        kept = output.with_name(f"{output.name}-{made:%Y%m%d-%H%M%S}")
        output.rename(kept)
        _say(f"{output} of an earlier run is now {kept}")


def simulation_of(bundle: Bundle) -> dict[str, Any]:
    """Parameters by which ``gym_bridge`` simulates what a bundle was learned in.

    Raises:
        UserError: The manifest names no environment.
    """
    spec = environment_of(bundle)
    lists = {"env_modules": list(spec.modules), "env_wrappers": list(spec.wrappers)}
    return {
        "env_id": spec.id,
        "env_kwargs": json.dumps(spec.kwargs),
        # An empty list has no type that ROS could read from a command line.
        **{name: names for name, names in lists.items() if names},
    }


@contextmanager
def node_process(
    name: str, config: Path, parameters: dict[str, Any], log_file: Path | None
) -> Iterator[subprocess.Popen[bytes]]:
    """A node in a process of its own, ended by SIGINT when the block ends.

    What it prints goes to `log_file`, or to this terminal without one.
    """
    command = [sys.executable, "-m", _NODES[name], "--ros-args", "--params-file", str(config)]
    for key, value in parameters.items():
        command += ["-p", f"{key}:={json.dumps(value)}"]
    log = None if log_file is None else log_file.open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log and subprocess.STDOUT)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if log is not None:
            log.close()


def _alive(controller: subprocess.Popen[bytes], logs: Path) -> Callable[[], None]:
    def check() -> None:
        if controller.poll() is not None:
            raise UserError(f"the controller ended with code {controller.returncode}; see {logs}")

    return check


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
