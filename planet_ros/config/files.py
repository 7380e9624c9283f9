"""Settings in ROS parameter files."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, overload

from planet_ros.errors import UserError
from planet_ros.files import write_whole

from .programs import NODES, LearnerSettings, Settings
from .schema import (
    AnySection,
    flatten,
    foreign,
    foreign_text,
    narrowed,
    settings_from,
    settings_in,
    strange,
)
from .sections import Section

NODE_PARAMETERS_KEY = "ros__parameters"

ROS_OWN_PARAMETERS = ("use_sim_time", "qos_overrides", "start_type_description_service")
"""Names (or first parts of names) that rclpy declares by itself."""


def find_config(name: str) -> Path:
    """A file of this package in ``config/``: in the checkout, or where it was installed.

    Raises:
        UserError: It is nowhere.
    """
    share = Path("share") / "planet_ros" / "config"
    prefixes = [prefix for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(":") if prefix]
    folders = [
        Path(__file__).resolve().parents[2] / "config",
        Path(sys.prefix) / share,
        *(Path(prefix) / share for prefix in prefixes),
    ]
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    raise UserError(f"{name} is not in {[str(folder) for folder in folders]}; give a path")


@overload
def load_settings(
    path: Path | str | None, overrides: Mapping[str, Any] | None = None
) -> Settings: ...
@overload
def load_settings(
    path: Path | str | None,
    overrides: Mapping[str, Any] | None = None,
    *,
    schema: type[AnySection],
) -> AnySection: ...
@overload
def load_settings(
    path: Path | str | None, overrides: Mapping[str, Any] | None, schema: type[AnySection]
) -> AnySection: ...
def load_settings(
    path: Path | str | None,
    overrides: Mapping[str, Any] | None = None,
    schema: type[Section] = Settings,
) -> Section:
    """Read a ROS parameter file, then apply overrides.

    Args:
        path: YAML file with ``/**: ros__parameters:`` on top; None: defaults alone.
        overrides: Dotted names and values that win over the file.
        schema: What to give of it. One file serves all programs: what it says for others is checked
            and passed over. Overrides are meant for this one, and refused where it has no use for
            them.

    Raises:
        UserError: The file is missing, is not such a file, or a setting in it is wrong.
    """
    used = {setting.name for setting in settings_in(schema)}
    strangers = [strange(name) for name in overrides or {} if name not in used]
    if strangers:
        raise UserError(f"{path or 'settings'}: {'; '.join(strangers)}")
    values: dict[str, Any] = {}
    if path is not None:
        values = dict(flatten(_read_parameter_file(Path(path))))
    values.update(overrides or {})
    settings = settings_from(values, source=str(path) if path is not None else "settings")
    return narrowed(settings, schema)


def _read_parameter_file(path: Path) -> dict[str, Any]:
    """What a file says to this package's nodes, by dotted name.

    As for nodes, what it says to others is passed over, where it cannot be meant for these.
    """
    values: dict[str, Any] = {}
    for name, parameters in _sections(path):
        if not _is_ours(name):
            print(f"warning: {path}: {name} is no node of this package", file=sys.stderr)
            continue
        # ROS's own parameters (use_sim_time) are the nodes' affair, not the schema's.
        values.update(
            (name, value)
            for name, value in parameters.items()
            if name.partition(".")[0] not in ROS_OWN_PARAMETERS
        )
    strangers = foreign(values)
    if strangers:
        print(f"warning: {path}: {foreign_text(strangers)}", file=sys.stderr)
    return {name: value for name, value in values.items() if name not in strangers}


def refuse_repetitions(path: Path) -> None:
    """See that a parameter file says each thing once; whatever else is wrong with it passes.

    Raises:
        UserError: It gives a section, or a setting, twice.
    """
    try:
        list(_sections(path))
    except _RepeatedError:
        raise
    except UserError:
        return


class _RepeatedError(UserError):
    """Something stands twice in a parameter file."""


def _sections(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the nodes of a parameter file, such as ``/**``, and what is said to them."""
    # PyYAML is not needed on the robot, whose parameters ROS reads; rclpy has it.
    import yaml

    from .ros_yaml import RepeatedError, load_yaml

    try:
        document = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except RepeatedError as error:
        raise _RepeatedError(f"{path}: {error}") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not YAML: {error}") from None
    expected = f"{path}: expected a ROS parameter file, '/**:' with '{NODE_PARAMETERS_KEY}:' in it"
    if not isinstance(document, dict):
        raise UserError(f"{expected}, found {type(document).__name__}")
    given: Counter[tuple[str, str]] = Counter()
    for name, parameters in _nodes(document, expected):
        values = list(flatten(parameters))
        # /trainer and trainer are one node, to which the file may speak in two places.
        node = "/" + name.strip("/")
        given.update((node, key) for key, _ in values)
        twice = sorted({key for key, _ in values if given[node, key] > 1})
        if twice:
            raise _RepeatedError(f"{path}: {name}: {', '.join(twice)} is given twice")
        yield name, dict(values)


def _nodes(
    document: Mapping[Any, Any], expected: str, namespace: str = ""
) -> Iterator[tuple[str, dict[str, Any]]]:
    """As `_sections`: a node may stand in a namespace, as a mapping in a mapping."""
    for key, content in document.items():
        name = f"{namespace}/{key}" if namespace else str(key)
        if not isinstance(content, dict) or not content:
            raise UserError(f"{expected}, found {content!r} under {name!r}")
        parameters = content.get(NODE_PARAMETERS_KEY)
        if NODE_PARAMETERS_KEY not in content:
            yield from _nodes(content, expected, name)
        elif len(content) > 1:
            raise UserError(f"{expected}, found {content!r} under {name!r}")
        elif not isinstance(parameters, dict):
            raise UserError(f"{expected}, found {parameters!r} under {name}.{NODE_PARAMETERS_KEY}")
        else:
            yield name, parameters


def _is_ours(node: str) -> bool:
    """Whether a file means a node of this package, of whatever namespace."""
    last = node.rpartition("/")[2]
    return "*" in last or last in NODES


def save_settings(settings: LearnerSettings, path: Path) -> None:
    """Write every setting as a ROS parameter file that `load_settings` and nodes can read."""
    from .ros_yaml import dump_yaml

    values = settings.model_dump()
    # To continue is said anew each time: a file must not make another run do so in silence.
    values["training"].update(resume=False, accept_changes=False)
    document = {"/**": {NODE_PARAMETERS_KEY: values}}
    write_whole(path, dump_yaml(document).encode())
