"""Environment steps as ``std_msgs/Float64MultiArray``, and back; docs/topics.md describes them.

The labels of the layout name the parts, which follow one another in ``data``. Images are not in
it: they are messages of their own, with the step's stamp.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.data import Step
from planet_ros.data.signature import VECTOR_PART
from planet_ros.errors import UserError
from planet_ros.messages.fields import (
    Make,
    all_finite,
    first_not_finite,
    numbers_of,
    quoted,
    reads,
    text_of,
)
from planet_ros.messages.vectors import VECTOR_TYPE, labelled_message, vector_of

MAX_PARTS = 100
MAX_ENVIRONMENT_STEPS = 10_000
"""How often one action may be repeated: more is no repetition but a damaged message."""

_REQUIRED = ("stamp", "index", "observation", "action", "reward", "terminated", "truncated")
_OPTIONAL = "environment_steps"
_SIZES = {"stamp": 2, "index": 1, "reward": 1, "terminated": 1, "truncated": 1, _OPTIONAL: 1}
_MAX_SECONDS, _MAX_NANOSECONDS, _MAX_INDEX = 2**34, 10**9 - 1, 2**53

_Numbers = NDArray[np.float64]


def step_message(make: Make, step: Step) -> Any:
    """A message of one environment step, whose labels name its parts."""
    parts: dict[str, NDArray[np.floating] | Sequence[float]] = {
        # Two numbers: one float64 cannot hold today's nanoseconds.
        "stamp": divmod(step.stamp_ns, 10**9),
        "index": [step.index],
        "observation": vector_of(step.observation),
        "action": step.action,
        "reward": [step.reward],
        "terminated": [step.terminated],
        "truncated": [step.truncated],
        _OPTIONAL: [step.environment_steps],
    }
    return labelled_message(make, parts.items())


@reads("step", VECTOR_TYPE)
def read_step(message: Any) -> Step:
    """Undo `step_message`; parts may come in any order, unknown ones are passed over.

    An observation without numbers gives a step without that part: images are all there is to see.

    Raises:
        UserError: A part is missing, sizes do not add up or are too large, a number is not finite,
            or it is not what its part is.
    """
    parts = _parts(message)
    missing = [name for name in _REQUIRED if name not in parts]
    if missing:
        found = ", ".join(map(quoted, sorted(parts)[:10]))
        raise UserError(f"step: no part {missing} in the layout, found [{found}]")
    for name in (*_REQUIRED, _OPTIONAL):
        if name in parts and not all_finite(parts[name]):
            wrong = first_not_finite(parts[name])
            raise UserError(f"step: found {name} with {wrong}, expected finite numbers")
    for name, size in _SIZES.items():
        if name in parts and len(parts[name]) != size:
            raise UserError(f"step: found {len(parts[name])} numbers of {name}, expected {size}")
    index = _whole("index", parts["index"][0], _MAX_INDEX)
    seconds = _whole("stamp", parts["stamp"][0], _MAX_SECONDS)
    nanoseconds = _whole("stamp", parts["stamp"][1], _MAX_NANOSECONDS)
    vector = parts["observation"].astype(np.float32)
    return Step(
        index=index,
        observation={VECTOR_PART: vector} if len(vector) else {},
        action=parts["action"].astype(np.float32),
        reward=float(parts["reward"][0]),
        terminated=bool(parts["terminated"][0]),
        truncated=bool(parts["truncated"][0]),
        stamp_ns=seconds * 10**9 + nanoseconds,
        environment_steps=(
            _whole(_OPTIONAL, parts[_OPTIONAL][0], MAX_ENVIRONMENT_STEPS)
            if _OPTIONAL in parts
            else int(index > 0)
        ),
    )


def _parts(message: Any) -> Mapping[str, _Numbers]:
    """The numbers of each label."""
    dimensions = message.layout.dim
    if len(dimensions) > MAX_PARTS:
        raise UserError(f"step: found {len(dimensions)} parts, expected at most {MAX_PARTS}")
    sizes = [int(dimension.size) for dimension in dimensions]
    count = len(message.data)
    if sum(sizes) != count or min(sizes, default=0) < 0:
        raise UserError(f"step: the layout names {sum(sizes)} numbers, found {count} in data")
    numbers = numbers_of(message.data, "step")
    parts, end = {}, 0
    for dimension, size in zip(dimensions, sizes, strict=True):
        begin, end = end, end + size
        parts[text_of(dimension.label, "step")] = numbers[begin:end]
    return parts


def _whole(name: str, value: float, most: int) -> int:
    if not (0 <= value <= most and value == int(value)):
        raise UserError(f"step: found {name} {value:g}, expected a whole number from 0 to {most}")
    return int(value)
