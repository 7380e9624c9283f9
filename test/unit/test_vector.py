"""Several environments side by side: each does what it would do alone, and none is left behind."""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import pytest
from tiny_environments import STEP_LENGTH, PointMass

from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import LearnerSettings, Settings, settings_from
from planet_ros.control.exploration import RandomPolicy
from planet_ros.control.policy import PlanningPolicy
from planet_ros.data import Episode, EpisodeStore, Parts, Step
from planet_ros.environments import BrokenEnvironment, Environment, EnvironmentSpec
from planet_ros.environments.vector import Environments
from planet_ros.errors import UserError
from planet_ros.planning import Plan
from planet_ros.training import session as session_module
from planet_ros.training.checkpoint import read_checkpoint
from planet_ros.training.collect import SideBySide
from planet_ros.training.learner import Learner
from planet_ros.training.loop import train

MakeSettings = Callable[..., Settings]
TERMINATING = {"env_id": "PlanetRosTest/Terminating-v0"}

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning:gymnasium")


@pytest.fixture(autouse=True)
def _every_episode_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it may be, however short the time since the last one was."""
    monkeypatch.setattr(session_module, "COMMIT_AFTER_S", 0.0)


@pytest.fixture
def no_process_is_left() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


def spec(name: str, *wrappers: str, **kwargs: Any) -> EnvironmentSpec:
    return EnvironmentSpec(f"PlanetRosTest/{name}-v0", kwargs, ("tiny_environments",), wrappers)


def records(run: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{**one, "seconds": 0} for one in found if one["kind"] == kind]


def assert_same_run(one: Path, other: Path) -> None:
    for kind in ("episode", "fit"):
        assert records(one, kind) == records(other, kind) != []
    first, second = (EpisodeStore(run / "episodes").episodes for run in (one, other))
    for left, right in zip(first, second, strict=True):
        np.testing.assert_array_equal(left.action, right.action)
    tensors, others = (read_checkpoint(run / "checkpoint").tensors for run in (one, other))
    for name, value in tensors.items():
        np.testing.assert_array_equal(value, others[name], err_msg=name)


# ── what the copies do ───────────────────────────────────────────────────────────────────────

REPEATED = 'planet_ros.wrappers:ActionRepeat {"repeat": 3}'
SPECS = {
    "vector": spec("PointMass"),
    "terminates": spec("Terminating"),
    "dictionary": spec("DictObservation"),
    "picture": spec("PictureAndPosition", channels=3),
    "repeated": spec("Terminating", REPEATED),
    "rescaled": spec("WideActions", "planet_ros.wrappers:NormalizedAction"),
    "double": EnvironmentSpec("MountainCarContinuous-v0", wrappers=(f"{__name__}:WholeActions",)),
}


class WholeActions(gymnasium.ActionWrapper):
    """Pushes by whole numbers; the observation is in double precision."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.action_space = gymnasium.spaces.Box(-2, 2, (1, 1), np.int64)
        self.observation_space = gymnasium.spaces.Box(-10, 10, (2,), np.float64)

    def action(self, action: Any) -> Any:
        assert action.shape == (1, 1) and action.dtype == np.int64
        return action[0] / 2


def assert_same_step(found: Step, expected: Step) -> None:
    for name, value in expected.observation.items():
        assert found.observation[name].dtype == value.dtype
        np.testing.assert_array_equal(found.observation[name], value)
    np.testing.assert_array_equal(found.action, expected.action)
    for name in ("index", "reward", "terminated", "truncated", "environment_steps"):
        assert getattr(found, name) == getattr(expected, name), name


