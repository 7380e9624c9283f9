"""What the first experience says about an environment that a person may want to change."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from planet_ros.data import Episode, Signature

_TURNS = {2 * math.pi: "", 360.0: ', "period": 360'}
"""A whole turn in radians and in degrees, and how `AngleEncoding` is told."""


def hints(signature: Signature, episodes: Sequence[Episode]) -> Iterator[str]:
    """Lines for a person, usually none: on numbers that jump as a wrapped angle does."""
    before = 0
    for part in signature.parts("vector"):
        for turn, told in _TURNS.items():
            for index in _wrapped(part.name, episodes, turn):
                yield (
                    f"{part.label(index)} jumps by {turn:.4g}, as an angle does that is wrapped; "
                    "no model follows that well: planet_ros.wrappers:AngleEncoding "
                    f'{{"indices": [{before + index}]{told}}} in env_wrappers shows its cosine and '
                    "sine in its place"
                )
        before += part.shape[0]


def _wrapped(name: str, episodes: Sequence[Episode], turn: float) -> list[int]:
    """Which numbers of a vector stay within a turn, and jump by nearly one."""
    if not episodes:
        return []
    low = np.min([episode.observation[name].min(axis=0) for episode in episodes], axis=0)
    high = np.max([episode.observation[name].max(axis=0) for episode in episodes], axis=0)
    changes = np.concatenate([np.diff(episode.observation[name], axis=0) for episode in episodes])
    within = high - low <= turn * 1.001
    jumps = (np.abs(changes) > 0.8 * turn).any(axis=0)
    # What jumps all the time, such as noise or a switch, is no angle that moves.
    smooth = np.median(np.abs(changes), axis=0) < 0.25 * turn
    return np.flatnonzero(within & jumps & smooth).tolist()
