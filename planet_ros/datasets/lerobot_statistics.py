"""``stats.json``: what policies of LeRobot scale their inputs by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

_QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
_MOST_FRAMES, _MOST_PIXELS = 100, 1000
"""Of an episode and of a picture, that are looked at."""

Statistics: TypeAlias = dict[str, NDArray[Any]]


def statistics_of(values: NDArray[Any]) -> Statistics:
    """Those of a feature in an episode.

    Args:
        values: (frames, …) vectors, numbers, or pictures of uint8 (height, width, channels).
    """
    if values.ndim < 4:
        return _of_rows(values.reshape(len(values), -1), len(values))
    frames = values[:: -(-len(values) // _MOST_FRAMES)]
    pixels = frames.reshape(len(frames), -1, frames.shape[3])
    pixels = pixels[:, :: -(-pixels.shape[1] // _MOST_PIXELS)]
    found = _of_rows(pixels.reshape(-1, frames.shape[3]) / 255, len(frames))
    return {
        name: value if name == "count" else value.reshape(-1, 1, 1) for name, value in found.items()
    }


def _of_rows(rows: NDArray[Any], count: int) -> Statistics:
    rows = rows.astype(np.float64)
    return {
        "min": rows.min(axis=0),
        "max": rows.max(axis=0),
        "mean": rows.mean(axis=0),
        "std": rows.std(axis=0),
        "count": np.array([count]),
        **{name: np.quantile(rows, share, axis=0) for name, share in _QUANTILES.items()},
    }


def joined_statistics(episodes: Sequence[Mapping[str, Statistics]]) -> dict[str, dict[str, Any]]:
    """Those of all episodes together, for JSON; quantiles are means of the episodes' own."""
    return {key: _joined([one[key] for one in episodes]) for key in episodes[0]}


def _joined(found: Sequence[Statistics]) -> dict[str, Any]:
    counts = np.array([float(one["count"][0]) for one in found])
    columns = {name: np.stack([one[name] for one in found]) for name in found[0]}

    def mean(values: NDArray[Any]) -> NDArray[Any]:
        return np.average(values, axis=0, weights=counts)

    middle = mean(columns["mean"])
    spread = np.sqrt(mean(columns["std"] ** 2 + (columns["mean"] - middle) ** 2))
    joined = {
        "min": columns["min"].min(axis=0),
        "max": columns["max"].max(axis=0),
        "mean": middle,
        "std": spread,
        "count": columns["count"].sum(axis=0),
        **{name: mean(columns[name]) for name in _QUANTILES},
    }
    return {name: value.tolist() for name, value in joined.items()}
