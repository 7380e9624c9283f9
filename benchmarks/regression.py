"""Has anything become slower? This checkout beside another one, a round of each in turn.

Each checkout runs in processes of its own, one thread, with the architecture of a preset and random
weights. A fit is 100 updates, the export and the checkpoint, with some steps and with many of them
stored: it should take the same time. Times are the processor's, so that other work on the machine
counts little. Printed are medians over the rounds and their ratio, and as the last line one JSON
object.
The other checkout may be one from before there were signatures (commit 5d7de9b and later).

    git worktree add /tmp/before COMMIT
    python benchmarks/regression.py --reference /tmp/before
    python benchmarks/regression.py --reference /tmp/before --preset pendulum_no_velocity --rounds 9
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FEW, MANY, EPISODE_STEPS = 1000, 100_000, 200
UNITS = {
    "plan": "ms",
    "tick": "ms",
    "update": "ms",
    "export": "ms",
    f"fit, {FEW} steps": "ms",
    f"fit, {MANY} steps": "ms",
    "controller import": "s",
}
IMPORT = "import planet_ros.ros.controller_node"


def main() -> int:
    options = _options()
    if options.worker:
        print(json.dumps(measured(options.preset, options.seconds, options.many)))
        return 0
    checkouts = {"reference": options.reference.resolve(), "this": ROOT}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    for number in range(options.rounds):
        # Who comes first changes, so that neither always finds the machine as the other left it.
        for name in sorted(checkouts, reverse=bool(number % 2)):
            rounds[name].append(of_a_process(checkouts[name], options))
            print(f"round {number + 1}, {name}: {rounds[name][-1]}", file=sys.stderr)
    result = {}
    print(f"{'':20}{'reference':>12}{'this':>12}{'ratio':>8}")
    for case, unit in UNITS.items():
        before, after = (
            statistics.median(one[case] for one in rounds[name]) for name in ("reference", "this")
        )
        result[case] = {
            "reference": round(before, 4),
            "this": round(after, 4),
            "ratio": round(after / before, 3),
        }
        print(f"{case + ' ' + unit:20}{before:12.3f}{after:12.3f}{after / before:8.3f}")
    print(json.dumps({"preset": options.preset, "rounds": options.rounds, **result}))
    return 0


def of_a_process(checkout: Path, options: argparse.Namespace) -> dict[str, float]:
    """The figures of a checkout, measured in new processes."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--worker"]
    command += ["--preset", options.preset, "--seconds", str(options.seconds)]
    command += ["--many", str(options.many)]
    ran = subprocess.run(
        command, env=environment, cwd=checkout, check=True, capture_output=True, text=True
    )
    figures: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    before = _processor_s_of_children()
    subprocess.run([sys.executable, "-c", IMPORT], env=environment, cwd=checkout, check=True)
    return {**figures, "controller import": round(_processor_s_of_children() - before, 3)}


