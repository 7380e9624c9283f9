"""How far a model's members disagree on what its data covers, and how much to mind it in plans."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from planet_ros.bundle.runtime import Bundle
from planet_ros.control.events import MadePlan
from planet_ros.control.policy import PlanningPolicy
from planet_ros.data import Episode
from planet_ros.models import WorldModel
from planet_ros.planning import PlanningError

Rows: TypeAlias = NDArray[np.float64]

MOST_STARTS = 20
"""Of predictions: each takes the time of a plan's iteration."""

MOST_STEPS = 2000
"""Of the episodes that are looked through for them, from the newest on."""

SURE = 0.9
"""Share of the predictions that a penalty keeps from promising too much."""

TRIFLE = 0.02
"""Of the standard deviation of the returns that came true: what counts as right."""


@dataclass(frozen=True)
class Forecast:
    """What a model expects of actions that were really taken, and what came true.

    Attributes:
        rewards: (H,) that it expects.
        disagreement: (H,) of its members; None where there is nobody to disagree.
        truth: (H,) rewards that there were.
    """

    rewards: Rows
    disagreement: Rows | None
    truth: Rows


def forecasts(
    model: WorldModel, episode: Episode, places: NDArray[np.integer], horizon: int
) -> Iterator[Forecast]:
    """Forecasts over a horizon from places (k,) in an episode, in their order."""
    wanted, goals = set(places.tolist()), model.goals(episode)
    with torch.no_grad():
        beliefs = itertools.islice(model.filtered(episode), max(wanted, default=-1) + 1)
        for place, belief in enumerate(beliefs):
            if place not in wanted:
                continue
            steps = slice(place, place + horizon)
            actions = torch.from_numpy(episode.action[None, steps]).to(belief.device)
            found = model.imagine(belief, actions, None if goals is None else goals[place])
            spread = None if found.disagreement is None else _rows(found.disagreement[0])
            yield Forecast(_rows(found.rewards[0]), spread, episode.reward[steps].astype(float))


def _rows(values: torch.Tensor) -> Rows:
    return values.cpu().numpy().astype(np.float64)


def data_disagreement(model: WorldModel, episodes: Sequence[Episode], horizon: int) -> float | None:
    """The mean disagreement over a horizon of the actions that were really taken.

    Args:
        model: To ask.
        episodes: That it has learned from.
        horizon: Steps ahead.

    Returns:
        In the unit of the reward; None where there is nobody to disagree, or nothing to ask about.
    """
    found = [spread.mean() for _, spread, _ in _forecasts(model, episodes, horizon, MOST_STARTS)]
    return float(np.mean(found)) if found and np.isfinite(found).all() and any(found) else None


def cautious_penalty(
    model: WorldModel, held_out: Sequence[Episode], horizon: int, starts: int = 200
) -> float | None:
    """The least ``planner.disagreement_penalty`` by which few predictions promise too much.

    With it the predicted return, less the penalty, is no more than what came true in `SURE` of the
    predictions of held-out episodes, but for a trifle: noise makes errors that no penalty cures.

    Args:
        model: To ask.
        held_out: Episodes that it has not learned from.
        horizon: Steps ahead.
        starts: Of predictions, at most.

    Returns:
        At least 0; None where there is nobody to disagree, or nothing to ask about.
    """
    found = list(_forecasts(model, held_out, horizon, starts))
    if not found:
        return None
    expected, spread, truth = (np.array(rows).sum(axis=1) for rows in zip(*found, strict=True))
    too_much = np.maximum(0.0, expected - truth - TRIFLE * truth.std())
    needed = too_much / np.maximum(spread, 1e-12)
    return float(np.quantile(needed, SURE)) if np.isfinite(needed).all() else None


def planned_novelty(bundle: Bundle, episodes: Sequence[Episode]) -> float | None:
    """How far members disagree on plans from the states of episodes, in parts of that on data.

    Args:
        bundle: Plans with its own planner.
        episodes: Whose states are gone through, up to `PLANNED_STEPS` of them.

    Returns:
        The mean of `planet_ros.control.events.MadePlan.novelty`; None where it is not known.
    """
    policy, found = PlanningPolicy.of(bundle, seed=0), []
    for episode in episodes:
        policy.reset(0)
        for index in range(min(len(episode), PLANNED_STEPS // len(episodes) + 1)):
            seen = {name: values[index] for name, values in episode.observation.items()}
            try:
                made = MadePlan(policy.act(seen), bundle, 0)
            except PlanningError:
                continue
            policy.took(episode.action[index])
            if made.novelty is None:
                return None
            found.append(made.novelty)
    return float(np.mean(found)) if found else None


PLANNED_STEPS = 200


def _forecasts(
    model: WorldModel, episodes: Sequence[Episode], horizon: int, most: int
) -> Iterator[tuple[Rows, Rows, Rows]]:
    """Expected rewards, disagreement and true rewards (H,) from places spread over episodes."""
    if not _disagrees(model):
        return
    chosen: list[Episode] = []
    for episode in reversed(episodes):
        if sum(map(len, chosen)) > MOST_STEPS:
            break
        if len(episode) >= horizon:
            chosen.append(episode)
    for episode in chosen:
        places = _places(model, episode, horizon, max(1, most // len(chosen)))
        for one in forecasts(model, episode, places, horizon):
            assert one.disagreement is not None
            yield one.rewards, one.disagreement, one.truth


def _places(model: WorldModel, episode: Episode, horizon: int, most: int) -> NDArray[np.integer]:
    """Places (k,) spread over an episode after which the goal stays what it is for a horizon."""
    places = np.arange(len(episode) - horizon + 1)
    if model.signature.goal is not None:
        goal = episode.observation[model.signature.goal.name][:-1]
        changes = np.flatnonzero((goal[1:] != goal[:-1]).any(axis=1)) + 1
        # The next change after each place, which is to lie beyond the horizon.
        following = np.searchsorted(changes, places, side="right")
        ends = np.append(changes, len(goal) + horizon)[following]
        places = places[ends - places >= horizon]
    if not len(places):
        return places
    return places[np.unique(np.linspace(0, len(places) - 1, most).astype(int))]


def _disagrees(model: WorldModel) -> bool:
    """Whether it says at all how much its members disagree."""
    device = next(model.parameters()).device
    actions = torch.zeros((1, 1, model.signature.actions), device=device)
    part = model.signature.goal
    goal = None if part is None else torch.zeros(part.shape, device=device)
    with torch.no_grad():
        found = model.imagine(model.initial_belief().to(device), actions, goal)
    return found.disagreement is not None
