"""The convolutions against plain ones, layer after layer, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from planet_ros.bundle.export import _replace_weights, _trace
from planet_ros.errors import UserError
from planet_ros.models import vision
from planet_ros.models.vision import (
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    DenseDecoder,
    squared_error,
)

FEATURES = 11
each_channel_count = pytest.mark.parametrize("channels", [1, 3])


@pytest.fixture(autouse=True)
def few_frames_at_a_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread, the same random numbers, and several parts in a handful of frames."""
    monkeypatch.setattr(vision, "_FRAMES", 4)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def encoder(channels: int = 3) -> ConvolutionalEncoder:
    return ConvolutionalEncoder((64, 64, channels), F.relu)


def decoder(channels: int = 3) -> ConvolutionalDecoder:
    return ConvolutionalDecoder(FEATURES, (64, 64, channels), F.relu)


def plainly_encoded(model: ConvolutionalEncoder, images: Tensor) -> Tensor:
    """(N, 64, 64, C) → (N, 1024), all frames at once and channels first."""
    hidden = images.permute(0, 3, 1, 2).contiguous()
    for layer in model._layers:
        assert isinstance(layer, nn.Conv2d)
        hidden = F.relu(F.conv2d(hidden, layer.weight, layer.bias, stride=2))
    return hidden.flatten(1)


def plainly_decoded(model: ConvolutionalDecoder, features: Tensor) -> Tensor:
    """(N, F) → (N, 64, 64, C), each layer by itself."""
    hidden = (features @ model._dense.weight + model._dense.bias)[:, :, None, None]
    *layers, last = (model._first, *model._layers)
    assert isinstance(last, nn.ConvTranspose2d)
    for layer in layers:
        assert isinstance(layer, nn.ConvTranspose2d)
        hidden = F.relu(F.conv_transpose2d(hidden, layer.weight, layer.bias, stride=2))
    images = F.conv_transpose2d(hidden, last.weight, last.bias, stride=2)
    return images.permute(0, 2, 3, 1)


def plain_error(
    model: ConvolutionalDecoder, features: Tensor, images: Tensor, weight: Tensor
) -> Tensor:
    distance = (plainly_decoded(model, features) - images).square().sum(dim=(1, 2, 3))
    return (distance * weight).sum()


def assert_same_with_gradients(
    model: nn.Module, mine: Callable[[], Tensor], plain: Callable[[], Tensor], *inputs: Tensor
) -> None:
    """Equal values, and equal gradients of one and the same function of them."""
    leaves = [*model.parameters(), *inputs]
    value, expected = mine(), plain()
    torch.testing.assert_close(value, expected)
    direction = torch.randn_like(expected)
    gradients = torch.autograd.grad((value * direction).sum(), leaves)
    for gradient, wanted in zip(
        gradients, torch.autograd.grad((expected * direction).sum(), leaves), strict=True
    ):
        # Sums of thousands of terms: what cancels is to be seen against what remains.
        scale = float(wanted.abs().max())
        assert scale > 0
        tolerance = 1e-4 if wanted.dtype == torch.float32 else 1e-11
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=tolerance * scale)


