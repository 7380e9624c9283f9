"""What a document says about a robot, as the signature of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from planet_ros.data.signature import Signature
from planet_ros.errors import UserError
from planet_ros.interface.conditions import parse_condition
from planet_ros.interface.document import Interface, RewardTerm
from planet_ros.interface.paths import parse_path
from planet_ros.interface.reading import PartReader
from planet_ros.interface.writing import ActionWriter, spread
from planet_ros.messages.fields import Make, shortened


def signature_of(interface: Interface, make: Make) -> Signature:
    """The signature of a robot: its parts in their order, then the goal, where there is one.

    What refers to something else in the document is checked on the way: set-points, holds and the
    condition for the end name fields that are there, and have their sizes.

    Args:
        interface: The document.
        make: Gives empty messages of the types that are installed.

    Raises:
        UserError: A type is not installed, a message of it has no such field, a size is not known,
            a name is not there, or numbers do not fit.
    """
    readers = [PartReader(part, make) for part in interface.observation]
    seen = {name: size for reader in readers for name, size in reader.sizes.items()}
    parts = [reader.signature_part for reader in readers]
    goals: dict[str, int] = {}
    if interface.goal is not None:
        goal = PartReader(interface.goal, make)
        goals = goal.sizes
        parts.append(goal.signature_part)
        for what, limits in (("low", interface.goal.low), ("high", interface.goal.high)):
            if limits:
                spread(limits, goal.signature_part.shape[0], f"goal: {what}")
    writer = ActionWriter(interface.action, make)
    for hold in writer.safe.holds:
        _size_of(hold.field, seen, "action: safe: hold", len(hold.indices))
    _check_reward(interface, make, seen, writer.sizes, goals)
    _check_end(interface, make, {name for reader in readers for name in reader.names})
    try:
        return Signature(
            tuple(parts), writer.signature_parts, interface.period_s, interface.delay_periods
        )
    except ValueError as error:
        raise UserError(f"interface: {error}") from None


def _check_reward(
    interface: Interface,
    make: Make,
    seen: Mapping[str, int],
    commanded: Mapping[str, int],
    goals: Mapping[str, int],
) -> None:
    reward = interface.reward
    for index, term in enumerate(reward.observation):
        where = f"reward.observation[{index}]"
        size = _size_of(term.field, seen, f"{where}: field")
        _check_term(term, size, where)
        if term.goal:
            _size_of(term.goal, goals, f"{where}: goal", size)
    for index, term in enumerate(reward.action):
        where = f"reward.action[{index}]"
        _check_term(term, _size_of(term.field, commanded, f"{where}: field"), where)
        if term.goal:
            raise UserError(f"{where}: found a goal, expected that of what is observed alone")
    if reward.kind == "topic":
        _check_number(reward.type, reward.path, make, "reward")


def _check_term(term: RewardTerm, size: int, where: str) -> None:
    spread(term.weight, size, f"{where}: weight")
    spread(term.setpoint, size, f"{where}: setpoint")


def _check_end(interface: Interface, make: Make, names: set[str]) -> None:
    end = interface.end
    if end.topic:
        _check_number(end.type, end.path, make, "end")
    if not end.condition:
        return
    for name in parse_condition(end.condition).names:
        if name not in names:
            raise UserError(
                f"end.condition: found the name {name!r}, expected one of {_list(names)}"
            )


def _check_number(type_name: str, path: str, make: Make, where: str) -> None:
    try:
        size = parse_path(path).resolve(make(type_name), make)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if size != 1:
        raise UserError(f"{where}: path: found {path}, expected that of one number")


def _size_of(name: str, sizes: Mapping[str, int], where: str, expected: int | None = None) -> int:
    if name not in sizes:
        raise UserError(f"{where}: found {name!r}, expected one of {_list(sizes)}")
    if expected is not None and sizes[name] != expected:
        raise UserError(
            f"{where}: found {name!r} of {sizes[name]} numbers, expected one of {expected}"
        )
    return sizes[name]


def _list(names: Iterable[str]) -> str:
    return shortened(", ".join(sorted(names)) or "none", 500)
