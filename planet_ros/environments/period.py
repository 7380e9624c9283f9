"""How long a step of an environment takes, and after how many of them an episode is cut."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import MaxAndSkipObservation, TimeLimit

_FALLBACK_HZ = 20.0

_RepeatAction: Any = getattr(gymnasium.wrappers, "RepeatAction", ())  # not in every Gymnasium


class RepeatingWrapper(gymnasium.Wrapper):
    """A wrapper that steps what it wraps several times for a step of its own.

    Attributes:
        repeats: How often.
    """

    repeats: int = 1


@dataclass(frozen=True)
class Period:
    """Simulated seconds between two decisions.

    Attributes:
        seconds: How many.
        guess: Where the number comes from, if the environment does not say it; else empty.
    """

    seconds: float
    guess: str = ""


def step_period(env: gymnasium.Env) -> Period:
    """What the environment says in ``dt``, a number of any kind, for each time it is stepped.

    Where it says nothing, the rate of its pictures is as good a guess as any.
    """
    times, layer, found = 1, env, ""
    while True:
        if isinstance(layer, RepeatingWrapper):
            times *= layer.repeats  # its own dt is that of what it wraps times these
        elif isinstance(layer, MaxAndSkipObservation):
            times *= layer._skip
        elif isinstance(layer, _RepeatAction):
            times *= layer.num_repeats
        elif hasattr(layer, "dt"):
            seconds = _positive(layer.dt)
            if seconds is not None:
                return Period(seconds * times)
            found = f"its dt is {layer.dt!r}, which is no time"
        if not isinstance(layer, gymnasium.Wrapper):
            break
        layer = layer.env
    rate = _positive((layer.metadata or {}).get("render_fps"))
    source = f"the {_FALLBACK_HZ:g} steps a second that are usual" if rate is None else "render_fps"
    return Period(times / (rate or _FALLBACK_HZ), f"{found or 'it has no dt'}; this is {source}")


def time_limit(env: gymnasium.Env) -> int | None:
    """After how many of its own steps an episode is cut at the latest; None: nobody says."""
    limits, layer = [], env
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, TimeLimit):
            limits.append(layer._max_episode_steps)
        layer = layer.env
    # Environments of dm_control are cut by a limit of their own.
    own = _positive(getattr(getattr(layer, "_env", None), "_step_limit", None))
    limits += [] if own is None else [int(own)]
    return min(limits, default=None)


def _positive(value: Any) -> float | None:
    """A finite number above 0, be it Python's, numpy's, a tensor, a fraction; else None."""
    if value is None or isinstance(value, (bool, str, bytes)) or callable(value):
        return None
    try:
        array = np.asarray(value)
        number = float(array.item())
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None
