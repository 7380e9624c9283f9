"""The episode loop, the only one: of training, evaluation, pictures and benchmarks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from planet_ros.control.policy import Policy
from planet_ros.data import Parts, Step
from planet_ros.environments import Environment
from planet_ros.planning import Plan


def collect(
    policy: Policy, environment: Environment, seeds: Iterable[int], *, longest: int | None = None
) -> Iterator[Step]:
    """Run whole episodes, and give each step, resets included, before the next action is chosen.

    Whoever takes the steps may change the policy in between, or stop at any step. The next seed is
    asked for when an episode has ended.

    Args:
        policy: Chooses the actions; it is reset with the seed of each episode.
        environment: Where.
        seeds: Of the starts, one for each episode.
        longest: Steps after which an episode is over, though its last step does not say so; None:
            it goes on until one does.

    Raises:
        planet_ros.environments.BrokenEnvironment: The environment raises an error, or gives what
            does not fit, or a number that is not finite.
    """
    for seed in seeds:
        policy.reset(seed)
        step = environment.reset(seed=seed)
        yield step
        while not (step.last or step.index == longest):
            step = environment.step(policy.act(step.observation).actions[0])
            policy.took(step.action)
            yield step


class TimedPolicy:
    """Another policy, with a record of how long it took to decide.

    Attributes:
        seconds: Of each decision.
    """

    def __init__(self, policy: Policy) -> None:
        """Watch a policy."""
        self._policy = policy
        self.seconds: list[float] = []

    def reset(self, seed: int | None = None) -> None:
        """As the policy."""
        self._policy.reset(seed)

    def act(self, observation: Parts) -> Plan:
        """As the policy, timed."""
        began = time.perf_counter()
        plan = self._policy.act(observation)
        self.seconds.append(time.perf_counter() - began)
        return plan

    def took(self, action: NDArray[np.float32]) -> None:
        """As the policy."""
        self._policy.took(action)
