"""Known rewards and ends: what they are worth, what is refused, and what carries them on."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from arrays import float32
from batches import signature_of
from torch import Tensor

from planet_ros.bundle.export import BundleExporter
from planet_ros.bundle.runtime import Bundle, load_bundle
from planet_ros.config import PlannerSettings, RssmSettings, WorldModelSettings
from planet_ros.control.policy import PlanningPolicy
from planet_ros.data import Episode, ObservationPart, Parts, Signature, Step
from planet_ros.errors import UserError
from planet_ros.models import (
    ActionTerm,
    Ensemble,
    ObservationTerm,
    QuadraticReward,
    Rssm,
    Task,
    function_of,
    relabel,
)
from planet_ros.models.relabel import judged
from planet_ros.planning import PlanningError

SIGNATURE = signature_of({"arm": 4, "base": 2}, [-2, -1], [2, 3], goal=3)
HORIZON = 3


def quadratic(*terms: ObservationTerm, action: tuple[ActionTerm, ...] = ()) -> Task:
    return Task(SIGNATURE, QuadraticReward.of(SIGNATURE, terms, action))


def rewards(
    task: Task, arm: Any = (), base: Any = (), action: Any = (), goal: Any = (0, 0, 0)
) -> Tensor:
    """Of one transition, or of many that are rows."""

    def rows(values: Any, size: int) -> Tensor:
        array = torch.as_tensor(np.asarray(values, np.float32))
        return array if array.numel() else torch.zeros(size)

    before = {"arm": rows(arm, 4), "base": rows(base, 2)}
    leading = torch.broadcast_shapes(*(value.shape[:-1] for value in before.values()))
    before = {name: value.expand(*leading, -1) for name, value in before.items()}
    after = {name: torch.full_like(value, 1e6) for name, value in before.items()}
    found, _ = task.judge(before, rows(action, 2), after, rows(goal, 3))
    assert found is not None
    return found


def turned(angles: Any, length: float = 1.0) -> Any:
    """(…, 4) of the arm: cosine and sine of the angles at 1 and 2."""
    angles = np.asarray(angles, np.float64)
    still = np.zeros_like(angles)
    return np.stack([still, length * np.cos(angles), length * np.sin(angles), still], axis=-1)


class TestQuadratic:
    def test_is_the_weighted_sum_of_squared_distances(self) -> None:
        task = quadratic(
            ObservationTerm("arm", 3, 2.0, setpoint=1.0),
            ObservationTerm("base", 0, 0.5),
            ObservationTerm("arm", 0, 10.0, goal=2),
            action=(ActionTerm(1, 3.0, setpoint=-1.0), ActionTerm(0, 1.0, goal=0)),
        )
        found = rewards(task, arm=[7, 0, 0, 4], base=[6, 9], action=[2, 1], goal=[5, 0, 6])
        expected = 2 * 3**2 + 0.5 * 6**2 + 10 * 1**2 + 3 * 2**2 + 1 * 3**2
        assert float(found) == pytest.approx(-expected)

    @pytest.mark.parametrize("setpoint", [0.0, 1.3, math.pi, -3.0, 40.0])
    @pytest.mark.parametrize("length", [1.0, 0.3, 5.0])
    def test_angle_goes_the_short_way_round(self, setpoint: float, length: float) -> None:
        angles = np.linspace(-10, 10, 1001)
        task = quadratic(ObservationTerm("arm", 1, 0.5, "angle", setpoint=setpoint))
        distance = np.abs((angles - setpoint + np.pi) % (2 * np.pi) - np.pi)
        np.testing.assert_allclose(
            rewards(task, arm=turned(angles, length)), -0.5 * distance**2, atol=1e-5
        )

    def test_angle_is_exact_where_it_is_best_and_where_it_is_worst(self) -> None:
        task = quadratic(ObservationTerm("arm", 1, 1.0, "angle"))
        angles = [0.0, 1e-3, math.pi, math.pi - 1e-3]
        found = (-rewards(task, arm=turned(angles))).sqrt()
        np.testing.assert_allclose(found, angles, atol=3e-7)
        # No direction at all is no reason for a number that is none.
        assert rewards(task, arm=[0, 0, 0, 0]).isfinite()

    @pytest.mark.parametrize("kind", ["plain", "angle"])
    def test_angle_follows_a_goal_in_radians_or_as_cosine_and_sine(self, kind: Any) -> None:
        task = quadratic(ObservationTerm("arm", 1, 1.0, "angle", goal=1, goal_kind=kind))
        wanted = [9, 3.0, 9] if kind == "plain" else [9, math.cos(3.0), math.sin(3.0)]
        found = rewards(task, arm=turned(-3.0), goal=wanted)
        assert float(found) == pytest.approx(-((2 * math.pi - 6) ** 2), abs=1e-5)

    def test_gradient_is_finite_everywhere(self) -> None:
        task = quadratic(ObservationTerm("arm", 1, 1.0, "angle"), ObservationTerm("base", 0, 1.0))
        points = np.concatenate([turned([0.0, math.pi, 1.0, -2.0]), np.zeros((1, 4))])
        arm = torch.tensor(points, dtype=torch.float32, requires_grad=True)
        after = {"arm": arm, "base": torch.zeros(5, 2)}
        found, _ = task.judge(after, torch.zeros(5, 2), after, torch.zeros(5, 3))
        assert found is not None
        found.sum().backward()
        assert arm.grad is not None and arm.grad.isfinite().all()
        assert arm.grad[2].abs().max() > 0.1

    @pytest.mark.parametrize(
        ("term", "message"),
        [
            (ObservationTerm("leg", 0, 1.0), r"part 'leg'.*\['arm', 'base'\]"),
            (ObservationTerm("wanted", 0, 1.0), r"part 'wanted'.*\['arm', 'base'\]"),
            (ObservationTerm("base", 2, 1.0), r"the number 2 of base, expected from 0 to 1"),
            (ObservationTerm("base", 1, 1.0, "angle"), r"numbers 1 and 2 of base"),
            (ObservationTerm("base", 0, 1.0, goal=3), r"the number 3 of the goal.*0 to 2"),
            (ObservationTerm("base", -1, 1.0), r"the number -1 of base"),
            (ObservationTerm("base", 0, -1.0), r"weight=-1\.0.*0 or more"),
            (ObservationTerm("base", 0, 1.0, setpoint=math.nan), r"setpoint=nan.*finite"),
            (
                ObservationTerm("base", 0, 1.0, goal=0, goal_kind="angle"),
                r"an angle of the goal for a plain number of base",
            ),
            (ActionTerm(2, 1.0), r"the number 2 of the action, expected from 0 to 1"),
        ],
        ids=str,
    )
    def test_term_that_does_not_fit_is_refused(
        self, term: ObservationTerm | ActionTerm, message: str
    ) -> None:
        with pytest.raises(UserError, match=message):
            if isinstance(term, ActionTerm):
                QuadraticReward.of(SIGNATURE, [], [term])
            else:
                QuadraticReward.of(SIGNATURE, [term])

    def test_goal_of_a_signature_without_one_is_refused(self) -> None:
        signature = signature_of(2, [-1], [1])
        with pytest.raises(UserError, match="the number 0 of the goal, but there is none"):
            QuadraticReward.of(signature, [ObservationTerm("observation", 0, 1.0, goal=0)])


# ── functions ────────────────────────────────────────────────────────────────────────────────

WEIGHT = torch.ones(4, requires_grad=True)


def branching(before: Any, action: Any, after: Any, goal: Any) -> Tensor:
    size = after["arm"].square().sum(dim=-1)
    return size if size.mean() > 1e9 else -size


BAD_REWARDS: dict[str, tuple[Callable[..., Any], str]] = {
    "no number": (lambda b, a, n, g: "much", r"found <class 'str'>.*expected a tensor"),
    "one for all": (lambda b, a, n, g: n["arm"].sum(), r"found \(\(\).*expected a tensor of shape"),
    "one for each number": (lambda b, a, n, g: n["arm"], r"\(3, 4\).*shape \(3,\)"),
    "long": (lambda b, a, n, g: n["arm"][..., 0].double(), r"torch\.float64.*type torch\.float32"),
    "no such part": (lambda b, a, n, g: n["leg"][..., 0], r"KeyError\('leg'\).*arm \(…, 4\)"),
    "other arguments": (lambda state: state, r"TypeError.*\(observation, action, next_observation"),
    "a branch": (branching, r"cannot be traced: Converting a tensor to a Python boolean.*where"),
    "a number": (lambda b, a, n, g: n["arm"][..., 0] * n["arm"].sum().item(), "cannot be traced"),
    "numpy": (lambda b, a, n, g: torch.from_numpy(n["arm"].numpy()).sum(-1), "cannot be traced"),
    "noise": (lambda b, a, n, g: torch.randn(n["arm"].shape[:-1]), "other numbers"),
    "learned": (lambda b, a, n, g: (n["arm"] * WEIGHT).sum(-1), "cannot be traced.*gradient"),
    "fixed size": (lambda b, a, n, g: torch.zeros(3), r"found \(\(3,\).*\(2, 3, 4\)"),
}


class TestFunctions:
    @pytest.mark.parametrize("kind", BAD_REWARDS)
    def test_reward_that_keeps_no_contract_is_refused(self, kind: str) -> None:
        function, message = BAD_REWARDS[kind]
        with pytest.raises(UserError, match=f"(?s)reward test_tasks:.*{message}"):
            Task(SIGNATURE, function)

    def test_end_is_a_boolean(self) -> None:
        with pytest.raises(UserError, match=r"terminated .*float32.*expected .*torch\.bool"):
            Task(SIGNATURE, None, lambda n, g: n["arm"][..., 0])

    def test_task_knows_something_of_vectors(self) -> None:
        with pytest.raises(UserError, match="neither reward nor terminated"):
            Task(SIGNATURE, None)
        pictures = signature_of(0, [-1], [1], {"camera": (4, 4, 1)})
        with pytest.raises(UserError, match=r"found the images \['camera'\] alone"):
            Task(pictures, lambda b, a, n, g: a.sum(-1))

    def test_path_is_imported(self, make_module: Callable[..., None]) -> None:
        make_module(
            "own_tasks",
            "def reach(observation, action, next_observation, goal):\n"
            "    return -observation['arm'].square().sum(dim=-1)\n"
            "five = 5\n",
        )
        make_module("broken_tasks", "1 / 0\n")
        task = Task(SIGNATURE, function_of("own_tasks:reach", "reward.function"))
        assert float(rewards(task, arm=[1, 2, 0, 0])) == -5
        for path, message in {
            "own_tasks": "found 'own_tasks', expected module:function",
            "own_tasks:": "expected module:function",
            "own_tasks:five": r"found no function five in .*own_tasks\.py, .*\['reach'\]",
            "own_tasks:reahc": r"found no function reahc.*\['reach'\]",
            "no_tasks:reach": "the module no_tasks cannot be imported.*PYTHONPATH",
            "broken_tasks:reach": "broken_tasks cannot be imported: ZeroDivisionError",
        }.items():
            with pytest.raises(UserError, match=f"reward.function: .*{message}"):
                function_of(path, "reward.function")

    def test_model_takes_a_task_of_its_own_signature_alone(self) -> None:
        task = quadratic(ObservationTerm("arm", 0, 1.0))
        with pytest.raises(UserError, match="the task: found 'wanted' of float32"):
            Ensemble(signature_of({"arm": 4, "base": 2}, [-2, -1], [2, 3]), MODEL, task)
        turned_round = Signature(
            (
                ObservationPart("arm", (4,)),
                ObservationPart("wanted", (3,)),
                ObservationPart("base", (2,), "goal"),
            ),
            SIGNATURE.action,
            0.05,
        )
        with pytest.raises(UserError, match=r"goals \['wanted'\], expected \['base'\]"):
            Rssm(turned_round, RssmSettings(), task=task)

    def test_operation_that_onnx_does_not_have_is_named(self) -> None:
        def special(before: Any, action: Any, after: Any, goal: Any) -> Tensor:
            return torch.special.i1e(after["arm"]).sum(dim=-1)

        model = Ensemble(SIGNATURE, MODEL, Task(SIGNATURE, special))
        with pytest.raises(UserError, match=r"graph that gives rewards.*cannot be exported.*i1e"):
            BundleExporter(model, HORIZON)


# ── experience ───────────────────────────────────────────────────────────────────────────────


def episode(steps: int = 5, terminated: bool = False) -> Episode:
    rng = np.random.default_rng(0)
    return Episode(
        observation={
            "arm": rng.normal(size=(steps + 1, 4)).astype(np.float32),
            "base": np.stack([np.arange(steps + 1), np.zeros(steps + 1)], -1).astype(np.float32),
            "wanted": rng.normal(size=(steps + 1, 3)).astype(np.float32),
        },
        action=rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        reward=np.full(steps, 77.0),
        terminated=terminated,
        truncated=not terminated,
        environment_steps=2 * steps,
    )


FAR = Task(
    SIGNATURE,
    lambda b, a, n, g: n["base"][..., 0] - g[..., 1] + a[..., 0] + b["arm"][..., 2],
    lambda n, g: n["base"][..., 0] >= 3,
)
NEAR = Task(SIGNATURE, FAR.reward, lambda n, g: n["base"][..., 0] >= 30)


class TestRelabelling:
    def test_rewards_are_those_of_the_task_with_the_goal_of_the_time(self) -> None:
        before = episode()
        after = relabel(before, Task(SIGNATURE, FAR.reward))
        seen = before.observation
        expected = (
            seen["base"][1:, 0] - seen["wanted"][:-1, 1] + before.action[:, 0] + seen["arm"][:-1, 2]
        )
        np.testing.assert_allclose(after.reward, expected, rtol=1e-6)
        assert after.reward.dtype == np.float64
        assert (after.terminated, after.truncated) == (False, True)
        assert after.observation is before.observation

    @pytest.mark.parametrize("goals", [[1, 2, 3], np.arange(18).reshape(6, 3)], ids=["one", "many"])
    def test_another_goal_takes_the_place_of_the_one_that_was(self, goals: Any) -> None:
        before = episode()
        after = relabel(before, Task(SIGNATURE, FAR.reward), goals)
        wanted = np.broadcast_to(float32(goals), (6, 3))
        np.testing.assert_array_equal(after.observation["wanted"], wanted)
        change = before.observation["wanted"][:-1, 1] - wanted[:-1, 1]
        plain = relabel(before, Task(SIGNATURE, FAR.reward)).reward
        np.testing.assert_allclose(after.reward - plain, change, rtol=1e-4, atol=1e-5)

    def test_episode_is_cut_where_the_task_ends_it(self) -> None:
        after = relabel(episode(), FAR)
        assert len(after) == 3
        assert after.environment_steps == 6
        assert (after.terminated, after.truncated) == (True, False)
        np.testing.assert_array_equal(after.observation["base"][:, 0], [0, 1, 2, 3])

    def test_end_that_the_task_does_not_see_is_a_cut(self) -> None:
        after = relabel(episode(terminated=True), NEAR)
        assert len(after) == 5
        assert (after.terminated, after.truncated) == (False, True)

    def test_task_without_a_reward_leaves_it(self) -> None:
        after = relabel(episode(), Task(SIGNATURE, None, FAR.terminated))
        np.testing.assert_array_equal(after.reward, [77, 77, 77])

    def test_step_is_judged_as_its_episode_is(self) -> None:
        whole, expected = episode(), relabel(episode(), FAR)
        steps = [
            Step(
                index,
                {name: values[index] for name, values in whole.observation.items()},
                whole.action[index - 1],
                77.0,
            )
            for index in range(4)
        ]
        found = [judged(*pair, FAR) for pair in itertools.pairwise(steps)]
        np.testing.assert_array_equal([step.reward for step in found], expected.reward)
        assert [step.terminated for step in found] == [False, False, True]

    @pytest.mark.parametrize("goal", [[1, 2], np.zeros((5, 3))], ids=["short", "one too few"])
    def test_goal_of_another_length_is_refused(self, goal: Any) -> None:
        with pytest.raises(UserError, match=r"goal: found shape .*expected \(3,\), or \(6, 3\)"):
            relabel(episode(), FAR, goal)

    def test_episode_of_something_else_is_refused(self) -> None:
        signature = signature_of({"arm": 4}, [-2, -1], [2, 3])
        task = Task(signature, lambda b, a, n, g: n["arm"].sum(-1))
        with pytest.raises(UserError, match="the episode: found 'base'"):
            relabel(episode(), task)
        with pytest.raises(UserError, match="goal: found one, expected none"):
            relabel(episode(), task, [1, 2, 3])


# ── acting ───────────────────────────────────────────────────────────────────────────────────

MODEL = WorldModelSettings(members=2, hidden_sizes=[8], predict_continue=False)
SETTINGS = PlannerSettings(horizon=HORIZON, candidates=32, elites=4, iterations=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    follow = ActionTerm(0, 1.0, goal=0), ActionTerm(1, 1.0, goal=2)
    model = Ensemble(
        SIGNATURE, MODEL, quadratic(ObservationTerm("arm", 0, 0.01, goal=1), action=follow)
    )
    path = tmp_path_factory.mktemp("goal") / "model"
    about = {"model_kind": "ensemble", "horizon": HORIZON, "signature": SIGNATURE}
    BundleExporter(model, HORIZON).export(path, {**about, "planner": SETTINGS})
    return path


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return load_bundle(folder)


def seen(goal: Any) -> Parts:
    return {"arm": np.zeros(4, np.float32), "base": np.zeros(2, np.float32), "wanted": goal}


class TestActing:
    def test_readers_that_know_no_goals_are_told(self, folder: Path) -> None:
        document = json.loads((folder / "manifest.json").read_bytes())
        assert document["requires"] == ["goal"]

    def test_plan_follows_the_goal_of_the_moment(self, bundle: Bundle) -> None:
        policy = PlanningPolicy.of(bundle, seed=0)
        for wanted in ([1.5, 0, 2.0], [-1.5, 0, 0.0], [0.0, 0, -0.8]):
            policy.reset()
            for _ in range(3):  # the warm start comes closer
                action = policy.act(seen(float32(wanted))).actions[0]
                policy.took(action)
            np.testing.assert_allclose(action, [wanted[0], wanted[2]], atol=0.5)

    def test_goal_that_is_missing_or_wrong_is_an_error_and_no_action(self, bundle: Bundle) -> None:
        policy = PlanningPolicy.of(bundle, seed=0)
        without = {name: value for name, value in seen(None).items() if name != "wanted"}
        with pytest.raises(PlanningError, match="no goal has been received yet, expected 3 num"):
            policy.act(without)
        for goal in ([1, 2], [1, 2, np.nan]):
            with pytest.raises(PlanningError, match=r"found the goal \[ ?1.*expected 3 numbers"):
                policy.act(seen(float32(goal)))
        assert policy.act(seen(float32([1, 2, 3]))).actions.shape == (HORIZON, 2)
