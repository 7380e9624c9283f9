"""Documents about robots as YAML files."""

from __future__ import annotations

import json
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from planet_ros.config import closest, find_config
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.messages.fields import shortened

MAX_BYTES = 2**20
"""Of a file at most."""

INTERFACE_FILE = "interface.yaml"
"""Beside episodes: what they are of."""

FOLDER = "interfaces"
"""Where those that come with the package are, in ``config/``."""

MAX_PROBLEMS = 10
"""Problems of one file that are said at once."""


def load_interface(name: str | Path) -> Interface:
    """Read a document.

    Args:
        name: A path, or the name of one in the installed ``config/interfaces/``, such as pendulum.

    Raises:
        UserError: There is no such file, it is not YAML, or something in it is wrong: the text says
            where, what was found, and what is allowed.
    """
    path = Path(name).expanduser()
    if path.parent == Path() and not path.suffix and not path.exists():
        path = find_config(f"{FOLDER}/{path.name}.yaml")
    return interface_from(_read(path), str(path))


def interface_from(document: Any, source: str = "interface") -> Interface:
    """Check what a document says.

    Args:
        document: Mappings, lists and scalars, as `load_interface` reads them, or a manifest has.
        source: Where it comes from, for the error.

    Raises:
        UserError: Something in it is wrong.
    """
    if not isinstance(document, dict):
        raise UserError(
            f"{source}: found {type(document).__name__}, expected a mapping with period_s, "
            "observation and action; docs/interface.md begins with one"
        )
    try:
        return Interface.model_validate(document, strict=True)
    except ValidationError as error:
        found = [_explained(item) for item in error.errors(include_url=False)]
        more = f"; and {len(found) - MAX_PROBLEMS} more" if len(found) > MAX_PROBLEMS else ""
        raise UserError(f"{source}: {'; '.join(found[:MAX_PROBLEMS])}{more}") from None
    except RecursionError:
        raise UserError(f"{source}: found lists in lists without end") from None


def interface_text(interface: Interface) -> str:
    """The document as YAML, for a person: without what is as it is by default."""
    from planet_ros.config.ros_yaml import dump_yaml

    return dump_yaml(interface.model_dump(exclude_defaults=True))


def _read(path: Path) -> Any:
    import yaml

    from planet_ros.config.ros_yaml import RepeatedError, load_yaml

    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UserError(f"{path}: found more than {MAX_BYTES} bytes, expected a document")
        return load_yaml(content.decode())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except RepeatedError as error:
        raise UserError(f"{path}: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not YAML: {shortened(error, 500)}") from None


def _explained(item: Any) -> str:
    """One problem, with its place: ``observation[0].fields[1].encoding: found …, expected …``."""
    location, section, known = _located(item["loc"])
    kind, context = item["type"], item.get("ctx", {})
    found = _shown(item.get("input"))
    if kind == "extra_forbidden":
        names = section.model_fields if section is not None else {}
        name = str(item["loc"][-1])
        hint = closest(name, names) or f" (expected one of {', '.join(names)})"
        return f"{location}: unknown name{hint}"
    if kind == "missing":
        return f"{location}: found nothing, expected it: {known}"
    if kind in ("value_error", "assertion_error"):
        reason = item["msg"].removeprefix("Value error, ")
        return f"{location}: {reason}" if location else reason
    if kind == "literal_error":
        return f"{location}: found {found}, expected {context.get('expected')}"
    reason = item["msg"].replace("Input should be", "expected").replace("valid ", "")
    reason = reason[0].lower() + reason[1:]
    return f"{location}: found {found}, {reason}"


def _shown(value: Any) -> str:
    if isinstance(value, (str, int, float, bool)) or value is None:
        return shortened(repr(value), 100)
    return f"a {type(value).__name__}"


def _located(way: Sequence[str | int]) -> tuple[str, type[BaseModel] | None, str]:
    """A place as text, the section that it lies in, and what is said there about the name.

    pydantic adds to the place which kind of a union it tried; that is no part of the document.
    """
    text, description = "", ""
    section: type[BaseModel] | None = None
    here: Any = Interface
    for step in way:
        if isinstance(step, int):
            text += f"[{step}]"
            here = _inner(here)
            continue
        model = _section(here)
        if model is not None:
            section = model
            field = model.model_fields.get(step)
            here = None if field is None else field.annotation
            description = "" if field is None else (field.description or "")
        elif _is_mapping(here):
            here = None
        else:
            continue
        text += f".{step}" if text else step
    return text, section, description


def _plain(annotation: Any) -> Any:
    """An annotation without what is added to it, and without None."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [one for one in get_args(annotation) if one is not type(None)]
        if len(kinds) == 1:
            return _plain(kinds[0])
    return annotation


def _section(annotation: Any) -> type[BaseModel] | None:
    plain = _plain(annotation)
    return plain if isinstance(plain, type) and issubclass(plain, BaseModel) else None


def _is_mapping(annotation: Any) -> bool:
    return get_origin(_plain(annotation)) is dict


def _inner(annotation: Any) -> Any:
    arguments = get_args(_plain(annotation))
    return arguments[0] if arguments else None


def read_json(path: Path, most: int) -> Any:
    """What a JSON file holds, of so many bytes at most.

    Raises:
        UserError: It is none, is too large or cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise UserError(f"{path}: found more than {most} bytes of JSON")
        return json.loads(content)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON: {shortened(str(error))}") from None
