"""Steps out of ticks: which command led from one to the next, and where episodes begin and end.

```
ticks      o0 ──── o1 ──── o2 ──── o3 ──── o4        delay 1: what is sent in a period acts in the
commands      c1      c2      c3      c4             next one
steps              o1 ─c1► o2 ─c2► o3 ─c3► o4
```
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.data.episode import Step
from planet_ros.data.signature import Parts


@dataclass(frozen=True)
class Tick:
    """What was seen when it was time for a command.

    Attributes:
        stamp_ns: When, on the clock of whoever sees.
        observation: All parts.
        reward: Newest one that was heard; None: none was.
        ended: The episode has terminated.
    """

    stamp_ns: int
    observation: Mapping[str, NDArray[Any]]
    reward: float | None = 0.0
    ended: bool = False


@dataclass
class StepCounters:
    """What was made of the ticks.

    Attributes:
        ticks: How many there were.
        steps: Transitions from one to the next.
        cuts: Episodes that were cut, by the reason.
    """

    ticks: int = 0
    steps: int = 0
    cuts: Counter[str] = field(default_factory=Counter)


class StepMaker:
    """Joins ticks and commands to steps.

    Attributes:
        counters: What happened so far.
    """

    def __init__(
        self,
        give: Callable[[Step], None],
        *,
        delay: int = 0,
        longest: int = 0,
        reward: Callable[[Parts, NDArray[np.float32], Parts], float] | None = None,
    ) -> None:
        """Begin with nothing.

        Args:
            give: Takes each step, in order.
            delay: Periods until a command acts, beyond the one that it is sent in.
            longest: Steps after which an episode is cut; 0: never.
            reward: That of an observation, the action that acted, and the observation after it;
                None: the ticks bear it.
        """
        self._give = give
        self._reward = reward
        self._longest = longest
        self._sent: deque[NDArray[np.float32]] = deque(maxlen=delay + 1)
        self._last: Tick | None = None
        self._index = -1
        self.counters = StepCounters()

    def add(self, tick: Tick, command: NDArray[np.float32] | None) -> None:
        """Take in a tick.

        Args:
            tick: That follows the one before by a period.
            command: (A,) that was in force between them; None where it is not known.
        """
        self.counters.ticks += 1
        last, self._last = self._last, tick
        if last is None:
            return
        if command is None:
            self._cut("no command was heard")
            self._sent.clear()
            return
        self._sent.append(command)
        if len(self._sent) < (self._sent.maxlen or 0):
            return  # what acted here was sent before anyone listened
        reward = tick.reward
        if self._reward is not None:
            reward = self._reward(last.observation, self._sent[0], tick.observation)
        if reward is None:
            self._cut("no reward was heard")
            return
        if self._index < 0:
            self._step(last, np.zeros_like(command), 0.0, environment_steps=0)
        self._step(tick, self._sent[0], reward)

    def cut(self, reason: str) -> None:
        """End the episode: the next tick does not follow from the last one."""
        self._cut(reason)
        self._last = None
        self._sent.clear()

    def _step(
        self, tick: Tick, action: NDArray[np.float32], reward: float, environment_steps: int = 1
    ) -> None:
        self._index += 1
        begins = self._index == 0
        truncated = not tick.ended and 0 < self._longest <= self._index
        ends = not begins and (tick.ended or truncated)
        step = Step(
            index=self._index,
            observation=tick.observation,
            action=action,
            reward=reward,
            terminated=ends and tick.ended,
            truncated=ends and truncated,
            stamp_ns=tick.stamp_ns,
            environment_steps=environment_steps,
        )
        self.counters.steps += not begins
        if ends:  # the robot goes on, and with it the commands; the next episode begins here
            self._index = -1
        self._give(step)

    def _cut(self, reason: str) -> None:
        if self._index > 0:
            self.counters.cuts[reason] += 1
        self._index = -1
