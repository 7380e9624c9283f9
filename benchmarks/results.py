"""Train a preset with several seeds, and see whether each reaches its target.

Every run is kept: what is finished is not trained again, what was interrupted goes on. Remove a
run's folder to train it anew. Printed are a Markdown table and, as the last line, one JSON object;
the learning curves are drawn into docs/results/. The exit code is 1 where a seed misses the target.

    python benchmarks/results.py pendulum
    python benchmarks/results.py pendulum_pixels --seeds 0 1 2
    python benchmarks/results.py pendulum --seeds 0 --steps 600 --output /tmp/try --figures /tmp/try

A quick look, at fewer steps or starts than the task has, says nothing of the target.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from planet_ros.bundle.runtime import Bundle, load_bundle
from planet_ros.config import Settings, flatten, load_settings
from planet_ros.environments import Environment
from planet_ros.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, UserError
from planet_ros.files import write_whole
from planet_ros.report.attempt import attempt
from planet_ros.report.curves import new_figure, plot_learning_curves, save_figure
from planet_ros.training.evaluate import environment_of, evaluate
from planet_ros.training.loop import train
from planet_ros.training.progress import Progress
from planet_ros.training.run import RunFolder

ROOT = Path(__file__).resolve().parents[1]
RECORD_FILE = "result.json"
_OF_THE_FOLDER = ("seed", "training.output", "training.resume")
"""Settings that tell one run from another, and not one experiment."""


@dataclass(frozen=True)
class Task:
    """What a preset has to reach on fixed starts.

    Attributes:
        mean: Least mean return.
        source: Where that figure comes from.
        first_start: Seed of the first start; the others count up.
        episodes: How many starts.
        worst: Least return of a single episode.
    """

    mean: float
    source: str
    first_start: int
    episodes: int
    worst: float = float("-inf")


_TRUE_DYNAMICS = (
    "planning on the true dynamics, with the action repeated, has -152.4 (a prototype's figure)"
)
TASKS = {
    "pendulum": Task(
        mean=-166.0,
        source="10 % below iCEM on the true dynamics, which has -151.2, and -343 at worst",
        first_start=1000,
        episodes=20,
        worst=-400.0,
    ),
    "pendulum_no_velocity": Task(-160.0, f"5 % below: {_TRUE_DYNAMICS}", 2000, 50),
    "pendulum_pixels": Task(-167.6, f"10 % below: {_TRUE_DYNAMICS}", 2000, 50),
}


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return report(options)
    except UserError as error:
        say(f"error: {error}")
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        say("\nstopped; the same command goes on from here")
        return EXIT_INTERRUPTED


def report(options: argparse.Namespace) -> int:
    """Train and evaluate what is missing, then write everything down."""
    task = TASKS[options.task]
    if options.starts is not None:
        task = replace(task, episodes=options.starts)
    preset = load_settings(ROOT / "config" / f"{options.task}.yaml", _overrides(options))
    runs = {seed: RunFolder(options.output / f"{options.task}-{seed}") for seed in options.seeds}
    rows = []
    for position, (seed, run) in enumerate(runs.items()):
        say(f"==> {options.task}, seed {seed} ({position + 1} of {len(runs)})")
        learn(run, preset.model_copy(update={"seed": seed}))
        record = judge(run, task)
        passed = record["mean"] >= task.mean and record["worst"] >= task.worst
        rows.append({"seed": seed, "passed": passed, **record})

    table = markdown(task, rows)
    write_whole(options.output / f"{options.task}.md", table.encode())
    options.figures.mkdir(parents=True, exist_ok=True)
    figure = options.figures / f"{options.task}.png"
    attempt(figure, lambda: draw(options.task, task, runs, figure))
    passed = all(row["passed"] for row in rows)
    print(table)
    print(f"learning curves: {figure}")
    print(json.dumps({"task": options.task, "passed": passed, "target": task.mean, "seeds": rows}))
    return 0 if passed else 1


def learn(run: RunFolder, wanted: Settings) -> None:
    """Train a run to its end, from wherever it stands."""
    fresh = not run.settings_file.exists()
    values = dict(flatten((wanted if fresh else load_settings(run.settings_file)).model_dump()))
    for name, value in flatten(wanted.model_dump()):
        if name not in _OF_THE_FOLDER and values[name] != value:
            say(
                f"warning: {run.path}: was trained with {name} {values[name]}, where the preset "
                f"has {value}; remove the folder to train it anew"
            )
    if evaluated_at(run) >= values["training.steps"]:
        say(f"{run.path}: is finished")
        return
    values |= {"training.output": str(run.path), "training.resume": not fresh}
    record = _record(run)
    began = time.monotonic()
    try:
        train(load_settings(None, values))
    finally:
        if run.path.is_dir():
            attempt(run.curves_file, lambda: plot_learning_curves(run))
            seconds = record.get("seconds", 0.0) + time.monotonic() - began
            _keep(run, {"seconds": round(seconds, 1)})


def evaluated_at(run: RunFolder) -> int:
    """Environment steps after which a run evaluated itself last, which ends it; 0 for never."""
    records = [record for record in run.metrics() if record["kind"] == "evaluation"]
    return max((record["environment_steps"] for record in records), default=0)


def judge(run: RunFolder, task: Task) -> dict[str, Any]:
    """Evaluate a run's bundle on the starts of the task, unless that is known already."""
    bundle, record = load_bundle(run.bundle), _record(run)
    of = {"bundle": bundle.digest, "first_start": task.first_start, "episodes": task.episodes}
    if {name: record.get(name) for name in of} != of:
        record |= of | _evaluated(bundle, task)
        record["environment_steps"] = bundle.manifest.environment_steps
        _keep(run, record)
    return record


