"""A world model in torch that can be planned with, on the device where it is learned."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from planet_ros.bundle.runtime import NO_IMAGES, Array, Images
from planet_ros.models import WorldModel


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

    def observe(
        self, belief: Array, action: Array, observation: Array, images: Images = NO_IMAGES
    ) -> Array:
        """Belief (B,) after taking `action` (A,) and then seeing `observation` (O,) and images."""
        with torch.no_grad():
            following = self._model.observe(
                self._tensor(belief),
                self._tensor(action),
                self._tensor(observation),
                {name: self._tensor(image) for name, image in images.items()},
            )
        return following.cpu().numpy()

    def imagine(self, belief: Array, actions: Array) -> tuple[Array, Array, Array]:
        """Rewards, continues and disagreement (N, H) of candidates `actions` (N, H, A)."""
        with torch.no_grad():
            rewards, continues, disagreement = self._model.imagine(
                self._tensor(belief), self._tensor(actions)
            )
        return rewards.cpu().numpy(), continues.cpu().numpy(), disagreement.cpu().numpy()

    def _tensor(self, values: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)
