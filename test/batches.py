"""Signatures and batches of tensors, for tests of models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planet_ros.data import ActionPart, ObservationPart, Signature
from planet_ros.models.contract import TorchBatch


def signature_of(
    vectors: int | Mapping[str, int],
    low: Iterable[float],
    high: Iterable[float],
    images: Mapping[str, Sequence[int]] | None = None,
    period_s: float = 0.05,
    goal: int = 0,
) -> Signature:
    """Of vectors of these sizes (a number: one called ``observation``, 0: none) and images.

    With `goal` there is a goal of so many numbers, called ``wanted``.
    """
    if isinstance(vectors, int):
        vectors = {"observation": vectors} if vectors else {}
    return Signature(
        (
            *(ObservationPart(name, (size,)) for name, size in vectors.items()),
            *(
                ObservationPart(name, tuple(shape), "image", "uint8")
                for name, shape in (images or {}).items()
            ),
            *([ObservationPart("wanted", (goal,), "goal")] if goal else []),
        ),
        tuple(
            ActionPart(f"action_{index}", float(least), float(most))
            for index, (least, most) in enumerate(zip(low, high, strict=True))
        ),
        period_s,
    )


def floats(values: ArrayLike) -> NDArray[np.float32]:
    """An array of float32."""
    return np.array(values, dtype=np.float32)


def part_of_batch(batch: TorchBatch, which: slice) -> TorchBatch:
    """Some of the sequences of a batch, along its first dimension."""
    return replace(
        batch,
        observation={name: values[which] for name, values in batch.observation.items()},
        **{name: getattr(batch, name)[which] for name in ("action", "reward", "continues", "mask")},
    )
