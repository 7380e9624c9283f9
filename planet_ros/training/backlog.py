"""Steps that arrive while a model is fitted, in memory that is bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from planet_ros.data import Step


class Backlog:
    """Keeps steps in their order, until someone has time for them.

    Where there are too many, the newest are passed over, of each stream up to the beginning of an
    episode: what is given never joins what did not follow one another.

    Attributes:
        missed: Steps that were passed over.
    """

    def __init__(self, *, capacity_steps: int, capacity_bytes: int) -> None:
        """Begin with nothing.

        Args:
            capacity_steps: Steps that wait at most.
            capacity_bytes: Bytes of memory that they take at most.
        """
        self._capacity_steps = capacity_steps
        self._capacity_bytes = capacity_bytes
        self._steps: deque[Step] = deque()
        self._nbytes = 0
        self._passing_over: set[int] = set()  # streams
        self.missed = 0

    def __len__(self) -> int:
        """Steps that wait."""
        return len(self._steps)

    def add(self, steps: Iterable[Step]) -> None:
        """Let steps wait."""
        for step in steps:
            nbytes = _nbytes(step)
            full = (
                len(self._steps) >= self._capacity_steps
                or self._nbytes + nbytes > self._capacity_bytes
            )
            if full or (step.stream in self._passing_over and step.index > 0):
                self._passing_over.add(step.stream)
                self.missed += 1
                continue
            self._passing_over.discard(step.stream)
            self._steps.append(step)
            self._nbytes += nbytes

    def pop(self) -> Step:
        """The first of them; there is one."""
        step = self._steps.popleft()
        self._nbytes -= _nbytes(step)
        return step


def _nbytes(step: Step) -> int:
    return step.action.nbytes + sum(values.nbytes for values in step.observation.values())
