"""How wrong a run's model is so many steps ahead, and whether it knows.

From places in episodes the model predicts what the episode's own actions bring, as in
`planet_ros.report.dreams`; here the errors of many such predictions are put together. What is known
of a reward or an end is no part of it: nothing that the run's documents name is imported or run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from planet_ros.config import LearnerSettings
from planet_ros.data import Episode, Signature
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.models import Task, WorldModel
from planet_ros.models.contract import Dream
from planet_ros.report.forecasts import (
    HALF_WIDTH,
    LEAST_STEPS,
    MOST_STEPS,
    SAMPLES,
    Forecasts,
    Numbers,
    Prediction,
)
from planet_ros.report.sources import check_regular, unpacked_bytes
from planet_ros.training.checkpoint import STATE_FILE, TENSORS_FILE, read_checkpoint
from planet_ros.training.learner import make_model
from planet_ros.training.run import RunFolder

_MOST_STARTS, _MOST_STARTS_OF_IMAGES = 200, 40
_MOST_FILTERED, _MOST_FILTERED_OF_IMAGES = 4000, 800
_MOST_NUMBERS = 20_000_000  # predicted in all
_MOST_CHECKPOINT_BYTES, _MOST_STATE_BYTES = 2_000_000_000, 10_000_000
_AVERAGE = "average/module."


class _Unjudged(Task):
    """In place of what is known: as much is left out of the model, and nothing is run."""

    def __post_init__(self) -> None:
        """Try nothing."""


def load_model(
    run: RunFolder, settings: LearnerSettings, interface: Interface | None
) -> WorldModel:
    """The model of a run's checkpoint, with the weights that act.

    Raises:
        UserError: There is none, it is damaged, or of a kind of model that settings do not name.
    """
    if not run.has_checkpoint:
        raise UserError("there is no checkpoint: what the model predicts is not known")
    unpacked_bytes(run.checkpoint / TENSORS_FILE, _MOST_CHECKPOINT_BYTES)
    check_regular(run.checkpoint / STATE_FILE, _MOST_STATE_BYTES)
    checkpoint = read_checkpoint(run.checkpoint)
    signature = checkpoint.state.signature
    task = None
    if interface is not None:
        reward = interface.reward.kind in ("quadratic", "function")
        ends = bool(interface.end.function)
        if reward or ends:
            task = _Unjudged(signature, _worthless if reward else None, _endless if ends else None)
    weights = {
        name.removeprefix(_AVERAGE): torch.from_numpy(values)
        for name, values in checkpoint.tensors.items()
        if name.startswith(_AVERAGE)
    }
    try:
        with torch.device("meta"):  # no memory before it is known to be of this size
            model = make_model(settings, signature, task)
        model.load_state_dict(weights, assign=True)
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(
            f"{run.checkpoint.name}: is not of the model that settings.yaml describes: {reason}"
        ) from None
    return model.eval()


def _worthless(
    before: object, action: object, after: Mapping[str, torch.Tensor], goal: object
) -> torch.Tensor:
    return torch.zeros_like(next(iter(after.values()))[..., 0])


def _endless(after: Mapping[str, torch.Tensor], goal: object) -> torch.Tensor:
    return torch.zeros_like(next(iter(after.values()))[..., 0], dtype=torch.bool)


def forecasts_of(
    model: WorldModel, judges: Mapping[int, Episode], experience: Sequence[Episode], horizon: int
) -> Forecasts:
    """Predict episodes from many places.

    Args:
        model: What predicts.
        judges: Episodes to predict, by number.
        experience: By their spread errors are measured.
        horizon: Of the planner.

    Raises:
        UserError: There is no episode to predict, or predictions are not finite.
    """
    longest = max((len(one) for one in judges.values()), default=0)
    if not longest:
        raise UserError("there is no episode to predict")
    steps = min(max(LEAST_STEPS, horizon), MOST_STEPS, longest)
    signature = model.signature
    names = [part.name for part in signature.parts("vector")]
    labels = [
        part.label(index) for part in signature.parts("vector") for index in range(part.shape[0])
    ]
    spread = [_rows(one, names, model.learns_reward)[1:] for one in experience]
    scale = np.concatenate(spread).std(axis=0)
    scale = np.maximum(scale, 1e-6 * max(1.0, float(np.abs(scale).max(initial=0))))
    made = []
    torch.set_num_threads(1)  # small models are fastest with one
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for number, start, belief in _beliefs(model, judges, steps):
            made.append(_predicted(model, judges[number], number, start, belief, steps, names))
    return _summed_up(made, labels + ["reward"] * model.learns_reward, scale)


def _beliefs(
    model: WorldModel, judges: Mapping[int, Episode], steps: int
) -> Iterator[tuple[int, int, torch.Tensor]]:
    """Yield episodes, steps in them and beliefs there, spread evenly."""
    pictured = bool(model.signature.images)
    most = _MOST_STARTS_OF_IMAGES if pictured else _MOST_STARTS
    filtered = _MOST_FILTERED_OF_IMAGES if pictured else _MOST_FILTERED
    numbers = sum(math.prod(part.shape) for part in model.signature.seen)
    most = max(1, min(most, _MOST_NUMBERS // (steps * numbers)))
    chosen = {number: one for number, one in judges.items() if len(one) >= steps}
    each = max(1, most // len(chosen))
    for number, episode in islice(chosen.items(), most):
        if filtered <= 0:
            return
        last = min(len(episode) - steps, filtered)
        starts = {*np.linspace(min(1, last), last, each).astype(int).tolist()}
        for start, belief in enumerate(islice(model.filtered(episode), last + 1)):
            if start in starts:
                yield number, start, belief
        filtered -= last + 1


def _predicted(
    model: WorldModel,
    episode: Episode,
    number: int,
    start: int,
    belief: torch.Tensor,
    steps: int,
    names: Sequence[str],
) -> Prediction:
    goals = model.goals(episode)
    actions = torch.from_numpy(episode.action[start : start + steps])
    dream = model.dream(belief, actions, SAMPLES, None if goals is None else goals[start])
    rows = _rows(episode, names, model.learns_reward)
    expected = _joined(dream.observation, dream.reward, names, model.learns_reward)
    sampled = _joined(dream.sampled_observation, dream.sampled_reward, names, model.learns_reward)
    spread = sampled.std(axis=0, ddof=1) if len(sampled) > 1 else np.full_like(expected, np.nan)
    return Prediction(
        number,
        start,
        rows[max(0, start - 4) : start + 1],
        rows[start + 1 : start + 1 + steps],
        expected,
        spread,
        _pictures(model.signature, episode, dream, start),
    )


def _rows(episode: Episode, names: Sequence[str], reward: bool) -> Numbers:
    """(T + 1, D) all numbers of vectors, then the reward that led there where it is wanted."""
    parts = [episode.observation[name].astype(np.float64) for name in names]
    if reward:  # none came with the first; the next one takes its place
        parts.append(np.concatenate([episode.reward[:1], episode.reward])[:, None])
    return np.concatenate(parts, axis=1) if parts else np.zeros((len(episode) + 1, 0))


def _joined(
    observation: Mapping[str, torch.Tensor],
    reward: torch.Tensor,
    names: Sequence[str],
    with_reward: bool,
) -> Numbers:
    parts = [observation[name].numpy().astype(np.float64) for name in names]
    if with_reward:
        parts.append(reward.numpy().astype(np.float64)[..., None])
    return np.concatenate(parts, axis=-1) if parts else np.zeros((*reward.shape, 0))


def _pictures(
    signature: Signature, episode: Episode, dream: Dream, start: int
) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    found = {}
    for name in signature.images:
        expected = dream.observation[name].numpy()
        found[name] = episode.observation[name][start + 1 : start + 1 + len(expected)], expected
    return found


def _summed_up(made: Sequence[Prediction], labels: Sequence[str], scale: Numbers) -> Forecasts:
    truth = np.stack([one.truth for one in made])
    expected = np.stack([one.expected for one in made])
    spread = np.stack([one.spread for one in made])
    if not np.isfinite(expected).all():
        raise UserError("the model predicts values that are not finite")
    error = expected - truth
    unmoved = np.stack([one.before[-1] for one in made])[:, None] - truth
    # What is predicted to the last digit of float32 is within any interval.
    slack = 1e-6 * (scale + np.abs(truth))
    inside = np.where(np.isfinite(spread), np.abs(error) <= HALF_WIDTH * spread + slack, np.nan)
    pixels = {
        name: np.sqrt(
            np.mean(
                [
                    np.square(true.astype(np.float64) - seen).mean(axis=(1, 2, 3))
                    for true, seen in (one.images[name] for one in made)
                ],
                axis=0,
            )
        )
        for name in made[0].images
    }
    sizes = (
        np.square(error / scale).mean(axis=(1, 2))
        if labels
        else np.array(
            [
                np.mean(
                    [
                        np.square(true.astype(float) - seen).mean()
                        for true, seen in one.images.values()
                    ]
                )
                for one in made
            ]
        )
    )
    order = np.argsort(sizes)
    return Forecasts(
        labels=labels,
        scale=scale,
        error=_root_mean(error),
        spread=_root_mean(spread),
        unmoved=_root_mean(unmoved),
        covered=inside.mean(axis=0),
        pixels=pixels,
        starts=len(made),
        episodes=len({one.episode for one in made}),
        usual=made[order[len(order) // 2]],
        worst=made[order[-1]],
    )


def _root_mean(values: Numbers) -> Numbers:
    return np.sqrt(np.square(values).mean(axis=0))
