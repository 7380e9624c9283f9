"""An environment of one's own: a cart that is pushed to the middle of its rail, and learned.

    python examples/own_environment.py --output runs/cart

docs/own_environment.md explains it.
"""

from __future__ import annotations

import argparse
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import settings_from
from planet_ros.control.exploration import RandomPolicy
from planet_ros.control.policy import Policy
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.training.collect import collect
from planet_ros.training.evaluate import evaluate
from planet_ros.training.loop import train

ID = "PlanetRosExamples/Cart-v0"
RAIL_M = 2.0
MASS_KG = 1.0
FORCE_N = 2.0
HELD_OUT = range(10_000, 10_010)
"""Starts that no model has learned from."""


class Cart(gymnasium.Env):
    """A cart on a rail of 4 m, which ends the episode where it rolls off.

    The reward is 1 in the middle, 0 at the ends, and a little less for pushing. It is never below 0
    on the rail: were it, to roll off soon would be the best there is.
    """

    dt = 0.1  # seconds of a step; the project reads it
    observation_names: ClassVar[list[str]] = ["position [m]", "velocity [m/s]"]
    action_names: ClassVar[list[str]] = ["force [N]"]

    def __init__(self) -> None:
        self.observation_space = Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = Box(-FORCE_N, FORCE_N, (1,), np.float32)
        self._position, self._velocity = 0.0, 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start somewhere on the rail, rolling; the same seed gives the same start."""
        super().reset(seed=seed)
        self._position, self._velocity = self.np_random.uniform([-1.5, -1.0], [1.5, 1.0])
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Push with a force (1,) in newtons for `dt` seconds."""
        force = float(action[0])
        self._velocity += force / MASS_KG * self.dt
        self._position += self._velocity * self.dt
        reward = 1.0 - (self._position / RAIL_M) ** 2 - 0.01 * force**2
        terminated = abs(self._position) > RAIL_M
        # Not truncated here: the time limit is Gymnasium's own, see `register` below.
        return self._observation(), reward, terminated, False, {}

    def _observation(self) -> Any:
        return np.array([self._position, self._velocity], dtype=np.float32)


if ID not in gymnasium.registry:  # a script that runs is another module than the one imported
    gymnasium.register(ID, entry_point="own_environment:Cart", max_episode_steps=50)

SPEC = EnvironmentSpec(ID, modules=("own_environment",))
LEARNING: dict[str, Any] = {
    "env_id": ID,
    "env_modules": ["own_environment"],
    "training.evaluation_episodes": 0,  # `main` looks itself
}


def output_folder(about: str) -> str:
    """The folder that the person names."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--output", required=True, help="folder of the run, a new one")
    folder: str = parser.parse_args().output
    return folder


def returns(policy: Policy, environment: Environment) -> list[float]:
    """Return of an episode from each held-out start."""
    return [sum(step.reward for step in collect(policy, environment, [seed])) for seed in HELD_OUT]


def report(what: str, found: list[float]) -> None:
    """Print what was achieved."""
    print(f"{what}: mean return {np.mean(found):.1f}, worst {min(found):.1f}", flush=True)


def main() -> None:
    """Learn the cart, and say what it was worth."""
    settings = {
        **LEARNING,
        "training.output": output_folder("Learn an environment of one's own."),
        "training.steps": 400,
        "training.updates": 200,
        "planner.candidates": 24,
        "planner.iterations": 2,
    }
    environment = Environment(SPEC)
    report("random actions", returns(RandomPolicy(environment.signature, seed=0), environment))

    run = train(settings_from(settings))

    bundle = load_bundle(run.bundle)
    result = evaluate(bundle, environment, episodes=len(HELD_OUT), seed=HELD_OUT.start)
    report(f"learned from {bundle.manifest.environment_steps} steps", result.returns)
    print(f"bundle: {bundle.path}")


if __name__ == "__main__":
    main()
