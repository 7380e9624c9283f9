"""Disagreement on the data and along plans, and the penalty that held-out returns ask for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from arrays import float32

from planet_ros.bundle.runtime import Bundle, load_bundle
from planet_ros.config import WorldModelSettings
from planet_ros.control.events import MadePlan
from planet_ros.control.policy import FilteredPlan, PlanningPolicy
from planet_ros.data import ActionPart, Episode, ObservationPart, Signature
from planet_ros.models import Ensemble, Task
from planet_ros.models.contract import Imagined
from planet_ros.planning import Plan
from planet_ros.training.coverage import (
    TRIFLE,
    _places,
    cautious_penalty,
    data_disagreement,
    forecasts,
    planned_novelty,
)

HORIZON = 5
SIGNATURE = Signature(
    (ObservationPart("observation", (2,)),), (ActionPart("push", -1.0, 1.0),), 0.05
)


def episode(rewards: list[float]) -> Episode:
    count = len(rewards)
    rng = np.random.default_rng(count)
    return Episode(
        {"observation": float32(rng.normal(size=(count + 1, 2)))},
        float32(rng.uniform(-1, 1, (count, 1))),
        np.array(rewards),
        terminated=False,
        truncated=True,
    )


class Sure(Ensemble):
    """Expects 2 of every step, and disagrees by 0.5 in the first one of a plan, 0.1 later."""

    disagrees = True

    def imagine(self, belief: torch.Tensor, actions: torch.Tensor, goal: Any = None) -> Imagined:
        shape = actions.shape[:2]
        spread = torch.full(shape, 0.1)
        spread[:, 0] = 0.5
        return Imagined(torch.full(shape, 2.0), None, spread if self.disagrees else None)


@pytest.fixture
def model() -> Sure:
    return Sure(SIGNATURE, WorldModelSettings(members=2, hidden_sizes=[4]))


def test_forecasts_are_of_the_actions_that_were_taken() -> None:
    torch.manual_seed(0)
    model = Ensemble(SIGNATURE, WorldModelSettings(members=3, hidden_sizes=[8]))
    one = episode([float(number) for number in range(12)])
    found = list(forecasts(model, one, np.array([0, 3, 7]), HORIZON))
    beliefs = list(model.filtered(one))
    for place, forecast in zip([0, 3, 7], found, strict=True):
        actions = torch.from_numpy(one.action[None, place : place + HORIZON])
        wanted = model.imagine(beliefs[place], actions)
        assert wanted.disagreement is not None and forecast.disagreement is not None
        np.testing.assert_allclose(forecast.rewards, wanted.rewards[0].detach(), rtol=1e-6)
        np.testing.assert_allclose(
            forecast.disagreement, wanted.disagreement[0].detach(), rtol=1e-6
        )
        assert forecast.truth.tolist() == list(range(place, place + HORIZON))


def test_penalty_is_what_nine_of_ten_held_out_returns_need(model: Sure) -> None:
    spread = 0.5 + (HORIZON - 1) * 0.1
    promised_too_much = HORIZON * 2.0 - HORIZON * 1.4
    found = cautious_penalty(model, [episode([1.4] * 20)], HORIZON)
    assert found == pytest.approx(promised_too_much / spread, rel=1e-5)
    assert cautious_penalty(model, [episode([2.5] * 20)], HORIZON) == 0.0
    # One place in twenty needs much more, which is its own affair.
    rare = [episode([1.4] * HORIZON)] * 19 + [episode([1.0] * HORIZON)]
    trifle = TRIFLE * np.std([HORIZON * 1.4] * 19 + [HORIZON * 1.0])
    wanted = (promised_too_much - trifle) / spread
    assert cautious_penalty(model, rare, HORIZON) == pytest.approx(wanted, rel=1e-5)


def test_what_is_wrong_by_a_trifle_needs_no_penalty(model: Sure) -> None:
    """Noise does, of which the members know nothing."""
    differing = [episode([1.99 + 4 * (number % 2)] * HORIZON) for number in range(20)]
    assert cautious_penalty(model, differing, HORIZON) == 0.0


def test_nothing_is_forecast_across_another_goal() -> None:
    torch.manual_seed(0)
    goal = ObservationPart("goal", (1,), "goal")
    signature = Signature((*SIGNATURE.observation, goal), SIGNATURE.action, 0.05)
    task = Task(
        signature, lambda before, action, after, goal: -(after["observation"] - goal)[..., 0]
    )
    model = Ensemble(signature, WorldModelSettings(members=2, hidden_sizes=[4]), task)
    goals = np.repeat([1.0, 2.0, 3.0], [7, 3, 11])
    one = episode([0.0] * 20)
    one = replace(one, observation={**one.observation, "goal": float32(goals[:, None])})
    places = _places(model, one, HORIZON, 100)
    assert places.tolist() == [0, 1, 2, *range(10, 16)]
    for place in places:
        assert len(set(goals[place : place + HORIZON])) == 1


def test_disagreement_on_data_is_over_whole_horizons(model: Sure) -> None:
    found = data_disagreement(model, [episode([0.0] * 3), episode([0.0] * 9)], HORIZON)
    assert found == pytest.approx((0.5 + (HORIZON - 1) * 0.1) / HORIZON, rel=1e-5)
    assert data_disagreement(model, [episode([0.0] * 3)], HORIZON) is None
    assert data_disagreement(model, [], HORIZON) is None


def test_where_nobody_can_disagree_there_is_nothing_to_say(model: Sure) -> None:
    model.disagrees = False
    assert data_disagreement(model, [episode([0.0] * 9)], HORIZON) is None
    assert cautious_penalty(model, [episode([0.0] * 9)], HORIZON) is None


# ── plans ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def bundle(tiny_run: Path) -> Bundle:
    return load_bundle(tiny_run / "model")


def test_a_run_knows_the_disagreement_on_its_data(bundle: Bundle, tiny_run: Path) -> None:
    assert bundle.manifest.data_disagreement is not None
    assert bundle.manifest.data_disagreement > 0


def test_plan_tells_the_disagreement_of_the_best_candidate(bundle: Bundle) -> None:
    weighed = []

    class Listening:
        def __getattr__(self, name: str) -> Any:
            return getattr(bundle.model, name)

        def imagine(self, *arguments: Any) -> Any:
            weighed.append(bundle.model.imagine(*arguments))
            return weighed[-1]

    policy = PlanningPolicy.of(bundle, seed=0, model=Listening())  # type: ignore[arg-type]
    part = bundle.manifest.signature.parts("vector")[0]
    plan = policy.act({part.name: np.zeros(part.shape, np.float32)})
    newest = weighed[-1]
    discount = bundle.manifest.planner.discount
    weights = discount ** np.arange(newest.rewards.shape[1])
    best = int(np.argmax(newest.rewards @ weights))
    assert newest.disagreement is not None
    assert plan.disagreement == pytest.approx(float(newest.disagreement[best].mean()))
    known = bundle.manifest.data_disagreement
    assert known is not None and plan.disagreement is not None
    assert MadePlan(plan, bundle, 0).novelty == pytest.approx(plan.disagreement / known)


def _known(bundle: Bundle, value: float | None) -> Bundle:
    manifest = bundle.manifest.model_copy(update={"data_disagreement": value})
    return replace(bundle, manifest=manifest)


def test_novelty_of_plans_is_in_parts_of_that_on_the_data(bundle: Bundle) -> None:
    part = bundle.manifest.signature.parts("vector")[0]
    one = Episode(
        {part.name: np.zeros((21, *part.shape), np.float32)},
        np.zeros((20, bundle.manifest.signature.actions), np.float32),
        np.zeros(20, np.float32),
        terminated=False,
        truncated=True,
    )
    found = planned_novelty(_known(bundle, 0.5), [one])
    assert found is not None and found > 0
    assert planned_novelty(_known(bundle, 0.25), [one]) == pytest.approx(2 * found)
    assert planned_novelty(_known(bundle, None), [one]) is None


def test_novelty_is_not_known_of_other_plans(bundle: Bundle) -> None:
    actions = np.zeros((HORIZON, 1), np.float32)
    assert MadePlan(Plan(actions), _known(bundle, 1.0), 0).novelty is None
    assert MadePlan(FilteredPlan(actions), _known(bundle, 1.0), 0).novelty is None
