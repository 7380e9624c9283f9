"""The reference page of all settings, made of their schema."""

from __future__ import annotations

import inspect
import json

from .programs import Settings
from .schema import schema, type_name, users


def reference_markdown() -> str:
    """The reference page of all settings, as ``docs/configuration.md`` holds it."""
    lines = [
        "# Configuration",
        "",
        "Every setting of planet_ros. The name is the same in a parameter file, as a ROS "
        "parameter, and after",
        "`--set` on the command line: `planet-ros train --set planner.horizon=12`.",
        "This page is made by `planet-ros config --markdown`. The last column names the nodes that "
        "read a",
        "setting; `planet-ros train` reads those of the trainer.",
    ]
    section = None
    for setting in schema():
        head = setting.name.rpartition(".")[0]
        if head != section:
            section = head
            model = Settings.model_fields[head].annotation if head else Settings
            lines += ["", f"## {head or 'General'}", "", inspect.cleandoc(model.__doc__ or ""), ""]
            lines += [
                "| name | type | default | allowed | meaning | read by |",
                "| --- | --- | --- | --- | --- | --- |",
            ]
        allowed = setting.range_text.replace("|", "\\|")
        default = json.dumps(setting.default)
        description = setting.description.replace("|", "\\|")
        kind = type_name(setting.type).removeprefix("an ").removeprefix("a ")
        nodes = ", ".join(users(setting.name)) or "`planet-ros train`"
        lines.append(
            f"| `{setting.name}` | {kind} | `{default}` | {allowed} | {description} | {nodes} |"
        )
    return "\n".join(lines) + "\n"
