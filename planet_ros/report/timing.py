"""How long a bundle takes to plan, measured here and now."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planet_ros.bundle.runtime import Bundle
from planet_ros.control.events import MadePlan
from planet_ros.control.policy import PlanningPolicy
from planet_ros.data import Episode, Parts
from planet_ros.errors import UserError
from planet_ros.planning import PlanningError

MOST_PLANS = 100
MOST_SECONDS = 0.8
"""After which no further plan is begun."""

LONGEST_PLAN_S = 5.0
_LEAST_PLANS = 5
_STEPS_OF_EACH = 50  # of an episode: its belief is filtered from where they begin


@dataclass(frozen=True)
class Timing:
    """Decisions, each from an observation to a command.

    Attributes:
        ms: Of each, in ms.
        stored: Whether the observations were those of episodes; else they are zeros.
        novelty: Of each plan, as of `planet_ros.control.events.MadePlan`; empty: not known.
    """

    ms: NDArray[np.float64]
    stored: bool
    novelty: NDArray[np.float64]


def planning_times(bundle: Bundle, episodes: Mapping[int, Episode]) -> Timing:
    """Plan for observations, one after the other, as a controller does.

    Args:
        bundle: What plans.
        episodes: With observations; without any they are zeros.

    Raises:
        UserError: A plan would take too long, or there is none.
    """
    manifest = bundle.manifest
    signature, planner = manifest.signature, manifest.planner
    actions = np.empty((planner.candidates, manifest.horizon, signature.actions), np.float32)
    actions[:] = signature.middle
    began = time.perf_counter()
    _, goal = signature.split(signature.zeros())
    bundle.model.imagine(bundle.model.initial_belief(), actions, goal)
    expected_s = planner.iterations * (time.perf_counter() - began)
    if expected_s > LONGEST_PLAN_S:
        raise UserError(
            f"planning time: a plan takes about {expected_s:.0f} s on this machine, none was made"
        )
    policy = PlanningPolicy.of(bundle, seed=0)
    times: list[float] = []
    novelties: list[float] = []
    for begins, observation, action in _seen(bundle, episodes):
        if len(times) >= MOST_PLANS or (len(times) >= _LEAST_PLANS and sum(times) > MOST_SECONDS):
            break
        if begins:
            policy.reset(0)
        began = time.perf_counter()
        try:
            plan = policy.act(observation)
        except PlanningError as error:
            raise UserError(f"planning time: {error}") from None
        times.append(time.perf_counter() - began)
        policy.took(action)
        novelty = MadePlan(plan, bundle, 0).novelty
        if novelty is not None and np.isfinite(novelty):
            novelties.append(novelty)
    # The first one takes longer, as everything does once.
    return Timing(1000 * np.array(times[1:] or times), bool(episodes), np.array(novelties))


def _seen(
    bundle: Bundle, episodes: Mapping[int, Episode]
) -> Iterator[tuple[bool, Parts, NDArray[np.float32]]]:
    """Yield whether an episode begins, what is seen, and what was done then."""
    for episode in reversed(list(episodes.values())):
        for step in range(min(_STEPS_OF_EACH, len(episode))):
            now = {name: values[step] for name, values in episode.observation.items()}
            yield step == 0, now, episode.action[step]
    signature = bundle.manifest.signature
    for step in range(0 if episodes else MOST_PLANS):
        yield step == 0, signature.zeros(), signature.middle
