"""Runs that are killed and continued; a program, so that its processes are forked from one thread.

    python kills.py writes FOLDER STRIDE [no-swap]   killed at every STRIDE-th write
    python kills.py moments FOLDER COUNT SEED KIND…  killed at random moments of COUNT runs

Both compare what is left, once the run was continued to its end, with a run that nothing happened
to, and print a JSON object: how often it was killed, and what differed. The folder must be empty.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import tiny_environments  # noqa: F401  registers them
import torch
from conftest import TINY_SETTINGS

from planet_ros import files
from planet_ros.config import settings_from
from planet_ros.training import session
from planet_ros.training.learner import Learner
from planet_ros.training.loop import train
from planet_ros.training.torch_model import TorchBeliefModel

SHORT: dict[str, Any] = {
    "training.steps": 70,
    "training.random_steps": 25,
    "training.update_every_steps": 9,  # in the middle of episodes, and at the end of none
    "training.updates": 2,
    "training.exploration_noise": 0.2,
    "training.evaluation_episodes": 1,
    "data.capacity_steps": 45,
    "world_model.hidden_sizes": [4],
}
ENSEMBLE: dict[str, Any] = {
    "training.steps": 200,
    "training.random_steps": 60,
    "training.update_every_steps": 15,
    "training.updates": 40,
    "training.exploration_noise": 0.2,
    "training.evaluation_episodes": 1,
    "data.capacity_steps": 110,
}
RSSM: dict[str, Any] = {
    "world_model.kind": "rssm",
    "rssm.deterministic_size": 8,
    "rssm.stochastic_size": 3,
    "rssm.hidden_size": 8,
    "training.sequence_length": 5,
    "training.steps": 120,
    "training.random_steps": 40,
    "training.updates": 20,
    "training.random_noise_beta": 1.0,
    "training.evaluation_episodes": 1,
}
COPIES: dict[str, Any] = {
    **ENSEMBLE,
    "env_id": "PlanetRosTest/Terminating-v0",  # so that copies wait for one another
    "training.environments": 3,
}
KINDS = {"ensemble": ENSEMBLE, "rssm": RSSM, "copies": COPIES}
Overrides = dict[str, Any]


def learn(folder: Path, overrides: Overrides) -> None:
    """Run to the end, from where an earlier process left it."""
    resume = (folder / "settings.yaml").exists()
    values = {**TINY_SETTINGS, "training.output": str(folder), "training.resume": resume}
    train(settings_from({**values, **overrides}))


# ── killing ──────────────────────────────────────────────────────────────────────────────────


def in_a_child(work: Callable[[], None], kill_after_s: float | None = None) -> int:
    """Do something in a forked process; give the signal that ended it, 0 where none did.

    Raises:
        RuntimeError: It failed by itself.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            work()
            code = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stdout, flush=True)
        finally:
            os._exit(code)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError("a run failed")
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


