"""Networks for images: dense ones for small images, PlaNet's convolutions for 64 × 64.

Images are (…, height, width, channels) as they come from a camera; numbers are around zero.

The convolutions are arranged for a processor, where PlaNet's take nearly all the time of an
update; docs/performance.md has the figures:

- What the layers see is the image as it lies in memory, channels last.
- A few frames go through at a time, in the cache and in memory that is used again.
- The decoder's error is computed together with its gradient, so that no layer's output is kept.
- The decoder's first two layers are one product.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from planet_ros.data.statistics import ImageMoments
from planet_ros.errors import UserError
from planet_ros.models.parts import Activation, Dense, Head

_SIDE = 64
"""Height and width in pixels of the images that the convolutions take."""

_FRAMES = 100
"""Frames at a time: enough for efficient products, and few enough for the cache."""


class ImageScale(nn.Module):
    """Takes the mean image away, and measures in the spread of all pixels around it.

    What never changes in the picture is then zero, and what does is as large as the numbers that
    the other networks see.
    """

    def __init__(self, shape: tuple[int, int, int], bits: int) -> None:
        """Start with the middle of the range as the mean; see `fit`.

        Args:
            shape: Of the images, (H, W, C).
            bits: That are kept of each pixel, 1 to 8.
        """
        super().__init__()
        self._bits = bits
        self.register_buffer("mean", torch.full(shape, 127.5))
        self.register_buffer("factor", torch.full((), 1 / 255))

    mean: Tensor
    factor: Tensor

    def fit(self, moments: ImageMoments) -> None:
        """Take mean and spread from data."""
        self.mean.copy_(torch.as_tensor(moments.mean, dtype=self.mean.dtype))
        self.factor.fill_(1 / max(moments.std, 1.0))

    def forward(self, frames: Tensor, within: Tensor | float) -> Tensor:
        """Images (…, H, W, C) uint8 as numbers around zero.

        With less than 8 bits a pixel is taken to lie `within` (0 to 1) the step that they resolve.
        """
        levels = frames.float()
        if self._bits < 8:
            step = 2.0 ** (8 - self._bits)
            levels = (torch.floor(levels * (1 / step)) + within) * step
        return (levels - self.mean) * self.factor

    def pixels(self, numbers: Tensor) -> Tensor:
        """The images (…, H, W, C) uint8 that numbers around zero stand for."""
        return (numbers / self.factor + self.mean).round().clamp(0, 255).to(torch.uint8)


def squared_error(decoded: Tensor, images: Tensor) -> Tensor:
    """Squared distance of images (…, H, W, C) from others, summed over each image: (…)."""
    return (decoded - images).square().flatten(-3).sum(dim=-1)


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

    def error(self, features: Tensor, images: Tensor, weight: Tensor) -> Tensor:
        """Sum of the images' squared errors; see `ConvolutionalDecoder.error`."""
        return (squared_error(self(features), images) * weight).sum()


