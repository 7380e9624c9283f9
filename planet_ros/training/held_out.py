"""How well a model predicts episodes that it has not learned from, many steps ahead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from planet_ros.data import Episode
from planet_ros.models import WorldModel

MOST_STARTS = 200
"""Of predictions, in all episodes together."""


class HeldOut:
    """Episodes that judge a model."""

    def __init__(
        self, episodes: Sequence[Episode], learned: Sequence[Episode], horizon: int
    ) -> None:
        """Choose where predictions start.

        Args:
            episodes: To predict.
            learned: What the model learns from; by their spread errors are measured.
            horizon: Steps ahead at most.
        """
        self._episodes = episodes
        self._horizon = horizon
        self._starts = max(1, MOST_STARTS // len(episodes))
        self._spread = {
            name: _spread([one.observation[name] for one in learned])
            for name in learned[0].observation
        }
        self._reward_spread = float(_spread([one.reward[:, None] for one in learned])[0])

    def error(self, model: WorldModel) -> float:
        """Root mean square error over all steps ahead, in spreads of what was learned from.

        1 is what somebody has who knows nothing but the mean. A reward that the model computes from
        what it predicts is left out: it is right where that is.
        """
        squares: list[float] = []
        learns_reward = model.task is None or model.task.reward is None
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for episode in self._episodes:
                goals = model.goals(episode)
                beliefs = list(model.filtered(episode))
                for start in np.unique(
                    np.linspace(0, max(0, len(episode) - self._horizon), self._starts).astype(int)
                ):
                    actions = torch.from_numpy(episode.action[start : start + self._horizon])
                    actions = actions.to(beliefs[0].device)
                    goal = None if goals is None else goals[start]
                    dream = model.dream(beliefs[start], actions, 0, goal)
                    steps = len(actions)
                    for name, predicted in dream.observation.items():
                        truth = episode.observation[name][start + 1 : start + 1 + steps]
                        difference = truth - predicted.cpu().numpy().astype(np.float64)
                        squares.append(float(np.square(difference / self._spread[name]).mean()))
                    if learns_reward:
                        wrong = episode.reward[start : start + steps] - dream.reward.cpu().numpy()
                        squares.append(float(np.square(wrong / self._reward_spread).mean()))
        return float(np.sqrt(np.mean(squares)))


def _spread(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Of each number of vectors; of all pixels of pictures together; never less than a trifle."""
    rows = np.concatenate([one.reshape(len(one), -1) for one in arrays]).astype(np.float64)
    spread = rows.std(axis=0)
    if arrays[0].ndim > 2:
        spread = np.full(1, rows.std())
    return np.maximum(spread, 1e-3 * max(1e-6, float(np.abs(rows).max())))
