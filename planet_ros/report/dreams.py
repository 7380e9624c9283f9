"""What a model imagines beside what came true, as pictures and as errors.

An episode is filtered up to some step; from there the model predicts what the episode's own actions
bring, and is shown nothing more (open-loop prediction)::

    frame     0 … C−1   C … C−1+H
    truth     seen      not shown to the model
    model     filters   predicts
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from planet_ros.data import Episode
from planet_ros.data.store import load_episode
from planet_ros.errors import UserError
from planet_ros.models import WorldModel
from planet_ros.models.contract import Dream
from planet_ros.training.export import open_checkpoint
from planet_ros.report.curves import new_figure, save_figure, write_gif
from planet_ros.training.run import RunFolder

LONGEST_PREDICTION = 50
"""Steps predicted where nothing else is asked for, and the episode is that long."""

_ERRORS_AT = (1, 5, 15, 30, 50)  # steps ahead
_MOST_STARTS = 20  # of predictions that the errors are taken from
_MOST_PANELS = 24
_BAND = (0.1, 0.9)  # quantiles of the sampled trajectories
_SEEN, _PREDICTED = "#2e7d32", "#c75000"


@dataclass(frozen=True)
class Imagined:
    """An episode, and what a model made of it.

    Attributes:
        number: Of the episode, as in the name of its file.
        episode: What came true.
        context: Frames C that the model was shown.
        dream: What it predicted from there.
        errors: For some numbers of steps ahead, in the key ``steps``, the root mean square error
            of ``reward``, of ``observation`` (all its numbers together) and of each image
            (``images/NAME``, in levels from 0 to 255), over predictions from as many places in the
            episode as ``starts`` says.
    """

    number: int
    episode: Episode
    context: int
    dream: Dream
    errors: list[dict[str, float]]

    @property
    def steps(self) -> int:
        """Steps H predicted."""
        return len(self.dream.reward)


def imagine(
    path: Path,
    *,
    number: int | None = None,
    context: int = 5,
    steps: int | None = None,
    samples: int = 20,
    seed: int = 0,
) -> Imagined:
    """Predict a stored episode of a run with the model of its checkpoint.

    Args:
        path: Folder of the run.
        number: Of the episode; None: the newest that is long enough.
        context: Frames that the model is shown first, at least 1.
        steps: To predict, at least 1; None: as far as the episode goes, at most
            `LONGEST_PREDICTION`.
        samples: Trajectories to draw.
        seed: Of these.

    Raises:
        UserError: The run holds no checkpoint or no such episode, or the episode is too short.
    """
    model = open_checkpoint(path, {"training.device": "cpu"}).averaged
    number, episode = _episode(path, number, context, steps)
    steps = min(steps or LONGEST_PREDICTION, len(episode) - context + 1)
    with torch.no_grad():
        beliefs = list(filtered(model, episode))
        torch.manual_seed(seed)
        actions = torch.from_numpy(episode.action[context - 1 :][:steps])
        dream = model.dream(beliefs[context - 1], actions, samples)
        errors = _errors(model, episode, beliefs, context - 1, steps)
    return Imagined(number, episode, context, dream, errors)


def filtered(model: WorldModel, episode: Episode) -> Iterator[Tensor]:
    """The belief (B,) after each observation of an episode, T + 1 of them."""
    belief = model.initial_belief()
    middle = (model.shapes.low + model.shapes.high) / 2
    actions = torch.from_numpy(np.concatenate([middle[None], episode.action]))
    observations = torch.from_numpy(episode.observation)
    images = {name: torch.from_numpy(frames) for name, frames in episode.images.items()}
    for index, (action, observation) in enumerate(zip(actions, observations, strict=True)):
        seen = {name: frames[index] for name, frames in images.items()}
        belief = model.observe(belief, action, observation, seen)
        yield belief


def _episode(
    path: Path, number: int | None, context: int, steps: int | None
) -> tuple[int, Episode]:
    folder = RunFolder(path).episodes
    files = {
        int(file.stem.removeprefix("episode-")): file for file in folder.glob("episode-[0-9]*.npz")
    }
    if not files:
        raise UserError(f"{folder}: holds no episodes, expected those that the run learned from")
    if number is not None and number not in files:
        raise UserError(
            f"episode {number}: not in {folder}, which holds {min(files)} to {max(files)}"
        )
    wanted = context - 1 + (steps or LONGEST_PREDICTION)
    chosen, episode = -1, None
    for candidate in sorted(files, reverse=True) if number is None else [number]:
        found = load_episode(files[candidate])
        if episode is None or len(found) > len(episode):
            chosen, episode = candidate, found
        if len(found) >= wanted:
            break
    assert episode is not None  # there are files
    if len(episode) < context - 1 + (steps or 1):
        raise UserError(
            f"episode {chosen}{', the longest,' if number is None else ''} has {len(episode) + 1} "
            f"frames, expected at least {context + (steps or 1)}: {context} of context and "
            f"{steps or 1} to predict; ask for less of either"
        )
    return chosen, episode


def _errors(
    model: WorldModel, episode: Episode, beliefs: Sequence[Tensor], first: int, steps: int
) -> list[dict[str, float]]:
    """See `Imagined.errors`; predictions start at `first` or later, evenly spread."""
    starts = np.unique(np.linspace(first, len(episode) - 1, _MOST_STARTS).astype(int))
    squares: dict[int, list[dict[str, float]]] = {}
    for start in starts:
        actions = torch.from_numpy(episode.action[start : start + steps])
        dream = model.dream(beliefs[start], actions, samples=0)
        for index in range(len(actions)):
            squares.setdefault(index + 1, []).append(_square_errors(episode, dream, start, index))
    reported = sorted({ahead for ahead in _ERRORS_AT if ahead < steps} | {steps})
    return [
        {"steps": ahead}
        | {
            name: float(np.sqrt(np.mean([square[name] for square in squares[ahead]])))
            for name in squares[ahead][0]
        }
        | {"starts": len(squares[ahead])}
        for ahead in reported
    ]


def _square_errors(episode: Episode, dream: Dream, start: int, index: int) -> dict[str, float]:
    truth: dict[str, tuple[Any, Tensor]] = {
        "reward": (episode.reward[start + index], dream.reward[index])
    }
    if episode.observation.shape[1]:
        truth["observation"] = episode.observation[start + index + 1], dream.observation[index]
    for name, frames in episode.images.items():
        truth[f"images/{name}"] = frames[start + index + 1], dream.images[name][index]
    return {
        name: float(np.square(np.float64(true) - np.float64(predicted)).mean())
        for name, (true, predicted) in truth.items()
    }


def draw(imagined: Imagined, folder: Path) -> list[Path]:
    """Draw numbers as curves, and each image as a GIF and as a strip.

    Args:
        imagined: What to draw.
        folder: Where the files go; it is made where it is missing.

    Returns:
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"episode-{imagined.number:06d}"
    files = [folder / f"{name}-curves.png"]
    _draw_curves(imagined, files[0])
    for part in imagined.episode.images:
        strip, gif = folder / f"{name}-{part}.png", folder / f"{name}-{part}.gif"
        _draw_strip(imagined, part, strip)
        _draw_gif(imagined, part, gif)
        files += [strip, gif]
    return files


