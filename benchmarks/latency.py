"""How long a controller takes from a state to its command, beside planning.

This process publishes observations at a rate, one after another, and waits for the command that
answers each; the controller is in a process of its own. What planning takes, as the controller says
in its diagnostics, is its own affair and is taken off, the median from all: what is left is the way
over DDS and back, reading, limits and what Python needs. The last line is one JSON object.

    python benchmarks/latency.py --model runs/demo/model
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import Float64MultiArray

from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import find_config
from planet_ros.data.signature import VECTOR_PART, Signature
from planet_ros.errors import UserError
from planet_ros.messages.vectors import read_label, vector_message
from planet_ros.ros.topics import COMMAND_TOPIC, NEWEST_RELIABLE
from planet_ros.ros.types import make
from planet_ros.supervision.processes import NodeProcess, own_domain
from planet_ros.supervision.supervisor import Supervisor, planning_report

ANSWER_LIMIT_S = 5.0


class Pitcher:
    """Throws observations, and catches commands."""

    def __init__(self, supervisor: Supervisor, signature: Signature) -> None:
        self._supervisor = supervisor
        self._size = signature.vector_size
        self._stamp_ns = 0
        self._answered_s: float | None = None
        self.report: dict[str, str] | None = None
        node = supervisor.node
        self._publisher = node.create_publisher(Float64MultiArray, VECTOR_PART, NEWEST_RELIABLE)
        node.create_subscription(
            Float64MultiArray, COMMAND_TOPIC, self._on_command, NEWEST_RELIABLE
        )
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def throw(self, period_ns: int, rng: np.random.Generator) -> float | None:
        """Publish an observation; give the seconds until its command, None if none came."""
        self._stamp_ns += period_ns
        values = rng.uniform(-1, 1, self._size)
        message = vector_message(make, VECTOR_PART, values, self._stamp_ns, episode=0, index=1)
        self._answered_s = None
        began_s = time.perf_counter()
        self._publisher.publish(message)
        try:
            return self._supervisor.spin_until(lambda: self._answered_s, ANSWER_LIMIT_S) - began_s
        except TimeoutError:
            return None

    def rest(self, until_s: float) -> None:
        """Wait until it is time for the next."""
        self._supervisor.spin_until(lambda: time.perf_counter() >= until_s or None)

    def _on_command(self, message: Float64MultiArray) -> None:
        now_s = time.perf_counter()
        if read_label(message).stamp_ns == self._stamp_ns:
            self._answered_s = now_s

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.report = planning_report(message) or self.report


def measure(options: argparse.Namespace, logs: Path) -> dict[str, Any]:
    signature = load_bundle(options.model).manifest.signature
    period_ns = round(signature.period_s * 1e9)
    act = {"model": str(options.model.resolve()), "controller.trigger": "observation"}
    rng = np.random.default_rng(0)
    config = find_config("pendulum.yaml")
    with (
        Supervisor() as supervisor,
        NodeProcess("controller", act, config=config, log=logs / "controller.log") as controller,
    ):
        supervisor.activate("controller", while_alive=controller.check_alive)
        pitcher = Pitcher(supervisor, signature)
        found: list[float] = []
        lost = 0
        for number in range(options.count + options.warm_up):
            due_s = time.perf_counter() + 1 / options.rate
            seconds = pitcher.throw(period_ns, rng)
            if number >= options.warm_up:
                lost += seconds is None
                found += [] if seconds is None else [seconds]
            pitcher.rest(due_s)
        report = supervisor.spin_until(lambda: pitcher.report, ANSWER_LIMIT_S)
    planning_ms = float(report["planning_p50_ms"])
    whole_ms = 1e3 * np.array(found)
    return {
        "answers": len(found),
        "unanswered": lost,
        "planning_p50_ms": round(planning_ms, 3),
        "whole_ms": _percentiles(whole_ms),
        "less_planning_ms": _percentiles(whole_ms - planning_ms),
        "load": round(os.getloadavg()[0], 1),
    }


def _percentiles(milliseconds: np.ndarray[Any, Any]) -> dict[str, float]:
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return {
        "p50": round(float(p50), 3),
        "p99": round(float(p99), 3),
        "max": round(float(milliseconds.max()), 3),
    }


def main() -> int:
    options = _options()
    with own_domain() as domain, tempfile.TemporaryDirectory() as logs:
        os.environ.update(domain)
        try:
            result = measure(options, Path(logs))
        except (UserError, TimeoutError) as error:
            for log in sorted(Path(logs).glob("*.log")):
                print(f"--- {log.name}\n{log.read_text(errors='replace')}", file=sys.stderr)
            print(f"error: {error or 'the controller does not answer'}", file=sys.stderr)
            return 1
    for name, value in result.items():
        print(f"{name + ':':18}{value}")
    print(json.dumps(result))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of a bundle")
    parser.add_argument("--rate", type=float, default=50.0, help="observations a second")
    parser.add_argument("--count", type=int, default=2000, help="observations to measure")
    parser.add_argument("--warm-up", type=int, default=100, help="observations before those")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
