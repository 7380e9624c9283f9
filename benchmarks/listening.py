"""What a model is worth that was learned from someone else's driving.

The simulated pendulum that is nothing but topics is driven by a scripted joystick, and the trainer
listens; then the same number of steps is explored by the trainer itself. Both models are evaluated
on the same fresh starts, over topics. Simulator, trainer and controller are processes of their own;
the joystick is in this one. The last line is one JSON object.

    python benchmarks/listening.py --seeds 0-2 --output runs/listening
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from planet_ros.config import find_config, load_settings
from planet_ros.errors import UserError
from planet_ros.interface.files import load_interface
from planet_ros.ros.types import make
from planet_ros.supervision.judges import Returns
from planet_ros.supervision.processes import NodeProcess, own_domain
from planet_ros.supervision.robots import PAUSE_SERVICE, evaluate_robot
from planet_ros.supervision.supervisor import Supervisor
from sim_bridge.joystick import Joystick

EVALUATION_SEED = 2_000_000
EPISODE_STEPS = 200


def learn(supervisor: Supervisor, collect: str, seed: int, steps: int, output: Path) -> None:
    """Learn from what is commanded, by the joystick where the trainer only listens."""
    config = find_config("robot_pendulum.yaml")
    every = load_settings(config).training.update_every_steps
    simulate = {
        "seed": seed,
        "robot.mode": "lock_step",
        "robot.start_paused": True,
        "robot.pause_every_steps": every,
    }
    learn: dict[str, Any] = {
        "seed": seed,
        "training.collect": collect,
        "training.steps": steps,
        "training.lock_step": True,
        "training.pause_service": PAUSE_SERVICE,
        "training.output": str(output),
    }
    if collect == "listen":
        Joystick(supervisor.node, "pendulum", np.random.default_rng(seed))
    output.parent.mkdir(parents=True, exist_ok=True)
    logs = {name: output.with_suffix(f".{name}.log") for name in ("robot", "trainer")}
    with (
        NodeProcess("robot", simulate, config=config, log=logs["robot"]) as robot,
        NodeProcess("trainer", learn, config=config, log=logs["trainer"]) as trainer,
    ):
        code = supervisor.spin_until(trainer.poll, while_alive=robot.check_alive)
    if code != 0:
        raise UserError(f"the trainer ended with code {code}; see {logs['trainer']}")


def evaluate(supervisor: Supervisor, output: Path, episodes: int) -> dict[str, Any]:
    """What the model is worth."""
    config = find_config("robot_pendulum.yaml")
    interface = load_interface("pendulum")
    judge = Returns(interface, make, episodes=episodes, steps=EPISODE_STEPS, tell=lambda text: None)
    return evaluate_robot(
        supervisor, output / "model", judge, config=config, seed=EVALUATION_SEED, logs=output
    )


def main() -> int:
    options = _options()
    first, _, last = options.seeds.partition("-")
    returns: dict[str, list[float]] = {"listen": [], "random": []}
    with own_domain() as domain:
        os.environ.update(domain)
        for seed in range(int(first), int(last or first) + 1):
            for collect, found in returns.items():
                output = options.output / f"{collect}-{seed}"
                with Supervisor() as supervisor:
                    learn(supervisor, collect, seed, options.steps, output)
                with Supervisor() as supervisor:
                    result = evaluate(supervisor, output, options.episodes)
                found.append(result["mean_return"])
                print(
                    f"seed {seed}, {collect}: mean return {result['mean_return']:.1f}, worst "
                    f"{result['worst_return']:.1f}",
                    flush=True,
                )
    means = {name: float(np.mean(found)) for name, found in returns.items()}
    ratio = means["listen"] / means["random"]  # of costs: less is better
    print(json.dumps({**returns, "cost_ratio": round(ratio, 3)}))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0-2", help="of the runs, as 0-2 (default)")
    parser.add_argument("--steps", type=int, default=1000, help="to learn from (default: 1000)")
    parser.add_argument("--episodes", type=int, default=20, help="fresh starts (default: 20)")
    parser.add_argument("--output", type=Path, required=True, help="folder for the runs, new")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
