"""What new models cost a controller that acts: hot swaps, and a bundle of 10 MB over topics.

The controller is a process of its own and commands at its rate; this one shows it observations
and hears its commands. The last line is one JSON object.

    python benchmarks/bundles.py                # 200 announced bundles within 60 s, a tenth damaged
    python benchmarks/bundles.py --over-topics  # bundles of 10 MB themselves
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import Float64MultiArray, String, UInt8MultiArray

from planet_ros.bundle.archive import pack
from planet_ros.bundle.export import BundleExporter
from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import PlannerSettings, WorldModelSettings
from planet_ros.data import ActionPart, ObservationPart, Signature
from planet_ros.errors import UserError
from planet_ros.messages.announcements import Announcement
from planet_ros.messages.vectors import vector_message
from planet_ros.models import Ensemble
from planet_ros.ros.topics import LATCHED, NEWEST_RELIABLE
from planet_ros.ros.types import make
from planet_ros.supervision.processes import NodeProcess, own_domain
from planet_ros.supervision.supervisor import Supervisor, planning_report

PERIOD_S = 0.05
SIGNATURE = Signature(
    (ObservationPart("observation", (3,)),), (ActionPart("torque", -2.0, 2.0),), PERIOD_S
)
LOG = "controller.log"
SMALL, LARGE = [64, 64], [1150, 1150]
"""Units of hidden layers; the weights of the second are 5 MB, in two graphs."""


class Rig:
    """Shows observations, announces and sends bundles, and hears what comes of it."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        node = supervisor.node
        self._states = node.create_publisher(Float64MultiArray, "observation", NEWEST_RELIABLE)
        self._models = node.create_publisher(String, "model", LATCHED)
        self._bundles = node.create_publisher(UInt8MultiArray, "model_bundle", LATCHED)
        self.sent_s: list[float] = []
        self.in_use: list[tuple[float, str]] = []
        self._report: dict[str, str] | None = None
        node.create_timer(0.02, self._show)
        node.create_subscription(Float64MultiArray, "commands", self._on_command, NEWEST_RELIABLE)
        node.create_subscription(String, "model_in_use", self._on_in_use, LATCHED)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def announce(self, path: Path, digest: str) -> None:
        """Say where a bundle is."""
        self._models.publish(String(data=Announcement(path, digest).to_text()))

    def send(self, content: array[int]) -> float:
        """Publish a bundle itself; give the time just before."""
        now_s = time.monotonic()
        self._bundles.publish(UInt8MultiArray(data=content))
        return now_s

    def listen(self, seconds: float) -> None:
        """Spin for so long."""
        until_s = time.monotonic() + seconds
        self._supervisor.spin_until(lambda: time.monotonic() > until_s or None)

    def until(self, ready: Callable[[], Any], limit_s: float = 30.0) -> Any:
        """Spin until something is true."""
        return self._supervisor.spin_until(lambda: ready() or None, limit_s)

    def report(self) -> dict[str, int]:
        """What the controller counts."""
        self._report = None
        found = self.until(lambda: self._report)
        return {name: int(found[name]) for name in ("missed_deadlines", "safe_commands")}

    def _show(self) -> None:
        values = np.array([0.6, 0.8, 0.1])
        self._states.publish(vector_message(make, "observation", values, time.time_ns(), index=1))

    def _on_command(self, message: Float64MultiArray, info: dict[str, int]) -> None:
        # When the controller sent it: this process is busy with bundles itself, and hears it late.
        self.sent_s.append(info["source_timestamp"] / 1e9)

    def _on_in_use(self, message: String) -> None:
        self.in_use.append((time.monotonic(), Announcement.read(message.data).digest))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self._report = planning_report(message) or self._report


def write_bundles(folder: Path, hidden: list[int], count: int) -> list[tuple[Path, str]]:
    """Bundles of one architecture and other weights, with the hash of each."""
    torch.manual_seed(0)
    model = Ensemble(SIGNATURE, WorldModelSettings(members=1, hidden_sizes=hidden))
    planner = PlannerSettings(horizon=4, candidates=8, iterations=1)
    exporter = BundleExporter(model, planner.horizon)
    about = {
        "model_kind": "ensemble",
        "horizon": planner.horizon,
        "signature": SIGNATURE,
        "planner": planner,
    }
    found = []
    for number in range(count):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(0.99)
        path = folder / str(number)
        exporter.export(path, about)
        found.append((path, load_bundle(path).digest))
    return found


