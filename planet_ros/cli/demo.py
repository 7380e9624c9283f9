"""``planet-ros demo``: the whole loop in three processes over ROS topics, without ROS's launch.

    gym_bridge ──observation──► controller ──commands──► gym_bridge
        └──────step──────► trainer ──model──► controller

What `learn.launch.py` does where ROS is installed, followed by an evaluation over the same topics:
this process then takes the learner's place, and only listens.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import find_config, load_settings
from planet_ros.environments import EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.interface.files import load_interface
from planet_ros.report.attempt import attempt
from planet_ros.report.gif import save_episode_gif
from planet_ros.ros.types import make
from planet_ros.supervision.evaluation import acting, evaluate_over_topics
from planet_ros.supervision.judges import GoalsReached, Judge, Returns, TargetFollowed
from planet_ros.supervision.processes import NodeProcess, own_domain, recorded, variables
from planet_ros.supervision.robots import PAUSE_SERVICE, evaluate_robot
from planet_ros.supervision.supervisor import Supervisor

EPISODES = 10
"""Fresh starts of an evaluation, where nobody says how many."""

ROBOT_STEPS = 200
"""Control periods of each start that a robot is evaluated on."""

EVALUATION_SEED = 1_000_000
"""First of the fresh starts; training starts count up from the run's seed."""


def run_demo(options: argparse.Namespace) -> int:
    """Learn, evaluate, report."""
    if options.episodes is not None and options.episodes < 1:
        raise UserError(f"--episodes: found {options.episodes}, expected at least 1")
    if options.robot is not None:
        return run_robot_demo(options)
    for name in ("model", "record"):
        if getattr(options, name) is not None:
            raise UserError(f"--{name}: found without --robot, expected it beside that")
    config = options.config or find_config("pendulum.yaml")
    settings = load_settings(config)
    output, logs = options.output, _fresh_logs(options.output)
    began = time.monotonic()
    bundle_path, gif = output / "model", output / "episode.gif"

    with own_domain() as domain, variables(domain), Supervisor() as supervisor:
        _say(f"learning {settings.env_id} with three processes over ROS topics; logs: {logs}")
        _learn(supervisor, config, options, logs)
        episodes = options.episodes or EPISODES
        _say(f"evaluating {bundle_path} on {episodes} fresh starts, over topics")
        record = evaluate_over_topics(
            supervisor,
            bundle_path,
            config=config,
            simulation={},
            episodes=episodes,
            seed=EVALUATION_SEED,
            logs=logs,
            say=_say,
        )

    bundle, spec = load_bundle(bundle_path), EnvironmentSpec.of(settings)
    attempt(gif, lambda: save_episode_gif(bundle, spec, gif, seed=EVALUATION_SEED))
    _say(f"bundle: {bundle_path}; curves: {output}/learning_curves.png; episode: {gif}")
    result = {
        "mean_return": record.mean,
        "worst_return": record.worst,
        "returns": record.returns,
        "tick_ms": record.tick_ms,
    }
    print(json.dumps({**result, **_told(bundle_path, began)}))
    return 0


def run_robot_demo(options: argparse.Namespace) -> int:
    """The same with a simulated robot, which is nothing but topics to trainer and controller."""
    config = options.config or find_config(f"robot_{options.robot}.yaml")
    judge = judge_of(
        options.robot, load_interface(load_settings(config).interface), options.episodes
    )
    if options.model is not None:
        load_bundle(options.model)  # or it is refused before anything starts
    output, logs = options.output, _fresh_logs(options.output)
    model = options.model or output / "model"
    began = time.monotonic()
    with own_domain() as domain, variables(domain), Supervisor() as supervisor:
        if options.model is None:
            _say(f"learning the robot {options.robot} from its own topics; logs: {logs}")
            with contextlib.ExitStack() as stack:
                if options.record is not None:
                    named, log = load_settings(config).interface, logs / "recorder.log"
                    stack.enter_context(recorded(options.record, named, log))
                _learn(supervisor, config, options, logs, simulator="robot")
            if options.record is not None:
                _say(f"bag: {options.record}")
        _say(f"evaluating {model} on fresh starts, over its topics")
        result = evaluate_robot(
            supervisor,
            model,
            judge,
            config=config,
            seed=EVALUATION_SEED,
            logs=logs,
        )
    print(json.dumps({"robot": options.robot, **result, **_told(model, began)}))
    return 0


def judge_of(robot: str, interface: Interface, episodes: int | None) -> Judge:
    """What a robot is judged by."""
    if robot == "base":
        return GoalsReached(interface, make, goals=episodes or 20, tell=_say)
    if robot == "arm":
        return TargetFollowed(circles=episodes or EPISODES, tell=_say)
    return Returns(interface, make, episodes=episodes or EPISODES, steps=ROBOT_STEPS, tell=_say)


def _told(model: Path, began: float) -> dict[str, Any]:
    """What every demo says in the end."""
    return {
        "environment_steps": load_bundle(model).manifest.environment_steps,
        "seconds": round(time.monotonic() - began, 1),
    }


def _learn(
    supervisor: Supervisor,
    config: Path,
    options: argparse.Namespace,
    logs: Path,
    simulator: str = "gym_bridge",
) -> None:
    """Run simulator, controller and trainer until the trainer is done.

    Raises:
        UserError: A node ends before its time, or does not start.
    """
    seed = {"seed": options.seed}
    simulate: dict[str, Any] = {
        **seed,
        "bridge.mode": "lock_step",
        "bridge.wait_for_learner": True,
    }
    if simulator == "robot":
        every = load_settings(config).training.update_every_steps
        simulate = {
            **seed,
            "robot.mode": "lock_step",
            "robot.start_paused": True,
            "robot.pause_every_steps": every,
        }
    act = {**seed, "controller.trigger": "observation", "controller.explore": True}
    learn: dict[str, Any] = {**seed, "training.output": str(options.output)}
    if simulator == "robot":
        learn |= {"training.lock_step": True, "training.pause_service": PAUSE_SERVICE}
    if options.steps is not None:
        learn["training.steps"] = options.steps
    with (
        acting(
            supervisor,
            simulate,
            act,
            config=config,
            logs=logs,
            doing="learning",
            simulator=simulator,
        ) as check_alive,
        NodeProcess("trainer", learn, config=config) as trainer,  # its progress is shown here
    ):
        code = supervisor.spin_until(trainer.poll, while_alive=check_alive)
    if code != 0:
        raise UserError(f"the trainer ended with code {code}; see above and {logs}")


def _fresh_logs(output: Path) -> Path:
    """The folder for what nodes print, in an output folder that is new."""
    _keep_earlier(output)
    logs = output / "logs"
    logs.mkdir(parents=True)
    return logs


def _keep_earlier(output: Path) -> None:
    """Move what an earlier demo left out of the way: nothing is lost."""
    if output.exists():
        made = datetime.fromtimestamp(output.stat().st_mtime)
        kept = output.with_name(f"{output.name}-{made:%Y%m%d-%H%M%S}")
        output.rename(kept)
        _say(f"{output} of an earlier run is now {kept}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
