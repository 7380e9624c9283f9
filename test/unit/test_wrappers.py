"""The wrappers that the presets use."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from planet_ros.data.images import fit_image
from planet_ros.environments import Environment, EnvironmentSpec
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
    np.testing.assert_array_equal(step.observation["observation"], expected[-1][0])
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
    seen, all_numbers = (made.reset(seed=1).observation["observation"] for made in (part, whole))
    np.testing.assert_array_equal(seen, all_numbers[[2, 0]])


def test_selected_numbers_keep_their_names() -> None:
    (vector,) = pendulum(SELECT % [2, 0]).signature.observation
    assert [vector.label(index) for index in (0, 1)] == ["angular velocity [rad/s]", "cos(angle)"]


def test_numbers_beside_an_image_keep_their_names() -> None:
    made = rendered(
        SELECT % [1, 0], IMAGE % '{"size": 8, "keep_observation": true}', env_id="Pendulum-v1"
    )
    vector, image = made.signature.observation
    assert [vector.label(index) for index in (0, 1)] == ["sin(angle)", "cos(angle)"]
    assert (image.name, image.numbers) == ("image", ())
    assert made.signature.action[0].unit == "N m"


def test_repeated_actions_keep_their_names() -> None:
    assert pendulum(REPEAT % 2).signature.action[0].name == "torque"


@pytest.mark.parametrize("wrapper", [REPEAT % 0, SELECT % [3], SELECT % []])
def test_arguments_that_do_not_fit_are_refused(wrapper: str) -> None:
    with pytest.raises(UserError, match="cannot be applied"):
        pendulum(wrapper)


IMAGE = "planet_ros.wrappers:RenderedImage %s"
RENDERED = {"render_mode": "rgb_array"}


def rendered(*wrappers: str, env_id: str = "PlanetRosTest/PointMass-v0") -> Environment:
    return Environment(EnvironmentSpec(env_id, RENDERED, ("tiny_environments",), wrappers))


@pytest.mark.parametrize("channels", [1, 3])
def test_image_is_what_the_environment_renders(channels: int) -> None:
    made = rendered(IMAGE % f'{{"size": 20, "channels": {channels}}}')
    assert made.signature.layout.observation == {"image": ((20, 20, channels), "uint8")}
    for take in (lambda: made.reset(seed=1), lambda: made.step(np.ones(2))):
        step = take()
        frame = made.render()
        assert frame.shape == (40, 40, 3)
        expected = fit_image(frame, (20, 20, channels))
        np.testing.assert_array_equal(step.observation["image"], expected)
        # One white pixel of 40 × 40 is a quarter of one of 20 × 20.
        assert step.observation["image"].max() == 64
        assert np.count_nonzero(step.observation["image"]) == channels


def test_observation_can_be_kept_beside_the_image() -> None:
    made = rendered(IMAGE % '{"size": 8, "channels": 1, "keep_observation": true}')
    assert (made.signature.vector_size, made.signature.images) == (2, {"image": (8, 8, 1)})
    plain = rendered()
    for take in (lambda one: one.reset(seed=2), lambda one: one.step(np.ones(2))):
        step, expected = take(made), take(plain)
        vector = expected.observation["observation"]
        np.testing.assert_array_equal(step.observation["observation"], vector)
    assert step.reward == expected.reward
    assert step.observation["image"].any()


def test_pendulum_is_seen_turning() -> None:
    made = rendered(REPEAT % 2, IMAGE % '{"size": 32, "channels": 1}', env_id="Pendulum-v1")
    assert made.step_period_s == pytest.approx(0.1)
    first = made.reset(seed=0).observation["image"]
    step = made.step(np.ones(1))
    assert step.environment_steps == 2
    assert first.shape == (32, 32, 1)
    assert first.max() == 255  # a white ground
    assert (first < 200).sum() > 5  # and a rod on it
    assert (first != step.observation["image"]).sum() > 5


@pytest.mark.parametrize(
    ("kwargs", "arguments", "found"),
    [
        ({}, "{}", "found render_mode None"),
        (RENDERED, '{"channels": 4}', "and 4 channels"),
        (RENDERED, '{"size": 0}', "size 0"),
    ],
)
def test_image_that_cannot_be_rendered_is_refused(
    kwargs: dict[str, str], arguments: str, found: str
) -> None:
    spec = EnvironmentSpec("Pendulum-v1", kwargs, wrappers=(IMAGE % arguments,))
    with pytest.raises(UserError) as caught:
        Environment(spec)
    assert found in str(caught.value)
    assert 'expected {"render_mode": "rgb_array"} in env_kwargs, size ≥ 1' in str(caught.value)