class ConvolutionalEncoder(nn.Module):
    """PlaNet's: four convolutions of stride 2, (…, 64, 64, C) → (…, `size`).

    Hafner et al. 2019 (arXiv 1811.04551), appendix A, after Ha & Schmidhuber 2018 (arXiv
    1803.10122): 32, 64, 128 and 256 filters of 4 × 4, with an activation after each.
    """

    def __init__(self, shape: tuple[int, int, int], activation: Activation) -> None:
        """Make the layers.

        Raises:
            UserError: The images are not of 64 × 64 pixels.
        """
        super().__init__()
        _check(shape)
        self.size = 1024  # 256 filters × 2 × 2
        self._shape = shape
        self._activation = activation
        channels = (shape[-1], 32, 64, 128, 256)
        self._layers = nn.ModuleList(
            nn.Conv2d(*pair, kernel_size=4, stride=2) for pair in itertools.pairwise(channels)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Encode."""
        frames = images.reshape(-1, *self._shape)
        encoded = [self._encode(part) for part in frames.split(_frames_at_a_time(frames))]
        return torch.cat(encoded).reshape(*images.shape[:-3], self.size)

    def _encode(self, frames: Tensor) -> Tensor:
        """(N, 64, 64, C) → (N, `size`)."""
        hidden = frames.permute(0, 3, 1, 2)  # a view, channels last in memory
        for layer in self._layers:
            hidden = self._activation(layer(hidden))
        return hidden.flatten(1)


class ConvolutionalDecoder(nn.Module):
    """PlaNet's: a linear layer and four transposed convolutions, (…, F) → (…, 64, 64, C).

    From the same papers: 1024 units without an activation, then 128, 64, 32 and C filters of 5 × 5,
    5 × 5, 6 × 6 and 6 × 6, stride 2, with an activation between them.

    The first convolution spreads a single pixel, so that it is a linear layer too, and both are
    done as one product: with many frames it is far cheaper to multiply the two weights first.
    """

    def __init__(self, features: int, shape: tuple[int, int, int], activation: Activation) -> None:
        """Make the layers.

        Raises:
            UserError: The images are not of 64 × 64 pixels.
        """
        super().__init__()
        _check(shape)
        self._shape = shape
        self._activation = activation
        self._dense = Dense(features, 1024)
        self._first = nn.ConvTranspose2d(1024, 128, kernel_size=5, stride=2)
        self._layers = nn.ModuleList(
            (
                nn.ConvTranspose2d(128, 64, kernel_size=5, stride=2),
                nn.ConvTranspose2d(64, 32, kernel_size=6, stride=2),
                nn.ConvTranspose2d(32, shape[-1], kernel_size=6, stride=2),
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        """Decode."""
        spread = self._spread(features)
        decoded = [self._decode(part) for part in spread.split(_frames_at_a_time(spread))]
        return torch.cat(decoded).reshape(*features.shape[:-1], *self._shape)

    def error(self, features: Tensor, images: Tensor, weight: Tensor) -> Tensor:
        """Sum of the squared errors of images, each with a weight: scalar.

        The same as ``(squared_error(self(features), images) * weight).sum()``, in less time and a
        fraction of the memory. It can be differentiated once, by features and parameters.

        Args:
            features: (…, F).
            images: (…, 64, 64, C) that should come out.
            weight: (…), what each image counts.
        """
        return _Error.apply(
            self._decode,
            torch.is_grad_enabled(),
            images.reshape(-1, *self._shape),
            weight.reshape(-1),
            self._spread(features),
            *(value for value in self._layers.parameters() if value.requires_grad),
        )

    def _spread(self, features: Tensor) -> Tensor:
        """The linear layer and the first convolution: (…, F) → (N, 5, 5, 128)."""
        kernel = self._first.weight.permute(0, 2, 3, 1)
        weight = kernel.flatten(1)
        assert self._first.bias is not None
        bias = self._dense.bias @ weight + self._first.bias.repeat(kernel[0, ..., 0].numel())
        # It multiplies in the order that is cheaper, which depends on the number of frames.
        frames = features.reshape(-1, features.shape[-1])
        product = torch.linalg.multi_dot([frames, self._dense.weight, weight])
        return (product + bias).unflatten(1, kernel.shape[1:])

    def _decode(self, spread: Tensor) -> Tensor:
        """The other layers: (N, 5, 5, 128) → (N, 64, 64, C)."""
        hidden = spread.permute(0, 3, 1, 2)
        for layer in self._layers:
            hidden = layer(self._activation(hidden))
        return hidden.permute(0, 2, 3, 1)


class _Error(torch.autograd.Function):
    """`ConvolutionalDecoder.error` from the first layer's output on.

    The gradient is computed along with the error, a few frames at a time, so that the outputs of
    the layers never have to be kept for more frames than these.
    """

    @staticmethod
    def forward(
        ctx: Any,
        decode: Callable[[Tensor], Tensor],
        differentiate: bool,
        images: Tensor,
        weight: Tensor,
        spread: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        total = weight.new_zeros(())
        of_spread: list[Tensor] = []
        of_parameters = [torch.zeros_like(parameter) for parameter in parameters]
        count = _frames_at_a_time(spread)
        for inputs, target, share in zip(
            spread.split(count), images.split(count), weight.split(count), strict=True
        ):
            with torch.set_grad_enabled(differentiate):
                inputs = inputs.detach().requires_grad_(differentiate)
                error = (squared_error(decode(inputs), target) * share).sum()
            total += error.detach()
            if differentiate:
                of_inputs, *gradients = torch.autograd.grad(error, (inputs, *parameters))
                of_spread.append(of_inputs)
                for so_far, gradient in zip(of_parameters, gradients, strict=True):
                    so_far += gradient
        if differentiate:
            ctx.save_for_backward(torch.cat(of_spread), *of_parameters)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_error: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, None, *(of_error * gradient for gradient in ctx.saved_tensors)


def _frames_at_a_time(frames: Tensor) -> int:
    return _FRAMES if frames.device.type == "cpu" else len(frames)


def _check(shape: tuple[int, int, int]) -> None:
    height, width, _ = shape
    if (height, width) != (_SIDE, _SIDE):
        raise UserError(
            f"rssm.image_network: convolutional takes images of {_SIDE} × {_SIDE} pixels, but "
            f"these have {height} × {width}; scale them to {_SIDE} × {_SIDE}, or set it to dense, "
            "which suits small images"
        )
