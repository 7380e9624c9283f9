"""The learning curves of a run, and figures in general."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from planet_ros.files import write_whole
from planet_ros.training.run import RunFolder

MOVING_AVERAGE = 10
_PARTS_OF_THE_LOSS = (
    "loss",
    "observation_loss",
    "reward_loss",
    "continue_loss",
    "kl",
    "overshooting_kl",
)
_REWARD_ERRORS = {
    "one_step_reward_error": "one step ahead",
    "horizon_reward_error": "over the horizon",
}


def plot_learning_curves(run: RunFolder) -> None:
    """Draw returns, the parts of the loss and reward errors over environment steps."""
    records = run.metrics()
    episodes = [record for record in records if record["kind"] == "episode"]
    fits = [record for record in records if record["kind"] == "fit"]
    figure = new_figure(15, 4)
    left, middle, right = figure.subplots(1, 3)

    _curve(left, episodes, "return", "return", marker="o", markersize=4)
    returns = [record["return"] for record in episodes]
    if len(returns) >= MOVING_AVERAGE:
        window = np.ones(MOVING_AVERAGE) / MOVING_AVERAGE
        left.plot(
            [record["environment_steps"] for record in episodes[MOVING_AVERAGE - 1 :]],
            np.convolve(returns, window, mode="valid"),
            label=f"mean of {MOVING_AVERAGE}",
        )
    collected = [record["environment_steps"] for record in episodes if record["random"]]
    if collected:
        left.axvspan(0, max(collected), color="0.92", label="random actions")
    left.set(title="Return of each episode", ylabel="return")

    for name in _PARTS_OF_THE_LOSS:
        style = {"color": "black", "linewidth": 2} if name == "loss" else {}
        _curve(middle, fits, name, name.replace("_", " "), **style)
    middle.set(title="Model loss and its parts, mean of each fit")

    for name, label in _REWARD_ERRORS.items():
        _curve(right, fits, name, label, marker=".")
    right.set(title="Error of the predicted reward on new steps", ylabel="root mean square")

    for axes in (left, middle, right):
        lines = axes.get_lines()
        if axes is not left and lines and all(min(line.get_ydata()) > 0 for line in lines):
            axes.set_yscale("log")
        axes.set(xlabel="environment steps")
        axes.grid(True, which="both", alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    save_figure(figure, run.curves_file)


def _curve(
    axes: Any, records: Sequence[dict[str, Any]], name: str, label: str, **style: Any
) -> None:
    """A line through the records that have a value of the name; none where none has."""
    known = [record for record in records if record.get(name) is not None]
    if known:
        steps = [record["environment_steps"] for record in known]
        axes.plot(steps, [record[name] for record in known], label=label, **style)


def new_figure(width: float, height: float) -> Any:
    """An empty figure of matplotlib, in inches, that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    write_whole(path, buffer.getvalue())