class TestEncoder:
    @each_channel_count
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_is_four_plain_convolutions(self, channels: int, dtype: torch.dtype) -> None:
        model = encoder(channels).to(dtype)
        images = torch.randn(7, 64, 64, channels, dtype=dtype)
        assert_same_with_gradients(
            model, lambda: model(images), lambda: plainly_encoded(model, images)
        )

    def test_has_the_layers_of_the_paper(self) -> None:
        shapes = [tuple(w.shape) for w in encoder()._layers.parameters() if w.dim() > 1]
        assert shapes == [(32, 3, 4, 4), (64, 32, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4)]

    @pytest.mark.parametrize("leading", [(), (1,), (2, 5)])
    def test_takes_any_leading_dimensions(self, leading: tuple[int, ...]) -> None:
        model = encoder()
        images = torch.randn(*leading, 64, 64, 3)
        encoded = model(images)
        assert encoded.shape == (*leading, model.size)
        expected = plainly_encoded(model, images.reshape(-1, 64, 64, 3))
        torch.testing.assert_close(encoded.reshape(-1, model.size), expected)

    def test_activation_is_that_which_is_given(self) -> None:
        images = torch.randn(2, 64, 64, 3)
        model = ConvolutionalEncoder((64, 64, 3), torch.tanh)
        assert (model(images) < 0).any()
        assert not (encoder()(images) < 0).any()

    def test_exported_graph_holds_nothing_but_its_weights(self) -> None:
        """Traced with one set of weights, used with another."""
        traced, other = encoder(), encoder()
        graph = _trace(traced, {"images": torch.zeros(1, 64, 64, 3)}, {"encoded": ()})
        assert {value.name for value in graph.graph.initializer} == set(traced.state_dict())
        _replace_weights(graph, other.state_dict())
        session = onnxruntime.InferenceSession(
            graph.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        images = torch.randn(1, 64, 64, 3)
        (encoded,) = session.run(None, {"images": images.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(encoded, other(images).numpy(), rtol=1e-4, atol=1e-5)


class TestDecoder:
    @each_channel_count
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_is_a_linear_layer_and_four_plain_transposed_convolutions(
        self, channels: int, dtype: torch.dtype
    ) -> None:
        model = decoder(channels).to(dtype)
        features = torch.randn(7, FEATURES, dtype=dtype, requires_grad=True)
        assert_same_with_gradients(
            model, lambda: model(features), lambda: plainly_decoded(model, features), features
        )

    def test_has_the_layers_of_the_paper(self) -> None:
        model = decoder()
        shapes = [tuple(layer.weight.shape) for layer in (model._first, *model._layers)]
        assert shapes == [(1024, 128, 5, 5), (128, 64, 5, 5), (64, 32, 6, 6), (32, 3, 6, 6)]

    @pytest.mark.parametrize("leading", [(), (1,), (2, 5)])
    def test_takes_any_leading_dimensions(self, leading: tuple[int, ...]) -> None:
        model = decoder()
        features = torch.randn(*leading, FEATURES)
        decoded = model(features)
        assert decoded.shape == (*leading, 64, 64, 3)
        expected = plainly_decoded(model, features.reshape(-1, FEATURES))
        torch.testing.assert_close(decoded.reshape(-1, 64, 64, 3), expected)


class TestError:
    @each_channel_count
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_is_that_of_the_plain_decoder(self, channels: int, dtype: torch.dtype) -> None:
        model = decoder(channels).to(dtype)
        features = torch.randn(7, FEATURES, dtype=dtype, requires_grad=True)
        images, weight = torch.randn(7, 64, 64, channels, dtype=dtype), torch.rand(7, dtype=dtype)
        assert_same_with_gradients(
            model,
            lambda: model.error(features, images, weight),
            lambda: plain_error(model, features, images, weight),
            features,
        )

    def test_counts_no_image_of_weight_zero(self) -> None:
        model = decoder()
        features = torch.randn(2, 3, FEATURES, requires_grad=True)
        images, weight = torch.randn(2, 3, 64, 64, 3), torch.ones(2, 3)
        weight[1, 1:] = 0
        model.error(features, images, weight).backward()
        assert features.grad is not None
        assert torch.equal(features.grad.abs().sum(dim=-1) > 0, weight > 0)

    def test_needs_no_gradient(self) -> None:
        graded = []

        def activation(inputs: Tensor) -> Tensor:
            graded.append(inputs.requires_grad)
            return F.relu(inputs)

        model = ConvolutionalDecoder(FEATURES, (64, 64, 3), activation)
        features, images, weight = (
            torch.randn(5, FEATURES),
            torch.randn(5, 64, 64, 3),
            torch.ones(5),
        )
        with torch.no_grad():
            error = model.error(features, images, weight)
            torch.testing.assert_close(error, plain_error(model, features, images, weight))
        assert graded and not any(graded)
        assert not error.requires_grad

    def test_leaves_frozen_weights_alone(self) -> None:
        model = decoder()
        frozen = model._layers[0].weight.requires_grad_(False)
        model.error(torch.randn(5, FEATURES), torch.randn(5, 64, 64, 3), torch.ones(5)).backward()
        assert frozen.grad is None
        assert model._layers[0].bias.grad is not None

    def test_keeps_the_output_of_no_layer(self) -> None:
        """Memory for the gradient does not grow with the size of the images."""
        model, count = decoder(), 40
        features = torch.randn(count, FEATURES, requires_grad=True)
        images, weight = torch.randn(count, 64, 64, 3), torch.ones(count)
        kept: list[int] = []

        def keep(tensor: Tensor) -> Tensor:
            kept.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model.error(features, images, weight)
        first_output = count * 5 * 5 * 128
        assert max(kept) <= max(first_output, model._first.weight.numel())

    def test_gradient_is_that_of_finite_differences(self) -> None:
        """Of the whole error, decoded by a network that is small enough to be checked."""
        weight = torch.randn(3, 2, 4, 4, dtype=torch.float64, requires_grad=True)
        bias = torch.randn(2, dtype=torch.float64, requires_grad=True)
        spread = torch.randn(5, 3, 3, 3, dtype=torch.float64, requires_grad=True)
        images, share = torch.randn(5, 8, 8, 2).double(), torch.rand(5).double()

        def decode(inputs: Tensor) -> Tensor:
            hidden = torch.tanh(inputs.permute(0, 3, 1, 2))
            return F.conv_transpose2d(hidden, weight, bias, stride=2).permute(0, 2, 3, 1)

        def error(*leaves: Tensor) -> Tensor:
            return vision._Error.apply(decode, True, images, share, *leaves)

        assert torch.autograd.gradcheck(error, (spread, weight, bias))

    def test_works_in_mixed_precision(self) -> None:
        model = decoder()
        features, images, weight = (
            torch.randn(9, FEATURES),
            torch.randn(9, 64, 64, 3),
            torch.ones(9),
        )
        expected = torch.autograd.grad(
            model.error(features, images, weight), list(model.parameters())
        )
        with torch.autocast("cpu", dtype=torch.bfloat16):
            error = model.error(features, images, weight)
        assert error.dtype == torch.float32
        for gradient, wanted in zip(
            torch.autograd.grad(error, list(model.parameters())), expected, strict=True
        ):
            assert gradient.dtype == torch.float32
            assert float((gradient - wanted).norm() / wanted.norm()) < 0.1

    def test_dense_decoder_has_it_too(self) -> None:
        model = DenseDecoder(FEATURES, 8, (6, 5, 2), F.relu)
        features, images = torch.randn(3, 4, FEATURES), torch.randn(3, 4, 6, 5, 2)
        weight = torch.rand(3, 4)
        expected = sum(
            weight[row, column]
            * (model(features[row, column]) - images[row, column]).square().sum()
            for row in range(3)
            for column in range(4)
        )
        torch.testing.assert_close(model.error(features, images, weight), expected)


def test_squared_error_is_summed_over_each_image() -> None:
    decoded, images = torch.zeros(2, 3, 4, 5, 1), torch.ones(2, 3, 4, 5, 1)
    images[1, 2] = 3
    error = squared_error(decoded, images)
    assert error.tolist() == [[20.0] * 3, [20.0, 20.0, 180.0]]


@pytest.mark.parametrize("shape", [(32, 32, 1), (64, 32, 3), (65, 64, 3)])
def test_other_sizes_are_refused(shape: tuple[int, int, int]) -> None:
    for make in (
        lambda: ConvolutionalEncoder(shape, F.relu),
        lambda: ConvolutionalDecoder(FEATURES, shape, F.relu),
    ):
        with pytest.raises(UserError) as caught:
            make()
        text = str(caught.value)
        assert "rssm.image_network" in text
        assert f"{shape[0]} × {shape[1]}" in text
        assert "dense" in text
