"""The bridge, with this process in the controller's place."""

from __future__ import annotations

import json
import re
import signal
import time

import gymnasium
import numpy as np
import pytest
from nodes import ENVIRONMENT, Commander, Ros
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from planet_ros.messages.steps import read_step
from planet_ros.messages.vectors import read_vector, vector_message
from planet_ros.ros.topics import EVERY_STEP
from planet_ros.ros.types import make

pytestmark = pytest.mark.ros


def test_lock_step_reports_what_the_environment_does(ros: Ros) -> None:
    commander = Commander(ros, [0.5])
    clocks = ros.collect(Clock, "/clock", EVERY_STEP)
    joints = ros.collect(JointState, "joint_states", EVERY_STEP)
    ros.start("gym_bridge", {"env_id": "Pendulum-v1", "seed": 5})
    ros.until(lambda: len(commander.steps) > 450)

    env = gymnasium.make("Pendulum-v1")
    steps = [read_step(message) for message in commander.steps]
    if steps[0].index != 0:  # the first reset may come before the subscription is matched
        steps = steps[next(i for i, step in enumerate(steps) if step.index == 0) :]
    resets = 0
    for step in steps:
        if step.index == 0:
            starts = [env.reset(seed=5 + n)[0] for n in range(4)]
            episode = next(
                n for n, o in enumerate(starts) if np.allclose(o, step.observation["observation"])
            )
            env.reset(seed=5 + episode)
            resets += 1
            continue
        observation, reward, terminated, truncated, _ = env.step(np.array([0.5], np.float32))
        np.testing.assert_array_equal(step.observation["observation"], observation)
        assert step.reward == pytest.approx(reward)
        assert (step.terminated, step.truncated) == (terminated, truncated)
        assert step.truncated == (step.index == 200)
    assert resets >= 2

    stamps = [step.stamp_ns for step in steps]
    assert stamps == sorted(set(stamps))
    times = [clock.clock.sec * 10**9 + clock.clock.nanosec for clock in clocks]
    assert times == sorted(times)
    by_stamp = {step.stamp_ns: step for step in steps}
    compared = 0
    for message in joints:
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        if stamp in by_stamp:
            cosine, sine, velocity = by_stamp[stamp].observation["observation"]
            assert np.cos(message.position[0]) == pytest.approx(cosine, abs=1e-5)
            assert np.sin(message.position[0]) == pytest.approx(sine, abs=1e-5)
            assert message.velocity[0] == pytest.approx(velocity, abs=1e-5)
            compared += 1
    assert compared > 100  # the newest state only: a slow reader misses some


def test_lock_step_repeats_the_observation_and_says_what_it_waits_for(ros: Ros) -> None:
    commander = Commander(ros, [0.0, 0.0])
    commander.answering = False
    bridge = ros.start("gym_bridge", {**ENVIRONMENT, "bridge.command_timeout_s": 0.2})
    ros.until(lambda: len(commander.observations) >= 3)
    assert len({message.layout.dim[0].label for message in commander.observations}) == 1
    assert "no command for the observation" in bridge.output
    commander.answering = True
    ros.until(lambda: len(commander.steps) > 3)


def test_commands_that_are_all_dropped_are_not_called_silence(ros: Ros) -> None:
    publisher = ros.observer.create_publisher(Float64MultiArray, "commands", 10)
    bridge = ros.start("gym_bridge", {**ENVIRONMENT, "bridge.command_timeout_s": 0.5})
    ros.connect(publisher, "gym_bridge")
    for data in ([1.0], [0.0] * 10**6, [float("nan"), 0.0]):
        publisher.publish(Float64MultiArray(data=data))
        ros.spin(0.1)  # the newest alone is kept for a reader
    # On a busy machine the last may have come before the bridge had looked at the large one.
    text = r"all [123] messages on '/commands' \(1 publishers\) were dropped, the last: vector: "
    ros.until(lambda: re.search(f"{text}found nan", bridge.output) is not None)
    assert bridge.poll() is None


