"""How far a model's members disagree on what its data covers, and how much to mind it in plans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from planet_ros.data import Episode
from planet_ros.models import WorldModel

MOST_STARTS = 20
"""Of predictions: each takes the time of a plan's iteration."""

MOST_STEPS = 2000
"""Of the episodes that are looked through for them, from the newest on."""

SURE = 0.9
"""Share of the predictions that a penalty keeps from promising too much."""


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
    predictions of held-out episodes.

    Args:
        model: To ask.
        held_out: Episodes that it has not learned from.
        horizon: Steps ahead.
        starts: Of predictions, at most.

    Returns:
        At least 0; None where there is nobody to disagree, or nothing to ask about.
    """
    needed = [
        max(0.0, float((expected - truth).sum())) / max(float(spread.sum()), 1e-12)
        for expected, spread, truth in _forecasts(model, held_out, horizon, starts)
    ]
    return float(np.quantile(needed, SURE)) if needed and np.isfinite(needed).all() else None


_Rows = NDArray[np.float64]


def _forecasts(
    model: WorldModel, episodes: Sequence[Episode], horizon: int, most: int
) -> Iterator[tuple[_Rows, _Rows, _Rows]]:
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
        count = max(1, most // len(chosen))
        places = set(np.linspace(0, len(episode) - horizon, count).astype(int).tolist())
        goals = model.goals(episode)
        with torch.no_grad():
            for index, belief in enumerate(model.filtered(episode)):
                if index not in places:
                    continue
                actions = torch.from_numpy(episode.action[index : index + horizon])
                goal = None if goals is None else goals[index]
                found = model.imagine(belief, actions[None].to(belief.device), goal)
                assert found.disagreement is not None
                expected, spread = found.rewards[0].cpu(), found.disagreement[0].cpu()
                truth = episode.reward[index : index + horizon].astype(np.float64)
                yield expected.numpy().astype(np.float64), spread.numpy().astype(np.float64), truth


def _disagrees(model: WorldModel) -> bool:
    """Whether it says at all how much its members disagree."""
    device = next(model.parameters()).device
    actions = torch.from_numpy(model.signature.middle)[None, None].to(device)
    part = model.signature.goal
    goal = None if part is None else torch.zeros(part.shape, device=device)
    with torch.no_grad():
        found = model.imagine(model.initial_belief().to(device), actions, goal)
    return found.disagreement is not None
