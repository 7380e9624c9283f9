"""The control loop without ROS: observations and ticks go in, commands come out.

```
timer:        tick ──► fresh? ──no──► safe command
                         │yes
                         ▼
                       plan, on a thread ──in time──► its first action
                         │late
                         ▼ next tick
                       the entry of the last plan that is due now, at most max_missed of them,
                       then the safe command; one command a period, whatever becomes ready late

observation:  one plan, one command for each observation, however long it takes
```

Its methods are called by one thread at a time. Only planning runs beside them, on a thread of its
own, which calls `notify` in the end: who is told may call `finished` there, without a detour.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from planet_ros.bundle.runtime import Bundle
from planet_ros.config import ControllerSettings
from planet_ros.control.events import Command, Counters, MadePlan, Observation, Origin
from planet_ros.control.latency import Latency
from planet_ros.control.limits import Limits, SafeSpell
from planet_ros.control.policy import PlanningPolicy, Policy, Successor
from planet_ros.control.worker import Worker
from planet_ros.data import Signature
from planet_ros.data.signature import MAX_DELAY
from planet_ros.interface.safe import SafeCommand
from planet_ros.planning import Plan

Array = NDArray[np.float32]

CLOSE_LIMIT_S = 1.0
"""For the plan under way when the loop is closed."""

_NOVELTIES = 20
"""Plans over which a mean says something: one alone may differ much from the next."""

_MOST_TAKEN = MAX_DELAY + 1
"""Commands that a policy is told of at most when it acts again."""


@dataclass
class _Job:
    """A plan under way.

    Attributes:
        outdated: What it builds on no longer holds: nobody may act on it.
        outcome: The plan, or why there is none; None while it is under way.
        seconds: How long it took.
    """

    observation: Observation
    bundle: Bundle
    tick: int
    policy: Policy
    outdated: bool = False
    outcome: Plan | Exception | None = None
    seconds: float = 0.0


class ControlLoop:
    """Decides what to command, and when nothing but the safe command will do.

    Attributes:
        bundle: The one in use.
        limits: Of its actions.
        planning: How long plans took.
        counters: What happened so far.
        failure: Why the newest plan failed; empty when it did not.
        made: The newest plan that it goes by; None before the first.
        novelties: Of the newest plans, those of which it is known; see `MadePlan`.
    """

    def __init__(
        self,
        settings: ControllerSettings,
        *,
        seed: int,
        clock: Callable[[], float],
        notify: Callable[[], None],
        make_policy: Callable[[Bundle, int], Policy] = PlanningPolicy.of,
        lacking: Callable[[], str] = lambda: "",
        safe: Callable[[Signature], SafeCommand] | None = None,
        measured: Callable[[str], NDArray[np.floating] | None] = lambda field: None,
        before: Array | None = None,
        stopwatch: Callable[[], float] | None = None,
    ) -> None:
        """Make a loop without a model, which says nothing until `use` gives it one.

        Args:
            settings: Trigger, limits of age and number.
            seed: Of the policy; in episode i that many more, where the source numbers episodes.
            clock: Seconds, of the clock that ages are of: a steady one, or a simulation's.
            notify: Called from the planning thread when a plan is ready.
            make_policy: Makes what acts by a bundle, with a seed; by default it plans.
            lacking: Says which parts keep an observation from being complete and new, for the
                reason of a safe command; empty if none is known to.
            safe: What is safe for the actions of a signature; None: what the settings say.
            measured: The newest numbers of an observed field, for a safe command that holds them.
            before: (A,) what was commanded last by whoever acted before.
            stopwatch: Steady seconds, for how long plans take; None: `clock`.
        """
        self._settings = settings
        self._seed = seed
        self._clock = clock
        self._stopwatch = stopwatch or clock
        self._notify = notify
        self._make_safe = safe or self._constant
        self._measured = measured
        self._make_policy = make_policy
        self._lacking = lacking
        self._thread = Worker("planner")
        self._policy: Policy | None = None
        self._next: tuple[Bundle, Limits, SafeCommand, Policy] | None = None
        self.bundle: Bundle | None = None
        self.limits: Limits | None = None
        self._safe_command: SafeCommand | None = None
        self._safe_spell: SafeSpell | None = None
        self._last_sent = before
        self.planning = Latency()
        self.counters = Counters()
        self.novelties: deque[float] = deque(maxlen=_NOVELTIES)
        self._newest: Observation | None = None
        self._job: _Job | None = None
        self._plan: Plan | None = None
        self._plan_tick = 0
        self._tick = 0
        self._behind = False
        self._sent_tick = -1
        self.failure = ""
        self.made: MadePlan | None = None
        self._stale = False
        self._forget = True
        # Sent since the policy last acted; it owns what was before.
        self._taken: list[Array] = [] if before is None else [before]
        self._answered: Command | None = None

    def close(self) -> bool:
        """Wait for the plan under way, for a while; give whether it has ended.

        One that has not is left behind; whoever made the model sees to it that it ends.
        """
        self._notify = lambda: None  # whom it would tell may be gone by then
        return self._thread.close(CLOSE_LIMIT_S)

    # ── model ────────────────────────────────────────────────────────────────────────────────

    def use(self, bundle: Bundle) -> None:
        """Plan with another bundle, from the next plan on.

        Raises:
            UserError: The safe command does not fit its actions.
            ValueError: The planner cannot work within its bounds.
        """
        # All that can fail is done here, so that the old model goes on whole if it does.
        signature = bundle.manifest.signature
        safe, limits = self._make_safe(signature), Limits.of(signature)
        self._next = bundle, limits, safe, self._make_policy(bundle, self._seed)
        if self._job is None:
            self._take_over()

    def _take_over(self) -> None:
        if self._next is None:
            return
        previous = self._policy
        self.bundle, self.limits, self._safe_command, self._policy = self._next
        self._next = None
        if (
            previous is not None
            and isinstance(self._policy, Successor)
            and self._policy.inherit(previous)
        ):
            return  # the same model, further learned: the warm start and the random numbers go on
        self._plan = None
        self._newest = None
        self._answered = None
        if self._last_sent is not None and self._last_sent.shape != self.limits.low.shape:
            self._last_sent = self._safe_spell = None
        # The new policy was there for none of it, and is told what still matters when it begins.
        self._taken = [] if self._last_sent is None else [self._last_sent]
        self._forget = True

    def _constant(self, signature: Signature) -> SafeCommand:
        return SafeCommand.at_once(signature.low, signature.high, self._settings.safe_command)

    # ── events ───────────────────────────────────────────────────────────────────────────────

    def observe(self, observation: Observation) -> Command | None:
        """Take in an observation; with the observation trigger, start to answer it.

        Returns:
            The command given before, when the source repeats an observation that was answered
            already.
        """
        previous = self._newest
        if previous is not None and observation.stamp_ns == previous.stamp_ns:
            if self._answered is not None and self._answered.stamp_ns == observation.stamp_ns:
                return self._answered
            if self._job is not None:
                # Another part of it may be newer: a camera's frames arrive with earlier stamps.
                if self._settings.trigger == "timer" and not observation.first:
                    self._newest = observation
                return None
        gap_ns = 0 if previous is None else observation.stamp_ns - previous.stamp_ns
        if observation.first or gap_ns < 0 or gap_ns > self._longest_gap_ns():
            self._drop()
        self._newest = observation
        # A source that repeats itself gives nothing newer.
        if self._clock() - observation.received_s <= self._limit_s(observation):
            self._stale = False
        if self._settings.trigger == "observation" and self._job is None:
            self._start()
        return None

    def tick(self) -> Command | None:
        """Act on the clock.

        To be called once a period with the timer trigger, and with the observation trigger often
        enough to notice staleness.

        Returns:
            What to publish now; None while there is no model or while a plan is being made.
        """
        self._tick += 1
        if self._policy is None:
            return None
        stale = self._staleness()
        if self._settings.trigger == "observation":
            # Lock-step time stands still while the source waits: only say once that it is late.
            if not stale or self._stale or self._newest is None or self._job is not None:
                return None
            self._stale = True
            self.counters.stale_spells += 1
            return self._safe(stale, taken=False)  # who waits for an answer takes no other command
        if stale:
            if not self._stale:
                self.counters.stale_spells += 1
            self._stale = True
            self._drop()
            return self._safe(stale)
        if self._job is not None:
            self.counters.missed_deadlines += 1
            return self._due("the plan is late")
        due = self._due("plans are late") if self._behind and self._plan is not None else None
        self._start()
        return due

    def finished(self) -> Command | None:
        """Take over the plan that has become ready.

        Returns:
            What to publish now, if anything.
        """
        if self._job is None or self._job.outcome is None:
            return None
        job, self._job = self._job, None
        self._take_over()
        plan, failure = None, ""
        if isinstance(job.outcome, Exception):
            failure = f"planning failed: {job.outcome}"
            self.counters.failed_plans += 1
            self._forget = True
        else:
            plan = job.outcome
            self.planning.add(job.seconds)
        self.failure = failure
        if job.outdated or self._newest is None:
            if not self._stale:
                self._start()
            return None
        if plan is not None:
            self._plan, self._plan_tick = plan, job.tick
            self.made = MadePlan(plan, job.bundle, job.observation.stamp_ns)
            if (novelty := self.made.novelty) is not None:
                self.novelties.append(novelty)
        if self._settings.trigger == "timer":
            self._behind = job.tick != self._tick
            if self._sent_tick == self._tick:
                return None  # this period has its command; the plan serves the next one
            return self._due(failure or ("the plan was late" if self._behind else ""))
        stamp_ns = job.observation.stamp_ns
        command = (
            self._safe(failure, stamp_ns)
            if plan is None
            else self._limited(plan.actions[0], Origin.PLAN, stamp_ns)
        )
        self._answered = command
        if self._newest.stamp_ns != job.observation.stamp_ns:
            self._start()
        return command

    @property
    def waiting(self) -> bool:
        """Whether nothing is wrong but that a lock-step source takes its time."""
        return self._stale and self._settings.trigger == "observation"

    @property
    def settles(self) -> bool:
        """Whether the safe command is reached in a while, and not at once."""
        limits, safe = self.limits, self._safe_command
        if limits is None or safe is None:
            return False
        return bool(safe.within_s.any() or np.isfinite(limits.max_change).any())

    def safe_command(self, reason: str) -> Command | None:
        """The safe command, for whoever stops the robot; None before there was a model."""
        if self.limits is None or self._safe_command is None:
            return None
        return self._safe(reason)

    # ── parts ────────────────────────────────────────────────────────────────────────────────

    def _staleness(self) -> str:
        """Why the newest observation cannot be used; empty if it can."""
        if self._newest is None:
            reason = "no observation that can be used has arrived yet"
        else:
            limit = self._limit_s(self._newest)
            age = self._clock() - self._newest.received_s
            if age <= limit:
                return ""
            reason = f"the newest observation is {age:.3f} s old, limit {limit:g} s"
        lacking = self._lacking()
        return f"{reason}: {lacking}" if lacking else reason

    def _limit_s(self, observation: Observation) -> float:
        limit_s = observation.limit_s
        return self._settings.stale_timeout_s if limit_s is None else limit_s

    def _longest_gap_ns(self) -> float:
        """How far apart successive stamps may be before what was believed no longer holds.

        A simulation may take longer steps than the limit of age allows a robot.
        """
        period_s = 0.0 if self.bundle is None else self.bundle.manifest.signature.period_s
        return max(self._settings.stale_timeout_s, 3 * period_s) * 1e9

    def _drop(self) -> None:
        """Forget what was believed, and void every plan that was made from it."""
        self._forget = True
        self._plan = None
        if self._job is not None:
            self._job.outdated = True

    def _start(self) -> None:
        policy, observation, bundle = self._policy, self._newest, self.bundle
        if policy is None or observation is None or bundle is None:
            return
        if self._forget:
            policy.reset(self._episode_seed(observation))
            self._forget = False
            self._taken = self._taken_before()
        for action in self._taken:
            policy.took(action)
        self._taken.clear()
        self._job = _Job(observation, bundle, self._tick, policy)
        self._thread.do(partial(self._make_plan, self._job))

    def _taken_before(self) -> list[Array]:
        """What a policy that begins is told: what limits its first command, or acts before it."""
        assert self.bundle is not None and self.limits is not None
        limited = np.isfinite(self.limits.max_change).any()
        newest = self._taken[-1:] if limited else []
        delay = self.bundle.manifest.signature.delay_periods
        if delay == 0:
            return newest
        if not newest and self._safe_command is not None:
            safe = self._safe_command.at(np.inf, None, self._measured)
            allowed = None if safe is None else self.limits.apply(safe)
            newest = [] if allowed is None else [allowed]
        return newest * (delay + 1)

    def _episode_seed(self, observation: Observation) -> int | None:
        """That of the episode that begins, as in training and evaluation; None if none does."""
        if not observation.first or observation.episode is None:
            return None
        return self._seed + observation.episode

    def _make_plan(self, job: _Job) -> None:
        began = self._stopwatch()
        try:
            outcome: Plan | Exception = job.policy.act(job.observation.parts)
        except Exception as error:  # a bad model must not stop the loop
            outcome = error
        job.seconds = self._stopwatch() - began
        job.outcome = outcome  # from here on it may be taken over
        self._notify()

    def _due(self, reason: str) -> Command | None:
        """The entry of the last plan that is due at this tick, or the safe command."""
        if self._plan is None:
            return self._safe(reason)
        entry = self._tick - self._plan_tick
        if entry > min(self._settings.max_missed, len(self._plan.actions) - 1):
            return self._safe(f"{reason}; the last plan is {entry} periods old")
        origin = Origin.PLAN if entry == 0 else Origin.LATE_PLAN
        return self._limited(self._plan.actions[entry], origin, self._stamp(), reason)

    def _limited(
        self, action: Array, origin: Origin, stamp_ns: int, reason: str = ""
    ) -> Command | None:
        assert self.limits is not None
        allowed = self.limits.apply(action, self._last_sent)
        if allowed is None:
            return self._safe("the plan holds a command that is not finite", stamp_ns)
        self._safe_spell = None
        return self._sent(Command(allowed, origin, stamp_ns, reason))

    def _safe(
        self, reason: str, stamp_ns: int | None = None, *, taken: bool = True
    ) -> Command | None:
        """The safe command; None where it is to hold what was never measured."""
        assert self.limits is not None and self._safe_command is not None
        now_s = self._clock()
        if self._safe_spell is None:
            self._safe_spell = SafeSpell(self._safe_command, now_s, self._last_sent, self._measured)
        action = self._safe_spell.command(now_s)
        allowed = None if action is None else self.limits.apply(action, self._last_sent)
        if allowed is None:
            return None
        self.counters.safe_commands += 1
        stamp_ns = self._stamp() if stamp_ns is None else stamp_ns
        return self._sent(Command(allowed, Origin.SAFE, stamp_ns, reason), taken)

    def _sent(self, command: Command, taken: bool = True) -> Command:
        self.counters.commands += 1
        self._sent_tick = self._tick
        if taken:
            self._last_sent = command.action
            self._taken.append(command.action)
            del self._taken[:-_MOST_TAKEN]
        return command

    def _stamp(self) -> int:
        return 0 if self._newest is None else self._newest.stamp_ns
