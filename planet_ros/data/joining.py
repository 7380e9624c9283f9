"""Steps and their images, which arrive apart, joined by their stamps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from planet_ros.data.episode import Step

Image = NDArray[np.uint8]


@dataclass
class _Waiting:
    """A step, the images of it that are there, and how often it was found without the others."""

    step: Step
    images: dict[str, Image] = field(default_factory=dict)
    checks: int = 0


class StepJoiner:
    """Gives steps in their order, each once all its images are there.

    A step is given up as lost when a later one is complete, since the images of a topic keep their
    order, or when it has waited for too long. It then comes without any image, so that whoever
    builds episodes can cut there.

    Attributes:
        names: Of the images.
        lost: Steps that were given up so far.
    """

    def __init__(self, names: Iterable[str], *, checks: int = 5, capacity: int = 100) -> None:
        """Begin with nothing.

        Args:
            names: Of the images of each step; without any, steps pass as they come.
            checks: Calls of `check` that a step may wait for.
            capacity: Steps, and images of each name, that wait at most.
        """
        self.names = frozenset(names)
        self.lost = 0
        self._checks = checks
        self._capacity = capacity
        self._steps: deque[_Waiting] = deque()
        self._images: dict[str, deque[tuple[int, Image]]] = {
            name: deque(maxlen=capacity) for name in self.names
        }

    def add_step(self, step: Step) -> list[Step]:
        """Take in a step without images; give the steps that need not wait any more, in order."""
        waiting = _Waiting(step)
        self._steps.append(waiting)
        for name in self.names:
            self._find(name, waiting)
        return self._complete() or self._given_up(len(self._steps) - self._capacity)

    def add_image(self, name: str, stamp_ns: int, image: Image) -> list[Step]:
        """Take in an image (height, width, channels); give steps as `add_step`."""
        self._images[name].append((stamp_ns, image))
        for waiting in self._steps:
            if waiting.step.stamp_ns == stamp_ns:
                self._find(name, waiting)
                return self._complete()
        return []

    def is_lost(self, step: Step) -> bool:
        """Whether a step that was given lacks its images."""
        return not self.names <= step.observation.keys()

    def check(self) -> list[Step]:
        """Give up on steps that have waited for too long; to be called from time to time.

        It counts calls and not seconds: while the caller is busy, images wait for it unread, and
        are not lost.
        """
        for waiting in self._steps:
            waiting.checks += 1
        return self._given_up(sum(waiting.checks >= self._checks for waiting in self._steps))

    def _find(self, name: str, waiting: _Waiting) -> None:
        """Take the image of a step, and drop those before it: they are older or repeated."""
        images, stamp_ns = self._images[name], waiting.step.stamp_ns
        if stamp_ns in (found for found, _ in images):
            while name not in waiting.images:
                found, image = images.popleft()
                if found == stamp_ns:
                    waiting.images[name] = image

    def _complete(self) -> list[Step]:
        """The steps up to the last complete one, those before it as they are."""
        complete = [len(waiting.images) == len(self.names) for waiting in self._steps]
        if True not in complete:
            return []
        behind_last = len(complete) - complete[::-1].index(True)
        return self._given_up(behind_last)

    def _given_up(self, count: int) -> list[Step]:
        """The first steps; those that lack an image bear none, and count as lost."""
        steps = []
        for _ in range(count):
            waiting = self._steps.popleft()
            if len(waiting.images) < len(self.names):
                self.lost += 1
                waiting.images.clear()
            observation = {**waiting.step.observation, **waiting.images}
            steps.append(replace(waiting.step, observation=observation))
        return steps
