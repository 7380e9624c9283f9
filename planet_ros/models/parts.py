"""What the kinds of model have in common."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: dict[str, Activation] = {
    "silu": F.silu,
    "relu": F.relu,
    "tanh": torch.tanh,
    "elu": F.elu,
}
"""The non-linearities that settings name."""


def spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation of each column of (rows, columns); 1 for a column that never changes."""
    std = values.std(axis=0, dtype=np.float64)
    return np.where(std > 1e-6, std, 1.0)


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
