"""Batches of tensors, for tests of models."""

from __future__ import annotations

from planet_ros.models.contract import TorchBatch


def part_of_batch(batch: TorchBatch, which: slice) -> TorchBatch:
    """Some of the sequences of a batch, along its first dimension."""
    vectors = {name: value[which] for name, value in vars(batch).items() if name != "images"}
    images = {name: frames[which] for name, frames in batch.images.items()}
    return TorchBatch(**vectors, images=images)
