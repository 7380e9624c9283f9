"""One step and one episode of experience.

```
observation  o0 ──a0,r0──► o1 ──a1,r1──► o2 … o(T-1) ──a(T-1),r(T-1)──► oT
step index    0             1             2                              T
```

An observation is a mapping of named parts, vectors and images (`planet_ros.data.signature`). A goal
is stored beside them as it was when each observation was made: it is what the action that follows
was chosen for.

A step holds the observation it ended in together with the action and reward that led there, so
that step 0, the reset, has neither: its action is zero and its reward 0.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.data.signature import Layout, Parts


@dataclass(frozen=True)
class Step:
    """What one environment step brought.

    Attributes:
        index: Steps since the reset; 0 is the reset itself.
        observation: What was seen after the action: (n,) float32 of each vector, (height, width,
            channels) uint8 of each image.
        action: (A,) taken before; zeros at the reset.
        reward: Received for the action; 0 at the reset.
        terminated: The episode is over: nothing more can be won or lost.
        truncated: The episode was cut, by a time limit for example, and could have gone on.
        stamp_ns: Time of the observation in nanoseconds.
        environment_steps: How often the environment was stepped with the action; more than once
            where actions are repeated, 0 at the reset.
        stream: Which of several robots it is of, from 0; steps of two never join.
    """

    index: int
    observation: Parts
    action: NDArray[np.float32]
    reward: float
    terminated: bool = False
    truncated: bool = False
    stamp_ns: int = 0
    environment_steps: int = 1
    stream: int = 0

    @property
    def layout(self) -> Layout:
        """Shapes and types, for `Signature.check`."""
        return Layout.of(self.observation, self.action)

    @property
    def last(self) -> bool:
        """Whether the episode ends here."""
        return self.terminated or self.truncated


@dataclass(frozen=True)
class Episode:
    """T steps that follow one another.

    Attributes:
        observation: (T + 1, n) float32 of each vector, (T + 1, height, width, channels) uint8 of
            each image.
        action: (T, A) float32.
        reward: (T,) float64.
        terminated: The last observation is terminal.
        truncated: The episode was cut after its last step. Neither flag is set where recording
            stopped in the middle.
        environment_steps: How often the environment was stepped, T where actions are not repeated
            (the default).

    Raises:
        ValueError: Lengths, shapes or types do not fit together, or a number is not finite.
    """

    observation: Mapping[str, NDArray[Any]]
    action: NDArray[np.float32]
    reward: NDArray[np.float64]
    terminated: bool
    truncated: bool
    environment_steps: int = -1

    def __post_init__(self) -> None:
        steps = len(self.reward)
        if self.environment_steps < 0:
            object.__setattr__(self, "environment_steps", steps)
        if not self.observation or len(self.action) != steps or self.action.ndim != 2:
            raise ValueError(
                f"an episode of {steps} rewards has an observation and {steps} rows of action, "
                f"found {[*self.observation]} and actions of shape {self.action.shape}"
            )
        for name, values in self.observation.items():
            image = values.ndim == 4 and values.dtype == np.uint8
            vector = values.ndim == 2 and values.dtype == np.float32
            if len(values) != steps + 1 or not (image or vector):
                raise ValueError(
                    f"{name}: found {values.dtype} of shape {values.shape}, expected float32 of "
                    f"shape ({steps + 1}, numbers), or uint8 of shape ({steps + 1}, height, width, "
                    "channels)"
                )
        for name, values in {
            **self.observation,
            "action": self.action,
            "reward": self.reward,
        }.items():
            if not np.isfinite(values).all():
                raise ValueError(f"{name}: found a value that is not finite")

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def layout(self) -> Layout:
        """Shapes and types of a step, for `Signature.check`."""
        return Layout.of(self.observation, self.action, leading=1)

    @property
    def total_reward(self) -> float:
        """The undiscounted return."""
        return float(self.reward.sum())

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        seen = sum(values.nbytes for values in self.observation.values())
        return seen + self.action.nbytes + self.reward.nbytes


def pieces(episode: Episode, count: int) -> list[Episode]:
    """An episode in so many pieces, of the same length as near as may be; none is lost.

    All but the last were cut where they end.
    """
    ends = np.linspace(0, len(episode), count + 1).astype(int)
    # Where actions are repeated the environment was stepped more often, which is shared out.
    stepped = np.linspace(0, episode.environment_steps, len(episode) + 1).astype(int)[ends]
    return [
        Episode(
            {name: values[first : end + 1] for name, values in episode.observation.items()},
            episode.action[first:end],
            episode.reward[first:end],
            terminated=episode.terminated and end == len(episode),
            truncated=episode.truncated or end < len(episode),
            environment_steps=int(steps),
        )
        for (first, end), steps in zip(
            itertools.pairwise(ends.tolist()), np.diff(stepped), strict=True
        )
    ]


class EpisodeBuilder:
    """Puts steps of one stream together to episodes, and counts what is missing between them."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self.environment_steps = 0
        """How often the environment was stepped in the episode under way."""
        self.missing_steps = 0

    @property
    def newest(self) -> Step | None:
        """The last step of the episode under way."""
        return self._steps[-1] if self._steps else None

    def __len__(self) -> int:
        """Transitions of the episode under way."""
        return max(0, len(self._steps) - 1)

    def add(self, step: Step) -> Episode | None:
        """Append a step; give the finished episode when it was the last one.

        A step whose index does not follow the one before means that steps were lost or that the
        simulation was reset in between. What came before is then given as an episode that was
        cut; steps without a known beginning start an episode of their own.
        """
        cut = None
        if self._steps and step.index != self._steps[-1].index + 1:
            if step.index != 0:
                self.missing_steps += max(0, step.index - self._steps[-1].index - 1)
            cut = self.take()
        self._steps.append(step)
        if len(self._steps) > 1:
            self.environment_steps += step.environment_steps
        if step.last and len(self._steps) > 1:
            return self.take()
        if step.last:
            self._steps = []
        return cut

    def snapshot(self) -> Episode | None:
        """The episode under way, as one that was cut here; None while it has no transition."""
        if len(self) == 0:
            return None
        steps, last = self._steps, self._steps[-1]
        return Episode(
            observation={
                name: np.stack([step.observation[name] for step in steps])
                for name in last.observation
            },
            action=np.stack([step.action for step in steps[1:]]).astype(np.float32),
            reward=np.array([step.reward for step in steps[1:]], dtype=np.float64),
            terminated=last.terminated,
            truncated=last.truncated,
            environment_steps=self.environment_steps,
        )

    def take(self) -> Episode | None:
        """Give the episode under way, as `snapshot`, and start afresh."""
        episode = self.snapshot()
        self._steps = []
        self.environment_steps = 0
        return episode
