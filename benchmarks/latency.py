"""How long a controller takes from a state to its command, beside planning.

This process publishes observations at a rate, one after another, and waits for the command that
answers each; the controller is in a process of its own. What planning takes, as the controller says
in its diagnostics, is its own affair and is taken off, the median from all: what is left is the way
over DDS and back, reading, limits and what Python needs. Every other message goes to a node that
gives it back as it is, and does nothing else: what no node of rclpy's can do without, and what this
process adds, is in that. The last line is one JSON object.

    python benchmarks/latency.py --model runs/demo/model
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import Float64MultiArray

from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import find_config
from planet_ros.data.signature import VECTOR_PART, Signature
from planet_ros.errors import UserError
from planet_ros.messages.vectors import read_label, vector_message
from planet_ros.ros.priority import set_priority
from planet_ros.ros.topics import COMMAND_TOPIC, NEWEST_RELIABLE
from planet_ros.ros.types import make
from planet_ros.supervision.processes import NodeProcess, own_domain
from planet_ros.supervision.supervisor import Supervisor, planning_report

ANSWER_LIMIT_S = 5.0
START_LIMIT_S = 30.0
ECHO, ECHOED_TOPIC = "echo", "echoed"


def echo() -> None:
    """Be the node that gives back what it gets."""
    rclpy.init(args=[])
    node = rclpy.create_node(ECHO)
    answers = node.create_publisher(Float64MultiArray, ECHOED_TOPIC, NEWEST_RELIABLE)
    node.create_subscription(Float64MultiArray, ECHO, answers.publish, NEWEST_RELIABLE)
    rclpy.spin(node)


class Pitcher:
    """Throws observations, and catches what answers them."""

    def __init__(self, supervisor: Supervisor, signature: Signature) -> None:
        self._supervisor = supervisor
        self._size = signature.vector_size
        self._stamp_ns = 0
        self._answered_s: float | None = None
        self.report: dict[str, str] | None = None
        node = supervisor.node
        self._publishers = {
            topic: node.create_publisher(Float64MultiArray, topic, NEWEST_RELIABLE)
            for topic in (VECTOR_PART, ECHO)
        }
        for topic in (COMMAND_TOPIC, ECHOED_TOPIC):
            node.create_subscription(Float64MultiArray, topic, self._on_answer, NEWEST_RELIABLE)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def throw(self, topic: str, period_ns: int, rng: np.random.Generator) -> float | None:
        """Publish an observation; give the seconds until its answer, None if none came."""
        self._stamp_ns += period_ns
        values = rng.uniform(-1, 1, self._size)
        message = vector_message(make, VECTOR_PART, values, self._stamp_ns, episode=0, index=1)
        self._answered_s = None
        began_s = time.perf_counter()
        self._publishers[topic].publish(message)
        try:
            return self._supervisor.spin_until(lambda: self._answered_s, ANSWER_LIMIT_S) - began_s
        except TimeoutError:
            return None

    def _on_answer(self, message: Float64MultiArray) -> None:
        now_s = time.perf_counter()
        if read_label(message).stamp_ns == self._stamp_ns:
            self._answered_s = now_s

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.report = planning_report(message) or self.report


def measure(options: argparse.Namespace, logs: Path) -> dict[str, Any]:
    signature = load_bundle(options.model).manifest.signature
    # Every other one is not for the controller, to which the next must still be the next.
    period_ns = round(signature.period_s * 1e9 / 2)
    act = {
        "model": str(options.model.resolve()),
        "controller.trigger": "observation",
        "controller.realtime_priority": options.priority,
    }
    rng = np.random.default_rng(0)
    config = find_config("pendulum.yaml")
    echoing = subprocess.Popen(
        [sys.executable, __file__, "--echo", "--priority", str(options.priority)]
    )
    try:
        with (
            Supervisor() as supervisor,
            NodeProcess("controller", act, config=config, log=logs / "log") as controller,
        ):
            supervisor.activate("controller", while_alive=controller.check_alive)
            supervisor.wait_until_known(ECHO, START_LIMIT_S)
            pitcher = Pitcher(supervisor, signature)
            found: dict[str, list[float]] = {VECTOR_PART: [], ECHO: []}
            lost = 0
            for number in range(options.count + options.warm_up):
                for topic, seconds in found.items():
                    due_s = time.perf_counter() + 0.5 / options.rate
                    answered_s = pitcher.throw(topic, period_ns, rng)
                    if number >= options.warm_up:
                        lost += answered_s is None
                        seconds += [] if answered_s is None else [answered_s]
                    time.sleep(max(0.0, due_s - time.perf_counter()))
            report = supervisor.spin_until(lambda: pitcher.report, ANSWER_LIMIT_S)
    finally:
        echoing.kill()
        echoing.wait()
    planning_ms = float(report["planning_p50_ms"])
    whole_ms = 1e3 * np.array(found[VECTOR_PART])
    return {
        "answers": len(found[VECTOR_PART]),
        "unanswered": lost,
        "planning_ms": {name: float(report[f"planning_{name}_ms"]) for name in ("p50", "p99")},
        "whole_ms": _percentiles(whole_ms),
        "less_planning_ms": _percentiles(whole_ms - planning_ms),
        "echo_ms": _percentiles(1e3 * np.array(found[ECHO])),
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
    if options.priority and (reason := set_priority(options.priority)):
        print(f"error: --priority: {reason}", file=sys.stderr)
        return 1
    if options.echo:
        echo()
        return 0
    with own_domain() as domain, tempfile.TemporaryDirectory() as logs:
        os.environ.update(domain)
        try:
            result = measure(options, Path(logs))
        except (UserError, TimeoutError) as error:
            for log in sorted(Path(logs).iterdir()):
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
    parser.add_argument("--model", type=Path, help="folder of a bundle")
    parser.add_argument(
        "--priority",
        type=int,
        default=0,
        help="real-time priority of the controller, of the other node and of this process",
    )
    parser.add_argument("--echo", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, default=50.0, help="observations a second")
    parser.add_argument("--count", type=int, default=2000, help="observations to measure")
    parser.add_argument("--warm-up", type=int, default=100, help="observations before those")
    options = parser.parse_args()
    if options.model is None and not options.echo:
        parser.error("--model: found none, expected the folder of a bundle")
    return options


if __name__ == "__main__":
    sys.exit(main())
