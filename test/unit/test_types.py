"""Types of messages by their names, whoever chose those names."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

import diagnostic_msgs.msg
import geometry_msgs.msg
import nav_msgs.msg
import sensor_msgs.msg
import std_msgs.msg
import trajectory_msgs.msg

from planet_ros.errors import UserError
from planet_ros.ros.types import message_class

STRANGER = "a_strangers_module"


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that exists once the stranger's package, or the one in it, has been imported."""
    trace = tmp_path / "trace"
    folder = tmp_path / STRANGER / "msg"
    folder.mkdir(parents=True)
    for file in (folder.parent / "__init__.py", folder / "__init__.py"):
        file.write_text(f"open({str(trace)!r}, 'w').close()\nclass Thing: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield trace
    for name in (STRANGER, f"{STRANGER}.msg"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "package",
    [std_msgs, sensor_msgs, geometry_msgs, nav_msgs, trajectory_msgs, diagnostic_msgs],
    ids=lambda package: package.__name__,
)
def test_every_installed_message_is_found(package: object) -> None:
    module = package.msg  # type: ignore[attr-defined]
    kinds = {name: kind for name, kind in vars(module).items() if name[0].isupper()}
    assert len(kinds) > 2
    for name, kind in kinds.items():
        assert message_class(f"{module.__name__.partition('.')[0]}/msg/{name}") is kind


def test_a_name_imports_nothing_that_is_no_package_of_messages(trace: Path) -> None:
    with pytest.raises(UserError, match=f"{STRANGER}/msg/Thing.*expected one that is installed"):
        message_class(f"{STRANGER}/msg/Thing")
    assert not trace.exists()


@pytest.mark.parametrize("package", ["this", "antigravity", "turtledemo", "os", "planet_ros"])
def test_modules_that_do_something_when_imported_are_not(package: str) -> None:
    known = package in sys.modules
    with pytest.raises(UserError, match=f"{package}/msg/String"):
        message_class(f"{package}/msg/String")
    assert (package in sys.modules) == known


@pytest.mark.parametrize(
    "name", ["std_msgs/srv/String", "std_msgs.os/msg/String", "../std_msgs/msg/String", "", "a/b/c"]
)
def test_what_is_no_name_of_a_type_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="expected one that is installed"):
        message_class(name)
