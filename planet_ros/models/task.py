"""What is to be achieved, where it is known and need not be learned.

A task judges transitions: ``observation ──action──► next_observation``, with a ``goal`` where there
is one. Its functions work on torch tensors, are traced into ``imagine.onnx``, and see the vectors
of an observation by name, in the environment's units. All that they are given has the same leading
dimensions, of candidates, steps or members of an ensemble, which they keep::

    def reward(observation, action, next_observation, goal):
        return -(next_observation["position"] - goal).square().sum(dim=-1)

    def terminated(next_observation, goal):
        return next_observation["position"].abs().amax(dim=-1) > 2.0
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from planet_ros.data import Signature
from planet_ros.errors import UserError
from planet_ros.models.parts import TensorParts


class RewardFunction(Protocol):
    """What a transition is worth."""

    def __call__(
        self,
        observation: TensorParts,
        action: Tensor,
        next_observation: TensorParts,
        goal: Tensor | None,
        /,
    ) -> Tensor:
        """Judge transitions.

        Args:
            observation: (…, n) float32 of each vector, before the action.
            action: (…, A) float32.
            next_observation: (…, n) of each vector, after it.
            goal: (…, G) float32 when the action was chosen; None where the signature has none.

        Returns:
            (…) float32.
        """


class TerminatedFunction(Protocol):
    """Whether an episode is over."""

    def __call__(self, next_observation: TensorParts, goal: Tensor | None, /) -> Tensor:
        """Judge what was reached; arguments as of `RewardFunction`, and (…) bool comes back."""


@dataclass(frozen=True)
class Task:
    """A known reward, or a known end of episodes, or both; a model learns what is None.

    Making one tries its functions, so that what is wrong with them is said before anything is
    learned.

    Attributes:
        signature: Of what is judged.
        reward: What a transition is worth.
        terminated: Whether an episode is over.

    Raises:
        UserError: There is neither, or no vector to judge, or a function fails, gives another
            shape or type, or cannot be traced.
    """

    signature: Signature
    reward: RewardFunction | None
    terminated: TerminatedFunction | None = None

    def __post_init__(self) -> None:
        if self.reward is None and self.terminated is None:
            raise UserError("task: found neither reward nor terminated, expected one or both")
        if not self.signature.vector_size:
            raise UserError(
                f"task: found the images {[*self.signature.images]} alone, expected a vector to "
                "judge; learn the reward in its place"
            )
        if (reward := self.reward) is not None:
            _check(
                f"reward {_name(reward)}",
                "(observation, action, next_observation, goal)",
                torch.float32,
                self.signature,
                reward,
            )
        if (terminated := self.terminated) is not None:
            _check(
                f"terminated {_name(terminated)}",
                "(next_observation, goal)",
                torch.bool,
                self.signature,
                lambda observation, action, following, goal: terminated(following, goal),
            )

    def check(self, signature: Signature) -> None:
        """See that the task is one of this signature.

        Raises:
            UserError: It judges other parts, or another part is the goal.
        """
        signature.check(self.signature, "the task")
        found, expected = self.signature.parts("goal"), signature.parts("goal")
        if [part.name for part in found] != [part.name for part in expected]:
            raise UserError(
                f"the task: found the goals {[part.name for part in found]}, expected "
                f"{[part.name for part in expected]}; make the task for the signature of the model"
            )

    def judge(
        self, observation: TensorParts, action: Tensor, following: TensorParts, goal: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Reward (…) and termination (…) bool of transitions; None where it is not known.

        Args:
            observation: (…, n) of each vector.
            action: (…, A), or fewer leading dimensions that broadcast.
            following: (…, n) of each vector afterwards.
            goal: (…, G) likewise; None where there is none.
        """
        leading = next(iter(following.values())).shape[:-1]
        observation = {name: value.expand(*leading, -1) for name, value in observation.items()}
        action = action.expand(*leading, -1)
        goal = None if goal is None else goal.expand(*leading, -1)
        return (
            None if self.reward is None else self.reward(observation, action, following, goal),
            None if self.terminated is None else self.terminated(following, goal),
        )


