"""How long a step takes, whatever says so; and angles, which are no numbers like others."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from tiny_environments import PointMass

from planet_ros.config import Settings
from planet_ros.data import Episode, Signature
from planet_ros.data.signature import ActionPart, NamedNumber, ObservationPart
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.training.hints import hints
from planet_ros.training.loop import train

POINT = "PlanetRosTest/PointMass-v0"
REPEAT = 'planet_ros.wrappers:ActionRepeat {"repeat": 3}'


def point(*wrappers: str) -> Environment:
    return Environment(EnvironmentSpec(POINT, wrappers=wrappers))


class TestPeriod:
    @pytest.mark.parametrize(
        "dt",
        [
            0.02,
            np.float32(0.02),
            np.float64(0.02),
            np.array(0.02),
            np.array([0.02]),
            Fraction(1, 50),
            Decimal("0.02"),
            torch.tensor(0.02),
        ],
        ids=lambda dt: type(dt).__name__,
    )
    def test_is_a_number_of_any_kind(self, monkeypatch: pytest.MonkeyPatch, dt: Any) -> None:
        monkeypatch.setattr(PointMass, "dt", dt, raising=False)
        assert point().step_period_s == pytest.approx(0.02)
        assert point().notes() == []
        assert point(REPEAT).step_period_s == pytest.approx(0.06)

    def test_of_whole_seconds_is_one_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(PointMass, "dt", np.int64(2), raising=False)
        assert point().step_period_s == 2.0

    @pytest.mark.parametrize(
        "dt", [None, "0.02", 0, -1.0, np.nan, np.inf, True, [0.1, 0.2], lambda self: 0.02, object()]
    )
    def test_that_is_no_time_is_guessed_and_the_setting_is_named(
        self, monkeypatch: pytest.MonkeyPatch, dt: Any
    ) -> None:
        monkeypatch.setattr(PointMass, "dt", dt, raising=False)
        made = point()
        assert made.step_period_s == pytest.approx(1 / 25)
        (note,) = made.notes()
        assert note.startswith(f"{POINT}: does not say how long a step takes: its dt is ")
        assert "which is no time; this is render_fps, 0.04 s" in note
        assert note.endswith("if it is another, set training.command_period_s")
        assert made.notes(period_given=True) == []

    def test_that_nobody_says_is_guessed_for_repeated_actions_too(self) -> None:
        made = point(REPEAT)
        assert made.step_period_s == pytest.approx(3 / 25)
        assert "it has no dt; this is render_fps, 0.12 s" in made.notes()[0]

    def test_without_a_rate_of_pictures_is_a_guess_all_the_same(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for metadata in ({}, {"render_fps": None}, {"render_fps": "fast"}, {"render_fps": 0}):
            monkeypatch.setattr(PointMass, "metadata", metadata)
            assert point().step_period_s == 0.05
            assert "the 20 steps a second that are usual, 0.05 s" in point().notes()[0]
        monkeypatch.setattr(PointMass, "metadata", {"render_fps": np.int64(10)})
        assert point().step_period_s == pytest.approx(0.1)

    @pytest.mark.parametrize(
        "wrapper", ['MaxAndSkipObservation {"skip": 4}', 'RepeatAction {"num_repeats": 4}']
    )
    def test_is_longer_where_gymnasium_repeats_steps(
        self, monkeypatch: pytest.MonkeyPatch, wrapper: str
    ) -> None:
        if not hasattr(gymnasium.wrappers, wrapper.partition(" ")[0]):
            pytest.skip("this Gymnasium does not have it yet")
        monkeypatch.setattr(PointMass, "dt", 0.02, raising=False)
        made = point(f"gymnasium.wrappers:{wrapper}")
        assert made.step_period_s == pytest.approx(0.08)

    @pytest.mark.parametrize(
        ("dt", "cure"), [(1e-4, 'ActionRepeat {"repeat": 10}'), (100.0, "less time for a step")]
    )
    def test_out_of_bounds_is_refused_with_what_helps(
        self, monkeypatch: pytest.MonkeyPatch, dt: float, cure: str
    ) -> None:
        monkeypatch.setattr(PointMass, "dt", dt, raising=False)
        with pytest.raises(UserError) as caught:
            point()
        assert cure in str(caught.value)
        if dt < 1:
            repeated = point('planet_ros.wrappers:ActionRepeat {"repeat": 10}')
            assert repeated.step_period_s == pytest.approx(10 * dt)

    def test_that_is_a_guess_is_said_when_learning_starts(
        self,
        tmp_path: Path,
        tiny_settings: Callable[..., Settings],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        train(tiny_settings(tmp_path / "a", {"training.steps": 20}))
        assert "set training.command_period_s" in capsys.readouterr().err.splitlines()[0]
        overrides = {"training.steps": 20, "training.command_period_s": 0.1}
        train(tiny_settings(tmp_path / "b", overrides))
        assert "training.command_period_s" not in capsys.readouterr().err


def test_info_of_the_environments_own_is_not_taken_for_the_repeat_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = PointMass.step
    own = {"environment_steps": 7, "steps": "many"}
    monkeypatch.setattr(PointMass, "step", lambda self, action: (*step(self, action)[:4], own))
    for wrappers, expected in (((), 1), ((REPEAT,), 3)):
        made = point(*wrappers)
        made.reset(seed=0)
        assert made.step(np.zeros(2)).environment_steps == expected


# ── angles ───────────────────────────────────────────────────────────────────────────────────


class Hand(PointMass):
    """A hand that turns by what it is told, seen as a wrapped angle and two other numbers."""

    observation_names = ["length [m]", "angle [rad]", "rate [rad/s]"]  # noqa: RUF012

    def __init__(self, unit: float = 1.0) -> None:
        super().__init__()
        self._unit, self._angle = unit, 3.0
        turn = math.pi * unit
        low, high = np.array([0, -turn, -1], np.float32), np.array([2, turn, 1], np.float32)
        self.observation_space = Box(low, high, dtype=np.float32)
        self.action_space = Box(-1, 1, (1,), np.float32)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._rate = float(action[0])
        self._angle += 0.3 * self._rate
        return self.observation(), math.cos(self._angle), False, False, {}

    def observation(self) -> Any:
        wrapped = (self._angle + math.pi) % (2 * math.pi) - math.pi
        return np.array([1.5, wrapped * self._unit, getattr(self, "_rate", 0.0)], np.float32)


HAND = "PlanetRosTest/Hand-v0"


@pytest.fixture
def hand() -> Any:
    gymnasium.register(HAND, entry_point=f"{__name__}:Hand", max_episode_steps=60)
    yield HAND
    gymnasium.registry.pop(HAND)


class TestAngleEncoding:
    @pytest.mark.parametrize(("unit", "more"), [(1.0, ""), (180 / math.pi, ', "period": 360')])
    def test_shows_cosine_and_sine_in_the_place_of_the_angle(
        self, hand: str, unit: float, more: str
    ) -> None:
        wrapper = f'planet_ros.wrappers:AngleEncoding {{"indices": [1]{more}}}'
        made = Environment(EnvironmentSpec(hand, {"unit": unit}, wrappers=(wrapper,)))
        part = made.signature.observation[0]
        labels = [part.label(index) for index in range(4)]
        assert labels == ["length [m]", "cos(angle)", "sin(angle)", "rate [rad/s]"]
        made.reset(seed=0)
        for turn in range(1, 9):  # over the end of its range
            seen = made.step(np.ones(1)).observation["observation"]
            angle = 3.0 + 0.3 * turn
            expected = [1.5, math.cos(angle), math.sin(angle), 1.0]
            np.testing.assert_allclose(seen, expected, atol=1e-5)
        assert made.gym.observation_space.contains(seen)

    @pytest.mark.parametrize("arguments", ['"indices": []', '"indices": [3]', '"indices": [-1]'])
    def test_of_numbers_that_are_not_there_is_refused(self, hand: str, arguments: str) -> None:
        wrapper = f"planet_ros.wrappers:AngleEncoding {{{arguments}}}"
        with pytest.raises(UserError, match="cannot be applied"):
            Environment(EnvironmentSpec(hand, wrappers=(wrapper,)))

    @pytest.mark.parametrize(("unit", "more"), [(1.0, ""), (180 / math.pi, ', "period": 360')])
    def test_is_named_where_a_number_jumps_by_a_turn_and_helps(
        self,
        hand: str,
        unit: float,
        more: str,
        tmp_path: Path,
        tiny_settings: Callable[..., Settings],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        wrapper = f'planet_ros.wrappers:AngleEncoding {{"indices": [1]{more}}}'
        overrides = {"env_id": hand, "env_kwargs": f'{{"unit": {unit}}}', "training.updates": 2}
        train(tiny_settings(tmp_path / "a", overrides))
        said = capsys.readouterr().err
        assert said.count("angle [rad] jumps by ") == 1
        assert wrapper in said
        train(tiny_settings(tmp_path / "b", {**overrides, "env_wrappers": [wrapper]}))
        assert "jumps by" not in capsys.readouterr().err


def episode(values: Any) -> Episode:
    vector = np.asarray(values, np.float32)[:, None]
    steps = len(vector) - 1
    return Episode(
        {"observation": vector},
        np.zeros((steps, 1), np.float32),
        np.zeros(steps),
        terminated=False,
        truncated=True,
    )


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(-math.pi, math.pi, 50),  # an angle that is not wrapped here
        np.linspace(0, 4 * math.pi, 50),  # nor here
        np.tile([0.0, 6.28], 25),  # a switch
        np.random.default_rng(0).uniform(-math.pi, math.pi, 200),  # noise
        np.cos(np.linspace(0, 20, 50)),
        np.zeros(50),
        100 * np.sin(np.linspace(0, 90, 50)),
    ],
)
def test_other_numbers_are_not_taken_for_angles(values: Any) -> None:
    number = (NamedNumber("x"),)
    part = ObservationPart("observation", (1,), numbers=number)
    signature = Signature((part,), (ActionPart("a", -1.0, 1.0),), 0.05)
    assert not list(hints(signature, [episode(values)]))
    turning = (np.linspace(0, 20, 200) + math.pi) % (2 * math.pi) - math.pi
    assert len(list(hints(signature, [episode(turning)]))) == 1
