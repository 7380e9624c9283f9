"""Time to plan: onnxruntime and torch, one thread and two, our planners and the notebook's.

All cases take turns in one run, so that whatever else the machine does falls on all of them alike:
compare the ratios, which carry over to other machines, and not the milliseconds, which do not.

    python benchmarks/planning.py
    python benchmarks/planning.py --model runs/demo/model --candidates 40 --seconds 20
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from planet_ros.bundle.export import BundleExporter
from planet_ros.bundle.runtime import Bundle, Rollouts, load_bundle
from planet_ros.config import Settings, load_settings
from planet_ros.control.policy import BeliefModel, PlanningPolicy
from planet_ros.data import Parts
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.models import WorldModel
from planet_ros.training.learner import make_model

Array = NDArray[np.float32]
Times = dict[str, NDArray[np.float64]]

CONFIGS = Path(__file__).resolve().parents[1] / "config"
TURN_S = 0.02
"""A quick case is repeated for this long before it is the next one's turn."""


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(options.config)
        model = untrained_model(settings)
        same = bundle_of(model, settings, Path(folder) / "ours")
        bundle = load_bundle(options.model) if options.model else same
        of_notebook = load_settings(CONFIGS / "pendulum_notebook.yaml")
        notebook = bundle_of(untrained_model(of_notebook), of_notebook, Path(folder) / "notebook")

        stopwatch = Stopwatch(bundle.model)
        cases: dict[str, Callable[[], object]] = {
            "plan": planning(PlanningPolicy.of(bundle, seed=0, model=stopwatch))
        }
        for count in options.candidates:
            cases[f"bundle {count}"] = imagining(bundle, count)
            for threads, spin in ((1, False), (2, False), (2, True)):
                name = f"onnxruntime {count} {threads}{' spin' * spin}"
                cases[name] = onnx_rollouts(same, count, threads, spin)
            for threads in (1, 2):
                cases[f"torch {count} {threads}"] = torch_rollouts(
                    model, same.manifest.horizon, count, threads
                )
        cases["notebook onnxruntime"] = planning(PlanningPolicy.of(notebook, seed=0))
        for threads in (1, 2):
            cases[f"notebook torch {threads}"] = notebook_planning(notebook, threads)
        times = interleaved(cases, options.seconds)

    print_machine()
    _print_plans(bundle, times, stopwatch, options.candidates)
    _print_rollouts(options.config, times, options.candidates)
    _print_notebook(times)


def _print_plans(
    bundle: Bundle, times: Times, stopwatch: Stopwatch, candidates: Sequence[int]
) -> None:
    planner = bundle.manifest.planner
    rows = {f"imagine {count} candidates": times[f"bundle {count}"] for count in candidates}
    rows[f"plan: {planner.kind} {planner.candidates} × {planner.iterations}"] = times["plan"]
    # The first calls are the warm-up, which `times` leaves out.
    inside = np.array(stopwatch.per_plan[-len(times["plan"]) :]) * 1e3
    rows["of which in the planner itself"] = times["plan"] - inside
    print_table(f"A bundle at work, horizon {bundle.manifest.horizon}", rows, "plan:")


def _print_rollouts(config: Path, times: Times, candidates: Sequence[int]) -> None:
    for count in candidates:
        rows = {
            "onnxruntime, 1 thread": times[f"onnxruntime {count} 1"],
            "onnxruntime, 2 threads": times[f"onnxruntime {count} 2"],
            "onnxruntime, 2 threads that spin": times[f"onnxruntime {count} 2 spin"],
            "torch, 1 thread": times[f"torch {count} 1"],
            "torch, 2 threads": times[f"torch {count} 2"],
        }
        title = f"The same rollouts, {count} candidates ({config.name})"
        print_table(title, rows, "onnxruntime, 1 thread")


def _print_notebook(times: Times) -> None:
    rows = {
        "ours: Cem, onnxruntime, 1 thread": times["notebook onnxruntime"],
        "the notebook's, torch, 1 thread": times["notebook torch 1"],
        "the notebook's, torch, 2 threads": times["notebook torch 2"],
        "the bundle's own planner": times["plan"],
    }
    print_table("A plan of 1000 candidates × 12 steps × 10 iterations", rows, "ours")


# ── what is measured ─────────────────────────────────────────────────────────────────────────


class Stopwatch:
    """A model that adds up what a plan spends in its graphs, in seconds."""

    def __init__(self, model: BeliefModel) -> None:
        self._model = model
        self.per_plan: list[float] = []

    def initial_belief(self) -> Array:
        """Not timed."""
        return self._model.initial_belief()

    def observe(self, belief: Array, action: Array, observation: Parts) -> Array:
        """Begin a plan."""
        self.per_plan.append(0.0)
        return self._timed(self._model.observe, belief, action, observation)

    def imagine(self, belief: Array, actions: Array, goal: Array | None) -> Rollouts:
        """Belongs to the plan that `observe` began."""
        return self._timed(self._model.imagine, belief, actions, goal)

    def _timed(self, call: Callable[..., Any], *inputs: Any) -> Any:
        began = time.perf_counter()
        result = call(*inputs)
        self.per_plan[-1] += time.perf_counter() - began
        return result


def untrained_model(settings: Settings) -> WorldModel:
    """A model with random weights, which cost as much time as learned ones."""
    environment = Environment(EnvironmentSpec.of(settings))
    environment.close()
    return make_model(settings, environment.signature)


