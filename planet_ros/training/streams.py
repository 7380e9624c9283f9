"""What is under way: of each robot, or of each copy of an environment, an episode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from planet_ros.data import Episode, EpisodeBuilder


@dataclass
class Stream:
    """What one robot does, or one environment.

    Attributes:
        random: Whether the episode under way began without a plan.
        builder: Has its steps.
    """

    random: bool
    builder: EpisodeBuilder = field(default_factory=EpisodeBuilder)


class Streams:
    """Streams by number; the one whose step is the newest stands last."""

    def __init__(self) -> None:
        self._by_number: dict[int, Stream] = {}

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[int]:
        return iter([*self._by_number])

    def __getitem__(self, number: int) -> Stream:
        return self._by_number[number]

    def newest(self, number: int, *, random: bool) -> Stream:
        """That of a step, which is then the newest.

        Args:
            number: Of the stream.
            random: What a stream begins with that is met for the first time.
        """
        stream = self._by_number.pop(number, None) or Stream(random)
        self._by_number[number] = stream
        return stream

    @property
    def environment_steps(self) -> int:
        """Of all episodes under way."""
        return sum(one.builder.environment_steps for one in self._by_number.values())

    @property
    def missing_steps(self) -> int:
        """Steps that were taken but never arrived."""
        return sum(one.builder.missing_steps for one in self._by_number.values())

    @property
    def begun(self) -> bool:
        """Whether an episode is under way, if only with its reset."""
        return any(one.builder.newest is not None for one in self._by_number.values())

    def ongoing(self) -> list[Episode]:
        """The episodes under way that have a transition, as far as they are."""
        snapshots = [one.builder.snapshot() for one in self._by_number.values()]
        return [episode for episode in snapshots if episode is not None]
