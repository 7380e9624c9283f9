"""The layout for Foxglove: what it opens is there, and named as the nodes name it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from planet_ros.ros import topics
from planet_ros.ros.types import make
from sim_bridge.robots.topics import ROBOTS, RobotOptions

DIAGNOSTICS = "diagnostics"
SETTINGS = ("topicToRender", "topicPath", "value")
"""Where panels keep what they show."""


@pytest.fixture(scope="module")
def layout() -> dict[str, Any]:
    file = Path(__file__).resolve().parents[2] / "config" / "foxglove" / "planet_ros.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def within(value: Any) -> Iterator[dict[str, Any]]:
    """All objects in a document."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from within(one)


def shown(layout: dict[str, Any]) -> list[str]:
    """Paths of messages: a topic, then fields."""
    return [one[name] for one in within(layout["configById"]) for name in SETTINGS if one.get(name)]


def panels(layout: Any) -> Iterator[str]:
    """Names of the panels in an arrangement."""
    if isinstance(layout, str):
        yield layout
    elif isinstance(layout, dict):
        assert layout["direction"] in ("row", "column")
        yield from panels(layout["first"])
        yield from panels(layout["second"])


def test_every_panel_has_a_place_and_every_place_a_panel(layout: dict[str, Any]) -> None:
    places = list(panels(layout["layout"]))
    for panel in layout["configById"].values():
        for tab in panel.get("tabs", []):
            places += panels(tab["layout"])
    assert sorted(places) == sorted(layout["configById"])
    assert {name.partition("!")[0] for name in places} == {
        "DiagnosticStatusPanel",
        "DiagnosticSummary",
        "Plot",
        "RawMessages",
        "Tab",
    }


def test_it_names_topics_that_there_are(layout: dict[str, Any]) -> None:
    own = {value for name, value in vars(topics).items() if name.endswith("_TOPIC")}
    there = {name.replace("~", "controller", 1) for name in own} | {DIAGNOSTICS}
    for kind in ROBOTS.values():
        robot = kind(make, RobotOptions())
        there |= {*robot.states, robot.command[0]}
    found = {re.split(r"[.\[]", path)[0].removeprefix("/") for path in shown(layout)}
    assert found - there == set()
    assert {"commands", "controller/plan", "controller/predicted", DIAGNOSTICS} <= found


def test_fields_are_those_of_the_messages(layout: dict[str, Any]) -> None:
    types: dict[str, str] = {}
    for kind in ROBOTS.values():
        robot = kind(make, RobotOptions())
        types |= {**robot.states, robot.command[0]: robot.command[1]}
    checked = 0
    for path in shown(layout):
        topic, *fields = re.split(r"\[\d+\]\.|\.|\[\d+\]$", path.removeprefix("/"))
        if topic not in types or "points" in fields:
            continue
        message = make(types[topic])
        for field in filter(None, fields):
            message = getattr(message, field)
        checked += 1
    assert checked > 8


def test_it_shows_what_the_diagnostics_say(layout: dict[str, Any]) -> None:
    told = (Path(__file__).resolve().parents[2] / "docs" / "topics.md").read_text("utf-8")
    keys = {key for path in shown(layout) for key in re.findall(r'key=="(\w+)"', path)}
    assert {"planning_p50_ms", "planning_p99_ms", "missed_deadlines"} <= keys
    assert all(f"`{key}`" in told for key in keys)
