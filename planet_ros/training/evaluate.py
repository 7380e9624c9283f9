"""What a bundle is worth in an environment."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from planet_ros.bundle.manifest import Evaluation
from planet_ros.bundle.runtime import Bundle
from planet_ros.config import PlannerSettings
from planet_ros.control.policy import PlanningPolicy
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.environments.trust import check_names
from planet_ros.errors import UserError
from planet_ros.training.collect import TimedPolicy, collect

LONGEST_EPISODE = 1000
"""Decisions after which an episode is cut in an environment that names no time limit."""


def longest_episode(environment: Environment) -> int | None:
    """Decisions after which an episode is over; None: the environment itself sees to that."""
    return LONGEST_EPISODE if environment.time_limit is None else None


@dataclass(frozen=True)
class EvaluationResult:
    """Returns of whole episodes, and the time each decision took.

    Attributes:
        returns: Undiscounted, one for each episode.
        steps: Environment steps in all.
        tick_s: Seconds of each decision, filtering and planning together.
        cut: Episodes that were cut because they went on for too long.
    """

    returns: list[float]
    steps: int
    tick_s: list[float]
    cut: int = 0

    def to_dict(self) -> dict[str, Any]:
        """What ``planet-ros evaluate --json`` prints."""
        p50, p99 = np.percentile(self.tick_s, [50, 99]) * 1e3
        return {
            "returns": self.returns,
            "mean": float(np.mean(self.returns)),
            "worst": min(self.returns),
            "steps": self.steps,
            "decisions": len(self.tick_s),
            "cut": self.cut,
            "tick_ms": {
                "p50": round(float(p50), 3),
                "p99": round(float(p99), 3),
                "max": round(max(self.tick_s) * 1e3, 3),
            },
        }

    def for_manifest(self, source: str) -> Evaluation:
        """What the manifest says of it."""
        return Evaluation(
            source=source,
            mean_return=float(np.mean(self.returns)),
            worst_return=min(self.returns),
            episodes=len(self.returns),
        )


def environment_of(bundle: Bundle, allowed: Collection[str] = ()) -> EnvironmentSpec:
    """The environment that a bundle was learned in.

    Args:
        bundle: Whoever made it.
        allowed: Python modules that it may name beside what `planet_ros.environments.trust` knows.

    Raises:
        UserError: The manifest names none, or Python that was not allowed.
    """
    record = bundle.manifest.environment
    if record is None:
        raise UserError(
            f"{bundle.path}: the manifest names no environment; say which with --env-id, and try a "
            "robot's model on the robot, with control.launch.py"
        )
    spec = EnvironmentSpec(record.id, record.kwargs, tuple(record.modules), tuple(record.wrappers))
    check_names(spec, allowed, f"{bundle.path}: environment")
    return spec


def evaluate(
    bundle: Bundle,
    environment: Environment,
    *,
    episodes: int,
    seed: int,
    planner: PlannerSettings | None = None,
    after_episode: Callable[[int, float], None] = lambda index, total: None,
    longest: int | None = None,
) -> EvaluationResult:
    """Run whole episodes; episode i starts from ``reset(seed=seed + i)``.

    Args:
        bundle: What to run, by onnxruntime alone.
        environment: Where to run it.
        episodes: How many.
        seed: Of the starts and of the planner.
        planner: Settings in place of the bundle's own.
        after_episode: Called with the episode's number and return.
        longest: Decisions after which an episode is cut; None: as `longest_episode` says.

    Raises:
        UserError: The bundle does not fit the environment, or that gives a value that is not
            finite.
    """
    where = f"{environment.spec.id}, for {bundle.path}"
    bundle.manifest.signature.check(environment.signature, where)
    policy = TimedPolicy(PlanningPolicy.of(bundle, seed, planner))
    returns: list[float] = []
    total, steps, cut = 0.0, 0, 0
    longest = longest or longest_episode(environment)
    for step in collect(policy, environment, range(seed, seed + episodes), longest=longest):
        if step.index == 0:
            total = 0.0
            continue
        total += step.reward
        steps += step.environment_steps
        if step.last or step.index == longest:
            cut += not step.last
            returns.append(total)
            after_episode(len(returns) - 1, total)
    return EvaluationResult(returns=returns, steps=steps, tick_s=policy.seconds, cut=cut)
