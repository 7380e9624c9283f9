"""Images on topics: from the bridge and from cameras, to the controller and the trainer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nodes import (
    ENVIRONMENT,
    IMAGE_MODEL,
    PICTURE,
    PICTURE_AND_POSITION,
    Commander,
    Diagnostics,
    Ros,
)
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import Float64MultiArray, String
from tiny_environments import EPISODE_STEPS

from planet_ros.bundle.runtime import load_bundle
from planet_ros.control.policy import PlanningPolicy
from planet_ros.data import Episode, EpisodeStore, Step
from planet_ros.data.images import fit_image
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.messages.announcements import Announcement
from planet_ros.messages.images import image_message, image_stamp_ns, read_image
from planet_ros.messages.steps import read_step, step_message
from planet_ros.messages.vectors import read_label, read_vector, vector_message, vector_of
from planet_ros.ros.topics import EVERY_IMAGE, EVERY_STEP, LATCHED, NEWEST
from planet_ros.ros.types import make
from planet_ros.training.collect import collect

pytestmark = pytest.mark.ros

SEED = 7
LOCK_STEP = {"controller.trigger": "observation", "seed": SEED}
SAFE = [0.25, -0.5]


def made(parameters: dict[str, Any]) -> Environment:
    return Environment(EnvironmentSpec(parameters["env_id"]))


def random_frame(seed: int, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)


class Camera:
    """Publishes frames, and the labels of observations without numbers, by hand."""

    def __init__(self, ros: Ros, reader: str = "image") -> None:
        self._images = ros.observer.create_publisher(Image, reader, 10)
        self._labels = ros.observer.create_publisher(Float64MultiArray, "observation", 10)
        for publisher in (self._images, self._labels):
            ros.connect(publisher, "controller")

    def show(self, image: NDArray[np.uint8] | Image, stamp_ns: int = 0) -> None:
        message = image if isinstance(image, Image) else image_message(make, image, stamp_ns)
        self._images.publish(message)

    def label(self, stamp_ns: int, index: int) -> None:
        self._labels.publish(
            vector_message(make, "observation", np.zeros(0), stamp_ns, episode=0, index=index)
        )


def start_controller(ros: Ros, bundle: str, **parameters: Any) -> Any:
    controller = ros.start("controller", {"model": bundle, **parameters})
    ros.activate_controller()
    return controller


@pytest.mark.parametrize(
    ("environment", "name", "size"), [(PICTURE, "image", 0), (PICTURE_AND_POSITION, "camera", 2)]
)
def test_bridge_publishes_the_image_of_every_step(
    ros: Ros, environment: dict[str, Any], name: str, size: int
) -> None:
    images = ros.collect(Image, name, EVERY_IMAGE)
    commander = Commander(ros, [0.5, -0.25])
    ros.start("gym_bridge", {**environment, "seed": SEED, "bridge.max_episodes": 3})
    ros.until(lambda: commander.steps and read_step(commander.steps[-1]).last)
    steps = [read_step(message) for message in commander.steps]
    ros.until(lambda: images and (image_stamp_ns(images[-1]) or 0) >= steps[-1].stamp_ns)

    inside = made(environment)
    expected = {0: inside.reset(seed=SEED)}
    while not expected[len(expected) - 1].last:
        expected[len(expected)] = inside.step(np.array([0.5, -0.25]))
    frames = {image_stamp_ns(message): read_image(message) for message in images}
    assert {message.header.frame_id for message in images} == {name}
    compared = [step for step in steps if step.stamp_ns in frames]
    assert compared[-1].last  # the last one too: a learner needs it
    assert len(compared) >= EPISODE_STEPS - 1  # whoever is matched late misses the first
    for step in compared:
        np.testing.assert_array_equal(frames[step.stamp_ns], expected[step.index].observation[name])
        assert len(vector_of(step.observation)) == size
    assert len(commander.observations[-1].data) == size


@pytest.mark.parametrize("environment", [PICTURE, PICTURE_AND_POSITION])
def test_lock_step_over_topics_takes_the_actions_of_one_process(
    ros: Ros, environment: dict[str, Any], image_bundles: dict[str, str]
) -> None:
    path = image_bundles[environment["env_id"]]
    steps = ros.collect(Float64MultiArray, "step", EVERY_STEP)
    ros.start("gym_bridge", {**environment, "seed": SEED, "bridge.command_timeout_s": 0.2})
    ros.until(lambda: ros.observer.count_publishers("step"))
    ros.spin(1.0)  # until it is heard too, before the controller lets it go on
    start_controller(ros, path, **LOCK_STEP)
    ros.until(lambda: len(steps) > 2 * EPISODE_STEPS + 4)
    over_topics = [step for step in map(read_step, steps) if step.index > 0]

    policy = PlanningPolicy.of(load_bundle(path), SEED)
    steps_inside = collect(policy, made(environment), [SEED, SEED + 1])
    expected = [step for step in steps_inside if step.index > 0]
    assert np.ptp([step.action for step in expected], axis=0).max() > 0.5
    for found, wanted in zip(over_topics, expected, strict=False):
        assert found.index == wanted.index
        np.testing.assert_array_equal(found.action, wanted.action)
        assert found.reward == wanted.reward


def test_lock_step_answers_when_label_and_image_of_one_stamp_are_there(
    ros: Ros, image_bundles: dict[str, str]
) -> None:
    """In any order; frames of another stamp, size or encoding, or cut short, do no harm."""
    path = image_bundles[PICTURE["env_id"]]
    commands = ros.collect(Float64MultiArray, "commands", EVERY_STEP)
    diagnostics = Diagnostics(ros)
    controller = start_controller(ros, path, **LOCK_STEP, **{"controller.stale_timeout_s": 0.4})
    camera, policy = Camera(ros), PlanningPolicy.of(load_bundle(path), SEED)

    def planned(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        action = policy.act({"image": image}).actions[0]
        policy.took(action)
        return action

    def answered(count: int) -> NDArray[np.float32]:
        ros.until(lambda: len(commands) >= count)
        return read_vector(commands[-1]).values

    # A larger frame in colour is scaled and turned grey, as it would be in this process.
    frame = random_frame(0, (48, 32, 3))
    camera.label(10, index=0)
    camera.show(frame, 10)
    np.testing.assert_array_equal(answered(1), planned(fit_image(frame, (8, 8, 1))))

    camera.show(random_frame(9, (8, 8, 1)), 19)
    ros.spin(0.1)
    frame = random_frame(1, (8, 8, 1))
    camera.show(frame, 20)
    camera.label(20, index=1)
    action = planned(frame)
    np.testing.assert_array_equal(answered(2), action)
    camera.show(frame, 20)  # a repetition is answered alike, and once
    camera.label(20, index=1)
    np.testing.assert_array_equal(answered(3), action)

    wrong_encoding, cut, unstamped = (image_message(make, frame, 30) for _ in range(3))
    wrong_encoding.encoding = "yuv422_yuy2"
    cut.data = cut.data[:-1]
    unstamped.header.stamp.nanosec = 0
    camera.label(30, index=2)
    for message in (wrong_encoding, cut, unstamped):
        camera.show(message)
        ros.spin(0.1)  # the newest alone is kept for a reader
    ros.until(lambda: diagnostics.dropped == 3)
    assert "found the encoding 'yuv422_yuy2', expected one of" in controller.output
    ros.until(
        lambda: "not complete: all 3 messages on '/image' (1 publishers) were" in diagnostics.text
    )
    assert all(read_label(message).stamp_ns != 30 for message in commands[3:])
    camera.show(frame, 30)
    ros.until(lambda: read_label(commands[-1]).stamp_ns == 30)
    np.testing.assert_array_equal(read_vector(commands[-1]).values, planned(frame))


def test_timer_acts_on_the_newest_frame_and_a_silent_camera_is_named(
    ros: Ros, image_bundles: dict[str, str]
) -> None:
    commands = ros.collect(Float64MultiArray, "commands", EVERY_STEP)
    diagnostics = Diagnostics(ros)
    start_controller(
        ros,
        image_bundles[PICTURE["env_id"]],
        **{
            "controller.safe_command": SAFE,
            "controller.stale_timeout_s": 0.4,
            "controller.rate_hz": 20.0,
        },
    )
    publisher = ros.observer.create_publisher(Image, "image", NEWEST)
    frames = [random_frame(number, (120, 160, 3)) for number in range(8)]
    timer = ros.observer.create_timer(
        0.03,
        lambda: publisher.publish(image_message(make, frames[len(commands) % 8], time.time_ns())),
    )

    def acting() -> bool:
        newest = [read_vector(message).values for message in commands[-8:]]
        return len(newest) == 8 and not any(np.allclose(values, SAFE) for values in newest)

    ros.until(acting)
    ros.until(lambda: diagnostics.text == "acting")
    assert len({message.data[0] for message in commands[-8:]}) > 1
    timer.cancel()
    ros.until(lambda: np.allclose(commands[-1].data, SAFE))
    ros.until(lambda: "nothing new on '/image' (1 publishers)" in diagnostics.text)
    timer.reset()
    ros.until(acting)


def test_an_image_that_the_simulation_does_not_have_is_named(
    ros: Ros, image_bundles: dict[str, str]
) -> None:
    diagnostics = Diagnostics(ros)
    bundle = image_bundles[PICTURE_AND_POSITION["env_id"]]
    controller = start_controller(ros, bundle)
    ros.start("gym_bridge", {**ENVIRONMENT, "bridge.mode": "real_time"})
    reason = (
        "no observation that can be used has arrived yet: nothing new on '/camera' (0 publishers)"
    )
    ros.until(lambda: reason in diagnostics.text)
    ros.until(lambda: reason in controller.output)


def test_subscriptions_are_those_of_the_first_bundle(
    ros: Ros, tiny_bundle: str, image_bundles: dict[str, str]
) -> None:
    announcer = ros.observer.create_publisher(String, "model", LATCHED)
    cameras = {
        name: ros.observer.create_publisher(Image, name, NEWEST) for name in ("image", "camera")
    }
    ros.start("controller", LOCK_STEP)

    def change(transition: int) -> None:
        request = ChangeState.Request(transition=Transition(id=transition))
        assert ros.call(ChangeState, "controller/change_state", request).success

    def read() -> set[str]:
        return {name for name, one in cameras.items() if one.get_subscription_count()}

    for path, expected in (
        (image_bundles[PICTURE["env_id"]], {"image"}),
        (image_bundles[PICTURE_AND_POSITION["env_id"]], {"camera"}),
        (tiny_bundle, set()),
    ):
        announcement = Announcement(Path(path), load_bundle(path).digest)
        announcer.publish(String(data=announcement.to_text()))
        change(Transition.TRANSITION_CONFIGURE)
        ros.until(lambda: read() == expected)  # noqa: B023
        change(Transition.TRANSITION_CLEANUP)  # other images are another observation
        ros.until(lambda: not read())


LEARNING: dict[str, Any] = {
    **PICTURE,
    **IMAGE_MODEL,
    "training.steps": 80,
    "training.random_steps": 40,
    "training.updates": 10,
    "training.batch_size": 8,
    "planner.horizon": 3,
    "planner.candidates": 16,
    "planner.elites": 4,
    "planner.iterations": 2,
    "seed": SEED,
}


def learned(ros: Ros, output: Path) -> list[Episode]:
    """The episodes that three nodes have seen."""
    ros.start("gym_bridge", {**PICTURE, "seed": SEED, "bridge.wait_for_learner": True})
    ros.start("controller", LOCK_STEP)
    ros.activate_controller()
    trainer = ros.start("trainer", {**LEARNING, "training.output": str(output)})
    ros.until(lambda: trainer.poll() is not None, timeout_s=100)
    assert trainer.poll() == 0, trainer.output
    assert "missing" not in trainer.output
    ros.close()
    # 8 deterministic and 3 stochastic numbers, as IMAGE_MODEL says.
    assert load_bundle(output / "model").manifest.belief_size == 11
    return list(EpisodeStore(output / "episodes").episodes)


def test_learning_from_images_is_the_same_for_the_same_seed(ros: Ros, tmp_path: Path) -> None:
    first, second = (learned(ros, tmp_path / name) for name in ("first", "second"))
    assert [len(episode) for episode in first] == [len(episode) for episode in second] == [20] * 4
    inside = made(PICTURE)
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        np.testing.assert_array_equal(one.observation["image"], other.observation["image"])
        np.testing.assert_array_equal(one.action, other.action)
        np.testing.assert_array_equal(one.reward, other.reward)
        # And each image is that of its step.
        steps = [inside.reset(seed=SEED + number)]
        steps += [inside.step(action) for action in one.action]
        seen = np.stack([step.observation["image"] for step in steps])
        np.testing.assert_array_equal(one.observation["image"], seen)


def test_lost_images_cut_the_episode_and_learning_goes_on(ros: Ros, tmp_path: Path) -> None:
    output = tmp_path / "run"
    settings = {"training.steps": 1000, "training.random_steps": 12, "training.output": str(output)}
    trainer = ros.start("trainer", {**LEARNING, **settings})
    steps = ros.observer.create_publisher(Float64MultiArray, "step", EVERY_STEP)
    images = ros.observer.create_publisher(Image, "image", EVERY_IMAGE)
    for publisher in (steps, images):
        ros.connect(publisher, "trainer")

    def publish(episode: int, last: int, missing: tuple[int, ...] = ()) -> None:
        for index in range(last + 1):
            stamp_ns = 1 + 1000 * episode + index
            step = Step(
                index=index,
                observation={},
                action=np.zeros(2, np.float32),
                reward=-1.0,
                truncated=index == last,
                stamp_ns=stamp_ns,
            )
            if index not in missing:
                images.publish(image_message(make, random_frame(stamp_ns, (16, 16, 3)), stamp_ns))
            steps.publish(step_message(make, step))

    publish(0, 9, missing=(4,))
    ros.until(lambda: "episode 2:" in trainer.output)
    assert "missing images: 1 steps so far" in trainer.output
    # 3 + 4 steps are there; 6 more, and the last of them is lost: the fit comes all the same.
    publish(1, 7, missing=(7,))
    ros.until(lambda: "fit 1:" in trainer.output)
    assert trainer.end() == 0
    episodes = EpisodeStore(output / "episodes").episodes
    assert [len(episode) for episode in episodes] == [3, 4, 6]
    assert [episode.truncated for episode in episodes] == [False, True, False]
    starts = [(0, 0), (0, 5), (1, 0)]
    for episode, (number, start) in zip(episodes, starts, strict=True):
        frame = random_frame(1 + 1000 * number + start, (16, 16, 3))
        np.testing.assert_array_equal(episode.observation["image"][0], fit_image(frame, (8, 8, 1)))
