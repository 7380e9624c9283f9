"""What a bundle is worth in an environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from planet_ros.bundle.manifest import Evaluation
from planet_ros.bundle.runtime import Bundle
from planet_ros.config import PlannerSettings
from planet_ros.control.policy import PlanningPolicy
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.training.collect import TimedPolicy, collect


@dataclass(frozen=True)
class EvaluationResult:
    """Returns of whole episodes, and the time each decision took.

    Attributes:
        returns: Undiscounted, one for each episode.
        steps: Environment steps in all.
        tick_s: Seconds of each decision, filtering and planning together.
    """

    returns: list[float]
    steps: int
    tick_s: list[float]

    def to_dict(self) -> dict[str, Any]:
        """What ``planet-ros evaluate --json`` prints."""
        p50, p99 = np.percentile(self.tick_s, [50, 99]) * 1e3
        return {
            "returns": self.returns,
            "mean": float(np.mean(self.returns)),
            "worst": min(self.returns),
            "steps": self.steps,
            "decisions": len(self.tick_s),
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


def environment_of(bundle: Bundle) -> EnvironmentSpec:
    """The environment that a bundle was learned in.

    Raises:
        UserError: The manifest names none.
    """
    record = bundle.manifest.environment
    if record is None:
        raise UserError(
            f"{bundle.path}: the manifest names no environment; say which with --env-id"
        )
    return EnvironmentSpec(record.id, record.kwargs, tuple(record.modules), tuple(record.wrappers))


def evaluate(
    bundle: Bundle,
    environment: Environment,
    *,
    episodes: int,
    seed: int,
    planner: PlannerSettings | None = None,
    after_episode: Callable[[int, float], None] = lambda index, total: None,
) -> EvaluationResult:
    """Run whole episodes; episode i starts from ``reset(seed=seed + i)``.

    Args:
        bundle: What to run, by onnxruntime alone.
        environment: Where to run it.
        episodes: How many.
        seed: Of the starts and of the planner.
        planner: Settings in place of the bundle's own.
        after_episode: Called with the episode's number and return.

    Raises:
        UserError: The bundle does not fit the environment, or that gives a value that is not
            finite.
    """
    where = f"{environment.spec.id}, for {bundle.path}"
    bundle.manifest.signature.check(environment.signature, where)
    policy = TimedPolicy(PlanningPolicy.of(bundle, seed, planner))
    returns: list[float] = []
    total, steps = 0.0, 0
    for step in collect(policy, environment, range(seed, seed + episodes)):
        if step.index == 0:
            total = 0.0
            continue
        total += step.reward
        steps += step.environment_steps
        if step.last:
            returns.append(total)
            after_episode(len(returns) - 1, total)
    return EvaluationResult(returns=returns, steps=steps, tick_s=policy.seconds)
