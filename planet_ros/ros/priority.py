"""Real-time priority: what must not wait for its turn on a busy machine.

Linux runs a thread of the class SCHED_FIFO as soon as it has something to do, before all ordinary
ones; see sched(7). Threads inherit it from the thread that starts them.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Container, Iterator
from pathlib import Path

ORDINARY = 0
"""The priority of all that has none."""


def set_priority(priority: int) -> str:
    """Give this process's threads a priority, or take it from all of them.

    Those of Python's that do other work beside the main one get none, but those that it starts
    afterwards do, unless they `stay_ordinary`. The middleware's get it: they take in what comes.

    Args:
        priority: 1 to 99, above all that have less; `ORDINARY`: none.

    Returns:
        Why it cannot be given, with all as it was; empty if it is.
    """
    if not hasattr(os, "sched_setscheduler"):
        return "" if priority == ORDINARY else "this system knows none"
    try:
        for thread in _threads(beside=() if priority == ORDINARY else _workers()):
            _set(thread, priority)
    except PermissionError:
        for thread in _threads():
            _set(thread, ORDINARY)  # which is always allowed
        return (
            "this process may not have it; allow it with a line 'USER - rtprio 99' in "
            "/etc/security/limits.conf, or for a container with --ulimit rtprio=99 and "
            "--cap-add sys_nice"
        )
    return ""


def stay_ordinary() -> None:
    """Have the calling thread wait for its turn, whoever started it."""
    if hasattr(os, "sched_setscheduler"):
        _set(0, ORDINARY)


def _workers() -> set[int | None]:
    """Numbers of Python's threads but the main one."""
    main = threading.main_thread()
    return {thread.native_id for thread in threading.enumerate() if thread is not main}


def _threads(beside: Container[int | None] = ()) -> Iterator[int]:
    for entry in Path("/proc/self/task").iterdir():
        if (number := int(entry.name)) not in beside:
            yield number


def _set(thread: int, priority: int) -> None:
    policy = os.SCHED_OTHER if priority == ORDINARY else os.SCHED_FIFO
    with contextlib.suppress(ProcessLookupError):  # it has ended since
        os.sched_setscheduler(thread, policy, os.sched_param(priority))
