"""What a delay of commands costs, and what is left of that when it is compensated.

The simulated pendulum, nothing but topics to trainer and controller, whose commands act 0, 1 or 3
control periods late. `planet-ros demo --robot pendulum` learns and drives it in three processes
over DDS: once with the delay in the interface (``delay_periods``, and a horizon that is longer by
as much), once without a word of it. Returns are those of 200 periods from fresh starts, for each
seed the same ones in every case, every period counted from the first on. Beside each stands what
`planet-ros delay` finds in the run's episodes.

    python benchmarks/delay.py --output runs/delay
    python benchmarks/delay.py --output runs/delay --seeds 0 --delays 3 --episodes 20

It goes on with what it finds in the output folder, prints a table, and one JSON object on the last
line; the code is 1 where a delay that is compensated costs more than 10 %, or the longest one that
is not costs less.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from planet_ros.config import find_config
from planet_ros.interface.files import interface_text, load_interface

ROBOT = "pendulum"
ALLOWED_LOSS = 0.10


def main() -> int:
    options = _options()
    cases = [(delay, True) for delay in options.delays]
    cases += [(delay, False) for delay in options.delays if delay > 0]
    results = []
    for seed in options.seeds:
        for delay, compensated in cases:
            results.append(of_a_run(delay, compensated, seed, options))
            print(json.dumps(results[-1]), file=sys.stderr, flush=True)
    rows = [summary(results, delay, compensated) for delay, compensated in cases]
    reference = next((row["mean_return"] for row in rows if row["delay"] == 0), None)
    reached = True
    print("| periods late | compensated | mean | of each seed | worst | loss | found |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        if reference is not None:
            row["loss"] = round(row["mean_return"] / reference - 1, 4)
            if row["compensated"] or row["delay"] == max(options.delays):
                reached &= (row["loss"] <= ALLOWED_LOSS) == row["compensated"]
        print(_line(row))
    print(json.dumps({"episodes": options.episodes, "reached": reached, "cases": rows}))
    return 0 if reached else 1


def of_a_run(delay: int, compensated: bool, seed: int, options: argparse.Namespace) -> Any:
    """Learn, drive, and estimate the delay; or what came of that earlier."""
    name = f"{delay}-{'with' if compensated else 'without'}-{seed}"
    folder = options.output / name
    file = options.output / f"{name}.json"
    if file.exists():
        return json.loads(file.read_text())
    options.output.mkdir(parents=True, exist_ok=True)
    config = _config(options.output, name, delay, compensated)
    command = [sys.executable, "-m", "planet_ros.cli.main"]
    learn = ["demo", "--robot", ROBOT, "--config", str(config), "--output", str(folder)]
    learn += ["--seed", str(seed), "--episodes", str(options.episodes)]
    learn += [] if options.steps is None else ["--steps", str(options.steps)]
    result = _last_line([*command, *learn], options.output / f"{name}.log")
    estimate = _last_line([*command, "delay", str(folder), "--json"])
    result = {"delay": delay, "compensated": compensated, "seed": seed, "estimate": estimate} | {
        key: result[key] for key in ("mean_return", "worst_return", "returns", "environment_steps")
    }
    file.write_text(json.dumps(result) + "\n")
    return result


def _config(output: Path, name: str, delay: int, compensated: bool) -> Path:
    """The robot's preset with a delay, and the interface that it names."""
    document = yaml.safe_load(find_config(f"robot_{ROBOT}.yaml").read_text(encoding="utf-8"))
    settings = document["/**"]["ros__parameters"]
    interface = load_interface(settings["interface"])
    if compensated:
        interface = interface.model_copy(update={"delay_periods": delay})
        settings["planner"]["horizon"] += delay
    described = output / f"{name}-interface.yaml"
    described.write_text(interface_text(interface), encoding="utf-8")
    settings["interface"] = str(described.resolve())
    settings["robot"]["extra_delay_periods"] = delay
    config = output / f"{name}.yaml"
    config.write_text(yaml.safe_dump(document), encoding="utf-8")
    return config


def _last_line(command: list[str], log: Path | None = None) -> Any:
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    if log is not None:
        log.write_text(ran.stderr, encoding="utf-8")
    if ran.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with code {ran.returncode}: {ran.stderr[-2000:]}")
    return json.loads(ran.stdout.splitlines()[-1])


def summary(results: list[dict[str, Any]], delay: int, compensated: bool) -> dict[str, Any]:
    """All seeds of one case together."""
    runs = [one for one in results if (one["delay"], one["compensated"]) == (delay, compensated)]
    means = [round(one["mean_return"], 1) for one in runs]
    return {
        "delay": delay,
        "compensated": compensated,
        "mean_return": round(statistics.mean(one["mean_return"] for one in runs), 2),
        "mean_returns": means,
        "worst_return": round(min(one["worst_return"] for one in runs), 1),
        "found": [one["estimate"]["delay_periods"] for one in runs],
    }


def _line(row: dict[str, Any]) -> str:
    compensated = "yes" if row["compensated"] else "no"
    loss = f"{row['loss']:.1%}" if "loss" in row else ""
    cells = [row["delay"], compensated if row["delay"] else "", row["mean_return"]]
    cells += [", ".join(map(str, row["mean_returns"])), row["worst_return"], loss]
    return f"| {' | '.join(map(str, [*cells, ', '.join(map(str, row['found']))]))} |"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of all runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--delays", type=int, nargs="+", default=[0, 1, 3], help="control periods")
    parser.add_argument("--episodes", type=int, default=20, help="fresh starts (default: 20)")
    parser.add_argument("--steps", type=int, help="of learning (default: the preset's)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
