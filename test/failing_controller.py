"""A controller whose callback for observations raises what nobody foresaw, after a while."""

from __future__ import annotations

import itertools
import sys

from planet_ros.control.events import Observation
from planet_ros.ros.controller import Controller
from planet_ros.ros.controller_node import main

GOOD = 40
"""Observations before the one that it fails at."""

_numbers = itertools.count()
_take = Controller._on_observation


def _fail(controller: Controller, observation: Observation) -> None:
    if next(_numbers) >= GOOD:
        raise RuntimeError("nobody foresaw this")
    _take(controller, observation)


if __name__ == "__main__":
    Controller._on_observation = _fail  # type: ignore[assignment, method-assign]
    sys.exit(main())
