"""What a robot's document says of reward and end, as the task of a model."""

from __future__ import annotations

from collections.abc import Callable

import torch

from planet_ros.data import Parts, Signature
from planet_ros.interface.document import Interface
from planet_ros.interface.rewards import QuadraticReward as StepReward
from planet_ros.messages.fields import Make
from planet_ros.models import ActionTerm, ObservationTerm, QuadraticReward, Task, function_of
from planet_ros.models.task import RewardFunction, TerminatedFunction


def task_of(interface: Interface, signature: Signature, make: Make) -> Task | None:
    """What is known of a robot's reward and end, so that no model need learn it.

    Functions are imported, and with them whatever their modules do on import: the document is the
    learner's own, and no message and no bundle can name another.

    Args:
        interface: The document.
        signature: Of the model.
        make: Gives empty messages.

    Returns:
        None where both come with the messages: they are learned.

    Raises:
        UserError: A term does not fit what is seen, or a function cannot be imported or traced.
    """
    reward: RewardFunction | None = None
    if interface.reward.kind == "quadratic":
        reward = _quadratic(interface, signature, make)
    elif interface.reward.kind == "function":
        reward = function_of(interface.reward.function, "reward.function")
    terminated: TerminatedFunction | None = None
    if interface.end.function:
        terminated = function_of(interface.end.function, "end.function")
    return Task(signature, reward, terminated) if reward or terminated else None


def end_of(task: Task | None) -> Callable[[Parts], bool] | None:
    """Whether a task says that an observation, with the goal in it, is an episode's last one.

    Returns:
        None where it says nothing of ends.
    """
    if task is None or task.terminated is None:
        return None
    terminated, signature = task.terminated, task.signature
    goal_name = None if signature.goal is None else signature.goal.name

    def ended(observation: Parts) -> bool:
        seen = {
            part.name: torch.from_numpy(observation[part.name])
            for part in signature.parts("vector")
        }
        goal = None if goal_name is None else torch.from_numpy(observation[goal_name])
        with torch.no_grad():
            return bool(terminated(seen, goal))

    return ended


def _quadratic(interface: Interface, signature: Signature, make: Make) -> QuadraticReward:
    known = StepReward(interface, make)
    terms = []
    for term in known.terms:
        place, wide = term.place, 2 if term.place.is_angle else 1
        goal = term.goal
        for number in range(place.size):
            terms.append(
                ObservationTerm(
                    part=place.part,
                    index=place.first + number * wide,
                    weight=float(term.weight[number]),
                    kind="angle" if place.is_angle else "plain",
                    setpoint=float(term.setpoint[number]),
                    goal=(
                        None if goal is None else goal.first + number * (2 if goal.is_angle else 1)
                    ),
                    goal_kind="angle" if goal is not None and goal.is_angle else "plain",
                )
            )
    actions = [
        ActionTerm(index, float(weight), float(setpoint))
        for index, (weight, setpoint) in enumerate(
            zip(known.action_weight, known.action_setpoint, strict=True)
        )
        if weight > 0
    ]
    return QuadraticReward.of(signature, terms, actions)
