"""Errors of predictions 1 to H steps ahead, put together: numbers alone, whoever predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

SAMPLES = 50
"""Trajectories drawn for each prediction."""

INTERVAL = 0.9
"""Share of what comes true that the model expects within its interval."""

HALF_WIDTH = 1.645
"""Half of that interval in standard deviations, of a normal distribution."""

LEAST_STEPS, MOST_STEPS = 10, 100
"""Ahead: the horizon of the planner, but no fewer and no more."""


@dataclass(frozen=True)
class Prediction:
    """One prediction beside what came true; D numbers of the observation, then a learned reward.

    Attributes:
        episode: Its number.
        start: Step that it starts from.
        before: (C, D) what came before, up to and with what was seen last.
        truth: (H, D) what came true.
        expected: (H, D).
        spread: (H, D) standard deviation of the trajectories that the model holds possible.
        images: Pictures as they came true and as expected, (H, height, width, channels) each.
    """

    episode: int
    start: int
    before: Numbers
    truth: Numbers
    expected: Numbers
    spread: Numbers
    images: Mapping[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]


@dataclass(frozen=True)
class Forecasts:
    """Errors of predictions 1 to H steps ahead.

    Attributes:
        labels: Of the D numbers, with units.
        scale: (D,) standard deviation of each in the experience: 1 is what somebody has who knows
            nothing but the mean.
        error: (H, D) root mean square error.
        spread: (H, D) root mean square of the standard deviation that the model expects.
        unmoved: (H, D) error of expecting that all stays as it is.
        covered: (H, D) share of true values within the model's interval; NaN where it has none.
        pixels: Root mean square error (H,) of each image, in levels of 0 to 255.
        starts: Predictions in all.
        episodes: In which they are.
        usual: The one with the median error.
        worst: The one with the greatest.
    """

    labels: Sequence[str]
    scale: Numbers
    error: Numbers
    spread: Numbers
    unmoved: Numbers
    covered: Numbers
    pixels: Mapping[str, Numbers]
    starts: int
    episodes: int
    usual: Prediction
    worst: Prediction

    @property
    def steps(self) -> int:
        """H."""
        return len(self.error)

    @property
    def relative_error(self) -> Numbers:
        """(H,) of all numbers together, in standard deviations of the experience."""
        return _together(self.error / self.scale)

    @property
    def relative_spread(self) -> Numbers:
        """(H,) likewise."""
        return _together(self.spread / self.scale)

    @property
    def relative_unmoved(self) -> Numbers:
        """(H,) likewise."""
        return _together(self.unmoved / self.scale)


def _together(values: Numbers) -> Numbers:
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    return np.sqrt(np.square(values).mean(axis=1))
