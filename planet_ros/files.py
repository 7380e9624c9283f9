"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_ASIDE = ".old"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees its old content or the new one, never a part.

    Raises:
        OSError: The disk is full or the folder cannot be written; the old content stays.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """Give an empty folder to write into, which takes the place of `path` when the block ends.

    A reader of `path` sees the old folder or the new one. After an exception the old one stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        for file in temporary.iterdir():
            _sync(file)
        os.chmod(temporary, 0o777 & ~_umask())
        if path.exists():
            _exchange(temporary, path)
        else:
            os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def mend(path: Path) -> None:
    """Clean up after a writer that was killed: what it had half done goes.

    Args:
        path: What was written, whole or not at all; its name may be a pattern. Nobody else may be
            writing it now.
    """
    for leftover in path.parent.glob(f".{path.name}.*"):
        if leftover.name.endswith(_ASIDE) and not path.exists():
            os.rename(leftover, path)  # the writer did not come to put the new one there
        elif leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def _exchange(first: Path, second: Path) -> None:
    """Swap two folders in one step, which rename(2) alone cannot do."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        result = libc.renameat2(
            _AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE
        )
        if result == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS):  # not offered by this file system
            raise OSError(code, os.strerror(code), str(second))
    aside = second.with_name(first.name + _ASIDE)
    os.rename(second, aside)
    os.rename(first, second)
    os.rename(aside, first)


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
