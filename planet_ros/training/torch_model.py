"""A world model in torch that can be planned with, on the device where it is learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from planet_ros.bundle.runtime import Rollouts
from planet_ros.data import Parts
from planet_ros.models import WorldModel

Array = NDArray[np.float32]


class TorchBeliefModel:
    """The world-model contract in numpy, computed by torch; what the exported graphs do.

    Candidates come from the planner and rewards go back to it: a few kilobytes, against all the
    products in between.
    """

    def __init__(self, model: WorldModel) -> None:
        """Act by a model, with the weights that it has at each call."""
        self._model = model
        self._device = next(model.parameters()).device

    def initial_belief(self) -> Array:
        """Belief (B,) before anything was seen."""
        return self._model.initial_belief().numpy()

    @torch.no_grad()
    def observe(self, belief: Array, action: Array, observation: Parts) -> Array:
        """Belief (B,) after taking `action` (A,) and then seeing something."""
        seen = {name: self._tensor(value) for name, value in observation.items()}
        following = self._model.observe(self._tensor(belief), self._tensor(action), seen)
        return following.cpu().numpy()

    @torch.no_grad()
    def imagine(self, belief: Array, actions: Array, goal: Array | None = None) -> Rollouts:
        """What is expected of candidates `actions` (N, H, A), for a goal (G,) if there is one."""
        wanted = None if goal is None else self._tensor(goal)
        imagined = self._model.imagine(self._tensor(belief), self._tensor(actions), wanted)
        return Rollouts(
            imagined.rewards.cpu().numpy(),
            *(None if part is None else part.cpu().numpy() for part in imagined[1:]),
        )

    def _tensor(self, values: NDArray[Any]) -> torch.Tensor:
        values = np.ascontiguousarray(values)
        # torch warns of arrays that must not be written, such as a signature's.
        return torch.from_numpy(values if values.flags.writeable else values.copy()).to(
            self._device
        )
