"""What acting over ROS topics costs in return, against the same bundle in one process.

The bundle runs whole episodes twice on the same starts, the i-th from ``reset(seed=seed + i)``:
in this process, and in lock-step through a simulation and a controller in processes of their own,
in a ROS domain of their own. The planner's random numbers are the same, so that the returns are
too unless something was lost or came late. The last line is one JSON object.

    python benchmarks/over_topics.py --model runs/demo/model
    python benchmarks/over_topics.py --model runs/demo/model --episodes 50 --seed 2000
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from planet_ros.bundle.runtime import Bundle, load_bundle
from planet_ros.environments import Environment
from planet_ros.errors import UserError
from planet_ros.supervision.evaluation import evaluate_over_topics
from planet_ros.supervision.parameters import find_config, simulation_of
from planet_ros.supervision.processes import own_domain
from planet_ros.supervision.supervisor import Record, Supervisor
from planet_ros.training.evaluate import environment_of, evaluate


def in_one_process(bundle: Bundle, episodes: int, seed: int, allowed: list[str]) -> list[float]:
    """Returns of the episodes."""
    environment = Environment(environment_of(bundle, allowed))
    try:
        return evaluate(bundle, environment, episodes=episodes, seed=seed).returns
    finally:
        environment.close()


def over_topics(bundle: Bundle, episodes: int, seed: int, logs: Path, allowed: list[str]) -> Record:
    """The same through bridge and controller."""
    with Supervisor() as supervisor:
        return evaluate_over_topics(
            supervisor,
            bundle.path,
            config=find_config("pendulum.yaml"),
            simulation=simulation_of(bundle, allowed),
            episodes=episodes,
            seed=seed,
            logs=logs,
            say=say,
        )


def measure(options: argparse.Namespace, logs: Path) -> dict[str, Any]:
    bundle = load_bundle(options.model)
    inside = in_one_process(bundle, options.episodes, options.seed, options.allow_python)
    record = over_topics(bundle, options.episodes, options.seed, logs, options.allow_python)
    mean = float(np.mean(inside))
    return {
        "episodes": options.episodes,
        "mean_in_process": mean,
        "mean_over_topics": record.mean,
        "worst_in_process": min(inside),
        "worst_over_topics": record.worst,
        "difference_percent": round(100 * (record.mean - mean) / abs(mean), 2),
        "tick_ms": record.tick_ms,
        "returns_in_process": inside,
        "returns_over_topics": record.returns,
    }


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    options = _options()
    with own_domain(options.domain) as domain, tempfile.TemporaryDirectory() as logs:
        os.environ.update(domain)
        try:
            result = measure(options, Path(logs))
        except UserError as error:
            for log in sorted(Path(logs).glob("*.log")):
                say(f"--- {log.name}\n{log.read_text(errors='replace')}")
            say(f"error: {error}")
            return 1
    for name, value in result.items():
        if not name.startswith("returns"):
            print(f"{name + ':':20}{value}")
    print(json.dumps(result))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of a bundle")
    parser.add_argument("--episodes", type=int, default=20, help="of each kind (default: 20)")
    parser.add_argument("--seed", type=int, default=2000, help="of the first start (default: 2000)")
    parser.add_argument("--domain", type=int, help="ROS_DOMAIN_ID (default: any)")
    parser.add_argument(
        "--allow-python",
        action="append",
        default=[],
        metavar="MODULE",
        help="a Python module that the bundle may name, as of planet-ros evaluate",
    )
    options = parser.parse_args()
    if options.episodes < 1:
        parser.error(f"--episodes: found {options.episodes}, expected at least 1")
    return options


if __name__ == "__main__":
    sys.exit(main())