def about(model: WorldModel, settings: Settings) -> dict[str, Any]:
    """What a bundle's manifest has to say of a model."""
    return {
        "model_kind": settings.world_model.kind,
        "horizon": settings.planner.horizon,
        "signature": model.signature,
        "planner": settings.planner,
    }


def bundle_of(model: WorldModel, settings: Settings, path: Path) -> Bundle:
    """A model exported into a folder, and loaded from there."""
    BundleExporter(model, settings.planner.horizon).export(path, about(model, settings))
    return load_bundle(path)


def planning(policy: PlanningPolicy) -> Callable[[], object]:
    """One decision, with the warm start of the one before."""
    return functools.partial(policy.act, policy.signature.zeros())


def imagining(bundle: Bundle, count: int) -> Callable[[], object]:
    """The rollouts of a loaded bundle, as the controller runs them."""
    return functools.partial(bundle.model.imagine, *_inputs(bundle, count))


def onnx_rollouts(bundle: Bundle, count: int, threads: int, spin: bool) -> Callable[[], object]:
    """The rollouts in a session with another number of threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    file = bundle.path / bundle.manifest.graphs["imagine"].file
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    belief, actions = _inputs(bundle, count)
    return functools.partial(session.run, None, {"belief": belief, "actions": actions})


def torch_rollouts(
    model: WorldModel, horizon: int, count: int, threads: int
) -> Callable[[], object]:
    """The rollouts in torch, without gradients."""
    belief = torch.zeros(model.belief_size)
    actions = torch.zeros(count, horizon, model.signature.actions)

    @torch.inference_mode()
    def run() -> object:
        torch.set_num_threads(threads)
        return model.imagine(belief, actions)

    return run


def _inputs(bundle: Bundle, count: int) -> tuple[Array, Array]:
    manifest = bundle.manifest
    actions = np.zeros((count, manifest.horizon, manifest.signature.actions), dtype=np.float32)
    return bundle.model.initial_belief(), actions


class NotebookModel(nn.Module):
    """The notebook's ``DynamicsModel``."""

    def __init__(self, state_dim: int, action_dim: int, hidden_dim: int = 200) -> None:
        super().__init__()
        self.fc1 = nn.Linear(state_dim + action_dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, hidden_dim)
        self.fc_next_state = nn.Linear(hidden_dim, state_dim)
        self.fc_reward = nn.Linear(hidden_dim, 1)

    def forward(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Next state and reward."""
        x = F.relu(self.fc1(torch.cat([state, action], dim=-1)))
        x = F.relu(self.fc2(x))
        return self.fc_next_state(x), self.fc_reward(x)


def notebook_planning(bundle: Bundle, threads: int) -> Callable[[], object]:
    """The notebook's ``cem_planner``, with the settings of the notebook's bundle."""
    signature, planner = bundle.manifest.signature, bundle.manifest.planner
    model = NotebookModel(signature.vector_size, signature.actions)
    low, high = torch.tensor(signature.low), torch.tensor(signature.high)
    state = torch.zeros(1, signature.vector_size)
    elite_count = planner.own().elites

    @torch.no_grad()
    def plan() -> Tensor:
        torch.set_num_threads(threads)
        mean = torch.zeros(planner.horizon, len(low))
        std = torch.ones(planner.horizon, len(low)) * (high - low) / 2
        for _ in range(planner.iterations):
            drawn = torch.distributions.Normal(mean, std).sample((planner.candidates,))
            actions = torch.clamp(drawn, low, high)
            total = torch.zeros(planner.candidates)
            states = state.repeat(planner.candidates, 1)
            for step in range(planner.horizon):
                states, rewards = model(states, actions[:, step])
                total += planner.discount**step * rewards.squeeze()
            elites = actions[torch.topk(total, elite_count).indices]
            mean, std = elites.mean(dim=0), elites.std(dim=0) + 1e-6
        return mean[0]

    return plan


# ── measuring and printing, for the other scripts too ────────────────────────────────────────


def interleaved(cases: Mapping[str, Callable[[], object]], seconds: float) -> Times:
    """Milliseconds of every call of each case; the cases take turns until the time is up."""
    for call in cases.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in cases}
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        for name, call in cases.items():
            turn_ends = time.perf_counter() + TURN_S
            while (began := time.perf_counter()) < turn_ends or not times[name]:
                call()
                times[name].append((time.perf_counter() - began) * 1e3)
    return {name: np.array(values) for name, values in times.items()}


def print_machine() -> None:
    """What else the figures depend on."""
    print(
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, "
        f"onnxruntime {onnxruntime.__version__}, torch {torch.__version__}"
    )


def print_table(title: str, rows: Times, reference: str) -> None:
    """A markdown table; the ratio of medians is to the row whose name starts with `reference`."""
    unit = next(np.median(values) for name, values in rows.items() if name.startswith(reference))
    print(
        f"\n### {title}\n\n| | p50 ms | p99 ms | ratio | calls |\n| --- | --- | --- | --- | --- |"
    )
    for name, values in rows.items():
        p50, p99 = np.percentile(values, [50, 99])
        print(f"| {name} | {p50:.3f} | {p99:.3f} | {p50 / unit:.2f} | {len(values)} |")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", type=Path, help="folder of a bundle (default: one of --config, random weights)"
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=CONFIGS / "pendulum.yaml",
        help="settings of the model that runs in torch and in onnxruntime "
        "(default: config/pendulum.yaml)",
    )
    parser.add_argument(
        "--candidates",
        type=int,
        nargs="+",
        default=[40, 100, 1000],
        help="numbers of rollouts (default: 40 100 1000)",
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="in all (default: 60)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
