"""How well a controller keeps its rate over ROS topics, and what that costs.

A simulation in real time and a controller, each in a process of its own, in a ROS domain of their
own; this process only listens. The simulated time runs as fast as the rate asks, so that each
command answers a new observation. The last line is one JSON object.

    python benchmarks/control_rate.py --model runs/demo/model
    python benchmarks/control_rate.py --model runs/demo/model --rate 100 --seconds 600
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
from planet_ros.errors import UserError
from planet_ros.ros.topics import COMMAND_TOPIC, NEWEST_RELIABLE
from planet_ros.supervision.parameters import simulation_of
from planet_ros.supervision.processes import NodeProcess, own_domain
from planet_ros.supervision.supervisor import Supervisor, planning_report, tick_ms


class Meter:
    """Listens to the controller."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.arrivals: list[float] = []
        self._values: dict[str, str] | None = None
        node = supervisor.node
        node.create_subscription(
            Float64MultiArray, COMMAND_TOPIC, self._on_command, NEWEST_RELIABLE
        )
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def listen(self, seconds: float) -> None:
        """Spin for so long."""
        until = time.monotonic() + seconds
        self._supervisor.spin_until(lambda: time.monotonic() > until or None)

    def diagnostics(self) -> dict[str, str]:
        """The next report of a controller that plans."""
        self._values = None
        return self._supervisor.spin_until(lambda: self._values, timeout_s=30.0)

    def _on_command(self, message: Float64MultiArray) -> None:
        self.arrivals.append(time.monotonic())

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self._values = planning_report(message) or self._values


def measure(options: argparse.Namespace, logs: Path) -> dict[str, Any]:
    bundle = load_bundle(options.model)
    simulate = {
        **simulation_of(bundle, options.allow_python),
        "bridge.mode": "real_time",
        "bridge.real_time_factor": options.rate * bundle.manifest.signature.period_s,
    }
    act = {
        "model": str(options.model.resolve()),
        "controller.rate_hz": float(options.rate),
        "controller.realtime_priority": options.priority,
    }
    config = find_config("pendulum.yaml")
    with (
        Supervisor() as supervisor,
        NodeProcess("gym_bridge", simulate, config=config, log=logs / "gym_bridge.log"),
        NodeProcess("controller", act, config=config, log=logs / "controller.log") as controller,
    ):
        supervisor.activate("controller", while_alive=controller.check_alive)
        meter = Meter(supervisor)
        meter.listen(options.warm_up)
        before, cpu_before = meter.diagnostics(), cpu_seconds(controller)
        memory_before, _ = memory(controller)
        meter.arrivals.clear()
        began = time.monotonic()
        meter.listen(options.seconds)
        elapsed, cpu = time.monotonic() - began, cpu_seconds(controller) - cpu_before
        periods = np.diff(meter.arrivals) * 1e3
        after = meter.diagnostics()
        memory_mb, torch_mapped = memory(controller)
    p50, p99 = np.percentile(periods, [50, 99])
    return {
        "rate_hz": round(1e3 / float(periods.mean()), 2),
        # Of the newest 1000 plans, says the controller.
        "planning_ms": tick_ms(after),
        "period_ms": {
            "p50": round(float(p50), 3),
            "p99": round(float(p99), 3),
            "max": round(float(periods.max()), 3),
        },
        **{
            name: int(after[name]) - int(before[name])
            for name in ("commands", "missed_deadlines", "safe_commands", "failed_plans")
        },
        "cpu_percent": round(100 * cpu / elapsed, 1),
        "memory_mb": round(memory_mb),
        "memory_growth_mb": round(memory_mb - memory_before, 1),
        "torch_mapped": torch_mapped,
        "load": round(os.getloadavg()[0], 1),
    }


def cpu_seconds(process: NodeProcess) -> float:
    """Processor time of all its threads so far."""
    # After the name, which may hold spaces: user and system time are fields 14 and 15 of all.
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(process: NodeProcess) -> tuple[float, bool]:
    """Resident memory in MB, and whether torch is mapped into the process."""
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    resident_kb = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
    return resident_kb / 1024, "torch" in Path(f"/proc/{process.pid}/maps").read_text()


def main() -> int:
    options = _options()
    with own_domain(options.domain) as domain, tempfile.TemporaryDirectory() as logs:
        os.environ.update(domain)
        try:
            result = measure(options, Path(logs))
        except (UserError, TimeoutError) as error:
            for log in sorted(Path(logs).glob("*.log")):
                print(f"--- {log.name}\n{log.read_text(errors='replace')}", file=sys.stderr)
            print(f"error: {error or 'the controller does not plan'}", file=sys.stderr)
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
    parser.add_argument("--rate", type=float, default=50.0, help="commands a second (default: 50)")
    parser.add_argument("--seconds", type=float, default=30.0, help="to measure (default: 30)")
    parser.add_argument(
        "--warm-up", type=float, default=3.0, help="seconds before that (default: 3)"
    )
    parser.add_argument(
        "--priority", type=int, default=0, help="real-time priority of the controller"
    )
    parser.add_argument("--domain", type=int, help="ROS_DOMAIN_ID (default: any)")
    parser.add_argument(
        "--allow-python",
        action="append",
        default=[],
        metavar="MODULE",
        help="a Python module that the bundle may name, as of planet-ros evaluate",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