def damage(path: Path) -> None:
    """Alter a byte of a graph."""
    file = path / "imagine.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


def swap(rig: Rig, process: NodeProcess, folder: Path, options: argparse.Namespace) -> Any:
    """Announce many bundles, and count what goes wrong meanwhile and without."""
    log = folder / LOG
    bundles = write_bundles(folder, SMALL, options.count)
    for path, _ in bundles[9::10]:
        damage(path)
    rig.announce(*bundles[0])
    rig.until(lambda: rig.in_use)
    rig.listen(5.0)
    rows = {}
    for name, swaps in {"without": False, "with": True}.items():
        before, memory_before = rig.report(), memory_mb(process)
        rig.sent_s.clear()
        used, refused = len(rig.in_use), log.read_text(errors="replace").count("is refused")
        for path, digest in bundles:
            if swaps:
                rig.announce(path, digest)
            rig.listen(options.seconds / len(bundles))
        after = rig.report()
        rows[name] = {
            **{key: after[key] - before[key] for key in after},
            "taken_over": len(rig.in_use) - used,
            "refused": log.read_text(errors="replace").count("is refused") - refused,
            "period_ms": percentiles(rig.sent_s),
            "memory_growth_mb": round(memory_mb(process) - memory_before, 1),
        }
    return rows


def over_topics(rig: Rig, process: NodeProcess, folder: Path, options: argparse.Namespace) -> Any:
    """Send large bundles, and see how soon they are in use and what the period makes of it."""
    bundles = write_bundles(folder, LARGE, 6)
    contents = [array("B", pack(path)) for path, _ in bundles]
    rig.send(contents[0])
    rig.until(lambda: rig.in_use)
    rig.listen(5.0)
    rig.sent_s.clear()
    rig.listen(options.seconds / 2)
    before = percentiles(rig.sent_s)
    counted = rig.report()
    rig.sent_s.clear()
    seconds = []
    for content, (_, digest) in zip(contents[1:], bundles[1:], strict=True):
        began_s = rig.send(content)
        rig.until(lambda wanted=digest: rig.in_use[-1][1] == wanted)  # type: ignore[misc]
        seconds.append(rig.in_use[-1][0] - began_s)
        rig.listen(options.seconds / 10)
    after = percentiles(rig.sent_s)
    return {
        "megabytes": round(len(contents[0]) / 1e6, 1),
        "seconds_until_in_use": {"p50": float(np.median(seconds)), "max": max(seconds)},
        "period_ms": {"without": before, "with": after},
        "period_p99_change_percent": round(100 * (after["p99"] / before["p99"] - 1), 1),
        **{key: count - counted[key] for key, count in rig.report().items()},
    }


def percentiles(times_s: list[float]) -> dict[str, float]:
    """Of the milliseconds from one to the next."""
    periods = np.diff(times_s) * 1e3
    return {
        "p50": round(float(np.median(periods)), 2),
        "p99": round(float(np.percentile(periods, 99)), 2),
        "max": round(float(periods.max()), 2),
    }


def memory_mb(process: NodeProcess) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024


def main() -> int:
    options = _options()
    with own_domain() as domain, tempfile.TemporaryDirectory() as name:
        os.environ.update(domain)
        folder = Path(name)
        act = {
            "controller.accept_bundles": options.over_topics,
            "controller.bundle_folder": str(folder / "kept"),
        }
        log = folder / LOG
        try:
            with Supervisor() as supervisor, NodeProcess("controller", act, log=log) as process:
                supervisor.activate("controller", while_alive=process.check_alive)
                measure = over_topics if options.over_topics else swap
                result = measure(Rig(supervisor), process, folder, options)
        except (UserError, TimeoutError) as error:
            print(f"{log.read_text(errors='replace')}\nerror: {error}", file=sys.stderr)
            return 1
    result["load"] = round(os.getloadavg()[0], 1)
    for key, value in result.items():
        print(f"{key + ':':24}{value}")
    print(json.dumps(result))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--over-topics", action="store_true", help="bundles themselves")
    parser.add_argument("--count", type=int, default=200, help="bundles to announce")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all of them")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
