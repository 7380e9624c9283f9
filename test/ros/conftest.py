"""Each test has a ROS domain of its own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import Ros

from planet_ros.cli.supervisor import Supervisor

_domains = itertools.count(os.getpid())


@pytest.fixture
def ros(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Ros]:
    """A domain of its own; all processes are gone afterwards."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(1 + next(_domains) % 100))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    with Supervisor() as supervisor:
        domain = Ros(supervisor, tmp_path)
        try:
            yield domain
        finally:
            domain.close()


@pytest.fixture
def tiny_bundle(tiny_run: Path) -> str:
    """A bundle that was learned on the point mass."""
    return str(tiny_run / "model")
