"""A controller that raises what nobody foresaw, once, after a while.

In its callback for observations, on the executor's thread; or, where the variable ``FAILS`` is
``planner``, on the thread of that name, which publishes the plans that it made.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from typing import Any

from planet_ros.ros.controller import Controller
from planet_ros.ros.controller_node import main

GOOD = 40
"""Times that all is well before."""


def _failing(method: Any, thread: str) -> Any:
    numbers = itertools.count()

    def call(controller: Controller, argument: Any) -> None:
        if threading.current_thread().name == thread and next(numbers) == GOOD:
            raise RuntimeError("nobody foresaw this")
        method(controller, argument)

    return call


if __name__ == "__main__":
    if os.environ.get("FAILS") == "planner":
        Controller._take_plan = _failing(Controller._take_plan, "planner")  # type: ignore[method-assign]
    else:
        taken = _failing(Controller._on_observation, threading.main_thread().name)
        Controller._on_observation = taken  # type: ignore[method-assign]
    sys.exit(main())
