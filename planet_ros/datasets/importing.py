"""Episodes out of bags, by the same object that makes steps of live topics."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planet_ros.data import Episode, EpisodeBuilder
from planet_ros.data.store import save_episode
from planet_ros.datasets.bags import Bag
from planet_ros.errors import UserError
from planet_ros.files import folder_written_whole
from planet_ros.interface.document import Interface
from planet_ros.interface.files import INTERFACE_FILE, interface_text
from planet_ros.interface.namespaces import in_namespace
from planet_ros.interface.timeline import Timeline

EPISODE_STEPS = 1000
"""After which an episode is cut where the document does not say, so that some can be held out."""


@dataclass
class TopicUse:
    """What became of the messages on a topic.

    Attributes:
        type: Of the messages.
        used: How many were taken in.
        dropped: How many were not, by the reason.
        first_dropped_s: When the first of each reason came, in seconds from the bag's beginning.
        first_s: When the first message came, likewise; None: none came.
        last_s: When the last one came.
    """

    type: str
    used: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    first_dropped_s: dict[str, float] = field(default_factory=dict)
    first_s: float | None = None
    last_s: float = 0.0

    @property
    def span(self) -> str:
        """From when to when there were messages, in seconds, for a person."""
        return "never" if self.first_s is None else f"{self.first_s:.1f} to {self.last_s:.1f}"

    @property
    def rate_hz(self) -> float:
        """Messages a second between the first and the last."""
        count = self.used + sum(self.dropped.values())
        span_s = self.last_s - (self.first_s or 0.0)
        return (count - 1) / span_s if count > 1 and span_s > 0 else 0.0


@dataclass
class Imported:
    """What came of bags.

    Attributes:
        episodes: How many.
        steps: In all of them.
        seconds: From the first message to the last.
        topics: What became of the messages, by topic as the document has it.
        cuts: How often an episode was cut, by the reason.
        first_cut_s: When that was first, in seconds from the bag's beginning.
        notes: What a person should know of the bags.
    """

    episodes: int = 0
    steps: int = 0
    seconds: float = 0.0
    topics: dict[str, TopicUse] = field(default_factory=dict)
    cuts: Counter[str] = field(default_factory=Counter)
    first_cut_s: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "episodes": self.episodes,
            "steps": self.steps,
            "seconds": round(self.seconds, 3),
            "topics": {
                name: {
                    "type": topic.type,
                    "used": topic.used,
                    "rate_hz": round(topic.rate_hz, 3),
                    "dropped": [
                        {"reason": reason, "count": count, "first_s": topic.first_dropped_s[reason]}
                        for reason, count in topic.dropped.items()
                    ],
                }
                for name, topic in self.topics.items()
            },
            "cuts": [
                {"reason": reason, "count": count, "first_s": self.first_cut_s[reason]}
                for reason, count in self.cuts.items()
            ],
            "notes": self.notes,
        }


def import_bags(
    paths: Sequence[Path],
    interface: Interface,
    output: Path,
    *,
    together: bool = False,
    namespace: str = "",
    judge: Callable[[Episode], Episode] = lambda episode: episode,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Imported:
    """Write the episodes that bags hold into a folder, with the document that they are of.

    Args:
        paths: Bags, read together in the order of time.
        interface: What the robot is.
        output: Folder of the episodes; must not exist. It is written whole or not at all.
        together: The bag is of a simulation that waited for each command (lock-step).
        namespace: In which the bag has the topics.
        judge: Gives an episode the rewards, and the end, that functions of the document know.
        progress: Called with the messages read and in all.

    Raises:
        UserError: A bag cannot be read, lacks a topic or has it with another type, nothing says a
            reward, or there is no step in it: the text says what there is.
    """
    if output.exists():
        raise UserError(f"{output}: already exists; choose another folder with --output")
    if interface.reward.kind == "step":
        raise UserError(
            "reward: found none in the interface, expected kind quadratic, function or topic: "
            "a bag holds none by itself"
        )
    with Bag(paths) as bag, folder_written_whole(output) as folder:
        imported = _Import(bag, _ending(interface), together, namespace)
        for number, episode in enumerate(map(judge, imported.episodes(progress))):
            save_episode(episode, folder / f"episode-{number:06d}.npz")
            imported.result.episodes += 1
            imported.result.steps += len(episode)
        imported.result.notes += bag.notes
        if not imported.result.steps:
            raise UserError(imported.why_nothing())
        (folder / INTERFACE_FILE).write_text(interface_text(interface), encoding="utf-8")
    return imported.result


def _ending(interface: Interface) -> Interface:
    """The document, with episodes that end after some time."""
    if interface.end.after_steps:
        return interface
    end = interface.end.model_copy(update={"after_steps": EPISODE_STEPS})
    return interface.model_copy(update={"end": end})


class _Import:
    """One pass through some bags."""

    def __init__(self, bag: Bag, interface: Interface, together: bool, namespace: str) -> None:
        self._bag = bag
        self._together = together
        self._timeline = Timeline(in_namespace(interface, namespace), bag.make, together=together)
        # By the name that a bag has for it.
        self._named = {_in_full(topic): topic for topic in self._timeline.topics}
        self._check()
        self.result = Imported(
            topics={topic: TopicUse(kind) for topic, kind in self._timeline.topics.items()}
        )
        self._began_ns: int | None = None

    def episodes(self, progress: Callable[[int, int], None]) -> Iterator[Episode]:
        """All of them, cut where the bags are."""
        builder = EpisodeBuilder()
        total = sum(self._bag.topics[topic].count for topic in self._named)
        for count, (topic, time_ns, message) in enumerate(self._bag.messages(self._named), 1):
            self._take(self._named[topic], time_ns, message)
            for step in self._timeline.steps():
                if (episode := builder.add(step)) is not None:
                    yield episode
            if count % 1000 == 0:
                progress(count, total)
        if (episode := builder.take()) is not None:
            yield episode
        progress(total, total)

    def _take(self, topic: str, time_ns: int, message: Any) -> None:
        if self._began_ns is None:
            self._began_ns = time_ns
        at_s = (time_ns - self._began_ns) / 1e9
        use, self.result.seconds = self.result.topics[topic], max(self.result.seconds, at_s)
        use.first_s, use.last_s = at_s if use.first_s is None else use.first_s, at_s
        try:
            if isinstance(message, UserError):
                raise message
            self._timeline.take(topic, message, time_ns)
            use.used += 1
        except UserError as error:
            reason = str(error)
            if reason not in use.dropped and len(use.dropped) >= _MOST_REASONS:
                reason = "other reasons"
            use.dropped[reason] += 1
            use.first_dropped_s.setdefault(reason, at_s)
        if self._together:
            self._timeline.check()
        cuts = self._timeline.counters.cuts
        if cuts != self.result.cuts:
            for reason in cuts:
                self.result.first_cut_s.setdefault(reason, at_s)
            self.result.cuts = Counter(cuts)

    def _check(self) -> None:
        """See that the bags have all topics, with their types.

        Raises:
            UserError: They do not.
        """
        for name, topic in self._named.items():
            found, expected = self._bag.topics.get(name), self._timeline.topics[topic]
            if found is None:
                near = difflib.get_close_matches(name, self._bag.topics, 1, 0.5)
                hint = f"; the nearest is {near[0]}" if near else ""
                there = ", ".join(list(self._bag.topics)[:_MOST_NAMED]) or "none"
                raise UserError(
                    f"{name}: not in the bag, which has {there}{hint}; change the topic in the "
                    "interface, or say with --namespace where the robot's topics are"
                )
            if found.type != expected:
                raise UserError(f"{name}: found the type {found.type}, expected {expected}")

    def why_nothing(self) -> str:
        """Why there is no step, for a person."""
        spans = [f"{topic} {use.span}" for topic, use in self.result.topics.items()]
        cuts = ", ".join(f"{reason} ({count})" for reason, count in self.result.cuts.most_common(5))
        drops = [
            f"{topic}: {reason} ({count})"
            for topic, use in self.result.topics.items()
            for reason, count in use.dropped.most_common(1)
        ]
        return (
            "found no step in the bag, expected states and commands at the same time; it has, in "
            f"seconds, {', '.join(spans)}; cuts: {cuts or 'none'}; "
            f"dropped: {'; '.join(drops) or 'nothing'}"
        )


_MOST_REASONS = 20
_MOST_NAMED = 50


def _in_full(topic: str) -> str:
    """As a bag has it; one of a node's own (``~/x``) is not to be found there."""
    return topic if topic.startswith("/") else f"/{topic}"
