"""Experience of one task judged by another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from planet_ros.data import Episode, Parts, Step
from planet_ros.errors import UserError
from planet_ros.models.task import Task


def relabel(episode: Episode, task: Task, goal: ArrayLike | None = None) -> Episode:
    """An episode with the rewards, and the end, that a task gives it.

    What the task does not know stays: its rewards, or its end. Where an end is known, the episode
    is cut after the first step that terminates it; one that terminated by another judgement, and
    not by this, counts as truncated.

    Args:
        episode: T steps of the task's signature.
        task: What judges them.
        goal: (G,) for the whole episode, or (T + 1, G) with each observation, in the place of the
            episode's own; the action after observation t is judged by goal t.

    Raises:
        UserError: The episode is of another signature, or the goal of another length.
    """
    signature = task.signature
    if goal is not None:
        if signature.goal is None:
            raise UserError("goal: found one, expected none: the signature has no goal")
        given = np.asarray(goal, dtype=np.float32)
        shape = (len(episode) + 1, *signature.goal.shape)
        if given.shape not in (shape, signature.goal.shape):
            raise UserError(
                f"goal: found shape {given.shape}, expected {signature.goal.shape}, or {shape} "
                "with each observation"
            )
        goals = np.array(np.broadcast_to(given, shape))
        episode = replace(episode, observation={**episode.observation, signature.goal.name: goals})
    signature.check(episode.layout, "the episode")
    rewards, terminated = _judged(episode.observation, episode.action, task)
    if rewards is not None:
        episode = replace(episode, reward=rewards)
    if terminated is None:
        return episode
    if not terminated.any():
        truncated = episode.truncated or episode.terminated
        return replace(episode, terminated=False, truncated=truncated)
    steps = int(np.argmax(terminated)) + 1
    return Episode(
        observation={name: values[: steps + 1] for name, values in episode.observation.items()},
        action=episode.action[:steps],
        reward=episode.reward[:steps],
        terminated=True,
        truncated=False,
        environment_steps=round(episode.environment_steps * steps / len(episode)),
    )


def judged(before: Step, step: Step, task: Task) -> Step:
    """A step with the reward, and the end, that a task gives it; see `relabel`.

    Args:
        before: The step before.
        step: Of the task's signature.
        task: What judges it.
    """
    names = [part.name for part in task.signature.observation if part.role != "image"]
    pair = {name: np.stack([before.observation[name], step.observation[name]]) for name in names}
    rewards, terminated = _judged(pair, step.action[None], task)
    if rewards is not None:
        step = replace(step, reward=float(rewards[0]))
    if terminated is not None:
        over = bool(terminated[0])
        step = replace(step, terminated=over, truncated=step.last and not over)
    return step


def _judged(
    observation: Parts, action: NDArray[np.float32], task: Task
) -> tuple[NDArray[np.float64] | None, NDArray[np.bool_] | None]:
    """Rewards (T,) and terminations (T,) of T + 1 observations, as far as they are known."""
    signature = task.signature
    seen = {
        part.name: torch.from_numpy(observation[part.name]) for part in signature.parts("vector")
    }
    goal = None if signature.goal is None else torch.from_numpy(observation[signature.goal.name])
    with torch.no_grad():
        rewards, terminated = task.judge(
            {name: values[:-1] for name, values in seen.items()},
            torch.from_numpy(action),
            {name: values[1:] for name, values in seen.items()},
            None if goal is None else goal[:-1],
        )
    return (
        None if rewards is None else rewards.numpy().astype(np.float64),
        None if terminated is None else terminated.numpy(),
    )