def test_lock_step_passes_over_answers_to_another_observation(ros: Ros) -> None:
    steps = ros.collect(Float64MultiArray, "step", EVERY_STEP)
    observations = ros.collect(Float64MultiArray, "observation")
    publisher = ros.observer.create_publisher(Float64MultiArray, "commands", 10)
    ros.start("gym_bridge", {**ENVIRONMENT, "bridge.command_timeout_s": 0.2})
    ros.until(lambda: observations)
    stamp = read_vector(observations[-1]).label.stamp_ns
    assert stamp is not None
    ros.connect(publisher, "gym_bridge")
    publisher.publish(vector_message(make, "action", np.array([1.0, 1.0]), stamp - 1))
    publisher.publish(vector_message(make, "action", np.array([-1.0, 0.5]), stamp))
    ros.until(lambda: steps and read_step(steps[-1]).index == 1)
    np.testing.assert_allclose(read_step(steps[-1]).action, [-1.0, 0.5])


def test_pause_single_step_and_reset(ros: Ros) -> None:
    commander = Commander(ros, [0.1, 0.0])
    ros.start("gym_bridge", ENVIRONMENT)
    ros.until(lambda: len(commander.steps) > 5)
    assert ros.call(SetBool, "gym_bridge/pause", SetBool.Request(data=True)).success
    ros.spin()
    count = len(commander.steps)
    ros.spin()
    assert len(commander.steps) == count

    assert ros.call(Trigger, "gym_bridge/single_step", Trigger.Request()).success
    ros.until(lambda: len(commander.steps) > count)
    ros.spin()
    assert len(commander.steps) - count in (1, 2)  # 2: a reset comes before the step
    count = len(commander.steps)

    assert ros.call(Trigger, "gym_bridge/reset", Trigger.Request()).success
    ros.until(lambda: len(commander.steps) == count + 1)
    assert read_step(commander.steps[-1]).index == 0
    assert ros.call(SetBool, "gym_bridge/pause", SetBool.Request(data=False)).success
    ros.until(lambda: len(commander.steps) > count + 5)
    assert not ros.call(Trigger, "gym_bridge/single_step", Trigger.Request()).success


@pytest.mark.parametrize(("learner", "length"), [(True, 4), (False, 20)])
def test_episodes_are_cut_for_a_learner_alone(ros: Ros, learner: bool, length: int) -> None:
    commander = Commander(ros, [0.1, 0.0])
    ros.start(
        "gym_bridge",
        {
            **ENVIRONMENT,
            "training.episode_steps": 4,
            "training.update_every_steps": 1000,
            "bridge.wait_for_learner": learner,
        },
    )

    def run_on() -> bool:
        if learner and not commander.steps:  # it pauses while nobody reads what it has to say
            ros.call(SetBool, "gym_bridge/pause", SetBool.Request(data=False))
        return any(read_step(message).last for message in commander.steps)

    ros.until(run_on)
    last = next(step for step in map(read_step, commander.steps) if step.last)
    assert (last.index, last.truncated, last.terminated) == (length, True, False)


def test_real_time_holds_the_last_command_and_then_applies_the_safe_one(ros: Ros) -> None:
    commander = Commander(ros, [0.5, 0.0])
    ros.start(
        "gym_bridge",
        {
            **ENVIRONMENT,
            "bridge.mode": "real_time",
            "bridge.command_timeout_s": 0.5,
            "bridge.safe_command": [0.0, -0.25],
        },
    )
    ros.until(lambda: len(commander.steps) > 10)
    commander.answering = False
    count = len(commander.steps)
    ros.until(lambda: np.allclose(read_step(commander.steps[-1]).action, [0.0, -0.25]))
    between = [read_step(message) for message in commander.steps[count:-1]]
    held = [step for step in between if step.index > 0 and np.allclose(step.action, [0.5, 0.0])]
    assert len(held) >= 5  # 25 steps a second, for half a second


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_real_time_keeps_the_rate(ros: Ros, factor: float) -> None:
    commander = Commander(ros, [0.0, 0.0])
    arrived: list[float] = []
    ros.observer.create_subscription(
        Float64MultiArray, "step", lambda _: arrived.append(time.monotonic()), EVERY_STEP
    )
    parameters = {"bridge.mode": "real_time", "bridge.real_time_factor": factor}
    ros.start("gym_bridge", {**ENVIRONMENT, **parameters})
    ros.until(lambda: len(commander.steps) > 5)
    first = len(arrived)
    ros.spin(2.0)
    steps = [read_step(message) for message in commander.steps][-(len(arrived) - first) :]
    rate = sum(step.index > 0 for step in steps) / 2.0
    assert rate == pytest.approx(25 * factor, rel=0.15)


