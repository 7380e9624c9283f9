"""What a model predicts of an episode, beside what came true, and how wrong it is.

An episode is filtered up to some step; from there the model predicts what the episode's own actions
bring, and is shown nothing more (open-loop prediction)::

    frame     0 … C−1   C … C−1+H
    truth     seen      not shown to the model
    model     filters   predicts
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from planet_ros.data import Episode, Signature
from planet_ros.data.store import load_episode
from planet_ros.errors import UserError
from planet_ros.messages.fields import Make
from planet_ros.models import WorldModel
from planet_ros.models.contract import Dream
from planet_ros.training.export import open_checkpoint
from planet_ros.training.run import RunFolder

LONGEST_PREDICTION = 50
"""Steps predicted where nothing else is asked for, and the episode is that long."""

_ERRORS_AT = (1, 5, 15, 30, 50)  # steps ahead
_MOST_STARTS = 20  # of predictions that the errors are taken from


@dataclass(frozen=True)
class EpisodeDream:
    """An episode, and what a model predicted of it.

    Attributes:
        number: Of the episode, as in the name of its file.
        episode: What came true.
        signature: Of the model: what the numbers are called.
        context: Frames C that the model was shown.
        dream: What it predicted from there.
        errors: For some numbers of steps ahead, in the key ``steps``, the root mean square error
            of ``reward``, of each vector by its name (all its numbers together) and of each image
            (``images/NAME``, in levels from 0 to 255), over predictions from as many places in the
            episode as ``starts`` says.
    """

    number: int
    episode: Episode
    signature: Signature
    context: int
    dream: Dream
    errors: list[dict[str, float]]

    @property
    def steps(self) -> int:
        """Steps H predicted."""
        return len(self.dream.reward)


def dream_of(
    path: Path,
    *,
    number: int | None = None,
    context: int = 5,
    steps: int | None = None,
    samples: int = 20,
    seed: int = 0,
    make: Make | None = None,
) -> EpisodeDream:
    """Predict a stored episode of a run with the model of its checkpoint; nothing is written.

    Args:
        path: Folder of the run.
        number: Of the episode; None: the newest that is long enough.
        context: Frames that the model is shown first, at least 1.
        steps: To predict, at least 1; None: as far as the episode goes, at most
            `LONGEST_PREDICTION`.
        samples: Trajectories to draw.
        seed: Of these.
        make: Gives empty messages, for a run that learned from a robot.

    Raises:
        UserError: The run holds no checkpoint or no such episode, or the episode is too short or
            another one than the model's.
    """
    model = open_checkpoint(path, {"training.device": "cpu"}, make).model
    number, episode = _episode(path, number, context, steps)
    model.signature.check(episode.layout, f"{path}: episode {number}")
    steps = min(steps or LONGEST_PREDICTION, len(episode) - context + 1)
    with torch.no_grad():
        beliefs = list(model.filtered(episode))
        torch.manual_seed(seed)
        actions = torch.from_numpy(episode.action[context - 1 :][:steps])
        dream = model.dream(
            beliefs[context - 1], actions, samples, _goal(model, episode, context - 1)
        )
        errors = _errors(model, episode, beliefs, context - 1, steps)
    return EpisodeDream(number, episode, model.signature, context, dream, errors)


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
    """See `EpisodeDream.errors`; predictions start at `first` or later, evenly spread."""
    starts = np.unique(np.linspace(first, len(episode) - 1, _MOST_STARTS).astype(int))
    squares: dict[int, list[dict[str, float]]] = {}
    for start in starts:
        actions = torch.from_numpy(episode.action[start : start + steps])
        dream = model.dream(beliefs[start], actions, 0, _goal(model, episode, int(start)))
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


def _goal(model: WorldModel, episode: Episode, start: int) -> Tensor | None:
    """That of the first step predicted, kept for all of them."""
    goals = model.goals(episode)
    return None if goals is None else goals[start]


def _square_errors(episode: Episode, dream: Dream, start: int, index: int) -> dict[str, float]:
    """Mean squares of the errors of one predicted step."""
    errors = {"reward": _mean_square(episode.reward[start + index], dream.reward[index])}
    for name in dream.observation:
        values = episode.observation[name]
        key = f"images/{name}" if values.dtype == np.uint8 else name
        errors[key] = _mean_square(values[start + index + 1], dream.observation[name][index])
    return errors


def _mean_square(truth: NDArray[Any], predicted: Tensor) -> float:
    return float(np.square(np.float64(truth) - np.float64(predicted)).mean())
