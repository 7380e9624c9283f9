"""Runs that know what is to be achieved: as good as those that learn it, and they follow goals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from arrays import float32
from numpy.typing import NDArray
from tiny_environments import EPISODE_STEPS, STEP_LENGTH

from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import LearnerSettings, Settings, load_settings
from planet_ros.control.exploration import RandomPolicy
from planet_ros.control.policy import PlanningPolicy, Policy
from planet_ros.data import ActionPart, ObservationPart, Parts, Signature, Step
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.models import ActionTerm, ObservationTerm, QuadraticReward, Task
from planet_ros.training.evaluate import evaluate
from planet_ros.training.learner import make_model
from planet_ros.training.loop import train
from planet_ros.training.session import Session

TinySettings = Callable[..., Settings]

PRESET = Path(__file__).parents[2] / "config" / "pendulum.yaml"


def upright(signature: Signature) -> Task:
    """What Pendulum-v1 itself rewards, though of the state that an action leads to."""
    terms = [
        ObservationTerm("observation", 0, 1.0, "angle"),
        ObservationTerm("observation", 2, 0.1),
    ]
    return Task(signature, QuadraticReward.of(signature, terms, [ActionTerm(0, 0.001)]))


@pytest.mark.timeout(300)
@pytest.mark.slow
def test_known_reward_is_as_good_as_a_learned_one(tmp_path: Path) -> None:
    means = {}
    for name, task_of in {"learned": None, "known": upright}.items():
        values = {
            "training.output": str(tmp_path / name),
            "training.steps": 500,
            "training.updates": 150,
            "training.evaluation_episodes": 0,
        }
        settings = load_settings(PRESET, values, schema=LearnerSettings)
        bundle = load_bundle(train(settings, task_of=task_of).bundle)
        environment = Environment(EnvironmentSpec.of(settings))
        means[name] = np.mean(evaluate(bundle, environment, episodes=10, seed=7000).returns)
        environment.close()
    assert means["known"] > means["learned"] - 25  # a swing that comes a moment later
    assert means["known"] > -200  # random play has some -1200


# ── a point that goes where it is told ───────────────────────────────────────────────────────

SIGNATURE = Signature(
    (
        ObservationPart("position", (2,)),
        ObservationPart("wanted", (2,), "goal"),
    ),
    (ActionPart("x", -1.0, 1.0), ActionPart("y", -1.0, 1.0)),
    0.05,
)
REACH = Task(
    SIGNATURE,
    QuadraticReward.of(
        SIGNATURE, [ObservationTerm("position", index, 1.0, goal=index) for index in (0, 1)]
    ),
    lambda following, goal: following["position"].abs().amax(dim=-1) > 4,
)
Way = Callable[[int], NDArray[np.float32]]
"""The goal at each step."""


def staying(x: float, y: float) -> Way:
    return lambda index: float32([x, y])


def steps(policy: Policy, goal: Way, start: NDArray[np.floating], count: int) -> list[Step]:
    """An episode of a point that is pushed about; its reward says nothing."""
    position = start.astype(np.float64)

    def seen(index: int) -> Parts:
        return {"position": position.astype(np.float32), "wanted": goal(index)}

    taken = [Step(0, seen(0), np.zeros(2, np.float32), 0.0)]
    for index in range(1, count + 1):
        action = policy.act(taken[-1].observation).actions[0]
        policy.took(action)
        position = position + STEP_LENGTH * action
        taken.append(Step(index, seen(index), action, 0.0, truncated=index == count))
    return taken


@pytest.fixture(scope="module")
def followed(
    tmp_path_factory: pytest.TempPathFactory, tiny_settings: TinySettings
) -> tuple[Path, list[str]]:
    """A run with random actions alone, all for one goal; and what it said."""
    folder = tmp_path_factory.mktemp("goal") / "run"
    said: list[str] = []
    settings = tiny_settings(
        folder,
        {
            "training.random_steps": 8 * EPISODE_STEPS,
            "training.steps": 8 * EPISODE_STEPS,
            "training.updates": 300,
            "training.learning_rate": 3e-3,
            "planner.horizon": 5,
            "planner.candidates": 64,
            "planner.elites": 10,
            "planner.iterations": 4,
        },
    )
    session = Session(settings, SIGNATURE, environment=None, say=said.append, task=REACH)
    rng = np.random.default_rng(0)
    policy = RandomPolicy(SIGNATURE, seed=0)
    for number in range(8):
        policy.reset(number)
        for step in steps(policy, staying(0, 0), rng.normal(size=2), EPISODE_STEPS):
            due = session.add(step)
    assert due
    session.fit()
    session.finish()
    session.close()
    return folder, said


class TestGoals:
    def test_goals_never_seen_are_reached(self, followed: tuple[Path, list[str]]) -> None:
        policy = PlanningPolicy.of(load_bundle(followed[0] / "model"), seed=0)
        for goal in ([1.0, 1.5], [-1.4, 0.3], [0.2, -1.8]):
            policy.reset(0)
            *_, last = steps(policy, staying(*goal), np.zeros(2), 20)
            assert np.linalg.norm(last.observation["position"] - goal) < 0.1

    def test_goal_that_moves_is_followed(self, followed: tuple[Path, list[str]]) -> None:
        policy = PlanningPolicy.of(load_bundle(followed[0] / "model"), seed=0)

        def round_about(index: int) -> NDArray[np.float32]:
            return float32([np.cos(index / 12), np.sin(index / 12)])  # 0.083 a step, of 0.2

        taken = steps(policy, round_about, np.zeros(2), 75)
        late = [
            np.linalg.norm(step.observation["position"] - round_about(step.index - 1))
            for step in taken[15:]
        ]
        assert max(late) < 0.15

    def test_steps_are_judged_by_the_task(self, followed: tuple[Path, list[str]]) -> None:
        folder, said = followed
        records = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
        returns = [record["return"] for record in records if record["kind"] == "episode"]
        assert len(returns) == 8
        assert max(returns) < 0  # the steps themselves said 0
        assert any(f"return {returns[0]:.1f}" in line for line in said)
        fit = next(record for record in records if record["kind"] == "fit")
        assert "reward_loss" not in fit

    def test_end_that_the_task_knows_cuts_the_episode(
        self, tmp_path: Path, tiny_settings: TinySettings
    ) -> None:
        settings = tiny_settings(tmp_path / "run", {"training.random_steps": 60})
        session = Session(settings, SIGNATURE, environment=None, say=lambda line: None, task=REACH)

        class Away(RandomPolicy):
            def action(self, episode: int, index: int) -> NDArray[np.float32]:
                return float32([1, 0])

        for step in steps(Away(SIGNATURE, seed=0), staying(0, 0), float32([3.1, 0]), 10):
            session.add(step)
        session.close()
        first, *rest = session.learner.store.episodes
        assert (len(first), first.terminated, first.truncated) == (5, True, False)
        # Whoever goes on out there ends after each step that has a beginning; none is missing.
        assert rest and all(len(episode) == 1 and episode.terminated for episode in rest)
        assert session.missing_steps == 0

    def test_goal_without_a_known_reward_is_refused(
        self, tmp_path: Path, tiny_settings: TinySettings
    ) -> None:
        settings = tiny_settings(tmp_path / "run", {})
        with pytest.raises(UserError, match="found the goal 'wanted' and no known reward"):
            make_model(settings, SIGNATURE)
