"""A training run step by step: the same wherever the steps come from, cut where it should be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrays import float32

from planet_ros.bundle.manifest import Evaluation
from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import Settings
from planet_ros.data import ActionPart, EpisodeStore, ObservationPart, Signature, Step
from planet_ros.errors import UserError
from planet_ros.training import loop
from planet_ros.training import session as session_module
from planet_ros.training.checkpoint import read_checkpoint
from planet_ros.training.session import Session

SIGNATURE = Signature(
    (ObservationPart("observation", (2,)),),
    (ActionPart("left", -1.0, 1.0), ActionPart("right", 2.0, 5.0)),
    period_s=0.05,
)
LENGTH = 20
MakeSettings = Callable[..., Settings]


def make_session(settings: Settings, say: Callable[[str], None] = lambda line: None) -> Session:
    return Session(settings, SIGNATURE, environment=None, say=say)


@pytest.fixture(autouse=True)
def _every_episode_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """However short the time since the last one was."""
    monkeypatch.setattr(session_module, "COMMIT_AFTER_S", 0.0)


def step_at(index: int, length: int = LENGTH, terminated: bool = False) -> Step:
    """A step of an episode in which something changes, the last one after `length` steps."""
    last = index == length
    return Step(
        index=index,
        observation={"observation": float32([np.sin(index), np.cos(2 * index)])},
        action=float32([np.cos(index), 3 + np.sin(index)]) * (index > 0),
        reward=-0.5 * index,
        terminated=last and terminated,
        truncated=last and not terminated,
    )


def episodes(count: int, length: int = LENGTH) -> Iterable[Step]:
    for _ in range(count):
        for index in range(length + 1):
            yield step_at(index, length)


def metrics(folder: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The records of a run, without those of the wall clock."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    for record in records:
        record.pop("seconds", None)
    return [record for record in records if kind in (None, record["kind"])]


def lengths(session: Session) -> list[int]:
    return [len(episode) for episode in session.learner.store.episodes]


# ── the same run from elsewhere ──────────────────────────────────────────────────────────────


def as_they_are(step: Step) -> Step:
    return step


def over_a_topic(step: Step) -> Step:
    pytest.importorskip("std_msgs")
    from planet_ros.messages.steps import read_step, step_message
    from planet_ros.ros.types import make

    return read_step(step_message(make, step))


@pytest.mark.parametrize(
    ("way", "update_every_steps"), [(as_they_are, 0), (over_a_topic, 0), (over_a_topic, 25)]
)
def test_steps_from_elsewhere_give_the_run_that_the_loop_gives(
    tmp_path: Path,
    tiny_settings: MakeSettings,
    monkeypatch: pytest.MonkeyPatch,
    way: Callable[[Step], Step],
    update_every_steps: int,
) -> None:
    recorded: list[Step] = []
    made: list[dict[str, Any]] = []

    class Recording(Session):
        def __init__(self, settings: Settings, signature: Signature, **rest: Any) -> None:
            made.append({"signature": signature, **rest})
            super().__init__(settings, signature, **rest)

        def add(self, step: Step) -> bool:
            recorded.append(step)
            return super().add(step)

    monkeypatch.setattr(loop, "Session", Recording)
    overrides = {"training.update_every_steps": update_every_steps, "training.steps": 110}
    loop.train(tiny_settings(tmp_path / "loop", overrides))

    session = Session(tiny_settings(tmp_path / "fed", overrides), **made[0])
    for step in recorded:
        if session.add(way(step)):
            session.fit()
    bundle = session.finish()

    assert session.finished
    assert metrics(tmp_path / "fed") == metrics(tmp_path / "loop")
    assert len(metrics(tmp_path / "fed", "fit")) == (3 if update_every_steps else 4)
    for name in ("observe.onnx", "imagine.onnx"):
        assert (tmp_path / "fed/model" / name).read_bytes() == (
            tmp_path / "loop/model" / name
        ).read_bytes()
    assert bundle is not None
    assert bundle.manifest.environment_steps == 110


def test_run_depends_on_the_steps_that_are_fed(tmp_path: Path, tiny_settings: MakeSettings) -> None:
    graphs: list[bytes] = []
    for bonus in (0.0, 0.0, 0.1):
        folder = tmp_path / f"run{len(graphs)}"
        session = make_session(tiny_settings(folder, {"training.random_steps": LENGTH}))
        for step in episodes(1):
            session.add(Step(**{**vars(step), "reward": step.reward + bonus * step.index}))
        session.fit()
        graphs.append((folder / "model" / "imagine.onnx").read_bytes())
    assert graphs[0] == graphs[1]
    assert graphs[0] != graphs[2]


# ── random actions ───────────────────────────────────────────────────────────────────────────


def test_random_actions_depend_on_seed_episode_and_index_alone(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    first = make_session(tiny_settings(tmp_path / "a"))
    second = make_session(tiny_settings(tmp_path / "b"))
    for step in episodes(1):
        second.add(step)
    other_seed = make_session(tiny_settings(tmp_path / "c", {"seed": 1}))
    places = [(episode, index) for episode in range(5) for index in range(50)]
    actions = [first.random_action(*place) for place in places]
    # In another order, and after steps were taken.
    again = [second.random_action(*place) for place in reversed(places)][::-1]
    np.testing.assert_array_equal(actions, again)
    assert len({tuple(action) for action in actions}) == len(places)
    assert not np.array_equal(actions, [other_seed.random_action(*place) for place in places])


def test_random_actions_fill_their_range(tmp_path: Path, tiny_settings: MakeSettings) -> None:
    session = make_session(tiny_settings(tmp_path / "run"))
    actions = np.array([session.random_action(0, index) for index in range(2000)])
    assert actions.dtype == np.float32
    assert (actions >= SIGNATURE.low).all()
    assert (actions <= SIGNATURE.high).all()
    middle, width = (SIGNATURE.low + SIGNATURE.high) / 2, SIGNATURE.high - SIGNATURE.low
    np.testing.assert_allclose(actions.mean(axis=0), middle, atol=0.03 * width.max())
    np.testing.assert_allclose(actions.std(axis=0), width / np.sqrt(12), rtol=0.05)


# ── when a fit is due ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("overrides", "due"),
    [
        ({}, [60, 80, 100, 120]),  # after each episode, once there are enough random steps
        ({"training.random_steps": 1}, [20, 40, 60, 80, 100, 120]),
        ({"training.random_steps": 61}, [80, 100, 120]),
        ({"training.random_steps": 500}, [120]),  # at the end at the latest
        ({"training.steps": 90}, [60, 80, 90]),
        ({"training.update_every_steps": 25}, [75, 100, 120]),
        ({"training.update_every_steps": 7, "training.steps": 75}, [63, 70, 75]),
        ({"training.update_every_steps": 1, "training.steps": 63}, [60, 61, 62, 63]),
        ({"training.update_every_steps": 1000}, [120]),
    ],
    ids=str,
)
def test_fit_is_due(
    tmp_path: Path, tiny_settings: MakeSettings, overrides: dict[str, Any], due: list[int]
) -> None:
    session = make_session(tiny_settings(tmp_path / "run", overrides))
    found = []
    for step in episodes(10):
        if session.finished:
            break
        if session.add(step):
            found.append(session.steps)
    assert found == due


@pytest.mark.parametrize(
    ("every", "steps", "newest", "ended", "pauses"),
    [
        (0, 20, 1, True, True),
        (0, 20, 1, False, False),
        (10, 20, 1, False, True),
        (10, 25, 1, True, False),
        (10, 25, 1, False, False),
        (10, 21, 2, False, True),  # two steps for a decision, over the mark
        (10, 22, 2, False, False),
    ],
)
def test_pauses_after_episodes_or_after_every_so_many_steps(
    tmp_path: Path,
    tiny_settings: MakeSettings,
    every: int,
    steps: int,
    newest: int,
    ended: bool,
    pauses: bool,
) -> None:
    training = tiny_settings(tmp_path, {"training.update_every_steps": every}).training
    assert training.pauses_at(steps, newest, ended) is pauses


def test_fit_in_the_middle_of_an_episode_learns_from_it_too(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    overrides = {"training.update_every_steps": 10, "training.random_steps": 10}
    session = make_session(tiny_settings(tmp_path / "run", overrides))
    steps = iter(episodes(2))
    while not session.add(next(steps)):
        pass
    assert session.random
    session.fit()  # there is no whole episode yet
    assert not session.random
    assert lengths(session) == []
    assert session.learner.fits == 1
    session.finish()
    (fit,) = metrics(tmp_path / "run", "fit")
    assert fit["environment_steps"] == 10
    assert np.isfinite(fit["loss"])


# ── what is kept ─────────────────────────────────────────────────────────────────────────────


def test_lost_step_cuts_the_episode(tmp_path: Path, tiny_settings: MakeSettings) -> None:
    session = make_session(tiny_settings(tmp_path / "run"))
    for index in range(LENGTH + 1):
        if index not in (6, 7):
            session.add(step_at(index))
    assert session.missing_steps == 2
    # 0 to 5, then 8 to 20: nothing goes from 5 to 8.
    assert lengths(session) == [5, 12]
    assert session.steps == 17
    first, second = session.learner.store.episodes
    assert (first.terminated, first.truncated) == (False, False)
    assert second.truncated
    first_seen = {name: values[0] for name, values in second.observation.items()}
    np.testing.assert_array_equal(first_seen["observation"], step_at(8).observation["observation"])
    np.testing.assert_array_equal(second.action[0], step_at(9).action)
    assert second.reward[0] == step_at(9).reward


def test_reset_in_between_cuts_the_episode_without_a_missing_step(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    session = make_session(tiny_settings(tmp_path / "run"))
    for index in (0, 1, 2, 3, 0, 1, 2):
        session.add(step_at(index))
    assert lengths(session) == [3]
    assert (session.steps, session.missing_steps) == (5, 0)


@pytest.mark.parametrize("steps", [1, 19, 20, 21, 50])
def test_finished_run_is_cut_at_its_last_step(
    tmp_path: Path, tiny_settings: MakeSettings, steps: int
) -> None:
    session = make_session(tiny_settings(tmp_path / "run", {"training.steps": steps}))
    taken = 0
    for step in episodes(4):
        due = session.add(step)
        taken += step.index > 0
        assert session.steps == taken
        if session.finished:
            assert due
            break
        assert session.steps < steps
    assert session.steps == session.learner.environment_steps == sum(lengths(session)) == steps
    whole, rest = divmod(steps, LENGTH)
    assert lengths(session) == [LENGTH] * whole + [rest] * (rest > 0)
    newest = session.learner.store.episodes[-1]
    assert (newest.terminated, newest.truncated) == (False, rest == 0)
    session.finish()
    assert len(metrics(tmp_path / "run", "episode")) == len(lengths(session))


def test_unfinished_episode_is_kept_when_a_run_is_stopped(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    session = make_session(tiny_settings(tmp_path / "run"))
    for step in list(episodes(2))[:30]:
        session.add(step)
    assert session.steps == 28  # two of the thirty are resets
    assert session.finish() is None  # there is no model yet
    assert lengths(session) == [20, 8]
    resumed = make_session(tiny_settings(tmp_path / "run", {"training.resume": True}))
    assert (resumed.steps, resumed.learner.episodes, resumed.random) == (28, 2, True)
    assert not (tmp_path / "run" / "model").exists()


def test_episodes_are_recorded_with_their_return(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    said: list[str] = []
    session = make_session(tiny_settings(tmp_path / "run"), said.append)
    for index in range(4):
        session.add(step_at(index, length=3, terminated=True))
    assert metrics(tmp_path / "run") == [
        {
            "kind": "episode",
            "episode": 0,
            "environment_steps": 3,
            "decisions": 3,
            "return": -3.0,
            "random": True,
            "terminated": True,
            "truncated": False,
        }
    ]
    assert said == ["episode 1: return -3.0 in 3 steps (random actions)"]


def fitted_after(session: Session, steps: Iterable[Step], fits: int = 1) -> list[Step]:
    """Feed steps until the session was fitted; give those that are left."""
    left = list(steps)
    while left and session.learner.fits < fits:
        if session.add(left.pop(0)):
            session.fit()
    return left


def test_episode_counts_as_random_if_it_began_so(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    overrides = {"training.update_every_steps": 10, "training.random_steps": 30}
    session = make_session(tiny_settings(tmp_path / "run", overrides))
    for step in fitted_after(session, episodes(3)):  # in the middle of the second episode
        session.add(step)
    session.finish()
    assert [record["random"] for record in metrics(tmp_path / "run", "episode")] == [
        True,
        True,
        False,
    ]


def test_random_episode_that_a_reset_cuts_counts_as_random(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    overrides = {"training.update_every_steps": 10, "training.random_steps": 10}
    session = make_session(tiny_settings(tmp_path / "run", overrides))
    fitted_after(session, episodes(1))  # after 10 steps of the first episode
    session.add(step_at(0))
    session.finish()
    assert [record["random"] for record in metrics(tmp_path / "run", "episode")] == [True]


def test_recent_evaluation_is_of_whole_episodes_with_planned_actions(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    settings = tiny_settings(tmp_path / "run", {"training.random_steps": 20})
    session = make_session(settings)
    fitted_after(session, episodes(1))
    assert session.recent_evaluation() is None  # only a random one so far
    for length in (4, 8, 6):
        for step in episodes(1, length):
            session.add(step)
    for step in (step_at(0), step_at(1), step_at(0)):  # cut: worth nothing
        session.add(step)
    evaluation = session.recent_evaluation(episodes=2)
    assert evaluation is not None
    returns = [-0.5 * sum(range(length + 1)) for length in (8, 6)]
    assert evaluation.mean_return == pytest.approx(np.mean(returns))
    assert (evaluation.worst_return, evaluation.episodes) == (min(returns), 2)


# ── what is refused ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"observation": {"observation": np.zeros(3, np.float32)}},
            r"step: found 'observation' of float32 \[3\], expected 'observation' of float32 \[2\]",
        ),
        ({"observation": {}}, "step: found no 'observation'"),
        (
            {"observation": {**step_at(3).observation, "camera": np.zeros((2, 2, 1), np.uint8)}},
            "step: found 'camera' .* expected no 'camera'",
        ),
        ({"action": np.zeros(1, np.float32)}, "found 1 numbers of action, expected 2"),
    ],
)
def test_step_of_the_wrong_size_is_refused_and_leaves_no_trace(
    tmp_path: Path, tiny_settings: MakeSettings, changes: dict[str, Any], reason: str
) -> None:
    session = make_session(tiny_settings(tmp_path / "run"))
    for index in range(3):
        session.add(step_at(index))
    with pytest.raises(UserError, match=reason):
        session.add(replace(step_at(3), **changes))
    assert session.steps == 2
    session.add(step_at(3))
    assert (session.steps, session.missing_steps) == (3, 0)


def test_folder_that_holds_a_run_is_refused(tmp_path: Path, tiny_settings: MakeSettings) -> None:
    make_session(tiny_settings(tmp_path / "run"))
    with pytest.raises(UserError, match="already holds a run"):
        make_session(tiny_settings(tmp_path / "run"))


def test_folder_with_episodes_of_nobody_is_refused_and_left_as_it_is(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    run = tmp_path / "run"
    session = make_session(tiny_settings(run))
    for step in episodes(1):
        session.add(step)
    (run / "settings.yaml").unlink()
    before = contents(run)
    for resume in (False, True):
        with pytest.raises(UserError, match=r"found episodes, but no settings\.yaml; nothing"):
            make_session(tiny_settings(run, {"training.resume": resume}))
    assert contents(run) == before
    shutil.rmtree(run / "episodes")
    with pytest.raises(UserError, match=r"found a checkpoint, but no settings\.yaml"):
        make_session(tiny_settings(run))


def test_episodes_without_a_checkpoint_are_refused_and_left_as_they_are(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    run = tmp_path / "run"
    session = make_session(tiny_settings(run))
    for step in episodes(1):
        session.add(step)
    shutil.rmtree(run / "checkpoint")
    before = contents(run)
    with pytest.raises(UserError, match="found episodes, but no checkpoint"):
        make_session(tiny_settings(run, {"training.resume": True}))
    assert contents(run) == before


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


# ── what is saved, and when ──────────────────────────────────────────────────────────────────


class Commits:
    """Counts the checkpoints that a session writes."""

    def __init__(self, run: Path) -> None:
        self._file = run / "checkpoint" / "state.json"
        self._seen = self._inode()

    def _inode(self) -> int:
        return self._file.stat().st_ino

    def new(self) -> bool:
        before, self._seen = self._seen, self._inode()
        return before != self._seen


def test_fresh_run_is_saved_at_once(tmp_path: Path, tiny_settings: MakeSettings) -> None:
    make_session(tiny_settings(tmp_path / "run"))
    state = read_checkpoint(tmp_path / "run" / "checkpoint").state
    assert (state.episodes, state.fits, state.metrics_bytes) == (0, 0, 0)
    assert state.signature == SIGNATURE


def test_short_episodes_are_saved_together_now_and_then(
    tmp_path: Path, tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "COMMIT_AFTER_S", 1000.0)
    session = make_session(tiny_settings(tmp_path / "run"))
    commits = Commits(tmp_path / "run")
    for step in episodes(4, length=5):
        session.add(step)
    assert not commits.new()
    assert not (tmp_path / "run" / "episodes").exists()
    assert session.recent_evaluation() is None
    monkeypatch.setattr(session_module, "COMMIT_AFTER_S", 0.0)
    for step in episodes(1, length=5):
        assert not commits.new()
        session.add(step)
    assert commits.new()
    assert len(EpisodeStore(tmp_path / "run" / "episodes").episodes) == 5
    assert len(metrics(tmp_path / "run", "episode")) == 5


def test_fit_between_episodes_is_saved_and_one_within_waits_for_the_end(
    tmp_path: Path, tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "COMMIT_AFTER_S", 1000.0)
    overrides = {"training.update_every_steps": 15, "training.random_steps": 15}
    session = make_session(tiny_settings(tmp_path / "run", overrides))
    commits = Commits(tmp_path / "run")
    saved = []
    for step in episodes(6):
        if session.add(step):
            session.fit()
        if commits.new():
            saved.append(session.steps)
    # Fits are due every 15 steps; at 60 no episode is under way. At the other ends of an episode
    # something was learned in the middle of it.
    assert saved == [20, 40, 60, 80, 100, 120]


def test_stopped_in_the_middle_saves_the_fits_of_the_episode_too(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    overrides = {"training.update_every_steps": 10, "training.random_steps": 10}
    session = make_session(tiny_settings(tmp_path / "run", overrides))
    fitted_after(session, episodes(1))
    assert metrics(tmp_path / "run", "fit") == []
    session.finish()
    assert len(metrics(tmp_path / "run", "fit")) == 1
    assert read_checkpoint(tmp_path / "run" / "checkpoint").state.fits == 1


def resumed(folder: Path, tiny_settings: MakeSettings) -> Session:
    return make_session(tiny_settings(folder, {"training.resume": True}))


def test_resumed_run_forgets_what_came_after_the_last_commit(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    run = tmp_path / "run"
    session = make_session(tiny_settings(run))
    for step in episodes(2):
        session.add(step)
    shutil.copytree(run / "checkpoint", tmp_path / "earlier")
    before = contents(run)
    for step in episodes(1):
        session.add(step)
    shutil.rmtree(run / "checkpoint")
    shutil.copytree(tmp_path / "earlier", run / "checkpoint")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "episode", "epi')
    for name in (".checkpoint.x1", ".model.x1"):
        (run / name).mkdir()
        (run / name / "half").write_text("")
    (run / "episodes" / ".episode-000002.npz.x1").write_text("")
    (run / ".settings.yaml.x1").write_text("")
    again = resumed(run, tiny_settings)
    after = contents(run)
    for name in (
        "settings.yaml",
        *(f"checkpoint/{file}" for file in ("state.json", "tensors.npz")),
    ):
        del before[name], after[name]
    assert {name: content for name, (content, _) in after.items()} == {
        name: content for name, (content, _) in before.items()
    }
    assert not [path for path in run.rglob("*") if path.name.startswith(".")]
    assert (again.steps, again.learner.episodes, again.learner.decisions) == (40, 2, 40)


@pytest.mark.parametrize(("content", "left"), [("", 0), ('{"a": 1}\n{"b"', 1)])
def test_metrics_that_lost_their_end_go_on_in_a_new_line(
    tmp_path: Path, tiny_settings: MakeSettings, content: str, left: int
) -> None:
    run = tmp_path / "run"
    session = make_session(tiny_settings(run))
    for step in episodes(2):
        session.add(step)
    (run / "metrics.jsonl").write_text(content)
    again = resumed(run, tiny_settings)
    for step in episodes(1, length=5):
        again.add(step)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert len([json.loads(line) for line in lines]) == left + 1


def test_run_that_is_evaluated_knows_it_until_it_learns_more(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    run = tmp_path / "run"
    overrides = {"training.steps": 60, "training.random_steps": 20}
    session = make_session(tiny_settings(run, overrides))
    fitted_after(session, episodes(3), fits=3)
    assert session.finished
    assert not session.evaluated
    session.finish(Evaluation(source="here", mean_return=-1.0, worst_return=-2.0, episodes=3))
    assert session.evaluated
    again = make_session(tiny_settings(run, {**overrides, "training.resume": True}))
    assert again.finished
    assert again.evaluated
    assert again.learner.export().manifest.evaluation.mean_return == -1.0
    bundle = again.finish()
    assert bundle is not None
    assert bundle.manifest.evaluation.source == "here"
    assert len(metrics(run, "evaluation")) == 1
    more = make_session(
        tiny_settings(run, {**overrides, "training.resume": True, "training.steps": 80})
    )
    assert more.evaluated
    fitted_after(more, episodes(1), fits=4)
    assert not more.evaluated
    assert load_bundle(run / "model").manifest.evaluation.mean_return is None


def test_full_disk_is_an_error_for_people_and_the_last_commit_counts(
    tmp_path: Path, tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    session = make_session(tiny_settings(run))
    for step in episodes(1):
        session.add(step)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("planet_ros.files.os.fsync", full)
        with pytest.raises(UserError, match=r"run: cannot be written: .*No space.*--resume"):
            for step in episodes(1):
                session.add(step)
    assert resumed(run, tiny_settings).steps == 20
