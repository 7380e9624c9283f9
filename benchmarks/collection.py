"""Steps a second that experience is collected with: one environment, and several side by side.

Each case is what `planet-ros train` does but for the fits: actions, steps, checks and episodes on
disk, once with random actions and once with planned ones, of a model with random weights. The
cases take turns in an order that is shuffled for each round: compare the ratios. The last line is
one JSON object.

    python benchmarks/collection.py
    python benchmarks/collection.py --config config/pendulum_pixels.yaml --steps 400
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
from planning import CONFIGS, print_machine

from planet_ros.config import load_settings
from planet_ros.data import Step
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.training.collect import collect_together
from planet_ros.training.loop import Learning, copies_of, starts_of, threads_for_plans
from planet_ros.training.session import Session


def main() -> int:
    options = _options()
    ways = {"one": (1, "sync"), "sync": (options.environments, "sync")}
    ways["async"] = options.environments, "async"
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        cases = {
            f"{actions}, {name}": stack.enter_context(
                closing(Case(options.config, Path(folder), *way, planned=actions == "planned"))
            )
            for actions in ("random", "planned")
            for name, way in ways.items()
        }
        rates: dict[str, list[float]] = {name: [] for name in cases}
        for number in range(options.rounds + 1):  # the first warms up
            for name in random.sample([*cases], len(cases)):
                steps = options.steps if name.startswith("random") else options.steps // 4
                rate = cases[name].rate(max(options.environments, steps))
                if number:
                    rates[name].append(rate)
    print_machine()
    print(
        f"{options.config.name}, {options.environments} environments, {options.rounds} rounds\n\n"
        "| | steps a second | relative: median | least | most |\n| --- | --- | --- | --- | --- |"
    )
    result = {}
    for name, values in rates.items():
        ratios = np.divide(values, rates[f"{name.partition(',')[0]}, one"])
        rate, ratio = float(np.median(values)), float(np.median(ratios))
        print(f"| {name} | {rate:.0f} | {ratio:.2f} | {ratios.min():.2f} | {ratios.max():.2f} |")
        result[name] = {"steps_per_second": round(rate, 1), "ratio": round(ratio, 3)}
    print(json.dumps(result))
    return 0


class Case:
    """One way to collect, which goes on from round to round."""

    def __init__(
        self, config: Path, folder: Path, environments: int, vector: str, *, planned: bool
    ) -> None:
        settings = load_settings(
            config,
            {
                "training.output": str(folder / f"{environments} {vector} {planned}"),
                "training.environments": environments,
                "training.vector": vector,
                "training.steps": 10**8,
                "training.random_steps": 10**8,
            },
        )
        self._stack = ExitStack()
        environment = Environment(
            EnvironmentSpec.of(settings), episode_steps=settings.training.episode_steps
        )
        self._stack.enter_context(closing(environment))
        copies = self._stack.enter_context(copies_of(environment, settings.training))
        self._session = Session(
            settings, environment.signature, environment=environment.spec, say=lambda line: None
        )
        self._stack.enter_context(closing(self._session))
        policies = Learning(self._session, self._stack.enter_context(threads_for_plans()))
        if planned:
            policies.use(self._session.learner.export())
        self._steps: Iterator[Step] = collect_together(policies, copies, starts_of(self._session))

    def rate(self, steps: int) -> float:
        """Environment steps a second, over at least so many."""
        began_s, before = time.perf_counter(), self._session.steps
        while self._session.steps < before + steps:
            self._session.add(next(self._steps))
        return (self._session.steps - before) / (time.perf_counter() - began_s)

    def close(self) -> None:
        """End its processes."""
        self._stack.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config", type=Path, default=CONFIGS / "pendulum.yaml", help="(default: the pendulum)"
    )
    parser.add_argument("--environments", type=int, default=8, help="side by side (default: 8)")
    parser.add_argument("--rounds", type=int, default=7, help="(default: 7)")
    parser.add_argument(
        "--steps",
        type=int,
        default=4000,
        help="of a case in a round, a fourth of them where they are planned (default: 4000)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
