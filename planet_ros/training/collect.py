"""The episode loop, the only one: of training, evaluation, pictures and benchmarks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from planet_ros.control.policy import Policy
from planet_ros.data import Parts, Step
from planet_ros.environments import Environment
from planet_ros.planning import Plan


class Copies(Protocol):
    """Environments whose episodes begin together; their steps bear their numbers as streams."""

    def reset(self, seeds: Sequence[int]) -> list[Step]:
        """Start an episode in each, from its own seed."""

    def step(self, actions: Mapping[int, NDArray[np.floating]]) -> dict[int, Step]:
        """Take an action in each whose episode is not over, by its number."""


def collect_together(
    policies: SideBySide,
    copies: Copies,
    rounds: Iterable[Sequence[int]],
    *,
    longest: int | None = None,
) -> Iterator[Step]:
    """Run whole episodes side by side, and give each step before the next actions are chosen.

    Whoever takes the steps may change the policies in between, or stop at any step. The next seeds
    are asked for when all episodes have ended.

    Args:
        policies: Choose the actions.
        copies: Where.
        rounds: Seeds of the starts, one for each copy.
        longest: Steps after which an episode is over, though its last step does not say so; None:
            it goes on until one does.

    Raises:
        planet_ros.environments.BrokenEnvironment: An environment raises an error, or gives what
            does not fit, or a number that is not finite.
    """
    for seeds in rounds:
        policies.reset(seeds)
        newest = dict(enumerate(copies.reset(seeds)))
        yield from newest.values()
        while seen := {
            copy: step.observation
            for copy, step in newest.items()
            if not (step.last or step.index == longest)
        }:
            newest = copies.step(policies.act(seen))
            policies.took({copy: step.action for copy, step in newest.items()})
            yield from newest.values()


def collect(
    policy: Policy, environment: Environment, seeds: Iterable[int], *, longest: int | None = None
) -> Iterator[Step]:
    """Run whole episodes, and give each step, resets included, before the next action is chosen.

    As `collect_together`, with one policy, which is reset with the seed of each episode, in one
    environment.
    """
    rounds = ([seed] for seed in seeds)
    return collect_together(SideBySide([policy]), Alone(environment), rounds, longest=longest)


class Alone:
    """One environment, as `Copies`."""

    def __init__(self, environment: Environment) -> None:
        """Step an environment."""
        self._environment = environment

    def reset(self, seeds: Sequence[int]) -> list[Step]:
        """As `Copies`."""
        return [self._environment.reset(seed=seed) for seed in seeds]

    def step(self, actions: Mapping[int, NDArray[np.floating]]) -> dict[int, Step]:
        """As `Copies`."""
        return {copy: self._environment.step(action) for copy, action in actions.items()}


class SideBySide:
    """A policy for each of several environments, by their numbers.

    Attributes:
        each: The policies, which may be replaced by others between two steps.
    """

    def __init__(self, each: Sequence[Policy], threads: Executor | None = None) -> None:
        """Join policies.

        Args:
            each: One for each environment.
            threads: Where they decide at once; None: one after another.
        """
        self.each = each
        self.threads = threads

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin an episode in each, with its seed."""
        for policy, seed in zip(self.each, seeds, strict=True):
            policy.reset(seed)

    def act(self, observations: Mapping[int, Parts]) -> dict[int, NDArray[np.float32]]:
        """Decide on the action (A,) that is due in each environment that was seen."""
        numbers = [*observations]

        def decide(number: int) -> NDArray[np.float32]:
            return self.each[number].act(observations[number]).actions[0]

        # Most of a plan is made in onnxruntime, where threads do not wait for one another.
        run = map if self.threads is None else self.threads.map
        decided = run(decide, numbers)
        return dict(zip(numbers, decided, strict=True))

    def took(self, actions: Mapping[int, NDArray[np.float32]]) -> None:
        """Be told what was done."""
        for number, action in actions.items():
            self.each[number].took(action)


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
