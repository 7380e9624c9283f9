"""Train a preset with several seeds, and see whether each reaches its target.

Every run is kept: what is finished is not trained again, what was interrupted goes on. Remove a
run's folder to train it anew. Printed are a Markdown table and, as the last line, one JSON object;
the learning curves are drawn into docs/results/. The exit code is 1 where a seed misses the target,
which is that of the preset unless options say otherwise.

    python benchmarks/results.py pendulum
    python benchmarks/results.py pendulum --seeds 100-119
    python benchmarks/results.py pendulum_pixels --seeds 0 1 5-7 --first-start 8000 --starts 20
    python benchmarks/results.py pendulum --seeds 0 --steps 600 --output /tmp/try --figures /tmp/try

A quick look, at fewer steps or starts than the task has, says nothing of the target.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from planet_ros.bundle.runtime import Bundle, load_bundle
from planet_ros.config import Settings, flatten, load_settings
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, UserError
from planet_ros.files import write_whole
from planet_ros.report.attempt import attempt
from planet_ros.report.curves import new_figure, plot_learning_curves, save_figure
from planet_ros.training.evaluate import evaluate
from planet_ros.training.loop import train
from planet_ros.training.progress import Progress
from planet_ros.training.run import RunFolder

ROOT = Path(__file__).resolve().parents[1]
RECORD_FILE = "result.json"
MOST_COLOURS = 5
"""Seeds that have a colour each in the figure."""
_OF_THE_FOLDER = ("seed", "training.output", "training.resume")
"""Settings that tell one run from another, and not one experiment."""


@dataclass(frozen=True)
class Task:
    """What a preset has to reach on fixed starts.

    Attributes:
        mean: Least mean return.
        source: Where that figure comes from.
        first_start: Seed of the first start; the others count up.
        starts: How many there are.
        worst: Least return of a single episode; None: whatever it is.
        seconds: Most seconds of one core that training may take; None: however many. They are of
            the processor and not of the clock, which other work on the machine slows down.
    """

    mean: float
    source: str
    first_start: int
    starts: int
    worst: float | None = None
    seconds: float | None = None

    def missed(self, record: dict[str, Any]) -> list[str]:
        """Which parts of the target the record of a run misses; none if it is reached."""
        seconds = record.get("core_seconds")
        missed = {
            "mean": record["mean"] < self.mean,
            "worst": self.worst is not None and record["worst"] < self.worst,
            "seconds": self.seconds is not None and (seconds is None or seconds > self.seconds),
        }
        return [name for name, is_missed in missed.items() if is_missed]

    @property
    def text(self) -> str:
        """The target, for a person."""
        parts = [f"mean ≥ {self.mean:g}"]
        if self.worst is not None:
            parts.append(f"worst ≥ {self.worst:g}")
        if self.seconds is not None:
            parts.append(f"training ≤ {self.seconds:g} s of one core")
        return ", ".join(parts)


TASKS = {
    "pendulum": Task(
        mean=-165.5,
        source="5 % below planning on the true dynamics, which has -157.6, and -253.7 at worst",
        first_start=3000,
        starts=20,
        worst=-450.0,
        seconds=30.0,
    ),
    "pendulum_no_velocity": Task(
        mean=-155.9,
        source="5 % below planning on the true dynamics, with the action repeated: -148.5",
        first_start=3000,
        starts=50,
        seconds=90.0,
    ),
    "pendulum_pixels": Task(
        mean=-167.6,
        source="10 % below planning on the true dynamics, with the action repeated: -152.4",
        first_start=2000,
        starts=50,
    ),
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
    task = task_of(options)
    preset = load_settings(ROOT / "config" / f"{options.task}.yaml", _overrides(options))
    runs = {seed: RunFolder(options.output / f"{options.task}-{seed}") for seed in options.seeds}
    rows = []
    for position, (seed, run) in enumerate(runs.items()):
        say(f"==> {options.task}, seed {seed} ({position + 1} of {len(runs)})")
        learn(run, preset.model_copy(update={"seed": seed}))
        record = judge(run, task)
        missed = task.missed(record)
        say(f"{run.path}: {record['mean']:.1f}, {f'misses {missed}' if missed else 'reached'}")
        rows.append({"seed": seed, "passed": not missed, "missed": missed, **record})

    table = markdown(task, rows)
    write_whole(options.output / f"{options.task}.md", table.encode())
    options.figures.mkdir(parents=True, exist_ok=True)
    figure = options.figures / f"{options.task}.png"
    cut = preset.training.episode_steps
    attempt(figure, lambda: draw(options.task, task, runs, figure, cut))
    passed = all(row["passed"] for row in rows)
    print(table)
    print(f"learning curves: {figure}")
    print(
        json.dumps({"task": options.task, "passed": passed, "target": asdict(task), "seeds": rows})
    )
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
    began, began_core = time.monotonic(), time.process_time()
    try:
        train(load_settings(None, values))
    finally:
        if run.path.is_dir():
            attempt(run.curves_file, lambda: plot_learning_curves(run))
            spent = {
                "seconds": time.monotonic() - began,
                "core_seconds": time.process_time() - began_core,
            }
            _keep(run, {name: round(record.get(name, 0) + s, 1) for name, s in spent.items()})


def evaluated_at(run: RunFolder) -> int:
    """Environment steps after which a run evaluated itself last, which ends it; 0 for never."""
    records = [record for record in run.metrics() if record["kind"] == "evaluation"]
    return max((record["environment_steps"] for record in records), default=0)


def judge(run: RunFolder, task: Task) -> dict[str, Any]:
    """Evaluate a run's bundle on the starts of the task, unless that is known already."""
    bundle, record = load_bundle(run.bundle), _record(run)
    of = {"bundle": bundle.digest, "first_start": task.first_start, "episodes": task.starts}
    if {name: record.get(name) for name in of} != of:
        record |= of | _evaluated(
            bundle, task, EnvironmentSpec.of(load_settings(run.settings_file))
        )
        record["environment_steps"] = bundle.manifest.environment_steps
        _keep(run, record)
    return record


