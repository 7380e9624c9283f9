"""What is set for the middleware, unless somebody has set it already."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planet_ros.ros.middleware import PROFILES, prepare

SWITCH = "RMW_FASTRTPS_USE_QOS_FROM_XML"


TRANSPORTS = "FASTDDS_BUILTIN_TRANSPORTS"


def test_readers_are_told_to_give_memory_back_and_messages_go_by_udp() -> None:
    variables: dict[str, str] = {}
    prepare(variables)
    assert (variables.pop(SWITCH), variables.pop(TRANSPORTS)) == ("1", "UDPv4")
    assert {Path(path) for path in variables.values()} == {PROFILES}
    tree = ElementTree.parse(PROFILES)
    policies = [one.text for one in tree.iter() if one.tag.endswith("historyMemoryPolicy")]
    assert policies == ["DYNAMIC", "PREALLOCATED_WITH_REALLOC"]


def test_transports_of_a_person_s_own_stay() -> None:
    variables = {TRANSPORTS: "LARGE_DATA"}
    prepare(variables)
    assert variables[TRANSPORTS] == "LARGE_DATA" and SWITCH in variables


@pytest.mark.parametrize("name", ["FASTRTPS_DEFAULT_PROFILES_FILE", SWITCH])
def test_what_a_person_has_set_stays(name: str) -> None:
    variables = {name: "own"}
    prepare(variables)
    assert variables == {name: "own"}


def test_large_blocks_go_back_to_the_system(run_python: Callable[..., Any]) -> None:
    code = """
import sys
from planet_ros.ros.middleware import give_large_blocks_back

def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

if sys.argv[1] == "yes":
    give_large_blocks_back()
bytearray(20_000_000)
before = resident_mb()
blocks = [bytearray(b"x") * 10_000_000 for _ in range(5)]
del blocks[:-1]  # the last one is on top of the heap, where one keeps the others
print(resident_mb() - before)
"""
    kept, given = (float(run_python(code, given).stdout) for given in ("no", "yes"))
    assert given < 12 < kept
