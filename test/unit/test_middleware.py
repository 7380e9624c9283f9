"""What is set for the middleware, unless somebody has set it already."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planet_ros.ros.middleware import LOCAL_PROFILES, PROFILES, prepare

SWITCH = "RMW_FASTRTPS_USE_QOS_FROM_XML"


TRANSPORTS, RANGE = "FASTDDS_BUILTIN_TRANSPORTS", "ROS_AUTOMATIC_DISCOVERY_RANGE"


@pytest.mark.parametrize("profiles", [PROFILES, LOCAL_PROFILES])
def test_readers_are_told_to_give_memory_back(profiles: Path) -> None:
    tree = ElementTree.parse(profiles)
    policies = [one.text for one in tree.iter() if one.tag.endswith("historyMemoryPolicy")]
    assert policies == ["DYNAMIC", "PREALLOCATED_WITH_REALLOC"]


def test_messages_go_by_udp_and_readers_are_told() -> None:
    variables: dict[str, str] = {RANGE: "SUBNET"}
    prepare(variables)
    assert (variables.pop(SWITCH), variables.pop(TRANSPORTS)) == ("1", "UDPv4")
    assert variables.pop(RANGE) == "SUBNET"
    assert {Path(path) for path in variables.values()} == {PROFILES}


def test_on_this_machine_alone_discovery_is_told_in_ros_s_place() -> None:
    variables = {RANGE: "LOCALHOST"}
    prepare(variables)
    assert variables[RANGE] == "SYSTEM_DEFAULT"
    assert variables["FASTDDS_DEFAULT_PROFILES_FILE"] == str(LOCAL_PROFILES)
    tree = ElementTree.parse(LOCAL_PROFILES)
    addresses = [one.text for one in tree.iter() if one.tag.endswith("address")]
    assert addresses == ["127.0.0.1", "127.0.0.1"]


@pytest.mark.parametrize("more", [{"ROS_STATIC_PEERS": "10.0.0.1"}, {TRANSPORTS: "DEFAULT"}])
def test_peers_and_transports_of_a_person_s_own_stay(more: dict[str, str]) -> None:
    variables = {RANGE: "LOCALHOST", **more}
    prepare(variables)
    assert variables[RANGE] == "LOCALHOST"
    assert variables["FASTDDS_DEFAULT_PROFILES_FILE"] == str(PROFILES)
    assert variables[TRANSPORTS] == more.get(TRANSPORTS, "UDPv4")


@pytest.mark.parametrize("name", ["FASTRTPS_DEFAULT_PROFILES_FILE", SWITCH])
def test_what_a_person_has_set_stays(name: str) -> None:
    variables = {name: "own", RANGE: "LOCALHOST"}
    prepare(variables)
    assert variables == {name: "own", RANGE: "LOCALHOST"}


def test_another_middleware_keeps_its_discovery() -> None:
    variables = {RANGE: "LOCALHOST"}
    prepare(variables, middleware="rmw_cyclonedds_cpp")
    assert variables == {RANGE: "LOCALHOST"}


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
