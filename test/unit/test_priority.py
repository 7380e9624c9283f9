"""Real-time priority: which threads have it, and what is said where it is not allowed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from planet_ros.ros import priority

RunPython = Callable[..., "subprocess.CompletedProcess[str]"]

THREADS = """
import json, os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from planet_ros.ros.priority import ORDINARY, set_priority, stay_ordinary

def own():
    policy = os.sched_getscheduler(0)
    return {os.SCHED_OTHER: 0, os.SCHED_FIFO: os.sched_getparam(0).sched_priority}[policy]

before = ThreadPoolExecutor(1)
before.submit(own).result()  # now it has a thread
said = set_priority(7)
after, ordinary = ThreadPoolExecutor(1), ThreadPoolExecutor(1, initializer=stay_ordinary)
pools = {"before": before, "after": after, "ordinary": ordinary}

def all_of_them():
    return {"main": own(), **{name: pool.submit(own).result() for name, pool in pools.items()}}

high = all_of_them()
set_priority(ORDINARY)
print(json.dumps([said, high, all_of_them()]))
"""


def allowed() -> bool:
    """Whether this machine lets us have it: tried in a process of its own."""
    code = "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(7))"
    return subprocess.run(["python3", "-c", code], capture_output=True, check=False).returncode == 0


@pytest.fixture
def run(run_python: RunPython) -> Callable[[str], Any]:
    def run(code: str) -> Any:
        done = run_python(code)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.skipif(not allowed(), reason="real-time priority is not allowed here (ulimit -r)")
def test_what_plans_has_it_and_what_works_beside_it_does_not(run: Callable[[str], Any]) -> None:
    said, high, ordinary = run(THREADS)
    assert said == ""
    assert high == {"main": 7, "before": 0, "after": 7, "ordinary": 0}
    assert set(ordinary.values()) == {0}


def test_where_it_is_not_allowed_it_is_said_how_to_allow_it(run: Callable[[str], Any]) -> None:
    drop = "import os, resource\nresource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))\n"
    drop += "os.getuid() == 0 and os.setuid(65534)\n"
    said, high, _ = run(THREADS.replace("said = ", f"{drop}said = "))
    assert "limits.conf" in said and "--cap-add sys_nice" in said
    assert set(high.values()) == {0}


def test_a_system_without_it_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setscheduler")
    assert priority.set_priority(priority.ORDINARY) == ""
    assert priority.set_priority(5) == "this system knows none"
    priority.stay_ordinary()
