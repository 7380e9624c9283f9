"""What new models cost a controller that acts: hot swaps, and a bundle of 10 MB over topics.

The controller is a process of its own and commands at 20 Hz; this one shows it observations and
hears its commands, and bundles come from a third one. Spans of time with new models and without
take turns, so that both see the same load of the machine. The last line is one JSON object.

    python benchmarks/bundles.py                      # 200 announced in 60 s, a tenth damaged
    python benchmarks/bundles.py --over-topics        # bundles of 10 MB themselves
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

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
from planet_ros.ros.topics import LATCHED, MODEL_BUNDLE_TOPIC, NEWEST_RELIABLE
from planet_ros.ros.types import make
from planet_ros.supervision.processes import NodeProcess, own_domain
from planet_ros.supervision.supervisor import Supervisor, planning_report

PERIOD_S = 0.05
SIGNATURE = Signature(
    (ObservationPart("observation", (3,)),), (ActionPart("torque", -2.0, 2.0),), PERIOD_S
)
SMALL, LARGE = [64, 64], [1150, 1150]
"""Units of hidden layers; the weights of the second are 5 MB, in two graphs."""

LOG = "controller.log"

DIFFERENT = 6
"""Large bundles: more than a controller keeps, so that each is written whenever it comes."""


def send(requests: Connection, paths: list[Path]) -> None:
    """A node that publishes the bundle whose number it is told, and says when."""
    contents = [array("B", pack(path)) for path in paths]
    with Supervisor() as supervisor:
        publisher = supervisor.node.create_publisher(UInt8MultiArray, MODEL_BUNDLE_TOPIC, LATCHED)
        while (number := requests.recv()) is not None:
            began_s = time.monotonic()  # of all processes of this machine alike
            publisher.publish(UInt8MultiArray(data=contents[number]))
            requests.send(began_s)


@contextmanager
def sender(paths: list[Path]) -> Iterator[Connection]:
    """The process of `send`, ended with the block."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=send, args=(there, paths), daemon=True)
    process.start()
    try:
        yield here
    finally:
        here.send(None)
        process.join(5)
        process.kill()


class Rig:
    """Shows observations, announces bundles, and hears what comes of it."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        node = supervisor.node
        self._states = node.create_publisher(Float64MultiArray, "observation", NEWEST_RELIABLE)
        self._models = node.create_publisher(String, "model", LATCHED)
        self.sent_s: list[float] = []
        self.in_use: list[tuple[float, str]] = []
        self._report: dict[str, str] | None = None
        node.create_timer(0.02, self._show)
        heard = cast(Any, self._on_command)  # the stubs know no callback that wants the times
        node.create_subscription(Float64MultiArray, "commands", heard, NEWEST_RELIABLE)
        node.create_subscription(String, "model_in_use", self._on_in_use, LATCHED)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def announce(self, path: Path, digest: str) -> None:
        """Say where a bundle is."""
        self._models.publish(String(data=Announcement(path, digest).to_text()))

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
        # When the controller sent it, whenever this process comes to hear it.
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


class Spans:
    """What was seen in the spans of one kind.

    Attributes:
        counted: What the controller counted in them.
        periods: Milliseconds between its commands.
    """

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.counted = {"missed_deadlines": 0, "safe_commands": 0}
        self.periods: list[float] = []

    @contextmanager
    def one(self) -> Iterator[None]:
        """A span: as long as the block."""
        before = self._rig.report()
        self._rig.sent_s.clear()
        yield
        self.periods += list(np.diff(self._rig.sent_s) * 1e3)
        after = self._rig.report()
        for name in self.counted:
            self.counted[name] += after[name] - before[name]

    def row(self) -> dict[str, Any]:
        """For a person, and for the JSON object."""
        p50, p99 = np.percentile(self.periods, [50, 99])
        period_ms = {"p50": p50, "p99": p99, "max": max(self.periods)}
        return {
            **self.counted,
            "commands": len(self.periods),
            "period_ms": {name: round(float(value), 2) for name, value in period_ms.items()},
        }


def measured(
    rig: Rig,
    process: NodeProcess,
    options: argparse.Namespace,
    show: Callable[[int], float],
    count: int,
) -> dict[str, Any]:
    """What happens in spans with new models, and without.

    Args:
        rig: Listens.
        process: Of the controller.
        options: How many spans there are, and how long those of each kind take together.
        show: Makes known the model of a number, and gives when that was.
        count: How many there are.
    """
    spans = {"without": Spans(rig), "with": Spans(rig)}
    used, memory = len(rig.in_use), [memory_mb(process)]
    numbers = np.array_split(np.arange(count), options.spans)
    for chunk in numbers:
        with spans["without"].one():
            rig.listen(options.seconds / options.spans)
        with spans["with"].one():
            for number in chunk:
                began = show(int(number))
                rig.listen(began + options.seconds / count - time.monotonic())
        memory.append(memory_mb(process))
    rows = {name: kind.row() for name, kind in spans.items()}
    without, changed = (rows[name]["period_ms"]["p99"] for name in spans)
    return {
        **rows,
        "period_p99_change_percent": round(100 * (changed / without - 1), 1),
        "taken_over": len(rig.in_use) - used,
        # Before, and after each span with new models.
        "memory_mb": [round(one, 1) for one in memory],
    }


def swap(rig: Rig, process: NodeProcess, folder: Path, options: argparse.Namespace) -> Any:
    """Announce many bundles, and count what goes wrong meanwhile and without."""
    bundles = write_bundles(folder, SMALL, options.count + 1)
    rig.announce(*bundles.pop())
    rig.until(lambda: rig.in_use)
    for path, _ in bundles[9::10]:
        damage(path)
    rig.listen(options.warm_up)

    def show(number: int) -> float:
        rig.announce(*bundles[number])
        return time.monotonic()

    found = measured(rig, process, options, show, len(bundles))
    return {
        "announced": len(bundles),
        "damaged": len(bundles[9::10]),
        "refused": (folder / LOG).read_text(errors="replace").count("is refused"),
        **found,
    }


def over_topics(rig: Rig, process: NodeProcess, folder: Path, options: argparse.Namespace) -> Any:
    """Send large bundles, and see how soon they are in use and what the period makes of it."""
    bundles = write_bundles(folder, LARGE, DIFFERENT)
    seconds: list[float] = []
    with sender([path for path, _ in bundles]) as requests:

        def show(number: int) -> float:
            digest, used = bundles[number % DIFFERENT][1], len(rig.in_use)
            requests.send(number % DIFFERENT)
            rig.until(lambda: len(rig.in_use) > used and rig.in_use[-1][1] == digest)
            began_s: float = requests.recv()
            seconds.append(rig.in_use[-1][0] - began_s)
            return began_s

        show(DIFFERENT - 1)
        rig.listen(options.warm_up)
        seconds.clear()
        found = measured(rig, process, options, show, options.count)
    return {
        "megabytes": round(len(pack(bundles[0][0])) / 1e6, 1),
        "seconds_until_in_use": {
            "p50": round(float(np.median(seconds)), 2),
            "max": round(max(seconds), 2),
        },
        **found,
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
    parser.add_argument("--count", type=int, help="new models (default: 200; over topics 30)")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="for all of them, and once more without"
    )
    parser.add_argument("--spans", type=int, default=6, help="of each kind (default: 6)")
    parser.add_argument("--warm-up", type=float, default=5.0, help="seconds before (default: 5)")
    options = parser.parse_args()
    options.count = options.count or (30 if options.over_topics else 200)
    return options


if __name__ == "__main__":
    sys.exit(main())
