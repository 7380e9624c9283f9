"""What the kinds of model have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from planet_ros.data.statistics import Moments

TensorParts: TypeAlias = Mapping[str, Tensor]
"""An observation, or observations, by the names of the parts."""

Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: dict[str, Activation] = {
    "silu": F.silu,
    "relu": F.relu,
    "tanh": torch.tanh,
    "elu": F.elu,
}
"""The non-linearities that settings name."""


_SMALLEST = 1e-30
"""Below this the inverse of a deviation, or its square, is beyond float32."""


def spread(moments: Moments, among: Moments | None = None) -> np.ndarray:
    """Standard deviation (n,) of numbers; 1 for one that never changes.

    That is one whose deviation is less than float32 can tell apart among such numbers, however
    large or small these are: a field of microteslas is no constant.

    Args:
        moments: Of the numbers.
        among: Of those that they are differences of; None: they are no differences.
    """
    size = np.hypot((among or moments).mean, (among or moments).std)
    told_apart = moments.std > np.finfo(np.float32).eps * size
    return np.where(told_apart & (moments.std > _SMALLEST), moments.std, 1.0)


class Dense(nn.Module):
    """A linear layer whose weight is (inputs, outputs), as products and slices want it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / np.sqrt(inputs)  # torch's own default for nn.Linear
        self.weight = nn.Parameter(torch.empty(inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, inputs) → (…, outputs)."""
        if inputs.dim() == 2:
            return torch.addmm(self.bias, inputs, self.weight)
        return inputs @ self.weight + self.bias


class Head(nn.Module):
    """A hidden layer and a linear one."""

    def __init__(self, inputs: int, hidden: int, outputs: int, activation: Activation) -> None:
        super().__init__()
        self.hidden = Dense(inputs, hidden)
        self.output = Dense(hidden, outputs)
        self._activation = activation

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, inputs) → (…, outputs)."""
        return self.output(self._activation(self.hidden(inputs)))