def function_of(path: str, where: str) -> Callable[..., Tensor]:
    """Import a function; whatever its module does on import is done.

    Only for what a person has named on this machine, in a file or on the command line. A bundle
    needs none of it: its graphs hold what the function computes.

    Args:
        path: ``module:function``, such as ``my_pkg.tasks:reach``.
        where: Setting that names it, for the error.

    Raises:
        UserError: It is no such path, the module cannot be imported, or has no such function.
    """
    module_name, _, name = path.partition(":")
    if not (module_name and name.isidentifier()):
        raise UserError(f"{where}: found {path!r}, expected module:function, my_pkg.tasks:reach")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # its code may raise anything
        raise UserError(
            f"{where}: {path}: the module {module_name} cannot be imported: {error!r}; install it, "
            "or add the folder that holds it to PYTHONPATH"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        there = [
            key
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == module.__name__
        ]
        raise UserError(
            f"{where}: {path}: found no function {name} in {module.__file__}, expected one of "
            f"{there[:20]}"
        )
    return function


def _name(function: object) -> str:
    module, name = (getattr(function, key, "") for key in ("__module__", "__qualname__"))
    return f"{module}:{name}" if name else type(function).__name__


_Judge = Callable[[TensorParts, Tensor, TensorParts, "Tensor | None"], Tensor]

_TRACED_SHAPES = (2, 3, 4), (2, 3, 7)
"""Leading dimensions as of an ensemble's members, steps and candidates: the last is left open."""


def _check(
    what: str, arguments: str, dtype: torch.dtype, signature: Signature, judge: _Judge
) -> None:
    """See that a function keeps its contract, with numbers of no meaning."""
    generator = torch.Generator().manual_seed(0)
    given = ", ".join(f"{part.name} (…, {part.shape[0]})" for part in signature.parts("vector"))
    expected = f"expected a function of {arguments} that works on vectors [{given}]"
    for leading in ((3,), *_TRACED_SHAPES):
        try:
            with torch.no_grad():
                found = judge(*_transitions(signature, leading, generator))
        except Exception as error:  # a person's own code may raise anything
            raise UserError(
                f"{what}: failed with {error!r}; {expected}, actions (…, {signature.actions}) and "
                f"the goal {_goal_text(signature)}"
            ) from error
        kind = (tuple(found.shape), found.dtype) if isinstance(found, Tensor) else type(found)
        if kind != (leading, dtype):
            raise UserError(
                f"{what}: found {kind} for leading dimensions {leading}, expected a tensor of "
                f"shape {leading} and type {dtype}: one value for each transition; reduce over the "
                "last dimension alone"
            )
    _check_trace(what, signature, judge, generator)


def _check_trace(
    what: str, signature: Signature, judge: _Judge, generator: torch.Generator
) -> None:
    first, other = (_transitions(signature, leading, generator) for leading in _TRACED_SHAPES)
    advice = (
        "expected tensor operations alone: torch.where in place of if, no float(), item() or "
        "numpy, nothing random, and constants without gradient"
    )
    names = list(first[0])

    def flat(transitions: _Transitions) -> tuple[Tensor, ...]:
        observation, action, following, goal = transitions
        parts = [*observation.values(), *following.values(), action]
        return tuple(parts if goal is None else [*parts, goal])

    def function(*values: Tensor) -> Tensor:
        count = len(names)
        observation = dict(zip(names, values[:count], strict=True))
        following = dict(zip(names, values[count : 2 * count], strict=True))
        action, *rest = values[2 * count :]
        return judge(observation, action, following, rest[0] if rest else None)

    with torch.no_grad(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            traced = torch.jit.trace(function, flat(first), check_trace=False)
            found: Any = traced(*flat(other))
        except Exception as error:
            raise UserError(f"{what}: cannot be traced: {error}; {advice}") from error
        expected = judge(*other)
    for warning in caught:
        text = str(warning.message)
        if "Converting a tensor to a" in text:
            raise UserError(
                f"{what}: cannot be traced: {text.partition('. ')[0]}, in {warning.filename}, "
                f"line {warning.lineno}; {advice}"
            )
    if not torch.allclose(found.float(), expected.float(), rtol=1e-4, atol=1e-5, equal_nan=True):
        raise UserError(f"{what}: cannot be traced: gives other numbers then; {advice}")


_Transitions = tuple[dict[str, Tensor], Tensor, dict[str, Tensor], "Tensor | None"]


def _transitions(
    signature: Signature, leading: tuple[int, ...], generator: torch.Generator
) -> _Transitions:
    def drawn(size: int) -> Tensor:
        return torch.randn(*leading, size, generator=generator)

    vectors = signature.parts("vector")
    low, high = torch.tensor(signature.low), torch.tensor(signature.high)
    shares = torch.rand(*leading, signature.actions, generator=generator)
    return (
        {part.name: drawn(part.shape[0]) for part in vectors},
        torch.lerp(low, high, shares),
        {part.name: drawn(part.shape[0]) for part in vectors},
        None if signature.goal is None else drawn(signature.goal.shape[0]),
    )


def _goal_text(signature: Signature) -> str:
    return "None" if signature.goal is None else f"(…, {signature.goal.shape[0]})"
