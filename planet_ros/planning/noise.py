"""Noise that is correlated in time, so that a random action sequence pushes one way for a while."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def colored_noise(
    beta: float, shape: tuple[int, int, int], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Gaussian noise (N, H, A) whose power falls as 1/f^beta along the H axis.

    Every entry has mean 0 and variance 1, whatever ``beta``, H and its place in the sequence;
    sequences and dimensions are independent. ``beta`` 0 is white noise, 1 pink, 2 red. The constant
    part, where 1/f^beta has no value, gets the power of the lowest frequency.

    Raises ValueError if ``beta`` is negative or not finite, or H is less than 1. Timmer & Koenig
    1995, On generating power law noise: Gaussian Fourier coefficients, transformed back.
    """
    candidates, horizon, size = shape
    amplitude = _amplitudes(beta, horizon)
    parts = rng.standard_normal((candidates, size, len(amplitude), 2))
    parts *= amplitude
    spectrum = parts.view(np.complex128)[..., 0]
    return np.fft.irfft(spectrum, n=horizon, axis=-1).transpose(0, 2, 1)


@lru_cache(maxsize=32)
def _amplitudes(beta: float, horizon: int) -> NDArray[np.float64]:
    """Standard deviations (H//2 + 1, 2) of real and imaginary parts, as `irfft` takes them."""
    if not (np.isfinite(beta) and beta >= 0.0):
        raise ValueError(f"beta: found {beta}, expected a finite number of at least 0")
    if horizon < 1:
        raise ValueError(f"horizon: found {horizon}, expected at least 1")
    cycles = np.arange(horizon // 2 + 1)
    power = np.maximum(cycles, 1.0) ** -beta
    # A frequency stands for itself and its mirror image, except for those that are their own: such
    # coefficients are real and hold all their power in the real part.
    own_mirror = (cycles == 0) | (2 * cycles == horizon)
    power *= horizon**2 / np.sum(np.where(own_mirror, 1.0, 2.0) * power)
    real = np.sqrt(np.where(own_mirror, power, power / 2.0))
    amplitude = np.stack([real, np.where(own_mirror, 0.0, real)], axis=-1)
    amplitude.setflags(write=False)
    return amplitude
