"""Numbers of any size are learned: a field in teslas is no constant. Short episodes are too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import tiny_environments
from tiny_environments import PointMass

from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import Settings
from planet_ros.data import EpisodeStore
from planet_ros.data.statistics import Moments
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.models.parts import spread
from planet_ros.training.evaluate import evaluate
from planet_ros.training.loop import train

MakeSettings = Callable[..., Settings]


def moments(values: Any) -> Moments:
    """Of numbers (T, n) as they come from a sensor, in float32."""
    numbers = np.asarray(values, np.float32).astype(np.float64)
    mean = numbers.mean(axis=0)
    return Moments(len(numbers), mean, np.square(numbers - mean).sum(axis=0))


@pytest.mark.parametrize("scale", [1e-12, 1e-7, 1.0, 1e7, 1e12])
@pytest.mark.parametrize("offset", [0.0, 1.0, -1e3])
def test_spread_is_that_of_the_numbers_however_large_they_are(scale: float, offset: float) -> None:
    values = scale * (np.random.default_rng(0).normal(size=(1000, 1)) + offset)
    assert spread(moments(values))[0] == pytest.approx(scale, rel=0.1)


@pytest.mark.parametrize("value", [0.0, 1e-9, 0.1, 300.15, -101_325.3, 1e12])
def test_number_that_never_changes_has_a_spread_of_one(value: float) -> None:
    values = np.full((1000, 1), value)
    assert spread(moments(values)) == 1
    assert spread(moments(np.diff(np.float32(values), axis=0)), moments(values)) == 1
    # Nor has what only float32 makes of it.
    noise = np.random.default_rng(0).normal(size=(1000, 1)) * abs(value) * 1e-8
    assert spread(moments(value + noise)) == 1


def test_clock_changes_at_a_constant_rate() -> None:
    """All that its changes differ by is rounding, which is nothing to be learned."""
    time_s = np.float32(np.arange(300)[:, None] * 0.05)
    assert spread(moments(np.diff(time_s, axis=0)), moments(time_s)) == 1
    assert spread(moments(time_s))[0] == pytest.approx(4.33, rel=0.01)


def test_small_changes_of_a_large_number_count() -> None:
    temperature = 300.15 + 0.1 * np.sin(np.arange(1000)[:, None] / 10)
    change = np.diff(np.float32(temperature), axis=0)
    assert spread(moments(change), moments(temperature))[0] == pytest.approx(0.00707, rel=0.01)


class Scaled(PointMass):
    """The point in a unit of its own."""

    def __init__(self, unit: float) -> None:
        super().__init__()
        self._unit = unit

    def observation(self) -> Any:
        return np.float32(self._position * self._unit)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        seen, reward, *rest = super().step(action)
        return (seen, reward * self._unit, *rest)


@pytest.fixture
def scaled() -> Iterator[str]:
    name = "PlanetRosTest/Scaled-v0"
    gymnasium.register(name, entry_point=f"{__name__}:Scaled", max_episode_steps=20)
    yield name
    gymnasium.registry.pop(name)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("unit", [1e-7, 1e7])
def test_learns_in_any_unit(
    scaled: str, unit: float, tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    values = {
        "env_id": scaled,
        "env_kwargs": f'{{"unit": {unit}}}',
        "training.steps": 140,
        "training.updates": 200,
        "training.learning_rate": 3e-3,
        "planner.horizon": 5,
        "planner.candidates": 64,
        "planner.elites": 10,
        "planner.iterations": 4,
    }
    bundle = load_bundle(train(tiny_settings(tmp_path / "run", values)).bundle)
    environment = Environment(EnvironmentSpec(scaled, {"unit": unit}))
    learned = np.array(evaluate(bundle, environment, episodes=5, seed=5000).returns) / unit
    starts = [environment.reset(seed=seed).observation["observation"] for seed in range(5000, 5005)]
    best = [tiny_environments.best_return(start / unit) for start in starts]
    # Random play loses 30 or more.
    assert np.max(np.subtract(best, learned)) < 3


@pytest.mark.parametrize("kind", ["ensemble", "rssm"])
def test_episodes_shorter_than_a_sequence_are_learned_from(
    kind: str, tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    values = {
        "world_model.kind": kind,
        "rssm.deterministic_size": 8,
        "rssm.overshooting_distance": 3,
        "training.sequence_length": 50,
        "training.loss_steps": 30,
        "training.updates": 3,
        "training.steps": 80,
    }
    train(tiny_settings(tmp_path / "run", values))
    assert EpisodeStore(tmp_path / "run" / "episodes").steps == 80
    assert load_bundle(tmp_path / "run" / "model").manifest.environment_steps == 80
