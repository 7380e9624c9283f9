"""From the classes of settings to a list of all, and from values to a checked instance."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, overload

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from planet_ros.errors import UserError

from .programs import NODES, Settings
from .sections import MAX_NAME, Section

AnySection = TypeVar("AnySection", bound=Section)


@dataclass(frozen=True)
class Setting:
    """One setting of the schema, for whoever declares, prints or documents it.

    Attributes:
        name: Dotted name, such as ``planner.horizon``.
        type: ``bool``, ``int``, ``float``, ``str`` or a list of one of these.
        default: Its default.
        description: One sentence or two.
        choices: The values a string may have; empty: any.
        bounds: Lower and upper bound, both None where there is none.
        exclusive: Whether the lower bound, and the upper, is itself excluded.
    """

    name: str
    type: Any
    default: Any
    description: str
    choices: tuple[str, ...] = ()
    bounds: tuple[float | None, float | None] = (None, None)
    exclusive: tuple[bool, bool] = (False, False)

    @property
    def range_text(self) -> str:
        """The allowed values, for a person."""
        if self.choices:
            return " or ".join(self.choices)
        low, high = self.bounds
        if low is None and high is None:
            return ""
        left = "" if low is None else f"{low:g} {'<' if self.exclusive[0] else '≤'} "
        right = "" if high is None else f" {'<' if self.exclusive[1] else '≤'} {high:g}"
        return f"{left}value{right}"


def settings_in(section: type[BaseModel], prefix: str = "") -> Iterator[Setting]:
    """Yield every setting of a class, in the order of its fields."""
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from settings_in(annotation, f"{prefix}{name}.")
        else:
            yield _setting(prefix + name, field)


def schema(section: type[Section] = Settings) -> Iterator[Setting]:
    """Yield every setting of a program, or of all."""
    return settings_in(section)


def _setting(name: str, field: FieldInfo) -> Setting:
    low = high = None
    open_low = open_high = False
    for item in field.metadata:
        if getattr(item, "ge", None) is not None:
            low = item.ge
        if getattr(item, "gt", None) is not None:
            low, open_low = item.gt, True
        if getattr(item, "le", None) is not None:
            high = item.le
        if getattr(item, "lt", None) is not None:
            high, open_high = item.lt, True
    literal = get_origin(field.annotation) is Literal
    return Setting(
        name=name,
        type=str if literal else field.annotation,
        default=field.default,
        description=field.description or "",
        choices=get_args(field.annotation) if literal else (),
        bounds=(low, high),
        exclusive=(open_low, open_high),
    )


@overload
def settings_from(values: Mapping[str, Any], source: str = "settings") -> Settings: ...
@overload
def settings_from(
    values: Mapping[str, Any], source: str = "settings", *, schema: type[AnySection]
) -> AnySection: ...
@overload
def settings_from(
    values: Mapping[str, Any], source: str, schema: type[AnySection]
) -> AnySection: ...
def settings_from(
    values: Mapping[str, Any], source: str = "settings", schema: type[Section] = Settings
) -> Section:
    """Check nested or dotted values against a schema.

    Args:
        values: ``{"planner": {"horizon": 12}}`` or ``{"planner.horizon": 12}``.
        source: Where the values come from, for the error.
        schema: The class of which to make an instance.

    Raises:
        UserError: A name is unknown (the closest valid one is given) or not in the schema, or a
            value has the wrong type or lies out of its bounds.
    """
    flat = dict(flatten(values))
    known = {setting.name: setting for setting in settings_in(schema)}
    problems = [strange(name) for name in flat if name not in known]
    for name, value in flat.items():
        # Lists stay lists and integers may serve as floats, but "3" is not 3 and 1 is not true.
        if name in known and isinstance(value, bool) != (known[name].type is bool):
            problems.append(
                f"{name}: found {value!r} ({type(value).__name__}), expected "
                f"{type_name(known[name].type)}"
            )
    if not problems:
        try:
            return schema.model_validate(nest(flat), strict=True)
        except ValidationError as error:
            problems = [_explain(item, known) for item in error.errors()]
    raise UserError(f"{source}: " + "; ".join(problems))


def strange(name: str) -> str:
    """What is wrong with a name that a schema does not have."""
    nodes = users(name)
    if nodes:
        return f"{name}: not used here, but by {' and '.join(nodes)}"
    known = {setting.name: setting for setting in schema()}
    return f"{name}: unknown setting{closest(name, known)}"


def users(name: str) -> list[str]:
    """The nodes that read a setting; none if there is no such setting."""
    return [
        node
        for node, section in NODES.items()
        if any(setting.name == name for setting in schema(section))
    ]


def _explain(item: Any, known: Mapping[str, Setting]) -> str:
    name = ".".join(str(part) for part in item["loc"] if not isinstance(part, int))
    message = item["msg"].removeprefix("Value error, ")
    if name not in known:  # a rule between two settings names both itself
        return message
    setting = known[name]
    if item["type"] == "value_error":  # from a validator above, which says what it expected
        return f"{name}: found {item['input']!r}, {message}"
    allowed = f" ({setting.range_text})" if setting.range_text else ""
    return f"{name}: found {item['input']!r}, expected {type_name(setting.type)}{allowed}"


def narrowed(settings: Section, schema: type[AnySection]) -> AnySection:
    """Those of `settings` that a schema has; it has no others."""
    if type(settings) is schema:
        return settings
    values = dict(flatten(settings.model_dump()))
    return settings_from(
        {setting.name: values[setting.name] for setting in settings_in(schema)}, schema=schema
    )


NEAR = 0.75
"""Names at least this much alike may be one name, mistyped (`difflib.SequenceMatcher.ratio`)."""


def foreign(names: Iterable[str]) -> list[str]:
    """Names that can only be meant for other packages' nodes, of those that share a file with ours.

    No setting is foreign, and neither is what may be one, mistyped or in the wrong place: it lies
    in one of our sections, or in one almost of that name; it ends like a dotted setting; it is, or
    almost is, the last word of a setting, without a section.
    """
    known = {setting.name for setting in schema()}
    sections = {name.partition(".")[0] for name in known if "." in name}
    words = {name.rpartition(".")[2] for name in known}

    def may_be_ours(name: str) -> bool:
        head, dot, _ = name.partition(".")
        if name in known or any(name.endswith(f".{one}") for one in known if "." in one):
            return True
        return bool(difflib.get_close_matches(head, sections if dot else words, 1, NEAR))

    return [name for name in names if not may_be_ours(name)]


def foreign_text(names: Sequence[str]) -> str:
    """Foreign names, at most a line of them."""
    shown = ", ".join(name[:MAX_NAME] for name in names[:10])
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"{shown}{more}: no settings of this package, passed over"


def closest(name: str, names: Mapping[str, Any]) -> str:
    """`` (did you mean …?)`` for the known name nearest to `name`; empty if none is near."""
    last = name.rpartition(".")[2]
    same = [known for known in names if known.rpartition(".")[2] == last]
    # The right word in the wrong section is nearer than a similar word in the right one.
    match = difflib.get_close_matches(name, same or names, n=1, cutoff=0.0 if same else 0.5)
    return f" (did you mean {match[0]}?)" if match else ""


def type_name(annotation: Any) -> str:
    """A setting's type in words."""
    if get_origin(annotation) is list:
        return f"a list of {get_args(annotation)[0].__name__}"
    return {bool: "true or false", int: "an integer", float: "a number", str: "a string"}[
        annotation
    ]


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted names and values of a nested mapping."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `flatten`."""
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *sections, last = name.split(".")
        level = nested
        for section in sections:
            level = level.setdefault(section, {})
        level[last] = value
    return nested