def _processor_s_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(preset: str, seconds: float, many: int) -> dict[str, float]:
    """Median milliseconds of each case, in this process, with the planet_ros that it imports."""
    import numpy as np
    import torch

    import planet_ros
    from planet_ros.bundle.export import BundleExporter
    from planet_ros.bundle.runtime import load_bundle
    from planet_ros.config import ControllerSettings, load_settings
    from planet_ros.control.loop import ControlLoop, Observation

    torch.set_num_threads(1)
    torch.manual_seed(0)
    root = Path(planet_ros.__file__).resolve().parents[1]
    settings = load_settings(root / "config" / f"{preset}.yaml")
    size = 2 if settings.world_model.kind == "rssm" else 3
    rng = np.random.default_rng(0)
    model, about, batch, policy, parts = _things(settings, size, rng)
    folder = Path(tempfile.mkdtemp()) / "model"
    exporter = BundleExporter(model, settings.planner.horizon)
    exporter.export(folder, about)
    bundle = load_bundle(folder)
    act = policy(bundle)

    ready = threading.Event()
    loop = ControlLoop(
        ControllerSettings(trigger="observation"), seed=0, clock=time.monotonic, notify=ready.set
    )
    loop.use(bundle)
    stamps = iter(range(1, 10**9))

    def tick() -> None:
        ready.clear()
        loop.observe(Observation(parts, time.monotonic(), next(stamps) * 10**7))
        ready.wait()
        assert loop.finished() is not None

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def update() -> None:
        loss, _ = model.loss(batch, settings.training.loss_steps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    cases: dict[str, Callable[[], object]] = {
        "plan": act,
        "tick": tick,
        "update": update,
        "export": lambda: exporter.export(folder, about),
    }
    medians = {}
    for name, case in cases.items():
        case()
        times: list[float] = []
        until = time.perf_counter() + seconds
        while time.perf_counter() < until or len(times) < 3:
            began = time.process_time()
            case()
            times.append((time.process_time() - began) * 1e3)
        medians[name] = round(statistics.median(times), 4)
    loop.close()
    for steps, stored in ((FEW, FEW), (MANY, many)):
        fit = _fit(settings, size, stored)
        times = []
        for _ in range(3):
            began = time.process_time()
            fit()
            times.append((time.process_time() - began) * 1e3)
        medians[f"fit, {steps} steps"] = round(statistics.median(times), 1)
    return medians


def _things(settings: Any, size: int, rng: Any) -> tuple[Any, ...]:
    """Model, manifest's fields, batch, planning with a bundle, and an observation."""
    import numpy as np
    import torch

    from planet_ros.models import Ensemble, Rssm
    from planet_ros.models.contract import TorchBatch

    low, high = np.array([-2], np.float32), np.array([2], np.float32)
    common = {
        "model_kind": settings.world_model.kind,
        "horizon": settings.planner.horizon,
        "planner": settings.planner,
    }
    make = Rssm if settings.world_model.kind == "rssm" else Ensemble
    own = settings.rssm if make is Rssm else settings.world_model
    vector = rng.normal(size=size).astype(np.float32)
    try:
        from planet_ros.control.policy import PlanningPolicy
        from planet_ros.data import ActionPart, ObservationPart, Signature
    except ImportError:  # before there were signatures
        from planet_ros.control.agent import Agent  # type: ignore[import-not-found]
        from planet_ros.models import Shapes  # type: ignore[attr-defined]

        model: Any = make(Shapes(size, low, high), own)
        about = {
            **common,
            "control_period_s": 0.05,
            "observation": [{"name": "observation", "shape": [size]}],
            "action": [{"name": "action_0", "low": -2.0, "high": 2.0}],
        }
        parts: Any = vector

        def policy(bundle: Any) -> Callable[[], object]:
            agent = Agent.of(bundle, 0)
            return lambda: agent.act(vector)

        def seen(values: Any) -> Any:
            return values
    else:
        signature = Signature(
            (ObservationPart("observation", (size,)),), (ActionPart("torque", -2.0, 2.0),), 0.05
        )
        model = make(signature, own)
        about = {**common, "signature": signature}
        parts = {"observation": vector}

        def policy(bundle: Any) -> Callable[[], object]:
            planning = PlanningPolicy.of(bundle, 0)

            def act() -> None:
                planning.took(planning.act(parts).actions[0])

            return act

        def seen(values: Any) -> Any:
            return {"observation": values}

    sequences = (*model.batch_dimensions(settings.training.batch_size),)
    length = settings.training.sequence_length
    ones = torch.ones(*sequences, length)
    batch = TorchBatch(
        observation=seen(torch.randn(*sequences, length + 1, size)),
        action=torch.rand(*sequences, length, 1),
        reward=torch.randn(*sequences, length),
        continues=ones,
        mask=ones,
    )
    return model, about, batch, policy, parts


def _fit(settings: Any, size: int, steps: int) -> Callable[[], object]:
    """A fit of a learner that has as many steps of random experience."""
    import numpy as np

    from planet_ros.data import Episode
    from planet_ros.training.learner import Learner
    from planet_ros.training.run import RunFolder

    training = settings.training.model_copy(update={"updates": 100})
    settings = settings.model_copy(update={"training": training})
    rng = np.random.default_rng(0)
    run = RunFolder(Path(tempfile.mkdtemp()))
    try:
        from planet_ros.data import ActionPart, ObservationPart, Signature
    except ImportError:  # before there were signatures
        from planet_ros.models import Shapes  # type: ignore[attr-defined]

        old: Any = Learner
        shapes = Shapes(size, *np.array([[-2], [2]], np.float32))
        learner = old(settings, shapes, run, environment=None, command_period_s=0.05)

        def seen(values: Any) -> Any:
            return values

        def save() -> None:
            learner.save()
    else:
        signature = Signature(
            (ObservationPart("observation", (size,)),), (ActionPart("torque", -2.0, 2.0),), 0.05
        )
        learner = Learner(settings, signature, run, environment=None)

        def seen(values: Any) -> Any:
            return {"observation": values}

        def save() -> None:
            learner.save(metrics_bytes=0)

    for _ in range(steps // EPISODE_STEPS):
        observation = rng.normal(size=(EPISODE_STEPS + 1, size)).astype(np.float32)
        action = rng.uniform(-2, 2, (EPISODE_STEPS, 1)).astype(np.float32)
        reward = rng.normal(size=EPISODE_STEPS)
        learner.add(Episode(seen(observation), action, reward, False, True))

    def fit() -> None:
        learner.fit()
        learner.export()
        save()

    fit()  # traces the graphs
    return fit


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reference", type=Path, help="folder of the other checkout")
    parser.add_argument("--preset", default="pendulum", help="in config/ (default: pendulum)")
    parser.add_argument("--rounds", type=int, default=7, help="of each checkout (default: 7)")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each case (default: 2)")
    parser.add_argument(
        "--many", type=int, default=MANY, help=f"steps stored in the second fit (default: {MANY})"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reference is None and not options.worker:
        parser.error("--reference: say which checkout to compare with")
    return options


if __name__ == "__main__":
    sys.exit(main())
