"""Settings in ROS parameter files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, overload

from planet_ros.errors import UserError
from planet_ros.files import write_whole

from .programs import LearnerSettings, Settings
from .schema import AnySection, flatten, narrowed, settings_from, settings_in, strange
from .sections import Section

NODE_PARAMETERS_KEY = "ros__parameters"

ROS_OWN_PARAMETERS = ("use_sim_time", "qos_overrides", "start_type_description_service")
"""Names (or first parts of names) that rclpy declares by itself."""


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
    import yaml  # not needed on the robot, whose parameters ROS reads

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not YAML: {error}") from None
    expected = f"{path}: expected a ROS parameter file, '/**:' with '{NODE_PARAMETERS_KEY}:' in it"
    if not isinstance(document, dict):
        raise UserError(f"{expected}, found {type(document).__name__}")
    values: dict[str, Any] = {}
    for node, content in document.items():
        if not isinstance(content, dict) or set(content) != {NODE_PARAMETERS_KEY}:
            raise UserError(f"{expected}, found {content!r} under {node!r}")
        parameters = content[NODE_PARAMETERS_KEY]
        if not isinstance(parameters, dict):
            raise UserError(f"{expected}, found {parameters!r} under {node}.{NODE_PARAMETERS_KEY}")
        # ROS's own parameters (use_sim_time) are the nodes' affair, not the schema's.
        values.update(
            (name, value)
            for name, value in flatten(parameters)
            if name.partition(".")[0] not in ROS_OWN_PARAMETERS
        )
    return values


def save_settings(settings: LearnerSettings, path: Path) -> None:
    """Write every setting as a ROS parameter file that `load_settings` and nodes can read."""
    import yaml

    values = settings.model_dump()
    # To continue is said anew each time: a file must not make another run do so in silence.
    values["training"]["resume"] = False
    document = {"/**": {NODE_PARAMETERS_KEY: values}}
    write_whole(path, yaml.safe_dump(document, sort_keys=False).encode())
