"""What every world model offers: a filter, an imagination and a loss.

The planner needs `initial_belief`, `observe` and `imagine` alone, and gets them as ONNX graphs.
`N` candidates, `H` horizon, `A` action size, `O` size of the observation vector, `B` belief size.
An observation is that vector, which may be empty, and images (height, width, channels) by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from planet_ros.data import Episode

NO_IMAGES: Mapping[str, Tensor] = MappingProxyType({})
"""What is seen where nothing but a vector is."""


@dataclass(frozen=True)
class Shapes:
    """The interface of an environment, as far as a model needs it.

    Attributes:
        observation: Size O of the observation vector.
        low: (A,) least action.
        high: (A,) greatest action.
        images: Height, width and channels of each image.
    """

    observation: int
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    images: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)

    @property
    def action(self) -> int:
        """Size A of the action vector."""
        return len(self.low)


@dataclass(frozen=True)
class TorchBatch:
    """A `planet_ros.data.SequenceBatch` as tensors."""

    observation: Tensor
    action: Tensor
    reward: Tensor
    continues: Tensor
    mask: Tensor
    images: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Dream:
    """What a model expects of one sequence of actions, and what it holds possible besides.

    The expected trajectory is the one that the planner counts on.

    Attributes:
        observation: (H, O) expected after each action, in the environment's units.
        reward: (H,) expected for each action.
        images: (H, height, width, channels) uint8 each, expected after each action.
        sampled_observations: (S, H, O) of S trajectories that the model holds possible.
        sampled_rewards: (S, H) of these.
    """

    observation: Tensor
    reward: Tensor
    images: Mapping[str, Tensor]
    sampled_observations: Tensor
    sampled_rewards: Tensor


class WorldModel(nn.Module, ABC):
    """A learned model of an environment, in physical units outside and normalised inside."""

    shapes: Shapes
    belief_size: int

    def initial_belief(self) -> Tensor:
        """Belief (B,) before anything was seen: zeros."""
        return torch.zeros(self.belief_size)

    @abstractmethod
    def observe(
        self,
        belief: Tensor,
        action: Tensor,
        observation: Tensor,
        images: Mapping[str, Tensor] = NO_IMAGES,
    ) -> Tensor:
        """Filter: belief (B,) after taking action (A,) and then seeing something.

        Args:
            belief: (B,) before.
            action: (A,) taken since, in the environment's units.
            observation: (O,) seen.
            images: (height, width, channels) uint8 each, seen with it; none where the environment
                has none.
        """

    @abstractmethod
    def imagine(self, belief: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predict what candidates bring.

        Args:
            belief: (B,) to start from.
            actions: (N, H, A) of each candidate, in the environment's units.

        Returns:
            Rewards (N, H) in the environment's units; probabilities (N, H) that the episode goes
            on after each step; disagreement (N, H) in the reward's units.
        """

    @abstractmethod
    def dream(self, belief: Tensor, actions: Tensor, samples: int) -> Dream:
        """Predict what will be seen, for a person to look at; it is no part of the bundle.

        Args:
            belief: (B,) to start from.
            actions: (H, A) taken from there, in the environment's units.
            samples: How many trajectories to draw, with torch's global generator; a model that
                has a number of them of its own gives those.
        """

    @abstractmethod
    def batch_dimensions(self, batch_size: int) -> tuple[int, ...]:
        """Batch dimensions that `loss` expects of a batch."""

    @abstractmethod
    def loss(self, batch: TorchBatch, loss_steps: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss to descend, and the scalars to log, among them ``loss``."""

    @abstractmethod
    def fit_normalization(self, episodes: Sequence[Episode]) -> None:
        """Take the scales of observations and rewards from data."""
