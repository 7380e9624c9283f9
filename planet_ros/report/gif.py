"""Episodes as films."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from planet_ros.bundle.runtime import Bundle
from planet_ros.control.policy import PlanningPolicy
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.files import write_whole
from planet_ros.training.collect import collect
from planet_ros.training.evaluate import longest_episode

FASTEST_S = 0.05
"""Players show at most about 20 frames a second."""

_CLOCK_S = 0.01
"""A GIF counts time in hundredths of a second."""


def save_episode_gif(bundle: Bundle, spec: EnvironmentSpec, path: Path, *, seed: int) -> None:
    """Run one episode of a bundle, and write what it looks like.

    Args:
        bundle: What acts.
        spec: Where; it must be able to render ``rgb_array``.
        path: The GIF.
        seed: Of the start and the planner.

    Raises:
        UserError: The environment cannot be made or drawn, or gives what does not fit.
    """
    environment = Environment(spec, render_mode="rgb_array")
    try:
        policy = PlanningPolicy.of(bundle, seed)
        steps = collect(policy, environment, [seed], longest=longest_episode(environment))
        frames = [environment.render() for _ in steps]
    finally:
        environment.close()
    save_gif(frames, path, period_s=environment.signature.period_s)


def save_gif(
    frames: Sequence[NDArray[np.uint8]], path: Path, *, period_s: float, width: int = 200
) -> None:
    """Write frames as a small GIF that plays in real time, as well as a GIF can.

    Args:
        frames: (height, width, 3) each; some are left out where they come faster than
            `FASTEST_S`.
        path: The file.
        period_s: Time from one frame to the next.
        width: Of the GIF, in pixels.
    """
    stride = max(1, round(FASTEST_S / period_s))
    height = round(width * frames[0].shape[0] / frames[0].shape[1])
    write_gif(
        [Image.fromarray(frame).resize((width, height)) for frame in frames[::stride]],
        path,
        frame_s=period_s * stride,
        colours=32,
    )


def write_gif(pictures: Sequence[Image.Image], path: Path, *, frame_s: float, colours: int) -> None:
    """Write pictures as a GIF that repeats for ever, each shown for `frame_s` seconds."""
    ticks = max(2, round(frame_s / _CLOCK_S))
    first, *others = (picture.quantize(colours) for picture in pictures)
    buffer = io.BytesIO()
    first.save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=others,
        duration=ticks * 10,  # milliseconds
        loop=0,
    )
    write_whole(path, buffer.getvalue())
