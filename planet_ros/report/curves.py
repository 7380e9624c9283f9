"""The learning curves of a run, and figures in general."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.files import write_whole
from planet_ros.report.metrics import (
    MOVING_AVERAGE,
    PARTS_OF_THE_LOSS,
    REWARD_ERRORS,
    column,
    fits_axis,
    moving_average,
    read_metrics,
)
from planet_ros.training.run import RunFolder


def plot_learning_curves(run: RunFolder) -> None:
    """Draw returns, the parts of the loss and errors; lines that are damaged are left out.

    Along the axis of fits are environment steps, or where none are taken between fits their
    numbers; the error is then that on held-out episodes.
    """
    metrics = read_metrics(run.metrics_file)
    episodes, fits = metrics.of("episode"), metrics.of("fit")
    figure = new_figure(15, 4)
    left, middle, right = figure.subplots(1, 3)

    steps, returns = column(episodes, "environment_steps"), column(episodes, "return")
    if episodes:
        left.plot(steps, returns, label="return", marker="o", markersize=4)
    if len(returns) >= MOVING_AVERAGE:
        average = moving_average(returns)
        left.plot(steps[MOVING_AVERAGE - 1 :], average, label=f"mean of {MOVING_AVERAGE}")
    collected = [record["environment_steps"] for record in episodes if record.get("random")]
    if collected:
        left.axvspan(0, max(collected), color="0.92", label="random actions")
    left.set(title="Return of each episode", xlabel="environment steps", ylabel="return")

    places, along = fits_axis(fits)
    for name in PARTS_OF_THE_LOSS:
        style = {"color": "black", "linewidth": 2} if name == "loss" else {}
        _curve(middle, places, column(fits, name), name.replace("_", " "), **style)
    middle.set(title="Model loss and its parts, mean of each fit", xlabel=along)

    held_out = column(fits, "held_out_error")
    if np.isfinite(held_out).any():
        _curve(right, places, held_out, "held-out error", marker=".")
        right.set(title="Error on held-out episodes", ylabel="standard deviations", xlabel=along)
    else:
        for name, label in REWARD_ERRORS.items():
            _curve(right, places, column(fits, name), label, marker=".")
        right.set(title="Error of the predicted reward on new steps", ylabel="root mean square")
        right.set(xlabel=along)

    for axes in (left, middle, right):
        lines = axes.get_lines()
        if axes is not left and lines and all(min(line.get_ydata()) > 0 for line in lines):
            axes.set_yscale("log")
        axes.grid(True, which="both", alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    save_figure(figure, run.curves_file)


def _curve(
    axes: Any, places: NDArray[np.float64], values: NDArray[np.float64], label: str, **style: Any
) -> None:
    """A line through the values that are known; none where none is."""
    known = np.isfinite(values)
    if known.any():
        axes.plot(places[known], values[known], label=label, **style)


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
