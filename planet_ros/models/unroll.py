"""The part of the recurrent state-space model that has to run step by step, and its gradient.

With small networks the time of an update goes into the number of operations, and autograd makes
several of each one in the loop. The gradient below has all that does not depend on the step after
computed for all steps at once, the weights' gradients included; a step back is then ten operations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class StepWeights(NamedTuple):
    """The weights of a step, (inputs, outputs) each; C is D, or U without a deterministic state.

    Attributes:
        latent: (S, U) from the latent to the transition's hidden layer.
        gates: (U + D, 3 D) from hidden layer and state to reset, update and candidate; None where
            there is no deterministic state.
        gates_bias: (3 D,), or None likewise.
        context: (C, U) from the context to the posterior's hidden layer.
        output: (U, 2 S) from there to mean and raw deviation; (U, S) without noise.
        output_bias: (2 S,) or (S,).
    """

    latent: Tensor
    gates: Tensor | None
    gates_bias: Tensor | None
    context: Tensor
    output: Tensor
    output_bias: Tensor


def unroll(
    drive: Tensor,
    evidence: Tensor,
    noise: Tensor | None,
    weights: StepWeights,
    activation: Callable[[Tensor], Tensor],
    min_std: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Filter T observations of B sequences, from a belief of zeros.

    ``hidden = activation(drive + latent·W)``, a gated recurrent unit with hidden as its input, then
    ``activation(evidence + context·W)`` and the posterior's output, from which the latent is drawn.

    Args:
        drive: (T, B, U), what the actions add to the transition's hidden layer.
        evidence: (T, B, U), what the observations add to the posterior's.
        noise: (T, B, S) that the latents are drawn with; None: the latent is the output itself.
        weights: Of the step.
        activation: Acts on each number by itself.
        min_std: Least standard deviation.

    Returns:
        Contexts (T, B, C), latents (T, B, S) and the posterior's outputs (T, B, 2 S or S).
    """
    device = drive.device.type
    if torch.is_autocast_enabled(device):
        # Errors would add up over the steps, and the products here are the small ones.
        with torch.autocast(device, enabled=False):
            return unroll(drive.float(), evidence.float(), noise, weights, activation, min_std)
    return _Unroll.apply(drive, evidence, noise, activation, min_std, *weights)


