"""Pictures of a run: learning curves, and an episode as a GIF."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from planet_ros.bundle.runtime import Bundle
from planet_ros.control.agent import Agent
from planet_ros.environment import Environment, EnvironmentSpec
from planet_ros.files import write_whole
from planet_ros.training.run import RunFolder

MOVING_AVERAGE = 10
_PARTS_OF_THE_LOSS = (
    "observation_loss",
    "reward_loss",
    "continue_loss",
    "kl",
    "overshooting_kl",
)


def plot_learning_curves(run: RunFolder) -> None:
    """Draw returns and model loss over environment steps from a run's metrics."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # no display needed
    from matplotlib.figure import Figure

    records = run.metrics()
    episodes = [record for record in records if record["kind"] == "episode"]
    fits = [record for record in records if record["kind"] == "fit"]
    figure = Figure(figsize=(12, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)

    _curve(left, episodes, "return", marker="o")
    collected = [record["environment_steps"] for record in episodes if record["random"]]
    if collected:
        left.axvspan(0, max(collected), color="0.92", label="random actions")
    left.set(title="Return of each episode", xlabel="environment steps", ylabel="return")

    _curve(right, fits, "loss", marker=".")
    steps = [record["environment_steps"] for record in fits]
    for name in _PARTS_OF_THE_LOSS:
        if fits and all(name in record for record in fits):
            values = [record[name] for record in fits]
            right.plot(steps, values, linewidth=1, alpha=0.6, label=name.replace("_", " "))
    right.set(title="Model loss, mean of each fit", xlabel="environment steps", ylabel="loss")
    if fits:
        right.set_yscale("log")
    for axes in (left, right):
        axes.grid(True, which="both", alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    write_whole(run.curves_file, buffer.getvalue())


def _curve(axes: Any, records: Sequence[dict[str, Any]], name: str, marker: str) -> None:
    steps = [record["environment_steps"] for record in records]
    values = [record[name] for record in records]
    axes.plot(steps, values, marker=marker, markersize=4, label=name)
    if len(values) >= MOVING_AVERAGE:
        window = np.ones(MOVING_AVERAGE) / MOVING_AVERAGE
        axes.plot(
            steps[MOVING_AVERAGE - 1 :],
            np.convolve(values, window, mode="valid"),
            label=f"mean of {MOVING_AVERAGE}",
        )


def save_episode_gif(bundle: Bundle, spec: EnvironmentSpec, path: Path, *, seed: int) -> None:
    """Run one episode of a bundle, and write what it looks like."""
    environment = Environment(spec, render_mode="rgb_array")
    try:
        agent = Agent.of(bundle, seed)
        step = environment.reset(seed=seed)
        frames = [environment.render()]
        while not step.last:
            step = environment.step(agent.act(step.observation, step.images).actions[0])
            frames.append(environment.render())
        save_gif(frames, path, period_s=environment.step_period_s)
    finally:
        environment.close()


def save_gif(
    frames: Sequence[NDArray[np.uint8]], path: Path, *, period_s: float, width: int = 200
) -> None:
    """Write frames (height, width, 3) as a small GIF that plays in real time.

    Players show at most about 20 frames a second, so that frames in between are left out.
    """
    stride = max(1, round(0.05 / period_s))
    height = round(width * frames[0].shape[0] / frames[0].shape[1])
    images = [
        Image.fromarray(frame).resize((width, height)).quantize(32) for frame in frames[::stride]
    ]
    buffer = io.BytesIO()
    images[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=max(20, round(period_s * stride * 1000)),
        loop=0,
    )
    write_whole(path, buffer.getvalue())
