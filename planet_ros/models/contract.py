"""What every world model offers: a filter, an imagination and a loss.

The planner needs `initial_belief`, `observe` and `imagine` alone, and gets them as ONNX graphs.
`N` candidates, `H` horizon, `A` action size, `O` observation size, `B` belief size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from planet_ros.data import Episode


@dataclass(frozen=True)
class Shapes:
    """The interface of an environment, as far as a model needs it.

    Attributes:
        observation: Size O of the observation vector.
        low: (A,) least action.
        high: (A,) greatest action.
    """

    observation: int
    low: NDArray[np.float32]
    high: NDArray[np.float32]

    @property
    def action(self) -> int:
        """Size A of the action vector."""
        return len(self.low)


@dataclass(frozen=True)
class TorchBatch:
    """A `planet_ros.data.SequenceBatch` as tensors, with its batch dimensions (E, B)."""

    observation: Tensor
    action: Tensor
    reward: Tensor
    continues: Tensor


class WorldModel(nn.Module, ABC):
    """A learned model of an environment, in physical units outside and normalised inside."""

    shapes: Shapes
    belief_size: int

    def initial_belief(self) -> Tensor:
        """Belief (B,) before anything was seen: zeros."""
        return torch.zeros(self.belief_size)

    @abstractmethod
    def observe(self, belief: Tensor, action: Tensor, observation: Tensor) -> Tensor:
        """Filter: belief (B,) after taking action (A,) and then seeing observation (O,)."""

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
    def batch_dimensions(self, batch_size: int) -> tuple[int, ...]:
        """Batch dimensions that `loss` expects of a batch."""

    @abstractmethod
    def loss(self, batch: TorchBatch, loss_steps: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss to descend, and the scalars to log, among them ``loss``."""

    @abstractmethod
    def fit_normalization(self, episodes: Sequence[Episode]) -> None:
        """Take the scales of observations and rewards from data."""