@pytest.mark.parametrize(
    ("kind", "vector"), [*((kind, "sync") for kind in SPECS), ("picture", "async")]
)
def test_each_takes_the_steps_that_it_takes_alone(
    kind: str, vector: Literal["sync", "async"], no_process_is_left: None
) -> None:
    alone = Environment(SPECS[kind], episode_steps=15)
    rng = np.random.default_rng(0)
    low, high = alone.signature.low, alone.signature.high
    with closing(Environments(alone, 3, vector)) as copies:
        for seeds in ([5, 0, 9], [1, 5, 2]):
            actions = rng.uniform(1.2 * low, 1.2 * high, (20, 3, len(low)))
            found = [[step] for step in copies.reset(seeds)]
            for row in actions:
                going = [copy for copy in range(3) if not found[copy][-1].last]
                if not going:
                    break
                for copy, step in copies.step({copy: row[copy] for copy in going}).items():
                    found[copy].append(step)
            for copy, seed in enumerate(seeds):
                assert {step.stream for step in found[copy]} == {copy}
                assert_same_step(found[copy][0], alone.reset(seed))
                for step, row in zip(found[copy][1:], actions, strict=False):
                    assert_same_step(step, alone.step(row[copy]))
                assert found[copy][-1].last
    alone.close()


def test_no_transition_leads_across_a_reset(
    tmp_path: Path, tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {"step": 0, "reset": 0}

    def counted(name: str) -> Callable[..., Any]:
        call = getattr(PointMass, name)

        @functools.wraps(call)
        def count(*arguments: Any, **more: Any) -> Any:
            calls[name] += 1
            return call(*arguments, **more)

        return count

    for name in calls:
        monkeypatch.setattr(PointMass, name, counted(name))
    train(tiny_settings(tmp_path / "run", {**TERMINATING, "training.environments": 3}))
    # Who waits is neither stepped nor reset; the last steps of some come after the run's last.
    assert 120 <= calls["step"] <= 122
    assert calls["reset"] % 3 == 0
    episodes = EpisodeStore(tmp_path / "run" / "episodes").episodes
    assert len({len(episode) for episode in episodes}) > 3  # they ended at different times
    assert len(episodes) <= calls["reset"] <= len(episodes) + 2
    alone = Environment(spec("PointMass"))
    starts = {tuple(alone.reset(seed).observation["observation"]) for seed in range(30)}
    for episode in episodes:
        seen = episode.observation["observation"]
        np.testing.assert_allclose(np.diff(seen, axis=0), STEP_LENGTH * episode.action, atol=1e-6)
        assert tuple(seen[0]) in starts
        starts.remove(tuple(seen[0]))  # each has a seed of its own
        outside = np.abs(seen).max(axis=1) > 1.05
        assert not outside[:-1].any() and outside[-1] == episode.terminated


def test_steps_are_those_of_all_however_often_actions_are_repeated(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    overrides = {
        "env_wrappers": ['planet_ros.wrappers:ActionRepeat {"repeat": 2}'],
        "training.environments": 3,
        "training.update_every_steps": 25,
        "training.episode_steps": 7,
    }
    train(tiny_settings(tmp_path / "run", overrides))
    episodes = EpisodeStore(tmp_path / "run" / "episodes").episodes
    assert sum(map(len, episodes)) == 60
    assert max(map(len, episodes)) == 7  # of each copy
    assert [one["environment_steps"] for one in records(tmp_path / "run", "fit")] == [76, 100, 120]
    assert load_bundle(tmp_path / "run" / "model").manifest.environment_steps == 120


def test_errors_are_measured_on_what_one_has_done_since_the_last_fit(
    tmp_path: Path, tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = []

    def judge(learner: Learner, newest: Episode, fresh: int) -> tuple[None, None]:
        judged.append((len(newest), fresh))
        return None, None

    monkeypatch.setattr(Learner, "_errors_on_unseen", judge)
    every = {"training.update_every_steps": 30, "training.random_steps": 30}
    train(tiny_settings(tmp_path / "run", {"training.environments": 3, **every}))
    assert judged == [(10, 10), (20, 10), (10, 10), (20, 10)]


@pytest.mark.slow
def test_processes_of_their_own_make_the_same_run(
    tmp_path: Path, tiny_settings: MakeSettings, no_process_is_left: None
) -> None:
    for vector in ("sync", "async"):
        overrides = {**TERMINATING, "training.environments": 3, "training.vector": vector}
        train(tiny_settings(tmp_path / vector, overrides))
    assert_same_run(tmp_path / "async", tmp_path / "sync")


# ── who decides ──────────────────────────────────────────────────────────────────────────────


def test_plans_side_by_side_are_those_of_one_after_another(tiny_run: Path) -> None:
    bundle = load_bundle(tiny_run / "model")
    seen = {copy: {"observation": np.float32([copy, 1.0])} for copy in (0, 2, 3)}
    decided = []
    with ThreadPoolExecutor(3) as threads:
        for where in (None, threads):
            policies = SideBySide([PlanningPolicy.of(bundle, 0) for _ in range(4)], where)
            policies.reset([4, 5, 6, 7])
            decided.append([])
            for _ in range(5):
                actions = policies.act(seen)
                policies.took(actions)
                decided[-1].append(np.stack([actions[copy] for copy in seen]))
    np.testing.assert_array_equal(decided[0], decided[1])
    assert len(np.unique(decided[0], axis=1)) > 1


def test_plans_are_made_at_once() -> None:
    together = threading.Barrier(2, timeout=20)

    class Waits(RandomPolicy):
        def act(self, observation: Parts) -> Plan:
            together.wait()
            return super().act(observation)

    signature = Environment(spec("PointMass")).signature
    with ThreadPoolExecutor(2) as threads:
        policies = SideBySide([Waits(signature, seed=0) for _ in range(2)], threads)
        policies.reset([0, 1])
        assert len(policies.act({0: signature.zeros(), 1: signature.zeros()})) == 2


def test_random_actions_that_are_drawn_ahead_depend_on_their_numbers_alone() -> None:
    signature = Environment(spec("PointMass")).signature
    first, second = (RandomPolicy(signature, seed=3, ahead=True) for _ in range(2))
    places = [(episode, index) for episode in range(4) for index in range(250)]
    actions = [first.action(*place) for place in places]
    again = [second.action(*place) for place in reversed(places)][::-1]
    np.testing.assert_array_equal(actions, again)
    assert len({tuple(action) for action in actions}) == len(places)
    np.testing.assert_allclose(np.std(actions, axis=0), 2 / np.sqrt(12), rtol=0.05)
    assert np.abs(actions).max() <= 1


# ── stopped, and gone on with ────────────────────────────────────────────────────────────────


def test_a_resumed_run_goes_on_as_if_it_had_never_stopped(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    several = {"training.environments": 3, "training.exploration_noise": 0.1}
    train(tiny_settings(tmp_path / "whole", {**several, "training.steps": 180}))
    for steps in (60, 120, 180):
        resume = {"training.resume": steps > 60, "training.steps": steps}
        train(tiny_settings(tmp_path / "run", {**several, **resume}))
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def after(patch: pytest.MonkeyPatch, calls: int, error: BaseException) -> None:
    """Raise something in the environment step that follows so many."""
    taken, step = 0, PointMass.step

    def broken(self: Any, action: Any) -> Any:
        nonlocal taken
        if taken == calls:
            raise error
        taken += 1
        return step(self, action)

    patch.setattr(PointMass, "step", broken)


def test_ctrl_c_keeps_the_episodes_of_all(tmp_path: Path, tiny_settings: MakeSettings) -> None:
    folder, several = tmp_path / "run", {"training.environments": 3}
    with pytest.MonkeyPatch.context() as patch:
        after(patch, 3 * 27 + 1, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt, match="stopped after 81 environment steps"):
            train(tiny_settings(folder, several))
    lengths = [len(one) for one in EpisodeStore(folder / "episodes").episodes]
    assert lengths == [20, 20, 20, 7, 7, 7]
    train(tiny_settings(folder, {**several, "training.resume": True}))
    store = EpisodeStore(folder / "episodes")
    assert store.steps == 120
    alone = Environment(spec("PointMass"))
    for seed, episode in enumerate(store.episodes):
        start = alone.reset(seed).observation["observation"]
        np.testing.assert_array_equal(episode.observation["observation"][0], start)


def test_an_error_names_the_copy_and_leaves_what_came_before(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    folder, several = tmp_path / "run", {"training.environments": 3}
    with pytest.MonkeyPatch.context() as patch:
        after(patch, 3 * 25 + 1, RuntimeError("the motor is stuck"))
        with pytest.raises(BrokenEnvironment) as caught:
            train(tiny_settings(folder, several))
    assert "copy 2 of 3: PlanetRosTest/PointMass-v0: step 6 of the episode failed with Runt" in str(
        caught.value
    )
    assert "the 75 environment steps before it are saved" in str(caught.value)
    assert EpisodeStore(folder / "episodes").steps == 75
    with pytest.MonkeyPatch.context() as patch:
        after(patch, 0, RuntimeError("it is still stuck"))
        for resumes in (1, 2):  # nothing comes of any of the starts: the next are others
            with pytest.raises(BrokenEnvironment, match="copy 1 of 3"):
                train(tiny_settings(folder, {**several, "training.resume": True}))
            assert read_checkpoint(folder / "checkpoint").state.passed_over == 3 * resumes
    train(tiny_settings(folder, {**several, "training.resume": True}))
    assert EpisodeStore(folder / "episodes").steps == 120


# ── processes ────────────────────────────────────────────────────────────────────────────────


def test_a_process_that_ends_is_an_error_that_names_its_copy() -> None:
    with closing(Environments(Environment(spec("Leaves")), 2, "async")) as copies:
        copies.reset([1, 0])
        for _ in range(4):
            copies.step({copy: np.zeros(2) for copy in (0, 1)})
        reason = r"copy 1 of 2: PlanetRosTest/Leaves-v0: its process ended with code 7 at step 5"
        with pytest.raises(BrokenEnvironment, match=reason):
            copies.step({copy: np.zeros(2) for copy in (0, 1)})
    assert multiprocessing.active_children() == []  # the other one has been ended


def test_a_process_that_does_not_come_up_is_refused(
    no_process_is_left: None, capfd: pytest.CaptureFixture[str]
) -> None:
    gymnasium.register("PlanetRosTest/Here-v0", entry_point=PointMass)
    try:
        with pytest.raises(UserError, match=r"Here-v0: training\.vector: async: the process of a"):
            Environments(Environment(EnvironmentSpec("PlanetRosTest/Here-v0")), 2, "async")
    finally:
        gymnasium.registry.pop("PlanetRosTest/Here-v0")
    assert "env_id: 'PlanetRosTest/Here-v0' is not registered" in capfd.readouterr().err


def processes_of(group: int) -> list[int]:
    """Those of a process group that run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "whole_group", "code"),
    [(signal.SIGINT, True, 130), (signal.SIGTERM, False, 130), (signal.SIGKILL, False, -9)],
    ids=["Ctrl-C", "SIGTERM", "SIGKILL"],
)
def test_no_process_is_left_of_a_run_that_is_stopped(
    root: Path, tmp_path: Path, number: int, whole_group: bool, code: int
) -> None:
    command = [sys.executable, "-m", "planet_ros.cli.main", "train", "--output", tmp_path / "run"]
    sets = {
        "env_id": "PlanetRosTest/PointMass-v0",
        "env_modules": ["tiny_environments"],
        "training.environments": 2,
        "training.vector": "async",
        "training.steps": 1_000_000,
        "training.random_steps": 1_000_000,
    }
    for name, value in sets.items():
        command += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    path = os.pathsep.join([str(root), str(root / "test")])
    run = subprocess.Popen(
        command,
        stderr=(tmp_path / "log").open("w"),
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    until_s = time.monotonic() + 120
    while "episode 4" not in (log := (tmp_path / "log").read_text()):
        assert time.monotonic() < until_s and run.poll() is None, log
        time.sleep(0.05)
    assert len(processes_of(run.pid)) >= 3
    if whole_group:
        os.killpg(run.pid, number)
    else:
        os.kill(run.pid, number)
    assert run.wait(60) == code
    while left := processes_of(run.pid):
        assert time.monotonic() < until_s, left
        time.sleep(0.05)
    log = (tmp_path / "log").read_text()
    if code == 130:
        assert "Traceback" not in log and "all is saved, continue with: planet-ros train" in log


# ── settings ─────────────────────────────────────────────────────────────────────────────────


def test_robots_have_no_copies() -> None:
    with pytest.raises(UserError, match=r"training\.environments: found 2 with interface, expecte"):
        settings_from({"interface": "pendulum", "training.environments": 2}, schema=LearnerSettings)


@pytest.mark.parametrize("count", [0, 257])
def test_too_few_or_too_many_are_refused(count: int) -> None:
    with pytest.raises(UserError, match=r"training\.environments: found \d+, expected an integer"):
        settings_from({"training.environments": count})