def picture_called(name: str) -> dict[str, str]:
    kwargs = json.dumps({"name": name})
    return {"env_id": "PlanetRosTest/PictureAndPosition-v0", "env_kwargs": kwargs}


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"env_id": "Pendulm-v1"}, "did you mean Pendulum-v1"),
        ({"env_id": "CartPole-v1"}, "found actions Discrete(2)"),
        ({**ENVIRONMENT, **picture_called("model")}, "image 'model': is the name of another topic"),
        ({**ENVIRONMENT, **picture_called("my eye")}, "image 'my eye': cannot be the name of"),
        ({"bridge.mod": "real_time"}, "did you mean bridge.mode"),
        ({"bridge.real_time_factor": 0.0}, "0 < value"),
        ({"bridge.safe_command": [9.0]}, "bridge.safe_command: found [9.0]"),
    ],
)
def test_bad_parameters_end_with_code_2_and_a_reason(
    ros: Ros, parameters: dict[str, object], found: str
) -> None:
    bridge = ros.start("gym_bridge", parameters)
    ros.until(lambda: bridge.poll() is not None)
    assert bridge.poll() == 2
    assert found in bridge.output


def test_nan_from_the_environment_ends_with_code_2_and_a_reason(ros: Ros) -> None:
    commander = Commander(ros, [0.0, 0.0])
    bridge = ros.start("gym_bridge", {**ENVIRONMENT, "env_id": "PlanetRosTest/BreaksDown-v0"})
    ros.until(lambda: bridge.poll() is not None)
    assert bridge.poll() == 2
    assert "found observation [nan nan]" in bridge.output
    assert all(np.isfinite(message.data).all() for message in commander.steps)


def test_sigterm_ends_it_cleanly(ros: Ros) -> None:
    commander = Commander(ros, [0.0, 0.0])
    bridge = ros.start("gym_bridge", ENVIRONMENT)
    ros.until(lambda: len(commander.steps) > 3)
    assert bridge.end(signal.SIGTERM) == 0


def test_the_pace_can_change_while_it_runs_and_the_environment_cannot(ros: Ros) -> None:
    ros.start("gym_bridge", {**ENVIRONMENT, "bridge.mode": "real_time"})
    clocks = ros.collect(Clock, "/clock", EVERY_STEP)
    ros.until(lambda: len(clocks) > 2)

    def set_to(name: str, value: ParameterValue) -> bool:
        request = SetParameters.Request(parameters=[Parameter(name=name, value=value)])
        (result,) = ros.call(SetParameters, "gym_bridge/set_parameters", request).results
        return bool(result.successful)

    def pace() -> float:
        """Simulated seconds for each second."""
        first, begin_s = len(clocks), time.monotonic()
        ros.spin(2.0)
        times = [clock.clock.sec + clock.clock.nanosec / 1e9 for clock in clocks[first:]]
        return (times[-1] - times[0]) / (time.monotonic() - begin_s)

    slow = pace()
    number = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=4.0)
    assert set_to("bridge.real_time_factor", number)
    assert pace() > 2 * slow
    text = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value="Other-v0")
    assert not set_to("env_id", text)
