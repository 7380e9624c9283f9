"""What the numbers of an environment's observation and action are called, and their units.

An environment of one's own offers the attributes ``observation_names`` and ``action_names``, lists
of strings such as ``angular velocity [rad/s]``; so does a wrapper that changes what is seen or
done. The observation's are those of all its vectors together, in the order of the space. Of some
environments of Gymnasium the names are known here. Where nothing is known the lists are empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
from gymnasium.spaces import Box, Dict
from gymnasium.wrappers import RescaleAction

from planet_ros.data.signature import NamedNumber
from planet_ros.errors import UserError

_KNOWN: dict[str, tuple[list[str], list[str]]] = {
    "PendulumEnv": (
        ["cos(angle)", "sin(angle)", "angular velocity [rad/s]"],
        ["torque [N m]"],
    ),
    # Its position and velocity are of no unit: the hill is sin(3 x).
    "Continuous_MountainCarEnv": (["position", "velocity"], ["force"]),
}
"""Observation and action of environments of Gymnasium, by class."""

# Of MuJoCo's model: mjtJoint, and mjtTrn, mjtGain, mjtBias of a plain motor.
_SLIDE, _HINGE = 2, 3
_PLAIN_MOTOR = 0


def named(text: str, setting: str) -> NamedNumber:
    """Name and unit from ``NAME [UNIT]``, or a name alone.

    Raises:
        UserError: It is neither; the text names the `setting`.
    """
    match = re.fullmatch(r"\s*([^\[\]]*[^\[\]\s])\s*(?:\[([^\[\]]*)\])?\s*", text)
    if match is None:
        raise UserError(f"{setting}: found {text!r}, expected NAME or NAME [UNIT]")
    return NamedNumber(match.group(1), (match.group(2) or "").strip())


def observation_names(env: gymnasium.Env) -> list[str]:
    """Name and unit of each number of the joined vectors of an observation; empty: not known."""
    own = _own(env, "observation_names")
    if own is not None:
        return own
    if isinstance(env, gymnasium.Wrapper):
        changed = env.observation_space != env.env.observation_space
        if isinstance(env, gymnasium.ObservationWrapper) or changed:
            return _keys(env.observation_space)
        return observation_names(env.env)
    return _known(env)[0] or _keys(env.observation_space) or _mujoco_state(env)


def action_names(env: gymnasium.Env) -> list[str]:
    """Name and unit of each number of an action; empty: not known."""
    own = _own(env, "action_names")
    if own is not None:
        return own
    if isinstance(env, gymnasium.Wrapper):
        inner = action_names(env.env)
        if isinstance(env, RescaleAction):  # the same action, in numbers without a unit
            return [named(name, "action_names").name for name in inner]
        changed = env.action_space != env.env.action_space
        return [] if isinstance(env, gymnasium.ActionWrapper) or changed else inner
    return _known(env)[1] or _mujoco_actuators(env)


def _own(env: gymnasium.Env, attribute: str) -> list[str] | None:
    """The attribute of the environment or wrapper itself, not of what it is wrapped around."""
    names = getattr(env, attribute, None)
    return None if names is None else [str(name) for name in names]


def _known(env: gymnasium.Env) -> tuple[list[str], list[str]]:
    kind = type(env)
    of_gymnasium = kind.__module__.startswith("gymnasium.")
    return _KNOWN.get(kind.__name__ if of_gymnasium else "", ([], []))


def _keys(space: Any) -> list[str]:
    """Of the vectors in a dictionary: its keys, with an index where there are several numbers."""
    if not isinstance(space, Dict):
        return []
    names: list[str] = []
    for key, part in space.spaces.items():
        if isinstance(part, Box) and len(part.shape) == 1:
            size = part.shape[0]
            names += [str(key)] if size == 1 else [f"{key} {index}" for index in range(size)]
    return names


# ── MuJoCo ───────────────────────────────────────────────────────────────────────────────────


def _mujoco_actuators(env: gymnasium.Env) -> list[str]:
    """Of the model's actuators, or of the joints they move where they have no name of their own."""
    model: Any = getattr(env.unwrapped, "model", None)
    if not hasattr(model, "actuator") or not hasattr(model, "joint"):
        return []
    names = []
    for index in range(model.nu):
        actuator = model.actuator(index)
        if int(actuator.trntype[0]) != 0:  # it moves no joint
            names.append(actuator.name or f"actuator {index}")
            continue
        joint = model.joint(int(actuator.trnid[0]))
        motor = int(actuator.gaintype[0]) == int(actuator.biastype[0]) == _PLAIN_MOTOR
        # Behind a gear, the number is a part of the greatest force and has no unit.
        units = {_SLIDE: "N", _HINGE: "N m"} if motor and float(actuator.gear[0]) == 1 else {}
        name = actuator.name or joint.name or f"actuator {index}"
        names.append(_with_unit(name, units.get(int(joint.type[0]), "")))
    return names


def _mujoco_state(env: gymnasium.Env) -> list[str]:
    """Of positions and velocities of joints that slide or turn, where nothing else is seen."""
    model: Any = getattr(env.unwrapped, "model", None)
    structure = getattr(env.unwrapped, "observation_structure", None)
    if not hasattr(model, "joint") or not isinstance(structure, dict):
        return []
    if not set(structure) <= {"skipped_qpos", "qpos", "qvel"}:
        return []
    joints = [model.joint(index) for index in range(model.njnt)]
    if not all(int(joint.type[0]) in (_SLIDE, _HINGE) for joint in joints):
        return []

    def label(what: Callable[[str], str], units: dict[int, str]) -> list[str]:
        return [_with_unit(what(joint.name), units[int(joint.type[0])]) for joint in joints]

    positions = label(lambda joint: joint, {_SLIDE: "m", _HINGE: "rad"})
    velocities = label(lambda joint: f"{joint} velocity", {_SLIDE: "m/s", _HINGE: "rad/s"})
    return positions[structure.get("skipped_qpos", 0) :] + velocities


def _with_unit(name: str, unit: str) -> str:
    return f"{name} [{unit}]" if unit else name


def numbers_named(names: Sequence[str], count: int, setting: str) -> tuple[NamedNumber, ...]:
    """The names of a vector of `count` numbers; none where `names` is empty.

    Raises:
        UserError: There are more or fewer names than numbers, or one is not ``NAME [UNIT]``.
    """
    if names and len(names) != count:
        raise UserError(
            f"{setting}: found {len(names)} names, {list(names)}, expected one for each of "
            f"{count} numbers"
        )
    return tuple(named(name, setting) for name in names)
