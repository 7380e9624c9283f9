"""Planners over action sequences, in numpy alone.

A planner takes a function ``actions (N, H, A) -> returns (N,)`` and bounds, and gives a `Plan`.
What is behind the function (a learned model, true dynamics, a formula) is none of its business.

``planner.py`` is the interface, ``cem.py`` and ``icem.py`` are the planners, each with the class of
its settings, ``factory.py`` makes them, ``population.py`` holds the steps that they share,
``noise.py`` their coloured noise, ``returns.py`` the step from a model's rewards to one return.
"""

from .cem import Cem, CemSettings
from .factory import KINDS, AnyPlannerSettings, make_planner
from .icem import Icem, IcemSettings
from .planner import Plan, Planner, PlanningError
from .returns import candidate_returns

__all__ = [
    "KINDS",
    "AnyPlannerSettings",
    "Cem",
    "CemSettings",
    "Icem",
    "IcemSettings",
    "Plan",
    "Planner",
    "PlanningError",
    "candidate_returns",
    "make_planner",
]
