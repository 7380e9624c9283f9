"""What the kinds of model have in common."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
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
