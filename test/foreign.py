"""Episodes for data sets of other projects, and what is compared of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from planet_ros.data import (
    ActionPart,
    Episode,
    EpisodeStore,
    NamedNumber,
    ObservationPart,
    Signature,
)
from planet_ros.datasets.converting import ImportedData, export_episodes, import_datasets
from planet_ros.interface.description import Description

JOINT = ObservationPart(
    "joint", (2,), unit="rad", numbers=(NamedNumber("angle"), NamedNumber("rate", "rad/s"))
)
SIGNATURE = Signature(
    (
        JOINT,
        ObservationPart("one", (1,)),
        ObservationPart("cam era", (32, 48, 3), role="image", dtype="uint8"),
        ObservationPart("grey", (34, 32, 1), role="image", dtype="uint8"),
        ObservationPart("goal", (2,), role="goal"),
    ),
    (ActionPart("torque", -2, 2, "N m", max_rate=9.0), ActionPart("brake", 0, 1)),
    0.05,
    delay_periods=2,
)
"""Of all that a signature can have."""

PLAIN = Signature((ObservationPart("observation", (3,)),), (ActionPart("action_0", -2, 2),), 0.05)
"""As an environment has it."""


def episode(
    signature: Signature,
    steps: int,
    seed: int = 0,
    *,
    terminated: bool = False,
    truncated: bool = True,
    repeats: int = 1,
) -> Episode:
    """One of random numbers, with pictures that films can show."""
    rng = np.random.default_rng(seed)
    observation = {}
    for part in signature.observation:
        if part.role != "image":
            observation[part.name] = rng.normal(size=(steps + 1, *part.shape)).astype(np.float32)
            continue
        time, row, column, channel = np.indices((steps + 1, *part.shape))
        observation[part.name] = (9 * time + 2 * row + column + 40 * channel).astype(np.uint8)
    low, high = signature.low, signature.high
    return Episode(
        observation,
        rng.uniform(low, high, (steps, signature.actions)).astype(np.float32),
        rng.normal(size=steps),  # of all 64 bits
        terminated=terminated,
        truncated=truncated,
        environment_steps=steps * repeats,
    )


def episodes(signature: Signature) -> list[Episode]:
    """Ended, cut, neither and both."""
    return [
        episode(signature, 6, 0, terminated=True, truncated=False),
        episode(signature, 4, 1, repeats=3),
        episode(signature, 1, 2, truncated=False),
        episode(signature, 3, 3, terminated=True),
    ]


def export(
    found: Sequence[Episode], signature: Signature, name: str, *, video: bool = False
) -> Path:
    return export_episodes(
        iter(found), Description(signature), name, task="do what is done", video=video
    )


def back(name: str, output: Path) -> tuple[ImportedData, Sequence[Episode]]:
    """What is imported of a data set by itself."""
    result = import_datasets([name], output, interface=None, make=None)
    return result, EpisodeStore(output).episodes


def same(first: Episode, second: Episode, *, nearly: Sequence[str] = ()) -> None:
    """See that two episodes are equal bit for bit; some pictures as films have them."""
    assert first.layout == second.layout
    for name, values in first.observation.items():
        found = second.observation[name]
        if name in nearly:
            assert np.abs(values.astype(int) - found).mean() < 4, name
        else:
            np.testing.assert_array_equal(values, found)
    np.testing.assert_array_equal(first.action, second.action)
    np.testing.assert_array_equal(first.reward, second.reward)
    flags = first.terminated, first.truncated, first.environment_steps
    assert flags == (second.terminated, second.truncated, second.environment_steps)
