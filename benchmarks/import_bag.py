"""How long the import of a long bag takes, and how much memory.

Writes a bag of a joint's states and commands, in MCAP with zstd, and imports it in a process of its
own. The last line is one JSON object.

    python benchmarks/import_bag.py --minutes 60 --rate 100
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from planet_ros.datasets.types import BagTypes, default_types
from planet_ros.interface.document import Interface
from planet_ros.interface.files import interface_text

JOINTS, EFFORTS = "sensor_msgs/msg/JointState", "std_msgs/msg/Float64MultiArray"
BEGIN_NS = 1_700_000_000 * 10**9


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        count = round(60 * options.minutes * options.rate)
        _write_bag(folder / "bag", count, round(1e9 / options.rate))
        document = folder / "robot.yaml"
        document.write_text(interface_text(_interface(1 / options.rate)), encoding="utf-8")
        command = [sys.executable, "-m", "planet_ros.cli.main", "import", str(folder / "bag")]
        command += ["--interface", str(document), "--output", str(folder / "episodes"), "--json"]
        began_s = time.monotonic()
        printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        seconds = time.monotonic() - began_s
        imported = json.loads(printed.splitlines()[-1])
        megabytes = sum(file.stat().st_size for file in (folder / "bag").iterdir()) / 1e6
    result = {
        "messages": 2 * count,
        "bag_mb": round(megabytes, 1),
        "steps": imported["steps"],
        "episodes": imported["episodes"],
        "seconds": round(seconds, 1),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3),
    }
    for name, value in result.items():
        print(f"{name + ':':16}{value}")
    print(json.dumps(result))
    return 0


def _interface(period_s: float) -> Interface:
    joint = {"name": "joint", "topic": "joint_states", "type": JOINTS}
    effort = {"path": "data[0]", "low": -2.0, "high": 2.0}
    fields: dict[str, Any] = {
        "period_s": period_s,
        "observation": [{**joint, "fields": ["position[hinge]", "velocity[hinge]"]}],
        "action": [{"topic": "efforts", "type": EFFORTS, "fields": [effort]}],
        "reward": {
            "kind": "quadratic",
            "observation": [{"field": "position[hinge]", "weight": 1.0}],
        },
    }
    return Interface.model_validate(fields)


def _write_bag(path: Path, count: int, period_ns: int) -> None:
    store = default_types()
    make = BagTypes(store)
    writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    rng = np.random.default_rng(0)
    state, effort = make(JOINTS), make(EFFORTS)
    state.name = ["gripper", "hinge", "lift"]
    with writer:
        states = writer.add_connection("/joint_states", JOINTS, typestore=store)
        efforts = writer.add_connection("/efforts", EFFORTS, typestore=store)
        for index in range(count):
            at_ns = BEGIN_NS + index * period_ns
            state.header.stamp.sec, state.header.stamp.nanosec = divmod(at_ns, 10**9)
            state.position, state.velocity = rng.normal(size=3), rng.normal(size=3)
            effort.data = rng.uniform(-2, 2, 1)
            writer.write(states, at_ns, store.serialize_cdr(state, JOINTS))
            writer.write(efforts, at_ns + period_ns // 5, store.serialize_cdr(effort, EFFORTS))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="of the bag (default: 60)")
    parser.add_argument("--rate", type=float, default=100.0, help="states and commands a second")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
