"""The lines of ``metrics.jsonl``, and what can be told from them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from planet_ros.bundle.manifest import Evaluation
from planet_ros.data import Episode
from planet_ros.training.learner import FitResult, Learner


def episode_record(episode: Episode, learner: Learner, **more: object) -> dict[str, Any]:
    """The line of an episode that the learner has just taken in."""
    return {
        "kind": "episode",
        "episode": learner.episodes - 1,
        "environment_steps": learner.environment_steps,
        "decisions": len(episode),
        "return": episode.total_reward,
        "terminated": episode.terminated,
        "truncated": episode.truncated,
        **more,
    }


def fit_record(
    result: FitResult, learner: Learner, *, steps: int, seconds: float, error: float | None
) -> dict[str, Any]:
    """The line of a fit.

    Args:
        result: Of the fit.
        learner: Whose it is.
        steps: Environment steps so far.
        seconds: That it took.
        error: On held-out episodes, where there are any.
    """
    return {
        "kind": "fit",
        "fit": learner.fits,
        "environment_steps": steps,
        **result.metrics,
        "one_step_reward_error": result.one_step_reward_error,
        "horizon_reward_error": result.horizon_reward_error,
        **({} if error is None else {"held_out_error": error}),
        **({} if learner.disagreement is None else {"disagreement": learner.disagreement}),
        "experience_bytes": learner.store.nbytes,
        "seconds": round(seconds, 3),
    }


def held_out_errors(records: Iterable[dict[str, Any]]) -> list[float]:
    """That of each fit which was judged by held-out episodes, in order."""
    return [record["held_out_error"] for record in records if "held_out_error" in record]


def is_own_episode(record: dict[str, Any]) -> bool:
    """Whether a line is of an episode that the run collected itself."""
    return record["kind"] == "episode" and not record.get("imported")


def recent_evaluation(
    records: Iterable[dict[str, Any]], episodes: int, most_steps: int
) -> Evaluation | None:
    """What the newest whole episodes with planned actions were worth; None without any.

    Args:
        records: All lines.
        episodes: How many at most.
        most_steps: After which episodes are cut; 0: never.
    """
    returns = [
        record["return"]
        for record in records
        if is_own_episode(record)
        and not record["random"]
        and (record["terminated"] or record["truncated"])
    ][-episodes:]
    if not returns:
        return None
    return Evaluation(
        source=f"last {len(returns)} training episodes"
        + (f", cut after {most_steps} steps" if most_steps else ""),
        mean_return=float(np.mean(returns)),
        worst_return=min(returns),
        episodes=len(returns),
    )
