"""A thread that does one thing after another, and that nobody has to wait for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """Runs work on one thread, in its order.

    The interpreter waits at its end for the threads of a ``ThreadPoolExecutor``, whatever they do;
    for this one it does not, so that a plan that never ends keeps no process from ending.
    """

    def __init__(self, name: str) -> None:
        """Start the thread."""
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
        self._work = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Do something after all that was submitted before."""
        future: Future[T] = Future()
        self._work.put((future, work))
        return future

    def close(self, within_s: float) -> bool:
        """End the thread after what was submitted; give whether it has ended within some time."""
        self._work.put(None)
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            future, work = item
            try:
                result = work()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            del item, future, work  # nothing of it is kept while there is nothing to do