def _evaluated(bundle: Bundle, task: Task) -> dict[str, Any]:
    environment = Environment(environment_of(bundle))
    try:
        with Progress(task.episodes, "fixed starts") as progress:

            def after_episode(index: int, total: float) -> None:
                progress.advance()
                if (index + 1) % 10 == 0:
                    progress.line(f"start {task.first_start + index}: {total:.1f}")

            result = evaluate(
                bundle,
                environment,
                episodes=task.episodes,
                seed=task.first_start,
                after_episode=after_episode,
            ).to_dict()
    finally:
        environment.close()
    return {name: result[name] for name in ("mean", "worst", "tick_ms")}


def _record(run: RunFolder) -> dict[str, Any]:
    file = run.path / RECORD_FILE
    return json.loads(file.read_text()) if file.exists() else {}


def _keep(run: RunFolder, record: dict[str, Any]) -> None:
    write_whole(run.path / RECORD_FILE, (json.dumps(record, indent=2) + "\n").encode())


def markdown(task: Task, rows: list[dict[str, Any]]) -> str:
    """The table for docs/results.md."""
    lines = [
        f"{task.episodes} starts from {task.first_start}; target {_target(task)} ({task.source})",
        "",
        "| seed | mean | worst | environment steps | seconds of training | decision p50 / p99 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        ticks, missed = row["tick_ms"], "" if row["passed"] else " (missed)"
        seconds = f"{row['seconds']:.0f}" if "seconds" in row else "unknown"
        lines.append(
            f"| {row['seed']} | {row['mean']:.1f}{missed} | {row['worst']:.1f} "
            f"| {row['environment_steps']} | {seconds} "
            f"| {ticks['p50']:.1f} / {ticks['p99']:.1f} ms |"
        )
    return "\n".join(lines) + "\n"


def _target(task: Task) -> str:
    worst = "" if task.worst == float("-inf") else f", worst ≥ {task.worst:g}"
    return f"mean ≥ {task.mean:g}{worst}"


def draw(name: str, task: Task, runs: dict[int, RunFolder], path: Path) -> None:
    """The return of each episode while learning, of all seeds."""
    figure = new_figure(8, 4)
    axes = figure.subplots()
    random_steps = 0
    for seed, run in runs.items():
        episodes = [record for record in run.metrics() if record["kind"] == "episode"]
        steps = [record["environment_steps"] for record in episodes]
        axes.plot(
            steps,
            [record["return"] for record in episodes],
            marker="o",
            markersize=3,
            linewidth=1.2,
            label=f"seed {seed}",
        )
        random_steps = max(
            [record["environment_steps"] for record in episodes if record["random"]],
            default=random_steps,
        )
    axes.axvspan(0, random_steps, color="0.92", linewidth=0, label="random actions")
    axes.axhline(task.mean, color="black", linestyle="--", linewidth=1, label="target of the mean")
    axes.set(
        title=f"{name}: return of each episode while learning",
        xlabel="environment steps",
        ylabel="return",
    )
    axes.margins(x=0.01)
    axes.grid(True, alpha=0.3)
    axes.legend()
    save_figure(figure, path)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    return {} if options.steps is None else {"training.steps": options.steps}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=TASKS, help="a preset in config/")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--steps", type=int, help="environment steps, if not the preset's")
    parser.add_argument("--starts", type=int, help="fixed starts, if not the task's")
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "runs" / "results",
        help="folder of the runs and the table (default: runs/results)",
    )
    parser.add_argument(
        "--figures",
        type=Path,
        default=ROOT / "docs" / "results",
        help="folder of the learning curves (default: docs/results)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
