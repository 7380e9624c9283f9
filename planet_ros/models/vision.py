"""Encoders and decoders of images: dense ones for small images, PlaNet's convolutions for 64 × 64.

Images are (…, height, width, channels) as they come from a camera; numbers are around zero.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from planet_ros.models.parts import Activation, Head


class DenseEncoder(nn.Module):
    """Two hidden layers: (…, H, W, C) → (…, `size`)."""

    def __init__(
        self, shape: tuple[int, int, int], hidden: int, size: int, activation: Activation
    ) -> None:
        """Make the layers, of `hidden` and `size` units."""
        super().__init__()
        self.size = size
        self._head = Head(math.prod(shape), hidden, size, activation)
        self._activation = activation

    def forward(self, images: Tensor) -> Tensor:
        """Encode."""
        return self._activation(self._head(images.flatten(-3)))


class DenseDecoder(nn.Module):
    """A hidden layer: (…, F) → (…, H, W, C)."""

    def __init__(
        self, features: int, hidden: int, shape: tuple[int, int, int], activation: Activation
    ) -> None:
        """Make the layers."""
        super().__init__()
        self._shape = shape
        self._head = Head(features, hidden, math.prod(shape), activation)

    def forward(self, features: Tensor) -> Tensor:
        """Decode."""
        return self._head(features).unflatten(-1, self._shape)
