"""Copies of an environment, stepped together by Gymnasium's vector environments.

```
copy 0   o0 ──► o1 ──► o2 ──► o3 (over)  waits …    │ o0 ──► …
copy 1   o0 ──► o1 ──► o2 ──► o3 ──► o4 ──► o5 (over)│ o0 ──► …
         └ together, each from a seed of its own     └ when all are over
```

A copy whose episode is over waits for the others, so that between two rounds nothing is under way:
a run can go on from there as if it had never stopped. No copy is reset in between, whatever
Gymnasium's own autoreset would do, so that no step leads from one episode to another.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import signal
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from numpy.typing import NDArray

from planet_ros.data import Parts, Step
from planet_ros.data.signature import VECTOR_PART
from planet_ros.environments.environment import STEPS_TAKEN, Environment, EnvironmentSpec
from planet_ros.environments.faults import BrokenEnvironment
from planet_ros.environments.spaces import native_action
from planet_ros.errors import UserError

_FAULT = "planet_ros.fault"
"""What a copy says in ``info`` of why it is broken."""

_CLOSE_S = 5.0
"""For a step that is under way when the copies are to end."""

Vector = Literal["sync", "async"]


class Environments:
    """Copies of an environment whose episodes begin together; steps are checked as those of one."""

    def __init__(self, environment: Environment, count: int, vector: Vector) -> None:
        """Make the copies.

        Args:
            environment: What they are copies of; it is not stepped.
            count: How many.
            vector: ``sync``: one after another, in this process. ``async``: at once, each in a
                process of its own.

        Raises:
            UserError: One of them cannot be made, or its process does not come up.
        """
        self._environment = environment
        self._count = count
        self._index = 0
        self._close_s = _CLOSE_S
        make = functools.partial(_copy, environment.spec, environment.episode_steps, os.getpid())
        self._gym = _vector_of([make] * count, vector, environment.spec.id)

    def reset(self, seeds: Sequence[int]) -> list[Step]:
        """Start an episode in each copy, from its own seed.

        Raises:
            BrokenEnvironment: One of them raises an error, or its observation is not what its
                space says or not finite, or its process has ended.
        """
        self._index = 0
        observations, _ = self._whole(lambda: self._gym.reset(seed=list(seeds)))
        nothing = np.zeros(self._environment.signature.actions, np.float32)
        return [
            Step(0, _row(observations, copy), nothing, 0.0, environment_steps=0, stream=copy)
            for copy in range(self._count)
        ]

    def step(self, actions: Mapping[int, NDArray[np.floating]]) -> dict[int, Step]:
        """Take an action in each copy whose episode is not over, by its number.

        Each is moved into its range first, and to a whole number where it is one.

        Raises:
            BrokenEnvironment: One of them raises an error, or its observation or reward is not what
                it should be, or not finite, or its process has ended.
        """
        signature, space = self._environment.signature, self._environment.gym.action_space
        asked = np.tile(signature.middle, (self._count, 1))
        for copy, action in actions.items():
            asked[copy] = action
        assert isinstance(space, Box)
        sent, taken = native_action(np.clip(asked, signature.low, signature.high), space)
        self._index += 1
        observations, rewards, terminated, truncated, infos = self._whole(
            lambda: self._gym.step(sent)
        )
        counts = infos.get(STEPS_TAKEN)  # of those that stepped more than once, else 0
        return {
            copy: Step(
                self._index,
                _row(observations, copy),
                taken[copy],
                float(rewards[copy]),
                bool(terminated[copy]),
                bool(truncated[copy]),
                environment_steps=1 if counts is None else int(counts[copy]) or 1,
                stream=copy,
            )
            for copy in actions
        }

    def _whole(self, call: Callable[[], Any]) -> Any:
        """What all copies gave, if none of them is broken."""
        try:
            results = call()
        except (EOFError, OSError) as error:
            self._close_s = 0.0  # what the others are at is of no use
            raise BrokenEnvironment(self._ended()) from error
        faults = results[-1].get(_FAULT)
        if faults is not None:
            copy = next(copy for copy, fault in enumerate(faults) if fault)
            raise BrokenEnvironment(f"copy {copy + 1} of {self._count}: {faults[copy]}")
        return results

    def _ended(self) -> str:
        """What to say where a process is gone."""
        processes = getattr(self._gym, "processes", [])
        for process in processes:
            process.join(0.1)
        codes = [process.exitcode for process in processes]
        copy = next((copy for copy, code in enumerate(codes) if code is not None), None)
        which = "one" if copy is None else f"copy {copy + 1}"
        code = "" if copy is None else f" with code {codes[copy]}"
        return (
            f"{which} of {self._count}: {self._environment.spec.id}: its process ended{code} at "
            f"step {self._index} of the episode"
        )

    def close(self) -> None:
        """Release what the copies hold; no process is left, whatever it is at."""
        if not isinstance(self._gym, AsyncVectorEnv):
            self._gym.close()
            return
        try:
            with warnings.catch_warnings():
                # Gymnasium warns of a step that is under way, as after Ctrl-C.
                warnings.simplefilter("ignore")
                self._gym.close(timeout=self._close_s)
        except (EOFError, OSError):
            pass  # of a process that has ended already
        finally:
            for process in self._gym.processes:
                process.terminate()
                process.join()
            self._gym.closed = True


class _Copy(gymnasium.Env):
    """An environment that says in ``info`` what is wrong with it, and waits when it is over.

    What is seen are the parts of a `Step`.
    """

    def __init__(self, environment: Environment) -> None:
        signature = environment.signature
        self.observation_space = Dict(
            {
                part.name: Box(0, 255, part.shape, np.uint8)
                if part.role == "image"
                else Box(-np.inf, np.inf, part.shape, np.float32)
                for part in signature.observation
            }
        )
        self.action_space = environment.gym.action_space
        self.metadata = {}
        self._environment = environment
        # Most are one vector, and are looked at in less time than others.
        space = environment.gym.observation_space
        plain = isinstance(space, Box) and [*signature.layout.observation] == [VECTOR_PART]
        self._plain_shape = space.shape if plain else None
        self._seen: Parts = signature.zeros()
        self._index = 0
        self._waits = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode; without a seed it is Gymnasium that asks, and it goes on waiting."""
        if seed is None:
            return self._seen, {}
        self._index, self._waits = 0, False
        try:
            self._seen = self._environment.reset(seed).observation
        except BrokenEnvironment as error:
            return self._seen, self._fault(error)
        return self._seen, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take an action, unless the episode is over."""
        if self._waits:
            return self._seen, 0.0, False, False, {}
        self._index += 1
        try:
            observation, reward, terminated, truncated, info = self._environment.gym.step(action)
            if self._is_plain(observation, reward):
                self._seen = {VECTOR_PART: observation}
                truncated = truncated or self._environment.cuts_at(self._index)
            else:
                taken = np.asarray(action, np.float32).ravel()
                step = self._environment.checked(
                    self._index, observation, taken, reward, terminated, truncated
                )
                self._seen, reward = step.observation, step.reward
                terminated, truncated = step.terminated, step.truncated
            steps = int(info.get(STEPS_TAKEN, 1))
        except (Exception, SystemExit) as error:
            fault = self._environment.broken(f"step {self._index}", error)
            return self._seen, 0.0, False, False, self._fault(fault)
        self._waits = bool(terminated or truncated)
        more = {} if steps == 1 else {STEPS_TAKEN: steps}
        return self._seen, float(reward), bool(terminated), bool(truncated), more

    def _is_plain(self, observation: Any, reward: Any) -> bool:
        """Whether it is a vector and a number as they should be, so that nothing need be mended."""
        return (
            isinstance(observation, np.ndarray)
            and observation.shape == self._plain_shape
            and observation.dtype == np.float32
            and isinstance(reward, (float, np.floating))
            and math.isfinite(reward)
            and bool(np.isfinite(observation).all())
        )

    def _fault(self, error: BrokenEnvironment) -> dict[str, Any]:
        self._waits = True
        return {_FAULT: str(error)}

    def close(self) -> None:
        """Release what the environment holds."""
        self._environment.close()


def _vector_of(
    makers: Sequence[Callable[[], _Copy]], vector: Vector, where: str
) -> AsyncVectorEnv | SyncVectorEnv:
    if vector == "sync":
        return SyncVectorEnv(makers)
    with contextlib.suppress(EOFError, OSError):
        # Started afresh: a process that is forked of one with threads, such as torch's, may hang.
        return AsyncVectorEnv(makers, context="spawn")
    # Out here nothing holds the copies that did come up, so that they end.
    raise UserError(
        f"{where}: training.vector: async: the process of a copy ended before its environment was "
        "made; what it printed says why, and sync makes all of them in this process"
    )


def _copy(spec: EnvironmentSpec, episode_steps: int, parent: int) -> _Copy:
    """Make a copy, in this process or in one of its own.

    Args:
        spec: What it is made from.
        episode_steps: Steps after which its episodes are cut; 0: none.
        parent: The process that is to have it.
    """
    if os.getpid() != parent:
        # Ctrl-C in a terminal goes to all processes; who learns decides when the copies end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return _Copy(Environment(spec, episode_steps=episode_steps))


def _row(observations: Mapping[str, NDArray[Any]], copy: int) -> dict[str, NDArray[Any]]:
    """What one copy saw."""
    return {name: rows[copy] for name, rows in observations.items()}