class Writes:
    """Counts what this process does to files below a folder, and dies before the n-th of it."""

    def __init__(self, folder: Path, die_at: int) -> None:
        self._folder = str(folder)
        self._die_at = die_at
        self.count = 0
        sys.addaudithook(self._on_event)
        for module, name in ((os, "fsync"), (files, "_exchange")):
            setattr(module, name, self._counted(getattr(module, name)))

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self._at(path)
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"):
            # Where it is in an open folder, that folder is one of the run's.
            self._at(self._folder if arguments[-1] not in (-1, None) else os.fspath(arguments[0]))

    def _at(self, path: str) -> None:
        if path.startswith(self._folder):
            self.count += 1
            if self.count == self._die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def _counted(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            self._at(self._folder)
            result = work(*arguments)
            self._at(self._folder)
            return result

        return counted


def warm_up(folder: Path) -> None:
    """Let torch import what it imports on its first update, once for all processes."""
    export = Learner.export
    without_bundles()
    learn(folder, SHORT)
    shutil.rmtree(folder)
    Learner.export = export  # type: ignore[method-assign]


def without_bundles() -> None:
    """Let torch act, so that a run takes a moment."""

    def export(learner: Learner, evaluation: Any = None, path: Any = None) -> Any:
        planner = learner.settings.planner
        manifest = SimpleNamespace(
            signature=learner.signature, planner=planner, horizon=planner.horizon
        )
        model = TorchBeliefModel(learner.averaged)
        return SimpleNamespace(path=learner.run.bundle, manifest=manifest, model=model)

    Learner.export = export  # type: ignore[method-assign, assignment]


def killed_at_writes(folder: Path, stride: int, swaps: bool) -> dict[str, Any]:
    without_bundles()
    session.COMMIT_AFTER_S = 0.0  # each episode is saved
    if not swaps:
        files.ctypes.CDLL = lambda *_, **__: object()  # type: ignore[misc, assignment]
    whole = folder / "whole"

    def counting() -> None:
        writes = Writes(whole, die_at=0)
        learn(whole, SHORT)
        (folder / "count").write_text(str(writes.count))

    in_a_child(counting)
    expected, total = contents(whole), int((folder / "count").read_text())
    killed, wrong = 0, []
    for number in range(1, total + 1, stride):
        run = folder / "run"

        def dying(run: Path = run, number: int = number) -> None:
            Writes(run, number)
            learn(run, SHORT)

        killed += in_a_child(dying) == signal.SIGKILL
        in_a_child(lambda run=run: learn(run, SHORT))  # type: ignore[misc]
        difference = first_difference(expected, contents(run))
        if difference:
            wrong.append(f"write {number}: {difference}")
        shutil.rmtree(run)
    return {"kills": killed, "writes": total, "wrong": wrong}


def killed_at_moments(folder: Path, count: int, seed: int, kinds: list[str]) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    kills, wrong = 0, []
    for name in kinds:
        whole, overrides = folder / name, KINDS[name]
        began = time.monotonic()
        in_a_child(lambda: learn(whole, overrides))  # noqa: B023
        seconds, expected = time.monotonic() - began, contents(whole)
        for number in range(count // len(kinds)):
            run = folder / "run"
            # Some are killed while they are continued, too.
            for _ in range(1 + number % 2):
                after_s = rng.uniform(0, seconds)
                kills += in_a_child(lambda: learn(run, overrides), after_s) == signal.SIGKILL  # noqa: B023
            in_a_child(lambda: learn(run, overrides))  # noqa: B023
            difference = first_difference(expected, contents(run))
            if difference:
                wrong.append(f"{name} {number}, killed after {after_s:.3f} s: {difference}")
            shutil.rmtree(run)
    return {"kills": kills, "wrong": wrong}


# ── comparing ────────────────────────────────────────────────────────────────────────────────


def contents(run: Path) -> dict[str, Any]:
    """All that a run is, but for times: what it has of files, arrays, records and weights."""
    found: dict[str, Any] = {
        "files": sorted(
            str(path.relative_to(run)) for path in run.rglob("*") if path.parent != run / "model"
        )
    }
    for path in sorted((run / "episodes").iterdir()):
        with np.load(path) as episode:
            found |= {f"{path.name}/{name}": episode[name] for name in episode.files}
    with np.load(run / "checkpoint" / "tensors.npz") as tensors:
        found |= {f"tensors/{name}": tensors[name] for name in tensors.files}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        record.pop("seconds", None)
        found[f"metrics {len(found)}"] = record
    state = json.loads((run / "checkpoint" / "state.json").read_text())
    del state["metrics_bytes"]  # the seconds have more digits or fewer
    return found | {"state": state}


def first_difference(one: dict[str, Any], other: dict[str, Any]) -> str | None:
    for name in {**one, **other}:
        left, right = one.get(name), other.get(name)
        if not np.array_equal(left, right):  # type: ignore[arg-type]
            return f"{name}: {right}, expected {left}"
    return None


def main() -> None:
    torch.set_num_threads(1)  # threads would not be there after a fork
    kind, folder, *numbers = sys.argv[1:]
    warm_up(Path(folder) / "warm")
    if kind == "writes":
        result = killed_at_writes(Path(folder), int(numbers[0]), "no-swap" not in numbers)
    else:
        result = killed_at_moments(Path(folder), int(numbers[0]), int(numbers[1]), numbers[2:])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
