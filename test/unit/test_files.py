"""Files and folders that appear whole, whatever happens."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from planet_ros import files
from planet_ros.files import folder_written_whole, write_whole

REPLACEMENTS = 150


class Watcher(threading.Thread):
    """Looks at something over and over until told to stop; keeps the first thing that is wrong."""

    def __init__(self, look: Callable[[], str | None]) -> None:
        super().__init__(daemon=True)
        self._look = look
        self._done = threading.Event()
        self.looks = 0
        self.wrong: str | None = None

    def run(self) -> None:
        while not self._done.is_set() and self.wrong is None:
            try:
                self.wrong = self._look()
            except OSError as error:
                self.wrong = repr(error)
            self.looks += 1

    def __enter__(self) -> Watcher:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join(timeout=30)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_holds_exactly_what_was_written_last(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"a long first content")
    write_whole(path, b"short")
    assert path.read_bytes() == b"short"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failure_while_writing_a_file_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(files.os, step, full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_files_and_folders_get_the_usual_permissions(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_whole(tmp_path / "file", b"")
        with folder_written_whole(tmp_path / "folder"):
            pass
    finally:
        os.umask(mask)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


def test_folder_appears_only_when_it_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    with folder_written_whole(path) as folder:
        (folder / "a").write_text("1")
        assert not path.exists()
    assert names(path) == ["a"]
    assert names(path.parent) == ["folder"]


def test_replaced_folder_keeps_nothing_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    for name in ("old", "new"):
        with folder_written_whole(path) as folder:
            (folder / name).write_text(name)
    assert names(path) == ["new"]
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_while_filling_a_folder_leaves_the_old_one(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "folder"
    with folder_written_whole(path) as folder:
        (folder / "a").write_text("old")
    with pytest.raises(error), folder_written_whole(path) as folder:
        (folder / "a").write_text("new")
        raise error
    assert (path / "a").read_text() == "old"
    assert names(tmp_path) == ["folder"]


def test_failure_while_filling_a_new_folder_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), folder_written_whole(tmp_path / "folder") as folder:
        (folder / "a").write_text("new")
        raise RuntimeError
    assert names(tmp_path) == []


def test_folder_is_replaced_where_the_system_cannot_swap_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OldLibrary:
        """A C library without renameat2."""

    monkeypatch.setattr(files.ctypes, "CDLL", lambda *_, **__: OldLibrary())
    path = tmp_path / "folder"
    for content in ("old", "new"):
        with folder_written_whole(path) as folder:
            (folder / "a").write_text(content)
    assert (path / "a").read_text() == "new"
    assert names(tmp_path) == ["folder"]


def test_reader_never_sees_a_part_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"0" * 50_000)

    def look() -> str | None:
        content = path.read_bytes()
        whole = len(content) == 50_000 and len(set(content)) == 1
        return None if whole else f"{len(content)} bytes of {set(content)}"

    with Watcher(look) as watcher:
        for count in range(REPLACEMENTS):
            write_whole(path, b"%d" % (count % 10) * 50_000)
    assert watcher.wrong is None
    assert watcher.looks > 1


def test_reader_never_misses_a_folder_nor_sees_two_mixed(tmp_path: Path) -> None:
    path = tmp_path / "folder"

    def replace(content: str) -> None:
        with folder_written_whole(path) as folder:
            for name in ("a", "b", "c"):
                (folder / name).write_text(content)

    def look() -> str | None:
        # An open folder is one and the same, even after it was moved. Its files may be gone once
        # a new one has taken its place; those that are there belong together.
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            contents = {text for name in "abc" if (text := _read_at(handle, name)) is not None}
        finally:
            os.close(handle)
        return None if len(contents) <= 1 else f"files of {contents} in one folder"

    replace("0")
    with Watcher(look) as watcher:
        for count in range(REPLACEMENTS):
            replace(str(count))
    assert watcher.wrong is None
    assert watcher.looks > 1


def _read_at(folder: int, name: str) -> str | None:
    try:
        handle = os.open(name, os.O_RDONLY, dir_fd=folder)
    except FileNotFoundError:
        return None
    with os.fdopen(handle) as file:
        return file.read()
