"""The wrappers that the presets use."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from planet_ros.environment import Environment, EnvironmentSpec
from planet_ros.errors import UserError

REPEAT = 'planet_ros.wrappers:ActionRepeat {"repeat": %d}'
SELECT = 'planet_ros.wrappers:SelectObservation {"indices": %s}'


def pendulum(*wrappers: str) -> Environment:
    return Environment(EnvironmentSpec("Pendulum-v1", wrappers=wrappers))


def test_repeated_action_adds_up_rewards_and_counts_steps() -> None:
    plain = gymnasium.make("Pendulum-v1")
    plain.reset(seed=4)
    environment = pendulum(REPEAT % 3)
    assert environment.reset(seed=4).environment_steps == 0
    action = np.array([1.5], dtype=np.float32)
    expected = [plain.step(action) for _ in range(3)]
    step = environment.step(action)
    assert step.environment_steps == 3
    assert step.reward == pytest.approx(sum(float(one[1]) for one in expected))
    np.testing.assert_array_equal(step.observation, expected[-1][0])
    assert environment.step_period_s == pytest.approx(0.15)


def test_repetition_ends_with_the_episode() -> None:
    environment = pendulum(REPEAT % 3)  # 200 steps are 66 decisions of 3 and one of 2
    steps = [environment.reset(seed=0)]
    while not steps[-1].last:
        steps.append(environment.step(np.zeros(1)))
    assert [step.environment_steps for step in steps[1:]] == [3] * 66 + [2]
    assert steps[-1].truncated


def test_selected_numbers_are_shown_alone() -> None:
    whole, part = pendulum(), pendulum(SELECT % [2, 0])
    assert part.observation_size == 2
    np.testing.assert_array_equal(
        part.reset(seed=1).observation, whole.reset(seed=1).observation[[2, 0]]
    )


@pytest.mark.parametrize("wrapper", [REPEAT % 0, SELECT % [3], SELECT % []])
def test_arguments_that_do_not_fit_are_refused(wrapper: str) -> None:
    with pytest.raises(UserError, match="cannot be applied"):
        pendulum(wrapper)
