"""Pictures of a predicted episode: curves of the numbers, films and strips of the images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from planet_ros.report.curves import new_figure, save_figure
from planet_ros.report.dreams import EpisodeDream
from planet_ros.report.gif import write_gif

_MOST_PANELS = 24
_BAND = (0.1, 0.9)  # quantiles of the sampled trajectories
_FRAME_S = 0.15
_SEEN, _PREDICTED = "#2e7d32", "#c75000"


def draw(dreamt: EpisodeDream, folder: Path) -> list[Path]:
    """Draw numbers as curves, and each image as a GIF and as a strip.

    Args:
        dreamt: What to draw.
        folder: Where the files go; it is made where it is missing.

    Returns:
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"episode-{dreamt.number:06d}"
    files = [folder / f"{name}-curves.png"]
    _draw_curves(dreamt, files[0])
    for part in dreamt.signature.images:
        strip, gif = folder / f"{name}-{part}.png", folder / f"{name}-{part}.gif"
        _draw_strip(dreamt, part, strip)
        _draw_gif(dreamt, part, gif)
        files += [strip, gif]
    return files


class _Panel(NamedTuple):
    """A number over the frames: (frames,) what came true, (H,) and (S, H) what was predicted."""

    title: str
    truth: NDArray[Any]
    mean: NDArray[Any]
    sampled: NDArray[Any]


def _panels(dreamt: EpisodeDream) -> Iterator[_Panel]:
    episode, dream = dreamt.episode, dreamt.dream
    reward = np.concatenate([[np.nan], episode.reward])  # none came with the first frame
    yield _Panel("reward", reward, dream.reward.numpy(), dream.sampled_reward.numpy())
    for part in dreamt.signature.parts("vector"):
        truth = episode.observation[part.name]
        mean = dream.observation[part.name].numpy()
        sampled = dream.sampled_observation[part.name].numpy()
        for index in range(truth.shape[1]):
            yield _Panel(part.label(index), truth[:, index], mean[:, index], sampled[:, :, index])


def _draw_curves(dreamt: EpisodeDream, path: Path) -> None:
    """A panel for the reward and for each number of the observation, over the frames."""
    context, total = dreamt.context, dreamt.context + dreamt.steps
    panels = list(islice(_panels(dreamt), _MOST_PANELS))
    columns = min(len(panels), 2)
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(6.5 * columns, 0.6 + 2.4 * rows)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    ahead = np.arange(context, total)
    for axes, (title, truth, mean, sampled) in zip(grid, panels, strict=False):
        axes.axvspan(0, context - 1, color=_SEEN, alpha=0.12, linewidth=0, label="seen")
        if len(sampled) > 1:
            low, high = np.quantile(sampled, _BAND, axis=0)
            label = f"{_BAND[0]:.0%} to {_BAND[1]:.0%} of {len(sampled)} trajectories"
            axes.fill_between(
                ahead, low, high, color=_PREDICTED, alpha=0.25, linewidth=0, label=label
            )
        axes.plot(truth[:total], color="black", linewidth=1.5, label="truth")
        axes.plot(ahead, mean, color=_PREDICTED, linewidth=1.5, label="predicted")
        axes.set_title(title)
        axes.margins(x=0)
        axes.grid(True, alpha=0.3)
    for axes in grid[len(panels) :]:
        axes.remove()
    figure.supxlabel("frame of the episode")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    save_figure(figure, path)


def _draw_strip(dreamt: EpisodeDream, part: str, path: Path) -> None:
    """The last frames seen, then every so many of those predicted."""
    context, total = dreamt.context, dreamt.context + dreamt.steps
    stride = math.ceil(dreamt.steps / 10)
    shown = [*range(max(0, context - 2), context), *range(context, total, stride)]
    _sheet([_column(dreamt, part, frame, 96) for frame in shown]).save(path)


def _draw_gif(dreamt: EpisodeDream, part: str, path: Path) -> None:
    frames = range(dreamt.context + dreamt.steps)
    sheets = [_sheet([_column(dreamt, part, frame, 192)]) for frame in frames]
    write_gif(sheets, path, frame_s=_FRAME_S, colours=64)


@dataclass(frozen=True)
class _Column:
    """A frame: its heading, and pictures of the same size under it, None where there is none."""

    heading: str
    colour: str
    pictures: Mapping[str, Image.Image | None]


def _column(dreamt: EpisodeDream, part: str, frame: int, side: int) -> _Column:
    """What came true and what was predicted, enlarged to `side` pixels or a little more."""
    truth = dreamt.episode.observation[part][frame]
    ahead = frame - dreamt.context + 1
    if ahead < 1:
        pictures = {"truth": _picture(truth, side), "predicted": None, "difference": None}
        return _Column("seen", _SEEN, pictures)
    predicted = dreamt.dream.observation[part][ahead - 1].numpy()
    difference = np.abs(truth.astype(np.int16) - predicted).astype(np.uint8)
    pictures = {
        name: _picture(image, side)
        for name, image in (
            ("truth", truth),
            ("predicted", predicted),
            ("difference", difference),
        )
    }
    return _Column(f"{ahead} ahead", _PREDICTED, pictures)


def _picture(image: NDArray[np.uint8], side: int) -> Image.Image:
    height, width, channels = image.shape
    if channels != 3:  # grey, or something that has no colours of its own
        image = np.repeat(image.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    scale = max(1, math.ceil(side / max(height, width)))
    return Image.fromarray(image).resize((width * scale, height * scale), Image.Resampling.NEAREST)


_GAP, _TEXT, _MARGIN, _LABELS = 6, 14, 10, 84  # pixels


def _sheet(columns: Sequence[_Column]) -> Image.Image:
    """Columns of pictures side by side, with headings above and the names of rows to the left."""
    names = list(columns[0].pictures)
    cell = next(picture for picture in columns[0].pictures.values() if picture is not None)
    column_width = max(cell.width, 6 * _TEXT)
    top = _MARGIN + _TEXT + 2 * _GAP
    sheet = Image.new(
        "RGB",
        (
            _MARGIN + _LABELS + len(columns) * (column_width + _GAP) - _GAP + _MARGIN,
            top + len(names) * (cell.height + _GAP) - _GAP + _MARGIN,
        ),
        "white",
    )
    pen, font = ImageDraw.Draw(sheet), _font()
    for row, name in enumerate(names):
        middle = top + row * (cell.height + _GAP) + cell.height // 2
        pen.text((_MARGIN, middle), name, fill="black", font=font, anchor="lm")
    for index, column in enumerate(columns):
        left = _MARGIN + _LABELS + index * (column_width + _GAP)
        pen.text((left, _MARGIN), column.heading, fill=column.colour, font=font)
        bar = _MARGIN + _TEXT + _GAP
        pen.rectangle((left, bar, left + column_width - 1, bar + 2), fill=column.colour)
        for row, name in enumerate(names):
            corner = left, top + row * (cell.height + _GAP)
            picture = column.pictures[name]
            if picture is None:
                picture = Image.new("RGB", cell.size, "#eeeeee")
            sheet.paste(picture, corner)
            opposite = corner[0] + cell.width - 1, corner[1] + cell.height - 1
            pen.rectangle((*corner, *opposite), outline="#bbbbbb")
    return sheet


def _font() -> Any:
    """Matplotlib's own font, which is there on every machine."""
    from matplotlib import font_manager

    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), _TEXT)
