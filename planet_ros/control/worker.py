"""A thread that does one thing after another: all that a control loop needs of one, and no more.

`concurrent.futures` takes three times as long to hand over, in Python that is run too seldom to be
in the processor's caches.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread


class Worker:
    """Does what it is given, in order, on a thread of its own, until it is closed.

    The thread begins with the first work, and has the priority of whoever gives it.
    """

    def __init__(self, name: str) -> None:
        """Begin with nothing to do."""
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def do(self, work: Callable[[], None]) -> None:
        """Have something done that raises nothing."""
        if not self._thread.ident:
            self._thread.start()
        self._work.put(work)

    def close(self, limit_s: float) -> bool:
        """Wait until all is done, for so many seconds; give whether it is.

        What is not by then goes on, and the end of the process waits for it: torn away from native
        code it would crash.
        """
        if not self._thread.ident:
            return True
        self._work.put(None)
        self._thread.join(limit_s)
        if self._thread.is_alive():
            atexit.register(self._thread.join)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
