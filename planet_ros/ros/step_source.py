"""Where the trainer's steps come from: a simulation's topic of steps, or a robot's own topics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from planet_ros.data import Signature, Step
from planet_ros.environments import EnvironmentSpec
from planet_ros.interface.document import Interface
from planet_ros.models import Task
from planet_ros.training.session import Session

Take: TypeAlias = Callable[[list[Step]], None]


class StepSource(Protocol):
    """Gives steps in their order, and commands while it is asked to explore.

    Of several robots each has a stream of steps of its own, numbered as in the setting ``robots``.

    Attributes:
        signature: Of the steps.
        environment: Where they come from, for the bundle; None: from a robot.
        interface: Of the robot, for the bundle; None: it is an environment.
        task: What is known of the robot's reward; None: it is learned.
        catches_up: Whether steps go on while a model is fitted, so that one fit must do for all
            that have come meanwhile.
        complete: Whether all that it listens to has a publisher, where what comes before that
            would be lost.
    """

    signature: Signature
    environment: EnvironmentSpec | None
    interface: Interface | None
    task: Task | None
    catches_up: bool

    @property
    def complete(self) -> bool:
        """See above."""

    def listen(self, session: Session, take: Take) -> None:
        """Subscribe, and explore where the session says so.

        Args:
            session: What the steps are for.
            take: Called with steps as they come.
        """

    def is_lost(self, step: Step) -> bool:
        """Whether a step that was given lacks a part, and says only that it was taken."""

    def idle_s(self, stream: int) -> float:
        """Seconds without a step of one stream."""

    def silence(self, stream: int, limit_s: float) -> str:
        """What does not come, for a person, where no step came for so many seconds; else empty."""

    def close(self) -> None:
        """Send what must be sent last; publishers still work."""