def _evaluated(bundle: Bundle, task: Task, spec: EnvironmentSpec) -> dict[str, Any]:
    environment = Environment(spec)
    try:
        with Progress(task.starts, "fixed starts") as progress:

            def after_episode(index: int, total: float) -> None:
                progress.advance()
                if (index + 1) % 10 == 0:
                    progress.line(f"start {task.first_start + index}: {total:.1f}")

            result = evaluate(
                bundle,
                environment,
                episodes=task.starts,
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
        f"{task.starts} starts from {task.first_start}; target {task.text} ({task.source})",
        "",
        "| seed | mean | worst | environment steps | training, s of one core | of the clock "
        "| decision p50 / p99 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        ticks = row["tick_ms"]
        cells = {
            "mean": f"{row['mean']:.1f}",
            "worst": f"{row['worst']:.1f}",
            "seconds": f"{row['core_seconds']:.0f}" if "core_seconds" in row else "unknown",
        }
        clock = f"{row['seconds']:.0f}" if "seconds" in row else "unknown"
        for name in row["missed"]:
            cells[name] += " (missed)"
        lines.append(
            f"| {row['seed']} | {cells['mean']} | {cells['worst']} | {row['environment_steps']} "
            f"| {cells['seconds']} | {clock} | {ticks['p50']:.1f} / {ticks['p99']:.1f} ms |"
        )
    return "\n".join([*lines, "", summary(rows)]) + "\n"


def summary(rows: list[dict[str, Any]]) -> str:
    """All seeds in a line."""
    means = [row["mean"] for row in rows]
    reached = sum(row["passed"] for row in rows)
    return (
        f"{reached} of {len(rows)} reach the target; means from {min(means):.1f} to "
        f"{max(means):.1f}, {sum(means) / len(means):.1f} on average; worst episode "
        f"{min(row['worst'] for row in rows):.1f}."
    )


def draw(name: str, task: Task, runs: dict[int, RunFolder], path: Path, cut: int = 0) -> None:
    """The return of each episode while learning, of all seeds; cut after so many decisions."""
    figure = new_figure(8, 4)
    axes = figure.subplots()
    random_steps = 0
    for seed, run in runs.items():
        episodes = [record for record in run.metrics() if record["kind"] == "episode"]
        steps = [record["environment_steps"] for record in episodes]
        style: dict[str, Any] = {"linewidth": 1.2, "label": f"seed {seed}"}
        if len(runs) > MOST_COLOURS:  # too many to tell apart: the band that they fill is seen
            label = None if axes.lines else f"each of {len(runs)} seeds"
            style = {"linewidth": 0.8, "label": label, "color": "C0", "alpha": 0.5}
        returns = [record["return"] for record in episodes]
        axes.plot(steps, returns, marker="o", markersize=3, **style)
        random_steps = max(
            [record["environment_steps"] for record in episodes if record["random"]],
            default=random_steps,
        )
    axes.axvspan(0, random_steps, color="0.92", linewidth=0, label="random actions")
    if not cut:  # a target is of whole episodes
        target = {"color": "black", "linestyle": "--", "linewidth": 1}
        axes.axhline(task.mean, label="target of the mean", **target)
    axes.set(
        title=f"{name}: return of each episode while learning"
        + (f", cut after {cut} decisions" if cut else ""),
        xlabel="environment steps",
        ylabel="return",
    )
    axes.margins(x=0.01)
    axes.grid(True, alpha=0.3)
    axes.legend()
    save_figure(figure, path)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def task_of(options: argparse.Namespace) -> Task:
    """The target of the preset, with what the options say in its place."""
    said = {
        "mean": options.mean,
        "worst": options.worst,
        "seconds": options.seconds,
        "first_start": options.first_start,
        "starts": options.starts,
    }
    return replace(
        TASKS[options.task], **{name: value for name, value in said.items() if value is not None}
    )


def seeds_of(text: str) -> list[int]:
    """``100-102`` or ``7``: the seeds, both ends of a range included.

    Raises:
        argparse.ArgumentTypeError: It is neither.
    """
    first, dash, last = text.partition("-")
    ends = [first, last] if dash else [first, first]
    if not all(end.isascii() and end.isdigit() for end in ends) or int(ends[0]) > int(ends[1]):
        raise argparse.ArgumentTypeError(
            f"found {text!r}, expected a seed such as 7, or a range such as 100-119"
        )
    return list(range(int(ends[0]), int(ends[1]) + 1))


def _at_least_one(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected 1 or more")
    return int(text)


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    return {} if options.steps is None else {"training.steps": options.steps}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=TASKS, help="a preset in config/")
    parser.add_argument(
        "--seeds",
        type=seeds_of,
        nargs="+",
        default=[[0, 1, 2]],
        help="of training, ranges such as 100-119 too (default: 0 1 2)",
    )
    parser.add_argument("--steps", type=int, help="environment steps, if not the preset's")
    parser.add_argument("--first-start", type=int, help="seed of the first start")
    parser.add_argument("--starts", type=_at_least_one, help="how many starts")
    parser.add_argument("--mean", type=float, help="least mean return of a seed")
    parser.add_argument("--worst", type=float, help="least return of a single episode")
    parser.add_argument("--seconds", type=float, help="most seconds of one core for a seed")
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
    options = parser.parse_args()
    # Each once, in the order in which they were named.
    options.seeds = list(dict.fromkeys(seed for seeds in options.seeds for seed in seeds))
    return options


if __name__ == "__main__":
    sys.exit(main())
