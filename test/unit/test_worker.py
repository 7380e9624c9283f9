"""The thread that plans: what is done on it, and how it ends."""

from __future__ import annotations

import subprocess
import sys
import threading

from planet_ros.control.worker import Worker

PATIENCE_S = 60.0


def test_work_is_done_in_order_on_the_thread_and_close_waits_for_all_of_it() -> None:
    worker = Worker("planner")
    done: list[tuple[int, str]] = []
    gate = threading.Event()

    def hold() -> None:
        gate.wait(PATIENCE_S)

    worker.do(hold)
    for number in range(3):
        worker.do(lambda number=number: done.append((number, threading.current_thread().name)))  # type: ignore[misc]
    assert not worker.close(0.01)
    gate.set()
    assert worker.close(PATIENCE_S)
    assert done == [(number, "planner") for number in range(3)]


def test_one_that_had_nothing_to_do_never_had_a_thread() -> None:
    before = threading.active_count()
    assert Worker("planner").close(0.0)
    assert threading.active_count() == before


def test_the_process_waits_for_what_was_left_behind() -> None:
    text = """
import time
from planet_ros.control.worker import Worker
worker = Worker("planner")
worker.do(lambda: time.sleep(0.5) or print("done", flush=True))
assert not worker.close(0.0)
"""
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    assert (found.stdout, found.stderr, found.returncode) == ("done\n", "", 0)
