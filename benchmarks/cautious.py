"""What it is worth to mind a model's disagreement, where its data are few.

From random steps alone a model is learned offline, and the penalty on disagreement is chosen by
held-out episodes; then the same model plans with it, without any, and with three times as much,
from the same fresh starts. The last line is one JSON object.

    python benchmarks/cautious.py --steps 300 --seeds 0-4 --output runs/cautious
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from planet_ros.bundle.runtime import Bundle, load_bundle
from planet_ros.cli.main import main as planet_ros
from planet_ros.config import find_config
from planet_ros.environments import Environment
from planet_ros.errors import UserError
from planet_ros.training.evaluate import environment_of, evaluate

FIRST_START = 7000


def main() -> int:
    options = _options()
    first, _, last = options.seeds.partition("-")
    rows = []
    print("| seed | penalty chosen | without | with it | three times | worst of each |")
    print("| --- | --- | --- | --- | --- | --- |")
    for seed in range(int(first), int(last or first) + 1):
        rows.append(row := measure(options, seed))
        means, worst = (
            [f"{case[name]:.1f}" for case in row["cases"]] for name in ("mean", "worst")
        )
        cells = [str(seed), f"{row['chosen']:.2f}", *means, ", ".join(worst)]
        print(f"| {' | '.join(cells)} |", flush=True)
    print(json.dumps({"steps": options.steps, "seeds": rows}))
    return 0


def measure(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Learn with a seed, and judge the model with three penalties."""
    config, folder = find_config("pendulum.yaml"), options.output / str(seed)
    common = ["--config", config, "--seed", seed]
    drawn = ["--set", f"training.random_steps={options.steps}", "--set", "training.updates=1"]
    run("train", *common, "--steps", options.steps, *drawn, "--output", folder / "random")
    held_out = ["--set", f"offline.held_out={options.held_out}"]
    run("train", *common, "--data", folder / "random", *held_out, "--output", folder / "offline")
    bundle = load_bundle(folder / "offline" / "model")
    chosen = bundle.manifest.planner.disagreement_penalty
    cases = [judged(bundle, penalty, options.episodes) for penalty in (0.0, chosen, 3 * chosen)]
    return {"seed": seed, "chosen": chosen, "cases": cases}


def judged(bundle: Bundle, penalty: float, episodes: int) -> dict[str, float]:
    """Mean and worst return with a penalty, from the same starts."""
    planner = bundle.manifest.planner.model_copy(update={"disagreement_penalty": penalty})
    environment = Environment(environment_of(bundle, set()))
    try:
        found = evaluate(
            bundle, environment, episodes=episodes, seed=FIRST_START, planner=planner
        ).to_dict()
    finally:
        environment.close()
    return {"penalty": penalty, "mean": found["mean"], "worst": found["worst"]}


def run(*arguments: object) -> None:
    """A command of the project's own."""
    if code := planet_ros([str(argument) for argument in arguments]):
        raise UserError(f"planet-ros {arguments[0]} ended with code {code}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=300, help="random ones (default: 300)")
    parser.add_argument("--held-out", type=float, default=0.3, help="offline.held_out (0.3)")
    parser.add_argument("--seeds", default="0-4", help="of the runs (default: 0-4)")
    parser.add_argument("--episodes", type=int, default=20, help="fresh starts (default: 20)")
    parser.add_argument("--output", type=Path, required=True, help="folder for the runs, new")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
