"""Time of one update: loss, gradient, clipping and Adam, on sequences that are sampled already.

By default with the recurrent state-space model at the sizes of PlaNet (Hafner et al. 2019): images
of 64 × 64 pixels, a GRU of 200 units, 30 latent dimensions, 50 sequences of 50 observations.

    python benchmarks/update.py
    python benchmarks/update.py --config config/pendulum_pixels.yaml --rounds 50

With --reference the models of a checkout of Kaixhin/PlaNet are imported from there, and updated on
the same images in alternating rounds, in this process and with as many threads. What else the
machine does falls on both alike: compare the ratio, and not the seconds.

    git clone https://github.com/Kaixhin/PlaNet /tmp/reference
    python benchmarks/update.py --reference /tmp/reference --threads 2

With --ablate ours takes turns with itself without each of the arrangements of the convolutions.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import torch
from planning import CONFIGS, print_machine
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from planet_ros.config import Settings, load_settings
from planet_ros.data.signature import IMAGE_PART, ActionPart, ObservationPart, Signature
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.models import vision
from planet_ros.models.contract import TorchBatch
from planet_ros.training.learner import make_model

IMAGE = (64, 64, 3)
ACTIONS = 6
"""As many as the cheetah's; they cost next to nothing."""
PERIOD_S = 0.08
BITS = 5
FREE_NATS = 3.0
GRADIENT_CLIP = 1000.0
LEARNING_RATE, ADAM_EPSILON = 1e-3, 1e-4


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    settings, signature = preset(options.config) if options.config else planets()
    size = options.batch or settings.training.batch_size
    # A preset counts the steps of a sequence, which are one less; PlaNet counts observations.
    steps = settings.training.sequence_length
    observations = options.length or (steps + 1 if options.config else steps)
    cases = {"ours": our_update(settings, signature, size, observations)}
    if options.ablate:
        cases |= {name: patched(patch, cases["ours"]) for name, patch in ablations().items()}
    if options.reference:
        models = _models_of(options.reference)
        cases["reference"] = reference_update(models, size, observations)
    times = in_turns(cases, options.rounds)

    print_machine()
    print(
        f"{options.config or 'PlaNet'}: {size} sequences of {observations} observations, "
        f"{options.threads} threads, {options.rounds} rounds\n\n"
        "| | median s | min s | relative |\n| --- | --- | --- | --- |"
    )
    for name, values in times.items():
        ratio = np.median(np.divide(values, times["ours"]))
        print(f"| {name} | {np.median(values):.3f} | {min(values):.3f} | {ratio:.2f} |")
    result: dict[str, Any] = {
        "batch": size,
        "length": observations,
        "threads": options.threads,
        "seconds": {name: [round(value, 4) for value in values] for name, values in times.items()},
    }
    if "reference" in times:
        ratios = np.divide(times["reference"], times["ours"])
        result["ratio_median"] = round(float(np.median(ratios)), 2)
        result["ratio_min"] = round(float(ratios.min()), 2)
        print(
            f"\nreference / ours: {result['ratio_median']} (median of the rounds), "
            f"{result['ratio_min']} (least)"
        )
    print(json.dumps(result))


# ── ours ─────────────────────────────────────────────────────────────────────────────────────


def planets() -> tuple[Settings, Signature]:
    """Those of PlaNet; no simulator is needed for them."""
    image = ObservationPart(IMAGE_PART, IMAGE, role="image", dtype="uint8")
    actions = tuple(ActionPart(f"action_{index}", -1.0, 1.0) for index in range(ACTIONS))
    return load_settings(CONFIGS / "cheetah_run.yaml"), Signature((image,), actions, PERIOD_S)


def preset(config: Path) -> tuple[Settings, Signature]:
    """Those of a parameter file."""
    settings = load_settings(config)
    environment = Environment(EnvironmentSpec.of(settings))
    environment.close()
    return settings, environment.signature


