"""One training at a time in the folder of a run."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from pathlib import Path

from planet_ros.errors import UserError

LOCK_FILE = "lock"

_TAKEN = (errno.EACCES, errno.EAGAIN)


class RunLock:
    """A lock of the operating system, which goes with the process that has it, however that ends.

    The file holds the owner's process number while it runs, and nothing after it ended properly.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is locked yet."""
        self._folder = folder
        self._descriptor: int | None = None

    def take(self) -> str:
        """Lock the folder, which exists.

        Returns:
            What a person should know: that the owner before did not end properly, or that the file
            system has no locks; empty if there is nothing.

        Raises:
            UserError: Another process trains into the folder.
            OSError: The folder cannot be written.
        """
        descriptor = os.open(self._folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            owner = os.read(descriptor, 200).decode(errors="replace").strip()
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in _TAKEN:
                raise UserError(
                    f"{self._folder}: {owner or 'another process'} is training into it; wait for "
                    "it to end, or choose another folder with --output (training.output)"
                ) from None
            return (
                f"{self._folder} cannot be locked ({error.strerror}): see that nobody else trains "
                "into it"
            )
        self._descriptor = descriptor
        if not owner:
            return ""
        return (
            f"{owner}, which trained into {self._folder}, did not end properly; going on from "
            "what it saved last"
        )

    def claim(self) -> None:
        """Write down who has the lock."""
        self._write(f"process {os.getpid()} on {socket.gethostname()}")

    def settle(self) -> None:
        """Say that all is saved; whoever comes next need not wonder."""
        self._write("")

    def _write(self, text: str) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text.encode(), 0)

    def release(self) -> None:
        """Let others train here."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