def _draw_curves(imagined: Imagined, path: Path) -> None:
    """A panel for the reward and for each number of the observation, over the frames."""
    episode, dream, context = imagined.episode, imagined.dream, imagined.context
    total = context + imagined.steps
    reward = np.concatenate([[np.nan], episode.reward])  # none came with the first frame
    panels = [("reward", reward, dream.reward, dream.sampled_rewards)]
    panels += [
        (
            f"observation {index}",
            episode.observation[:, index],
            dream.observation[:, index],
            dream.sampled_observations[:, :, index],
        )
        for index in range(min(episode.observation.shape[1], _MOST_PANELS - 1))
    ]
    columns = min(len(panels), 2)
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(6.5 * columns, 0.6 + 2.4 * rows)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    ahead = np.arange(context, total)
    for axes, (title, truth, mean, sampled) in zip(grid, panels, strict=False):
        axes.axvspan(0, context - 1, color=_SEEN, alpha=0.12, linewidth=0, label="seen")
        if len(sampled) > 1:
            low, high = np.quantile(sampled.numpy(), _BAND, axis=0)
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


def _draw_strip(imagined: Imagined, part: str, path: Path) -> None:
    """The last frames seen, then every so many of those predicted."""
    context, total = imagined.context, imagined.context + imagined.steps
    stride = math.ceil(imagined.steps / 10)
    shown = [*range(max(0, context - 2), context), *range(context, total, stride)]
    _sheet([_column(imagined, part, frame, 96) for frame in shown]).save(path)


def _draw_gif(imagined: Imagined, part: str, path: Path) -> None:
    frames = range(imagined.context + imagined.steps)
    sheets = [_sheet([_column(imagined, part, frame, 192)]) for frame in frames]
    write_gif(sheets, path, frame_ms=150, colours=64)


@dataclass(frozen=True)
class _Column:
    """A frame: its heading, and pictures of the same size under it, None where there is none."""

    heading: str
    colour: str
    pictures: Mapping[str, Image.Image | None]


def _column(imagined: Imagined, part: str, frame: int, side: int) -> _Column:
    """What came true and what was predicted, enlarged to `side` pixels or a little more."""
    truth = imagined.episode.images[part][frame]
    ahead = frame - imagined.context + 1
    if ahead < 1:
        pictures = {"truth": _picture(truth, side), "predicted": None, "difference": None}
        return _Column("seen", _SEEN, pictures)
    predicted = imagined.dream.images[part][ahead - 1].numpy()
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