def our_update(
    settings: Settings, signature: Signature, size: int, observations: int
) -> Callable[[], object]:
    """What `Learner.fit` does for each batch, without the sampling."""
    model, training = make_model(settings, signature), settings.training
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=training.learning_rate, eps=training.adam_epsilon
    )
    sequences = *model.batch_dimensions(size), observations
    steps = *sequences[:-1], observations - 1
    batch = TorchBatch(
        observation={
            part.name: (
                _frames(*sequences, *part.shape)
                if part.role == "image"
                else torch.randn(*sequences, *part.shape)
            )
            for part in signature.observation
        },
        action=torch.rand(*steps, signature.actions),
        reward=torch.randn(steps),
        continues=torch.ones(steps),
        mask=torch.ones(steps),
    )

    def update() -> None:
        loss, _ = model.loss(batch, training.loss_steps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if training.gradient_clip:
            nn.utils.clip_grad_norm_(model.parameters(), training.gradient_clip)
        optimizer.step()

    return update


def _frames(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


# ── ours without … ─────────────────────────────────────────────────────────────────────────────


def ablations() -> dict[str, dict[Any, dict[str, Any]]]:
    """What to put in place of the arrangements that `planet_ros.models.vision` describes."""

    def encode_channels_first(encoder: Any, frames: Tensor) -> Tensor:
        hidden = frames.permute(0, 3, 1, 2).contiguous()
        for layer in encoder._layers:
            hidden = encoder._activation(layer(hidden))
        return hidden.flatten(1)

    def spread_in_two_layers(decoder: Any, features: Tensor) -> Tensor:
        hidden = decoder._dense(features).reshape(-1, 1024, 1, 1)
        return decoder._first(hidden).permute(0, 2, 3, 1)

    all_at_once = {vision: {"_FRAMES": 10**9}}
    gradient_apart = {vision.ConvolutionalDecoder: {"error": vision.DenseDecoder.error}}
    channels_first = {vision.ConvolutionalEncoder: {"_encode": encode_channels_first}}
    two_layers = {vision.ConvolutionalDecoder: {"_spread": spread_in_two_layers}}
    return {
        "all frames at once": all_at_once,
        "the error's gradient apart": gradient_apart,
        "encoder's channels first": channels_first,
        "decoder's first two layers apart": two_layers,
        "none of these": {
            **all_at_once,
            **channels_first,
            vision.ConvolutionalDecoder: {
                **gradient_apart[vision.ConvolutionalDecoder],
                **two_layers[vision.ConvolutionalDecoder],
            },
        },
    }


def patched(patch: dict[Any, dict[str, Any]], update: Callable[[], object]) -> Callable[[], object]:
    """The update with other values for some attributes of modules and classes."""

    def changed() -> None:
        with ExitStack() as stack:
            for target, values in patch.items():
                stack.enter_context(mock.patch.multiple(target, **values))
            update()

    return changed


# ── the reference ────────────────────────────────────────────────────────────────────────────


def reference_update(models: ModuleType, size: int, observations: int) -> Callable[[], object]:
    """An update of the models of Kaixhin/PlaNet with its defaults, time first as it wants it.

    It leaves the first observation of a sequence out, and so gets one more here.
    """
    belief, latent, hidden, embedding = 200, 30, 200, 1024
    transition = models.TransitionModel(belief, latent, ACTIONS, hidden, embedding)
    decoder = models.ObservationModel(False, None, belief, latent, embedding)
    rewards = models.RewardModel(belief, latent, hidden)
    encoder = models.Encoder(False, None, embedding)
    parts = nn.ModuleList([transition, decoder, rewards, encoder])
    optimizer = torch.optim.Adam(parts.parameters(), lr=LEARNING_RATE, eps=ADAM_EPSILON)
    height, width, channels = IMAGE
    frames = _frames(observations + 1, size, channels, height, width)
    action = torch.rand(observations, size, ACTIONS)
    reward = torch.randn(observations, size)
    goes_on = torch.ones(observations, size, 1)
    least = torch.tensor(FREE_NATS)

    def update() -> None:
        # As ours does within its loss, and the reference when it samples a batch.
        levels = torch.floor(frames.float() / 2 ** (8 - BITS))
        images = (levels + torch.rand(levels.shape)) / 2**BITS - 0.5
        seen = images[1:]
        beliefs, _, prior_mean, prior_std, latents, mean, std = transition(
            torch.zeros(size, latent),
            action,
            torch.zeros(size, belief),
            models.bottle(encoder, (seen,)),
            goes_on,
        )
        state = beliefs, latents
        of_images = F.mse_loss(models.bottle(decoder, state), seen, reduction="none")
        of_rewards = F.mse_loss(models.bottle(rewards, state), reward)
        divergence = kl_divergence(Normal(mean, std), Normal(prior_mean, prior_std)).sum(dim=-1)
        loss = of_images.flatten(2).sum(dim=-1).mean() + of_rewards
        loss = loss + torch.maximum(divergence, least).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parts.parameters(), GRADIENT_CLIP)
        optimizer.step()

    return update


def _models_of(checkout: Path) -> ModuleType:
    file = checkout / "models.py"
    spec = importlib.util.spec_from_file_location("reference_models", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise SystemExit(f"--reference: {checkout} has no models.py; give a checkout of it")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ── measuring ────────────────────────────────────────────────────────────────────────────────


def in_turns(cases: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each case in each round, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(rounds + 1):
        for name, update in cases.items():
            began = time.perf_counter()
            update()
            if turn:
                times[name].append(time.perf_counter() - began)
    return times


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, help="a preset in place of PlaNet's sizes")
    parser.add_argument("--reference", type=Path, help="checkout of Kaixhin/PlaNet to compare with")
    parser.add_argument(
        "--ablate", action="store_true", help="also without each arrangement of the convolutions"
    )
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: 1)")
    parser.add_argument("--batch", type=int, help="sequences (default: PlaNet's 50, the preset's)")
    parser.add_argument(
        "--length", type=int, help="observations in each (default: PlaNet's 50, the preset's)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="that count (default: 3)")
    options = parser.parse_args()
    if options.reference and options.config:
        parser.error("--reference has PlaNet's sizes: leave --config out")
    for name in ("threads", "batch", "length", "rounds"):
        value = getattr(options, name)
        if value is not None and value < (2 if name == "length" else 1):
            parser.error(f"--{name} {value} is too small")
    return options


if __name__ == "__main__":
    main()
