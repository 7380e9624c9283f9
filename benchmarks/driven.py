"""What a robot does that was learned from a bag of someone else's driving, and from nothing else.

A simulated robot is driven by a scripted joystick while a recorder writes a bag. The bag is
imported, a model is learned from it offline, and drives the robot towards what its interface wants,
over topics. Simulator, recorder and controller are processes of their own; the joystick is in this
one. The last line is one JSON object.

    python benchmarks/driven.py --robot base --seeds 0-4 --episodes 50 --output runs/driven
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from std_srvs.srv import SetBool

from planet_ros.cli.demo import EVALUATION_SEED, judge_of
from planet_ros.cli.main import main as planet_ros
from planet_ros.cli.parser import ROBOTS
from planet_ros.config import find_config, load_settings
from planet_ros.errors import UserError
from planet_ros.interface.files import load_interface
from planet_ros.supervision.processes import NodeProcess, own_domain, recorded
from planet_ros.supervision.robots import PAUSE_SERVICE, evaluate_robot
from planet_ros.supervision.supervisor import Supervisor
from sim_bridge.joystick import Joystick

START_LIMIT_S = 60.0
MATCHED_S = 3.0
"""From when all know of one another until all hear one another."""


def record(robot: str, seed: int, steps: int, output: Path) -> None:
    """Drive for so many control periods, and write the bag."""
    config = find_config(f"robot_{robot}.yaml")
    interface = load_settings(config).interface
    simulate = {"seed": seed, "robot.mode": "lock_step", "robot.start_paused": True}
    with (
        Supervisor() as supervisor,
        recorded(output / "bag", interface, output / "recorder.log"),
        NodeProcess("robot", simulate, config=config, log=output / "robot.log") as process,
    ):
        joystick = Joystick(supervisor.node, robot, np.random.default_rng(seed))

        def heard() -> bool | None:
            """Whether the joystick and the recorder are both known to listen to all states."""
            counts = [supervisor.node.count_subscribers(topic) for topic in joystick.topics]
            return min(counts) >= 2 or None

        def driven() -> bool | None:
            return len(joystick.sent) >= steps or None

        supervisor.spin_until(heard, START_LIMIT_S, process.check_alive)
        time.sleep(MATCHED_S)
        resume = SetBool.Request(data=False)
        supervisor.call(SetBool, PAUSE_SERVICE, resume, START_LIMIT_S, process.check_alive)
        supervisor.spin_until(driven, while_alive=process.check_alive)


def evaluate(robot: str, episodes: int | None, output: Path) -> dict[str, Any]:
    """What the model is worth."""
    config = find_config(f"robot_{robot}.yaml")
    interface = load_interface(load_settings(config).interface)
    judge = judge_of(robot, interface, episodes)
    model = output / "run" / "model"
    with Supervisor() as supervisor:
        return evaluate_robot(
            supervisor, model, judge, config=config, seed=EVALUATION_SEED, logs=output
        )


def run(*arguments: object) -> None:
    """A command of the project's own."""
    if code := planet_ros([str(argument) for argument in arguments]):
        raise UserError(f"planet-ros {arguments[0]} ended with code {code}")


def main() -> int:
    options = _options()
    first, _, last = options.seeds.partition("-")
    config = find_config(f"robot_{options.robot}.yaml")
    interface = load_settings(config).interface
    results = []
    with own_domain() as domain:
        os.environ.update(domain)
        for seed in range(int(first), int(last or first) + 1):
            output = options.output / f"{options.robot}-{seed}"
            output.mkdir(parents=True)
            data, learned = output / "data", output / "run"
            record(options.robot, seed, options.steps, output)
            run("import", output / "bag", "--interface", interface, "--lock-step", "--output", data)
            run("train", "--data", data, "--config", config, "--seed", seed, "--output", learned)
            result = evaluate(options.robot, options.episodes, output)
            print(f"seed {seed}: {json.dumps(result)}", flush=True)
            results.append(result)
    print(json.dumps({"robot": options.robot, "steps": options.steps, "results": results}))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--robot", choices=ROBOTS, required=True)
    parser.add_argument("--seeds", default="0", help="of the runs, as 0-4 (default: 0)")
    parser.add_argument("--steps", type=int, default=3000, help="to learn from (default: 3000)")
    parser.add_argument("--episodes", type=int, help="goals, circles or starts to be judged by")
    parser.add_argument("--output", type=Path, required=True, help="folder for the runs, new")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
