"""Steps out of messages: what was seen at each tick, and what was commanded in between.

```
every period (a robot)        tick 0          tick 1          tick 2
  states    ──s──s──s──s──s──s──│──s──s──s──s──s──│──s──s──s──s─    the newest before each tick
  commands  ────────────────c1──│─────────────c2──│─────────────    the one in force at half time
                               o0 ───── c1 ─────► o1 ──── c2 ──►    whoever published it

together (lock-step)          stamp 7         stamp 8
  states    ────────────────────s,s─────────────s,s─────────────    a tick: all parts of one stamp
  commands  ──────────────────────c(7)────────────c(8)──────────    the one that answers the tick
```

Nothing here knows ROS: messages are objects with attributes, those of rclpy as well as those that a
reader of bags gives. They come in the order of the times at which they were received.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.data.episode import Step
from planet_ros.data.signature import Parts, Signature
from planet_ros.errors import UserError
from planet_ros.interface.commands import Commands
from planet_ros.interface.conditions import parse_condition
from planet_ros.interface.document import Interface
from planet_ros.interface.paths import parse_path
from planet_ros.interface.reading import PartReader, Reading
from planet_ros.interface.rewards import step_reward
from planet_ros.interface.signature import signature_of
from planet_ros.interface.stepping import StepCounters, StepMaker, Tick
from planet_ros.interface.writing import ActionWriter
from planet_ros.messages.fields import UNREADABLE, Make, shortened

STALE_S = 0.25
"""Age from which a part is stale, where neither the document nor the caller says."""

LONGEST_GAP_PERIODS = 3
"""Periods between two stamps from which on the later one does not follow from the earlier."""

MOST_WAITING = 100
"""Ticks of lock-step that wait for their commands, and commands for their ticks, at most."""

CHECKS = 5
"""Calls of `Timeline.check` that a tick of lock-step waits for its command."""


@dataclass
class _Held:
    """The newest reading of a part."""

    reading: Reading
    received_ns: int


@dataclass
class _Waiting:
    """A tick of lock-step, and how often its command was not there."""

    tick: Tick
    checks: int = 0


class Timeline:
    """Takes messages in, and gives steps.

    Attributes:
        signature: Of the steps.
        topics: Types of the messages that are taken, by topic.
        counters: Of ticks, steps and cuts.
        dropped: Messages that could not be used, by topic.
    """

    def __init__(
        self,
        interface: Interface,
        make: Make,
        *,
        together: bool = False,
        stale_s: float = STALE_S,
        ended: Callable[[Parts], bool] | None = None,
    ) -> None:
        """Begin with nothing.

        Args:
            interface: What to read, and what is a command.
            make: Gives empty messages.
            together: Lock-step: a tick is where all parts have the same stamp, and its command
                bears that stamp or none. Otherwise there is one every period.
            stale_s: Age from which a part is stale where the document does not say.
            ended: Whether an observation is the last one, where a function says so.

        Raises:
            UserError: The document does not fit the types of the messages.
        """
        self.signature: Signature = signature_of(interface, make)
        self.dropped: Counter[str] = Counter()
        self._together = together
        self._period_ns = round(interface.period_s * 1e9)
        self._writer = ActionWriter(interface.action, make)
        self._commands = Commands(interface, self._writer)
        self._readers: dict[str, list[PartReader]] = {}
        self._limit_ns: dict[str, int] = {}
        for part in interface.observation:
            self._readers.setdefault(part.topic, []).append(PartReader(part, make))
            self._limit_ns[part.name] = round((part.stale_after_s or stale_s) * 1e9)
        self._goal: str | None = None
        if interface.goal is not None:
            goal = PartReader(interface.goal, make)
            self._readers.setdefault(interface.goal.topic, []).append(goal)
            self._goal = goal.name
        self._reward = _Scalar("reward", interface.reward.topic, interface.reward.path)
        self._end = _Scalar("end", interface.end.topic, interface.end.path)
        self._condition = None
        if interface.end.condition:
            self._condition = parse_condition(interface.end.condition)
        self._ended = ended
        self.topics = {part.topic: part.type for part in interface.observation}
        self.topics |= {part.topic: part.type for part in interface.action}
        for one in (interface.goal, interface.reward, interface.end):
            if one is not None and one.topic:
                self.topics[one.topic] = one.type
        self._steps: list[Step] = []
        self._maker = StepMaker(
            self._steps.append,
            delay=interface.delay_periods,
            longest=interface.end.after_steps,
            reward=step_reward(interface, make),
        )
        self._held: dict[str, _Held] = {}
        self._forget_stamps()
        self._waiting: deque[_Waiting] = deque()
        self._next_ns: int | None = None
        self._now_ns: int | None = None

    @property
    def counters(self) -> StepCounters:
        """Of ticks, steps and cuts."""
        return self._maker.counters

    def steps(self) -> list[Step]:
        """The steps that were made since the last call, in order."""
        steps, self._steps[:] = self._steps[:], []
        return steps

    def take(self, topic: str, message: Any, received_ns: int) -> None:
        """Take in a message.

        Args:
            topic: As the document has it.
            message: What came.
            received_ns: When, on one clock for all messages.

        Raises:
            UserError: It cannot be used; the text says why, and nothing is kept of it.
        """
        self.advance(received_ns)
        try:
            if topic in self._writer.topics:
                self._commands.take(topic, message, received_ns)
            for reader in self._readers.get(topic, ()):
                reading = reader.read(message, received_ns)
                if reading is not None:
                    self._hold(reader.name, reading, received_ns)
            for scalar in (self._reward, self._end):
                if topic == scalar.topic:
                    scalar.take(message)
        except UserError:
            self.dropped[topic] += 1
            raise
        if self._together:
            self._look_together()
            self._answer()

    def advance(self, now_ns: int) -> None:
        """Let time pass."""
        before, self._now_ns = self._now_ns, now_ns
        if before is not None and now_ns < before:
            self.cut("time went back")
            self._held.clear()
            self._forget_stamps()
            self._commands.forget()
            self._next_ns = None
        if self._together:
            return
        if self._next_ns is None:
            self._next_ns = now_ns + self._period_ns
        if now_ns - self._next_ns > LONGEST_GAP_PERIODS * self._period_ns:
            # Whoever calls was away; what was seen meanwhile, nobody knows.
            self.cut("nothing was heard")
            self._next_ns = now_ns
        while self._next_ns <= now_ns:
            self._look(self._next_ns)
            self._next_ns += self._period_ns

    def check(self) -> None:
        """Give up on commands that have not come in lock-step; to be called from time to time.

        It counts calls and not seconds: while the caller is busy, messages wait for it unread.
        """
        if len(self._waiting) < 2:
            return
        self._waiting[0].checks += 1
        if self._waiting[0].checks >= CHECKS:
            self._pass_over("a command never came")
            self._answer()

    def cut(self, reason: str) -> None:
        """End the episode: what comes next does not follow from what came last."""
        self._maker.cut(reason)
        self._waiting.clear()

    @property
    def asked_ns(self) -> int | None:
        """Lock-step: the stamp that all parts bear now, which a command is to answer, if any."""
        if not self._waiting or any(name not in self._held for name in self._limit_ns):
            return None
        stamp_ns = self._waiting[-1].tick.stamp_ns
        stamps = {self._held[name].reading.stamp_ns for name in self._limit_ns}
        return stamp_ns if stamps == {stamp_ns} else None

    def commanded(self, now_ns: int) -> NDArray[np.float32] | None:
        """The command (A,) in force now, whoever sent it; None where it is not known."""
        return self._commands.newest(now_ns)

    def measured(self, name: str) -> NDArray[np.float64] | None:
        """The newest numbers (k,) of an observed field, before its encoding; None before any."""
        for held in self._held.values():
            if name in held.reading.measured:
                return held.reading.measured[name]
        return None

    def lacking(self, now_ns: int) -> list[str]:
        """Parts that are stale or have never arrived, and the goal if there is none."""
        missing = [
            name
            for name, limit_ns in self._limit_ns.items()
            if name not in self._held or now_ns - self._held[name].received_ns > limit_ns
        ]
        if self._goal is not None and self._goal not in self._held:
            missing.append(self._goal)
        return missing

    # ── parts ────────────────────────────────────────────────────────────────────────────────

    def _hold(self, name: str, reading: Reading, received_ns: int) -> None:
        before = self._held.get(name)
        if before is not None and name != self._goal:
            stamp_ns, earlier_ns = reading.stamp_ns, before.reading.stamp_ns
            if stamp_ns is not None and stamp_ns == earlier_ns:
                received_ns = before.received_ns  # repeated: as old as the first time
            elif stamp_ns is not None and earlier_ns is not None:
                longest_ns = max(self._limit_ns[name], LONGEST_GAP_PERIODS * self._period_ns)
                if not 0 < stamp_ns - earlier_ns <= longest_ns:
                    self.cut("stamps jump")
                    self._forget_stamps()
        self._held[name] = _Held(reading, received_ns)
        if self._together and name != self._goal and reading.stamp_ns is not None:
            self._gather(name, reading, reading.stamp_ns)

    def _forget_stamps(self) -> None:
        self._gathered: dict[int, dict[str, Reading]] = {}
        self._looked_ns: int | None = None

    def _gather(self, name: str, reading: Reading, stamp_ns: int) -> None:
        """Keep what belongs together by its stamp: topics overtake one another."""
        if self._looked_ns is not None and stamp_ns <= self._looked_ns:
            return  # repeated
        self._gathered.setdefault(stamp_ns, {})[name] = reading
        while len(self._gathered) > MOST_WAITING:
            del self._gathered[min(self._gathered)]

    def _look(self, now_ns: int) -> None:
        """A tick of the clock."""
        missing = self.lacking(now_ns)
        if missing:
            self.cut(f"nothing new of {', '.join(missing)}")
            return
        command = self._commands.in_force(now_ns - self._period_ns // 2)
        tick = self._tick(now_ns, {name: self._held[name].reading for name in self._limit_ns})
        if tick is not None:
            self._maker.add(tick, command)

    def _look_together(self) -> None:
        """See whether all parts have come to a stamp, which is new."""
        held = [self._held[name] for name in self._limit_ns if name in self._held]
        if any(one.reading.stamp_ns is None for one in held):
            raise UserError(
                f"{', '.join(self._limit_ns)}: found no stamp, expected one: in lock-step it says "
                "which messages belong together"
            )
        if self._goal is not None and self._goal not in self._held:
            return
        for stamp_ns in sorted(self._gathered):
            if len(self._gathered[stamp_ns]) == len(self._limit_ns):
                self._tick_together(stamp_ns)

    def _tick_together(self, stamp_ns: int) -> None:
        """A tick of lock-step; what came before it and is not complete will not be."""
        readings = self._gathered[stamp_ns]
        self._gathered = {at: kept for at, kept in self._gathered.items() if at > stamp_ns}
        self._looked_ns = stamp_ns
        newest = self._waiting[-1].tick.stamp_ns if self._waiting else None
        if newest is not None and abs(stamp_ns - newest - self._period_ns) > self._period_ns // 2:
            self.cut("the period changed")
        tick = self._tick(stamp_ns, readings)
        if tick is None:
            return
        if not self._waiting:
            self._maker.add(tick, None)  # begins
        self._waiting.append(_Waiting(tick))
        if len(self._waiting) > MOST_WAITING:
            self._pass_over("a command never came")

    def _answer(self) -> None:
        """Make the steps whose commands have come."""
        while len(self._waiting) > 1:
            command = self._commands.answer(self._waiting[0].tick.stamp_ns)
            if command is None:
                return
            self._waiting.popleft()
            self._maker.add(self._waiting[0].tick, command)

    def _pass_over(self, reason: str) -> None:
        """Do without the command of the first tick that waits."""
        self._waiting.popleft()
        self._maker.cut(reason)
        self._maker.add(self._waiting[0].tick, None)

    def _tick(self, stamp_ns: int, readings: Mapping[str, Reading]) -> Tick | None:
        """What was read; None, and a cut, where a picture cannot be decoded."""
        try:
            observation = {name: readings[name].values for name in self._limit_ns}
        except UserError:
            self.cut("a picture could not be decoded")
            return None
        if self._goal is not None:
            observation[self._goal] = self._held[self._goal].reading.values
        ended = bool(self._end.newest)
        self._end.newest = None
        if self._condition is not None:
            measured: dict[str, NDArray[np.float64]] = {}
            for reading in readings.values():
                measured.update(reading.measured)
            ended = ended or self._condition.holds(measured)
        if self._ended is not None:
            ended = ended or self._ended(observation)
        reward = self._reward.newest if self._reward.topic else 0.0
        return Tick(stamp_ns, observation, reward, ended)


class _Scalar:
    """The newest number on a topic; where the topic is empty there is none."""

    def __init__(self, what: str, topic: str, path: str) -> None:
        self._what = what
        self.topic = topic
        self.newest: float | None = None
        self._path = parse_path(path)

    def take(self, message: Any) -> None:
        try:
            numbers = self._path.read(message)
        except UNREADABLE as error:
            raise UserError(
                f"{self._what}: found a {type(message).__name__} that cannot be read "
                f"({shortened(error)})"
            ) from None
        if len(numbers) != 1 or not np.isfinite(numbers).all():
            raise UserError(f"{self._what}: found {numbers[:5]}, expected one finite number")
        self.newest = float(numbers[0])