class _Unroll(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        drive: Tensor,
        evidence: Tensor,
        noise: Tensor | None,
        activation: Callable[[Tensor], Tensor],
        min_std: float,
        *weights: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        step = StepWeights(*weights)  # type: ignore[arg-type]
        steps, batch = drive.shape[:2]
        latent = drive.new_zeros(batch, step.latent.shape[0])
        size = 0 if step.gates is None else step.gates.shape[1] // 3
        state = drive.new_zeros(batch, size)
        noises = [None] * steps if noise is None else noise.unbind()
        kept: list[list[Tensor]] = []
        for drive_now, evidence_now, noise_now in zip(
            drive.unbind(), evidence.unbind(), noises, strict=True
        ):
            before = torch.addmm(drive_now, latent, step.latent)
            hidden = activation(before)
            if step.gates is None or step.gates_bias is None:
                context = joined = gates = candidate = hidden
            else:
                joined = torch.cat([hidden, state], dim=-1)
                gates = torch.addmm(step.gates_bias, joined, step.gates)
                reset, update, proposal = gates.split(size, dim=-1)
                candidate = torch.tanh(torch.sigmoid(reset) * proposal)
                state = context = torch.lerp(state, candidate, torch.sigmoid(update))
            seen = torch.addmm(evidence_now, context, step.context)
            output = torch.addmm(step.output_bias, activation(seen), step.output)
            if noise_now is None:
                latent = output
            else:
                mean, raw = output.split(noise_now.shape[-1], dim=-1)
                latent = torch.addcmul(mean, F.softplus(raw) + min_std, noise_now)
            kept.append([before, joined, gates, candidate, context, seen, output, latent])
        stacks = [torch.stack(values) for values in zip(*kept, strict=True)]
        ctx.save_for_backward(*stacks, noise, *weights)
        ctx.activation = activation
        return stacks[4], stacks[7], stacks[6]

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, of_context: Tensor, of_latent: Tensor, of_output: Tensor
    ) -> tuple[Tensor | None, ...]:
        before, joined, gates, candidate, context, seen, output, latent, noise, *weights = (
            ctx.saved_tensors
        )
        step = StepWeights(*weights)
        steps = len(before)
        _, hidden_slope = _value_and_slope(ctx.activation, before)
        posterior_hidden, seen_slope = _value_and_slope(ctx.activation, seen)
        # What a change of the latent is to the output: 1 for the mean, and for the raw deviation
        # the noise times the slope of softplus.
        if noise is not None:
            raw = output[..., noise.shape[-1] :]
            slope = torch.stack([torch.ones_like(noise), noise * torch.sigmoid(raw)], dim=2)
            output_slopes = slope.unbind()  # (B, 2, S) each
            of_output = of_output.unflatten(-1, slope.shape[2:])
        if step.gates is not None:
            size = context.shape[-1]
            reset, update, proposal = gates.split(size, dim=-1)
            reset, update = torch.sigmoid(reset), torch.sigmoid(update)
            previous = torch.cat([torch.zeros_like(context[:1]), context[:-1]])
            into = update * (1 - candidate.square()) * reset
            gates_slopes = torch.stack(
                [
                    into * proposal * (1 - reset),
                    (candidate - previous) * update * (1 - update),
                    into,
                ],
                dim=2,
            ).unbind()  # (B, 3, D) each
            remains = (1 - update).unbind()
            gates_back = step.gates.T
        output_back, context_back = step.output.T, step.context.T
        latent_back, units = step.latent.T, before.shape[-1]

        hidden_slopes, seen_slopes = hidden_slope.unbind(), seen_slope.unbind()
        of_contexts, of_latents, of_outputs = (
            of_context.unbind(),
            of_latent.unbind(),
            of_output.unbind(),
        )
        to_latent = of_latents[-1]
        to_state: Tensor | float = 0.0
        kept: list[list[Tensor]] = []
        for time in range(steps - 1, -1, -1):
            if noise is None:
                to_output = of_outputs[time] + to_latent
            else:
                to_output = torch.addcmul(
                    of_outputs[time], output_slopes[time], to_latent.unsqueeze(1)
                ).flatten(1)
            to_seen = (to_output @ output_back) * seen_slopes[time]
            to_context = torch.addmm(of_contexts[time] + to_state, to_seen, context_back)
            if step.gates is None:
                to_gates = to_joined = to_context
            else:
                to_gates = (to_context.unsqueeze(1) * gates_slopes[time]).flatten(1)
                to_joined = to_gates @ gates_back
                to_state = torch.addcmul(to_joined[:, units:], to_context, remains[time])
            to_before = to_joined[:, :units] * hidden_slopes[time]
            if time:
                to_latent = torch.addmm(of_latents[time - 1], to_before, latent_back)
            kept.append([to_before, to_gates, to_seen, to_output])
        to_before, to_gates, to_seen, to_output = (
            torch.stack(values[::-1]) for values in zip(*kept, strict=True)
        )
        recurrent = step.gates is not None
        return (
            to_before,
            to_seen,
            None,
            None,
            None,
            _weight_gradient(latent[:-1], to_before[1:]),
            _weight_gradient(joined, to_gates) if recurrent else None,
            to_gates.sum(dim=(0, 1)) if recurrent else None,
            _weight_gradient(context, to_seen),
            _weight_gradient(posterior_hidden, to_output),
            to_output.sum(dim=(0, 1)),
        )


def _value_and_slope(
    activation: Callable[[Tensor], Tensor], inputs: Tensor
) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        inputs = inputs.detach().requires_grad_()
        value = activation(inputs)
        (slope,) = torch.autograd.grad(value, inputs, torch.ones_like(value))
    return value.detach(), slope


def _weight_gradient(inputs: Tensor, of_outputs: Tensor) -> Tensor:
    return inputs.flatten(0, 1).T @ of_outputs.flatten(0, 1)
