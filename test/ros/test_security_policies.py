"""The SROS2 policies in config/sros2: what real nodes do, no more and no less."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy
from nodes import Ros
from rclpy.node import Node
from std_msgs.msg import String

from planet_ros.cli.policy import policy_text
from planet_ros.supervision.policies import profile_of

pytestmark = pytest.mark.ros

FOLDER = Path(__file__).resolve().parents[2] / "config" / "sros2"
NODES = {
    "simulation": {"/controller", "/gym_bridge", "/trainer"},
    "robot_pendulum": {"/controller", "/robot", "/trainer"},
    "robot_base": {"/controller", "/robot", "/trainer"},
    "robot_arm": {"/controller", "/robot", "/trainer"},
}
RULES = {"topics": {"publish", "subscribe"}, "services": {"reply", "request"}}


def rules(policy: ElementTree.Element) -> Iterator[tuple[str, str, set[str]]]:
    """Enclave, rule and names of all that a policy allows, checked as policy.xsd has it."""
    assert (policy.tag, policy.attrib) == ("policy", {"version": "0.2.0"})
    (enclaves,) = policy
    assert (enclaves.tag, enclaves.attrib) == ("enclaves", {})
    for enclave in enclaves:
        assert (enclave.tag, set(enclave.attrib)) == ("enclave", {"path"})
        (profiles,) = enclave
        assert profiles.tag == "profiles"
        for profile in profiles:
            assert (profile.tag, set(profile.attrib)) == ("profile", {"ns", "node"})
            namespace = profile.attrib["ns"].rstrip("/")
            assert enclave.attrib["path"] == f"{namespace}/{profile.attrib['node']}"
            for rule in profile:
                ((action, qualifier),) = rule.attrib.items()
                assert action in RULES[rule.tag]
                assert qualifier == "ALLOW"
                names = [name.text or "" for name in rule]
                assert names == sorted(set(names)) != []
                assert {name.tag for name in rule} == {rule.tag.removesuffix("s")}
                assert all(re.fullmatch(r"[~/][A-Za-z0-9_/]+", name) for name in names)
                yield enclave.attrib["path"], action, set(names)


def allowed(policy: ElementTree.Element) -> dict[tuple[str, str], set[str]]:
    return {(path, action): names for path, action, names in rules(policy)}


@pytest.mark.parametrize("name", NODES)
def test_a_policy_is_as_sros2_reads_it_and_allows_no_more_than_is_needed(name: str) -> None:
    found = allowed(ElementTree.parse(FOLDER / f"{name}.xml").getroot())
    assert {path for path, _ in found} == NODES[name]
    (simulator,) = NODES[name] - {"/controller", "/trainer"}
    # A wildcard would make all the rest worthless; nobody may be activated or set by a node here.
    assert {path for path, action in found if action == "request"} == {"/trainer"}
    assert found["/trainer", "request"] == {f"{simulator}/pause"}
    announcing = {
        path for (path, action), names in found.items() if "/model" in names and action == "publish"
    }
    assert announcing == {"/trainer"}


def test_every_policy_is_known() -> None:
    assert {file.stem for file in FOLDER.glob("*.xml")} == set(NODES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NODES)
def test_a_policy_is_what_the_nodes_do(name: str) -> None:
    robot = name.removeprefix("robot_") if name != "simulation" else None
    text = (FOLDER / f"{name}.xml").read_text(encoding="utf-8")
    assert policy_text(None, {}, robot) == text, "run `make policies`"


def test_a_node_that_answers_before_its_name_is_known_is_waited_for(
    ros: Ros, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Discovery tells of a node's services and of its name apart, in either order."""
    supervisor, looks = ros.supervisor, 0
    late: Node | None = None

    def comes_late() -> None:
        nonlocal late, looks
        looks += 1
        if looks == 3:
            late = rclpy.create_node("late")
            late.create_publisher(String, "word", 1)

    monkeypatch.setattr(supervisor, "wait_until_known", lambda *_: None)
    profile = profile_of(supervisor, "late", "", comes_late)
    assert late is not None
    late.destroy_node()
    assert "/word" in profile.allowed["topics", "publish"]


@pytest.mark.slow
def test_robots_of_ones_own_have_a_controller_each_and_a_trainer_that_only_listens() -> None:
    values = {"interface": "arm", "robots": ["a", "b"], "training.collect": "listen"}
    found = allowed(ElementTree.fromstring(policy_text(None, values, None)))
    assert {path for path, _ in found} == {"/a/controller", "/b/controller", "/trainer"}
    for robot in ("a", "b"):
        names = found[f"/{robot}/controller", "publish"]
        assert f"/{robot}/arm_controller/joint_trajectory" in names
        assert f"/{robot}/joint_states" in found[f"/{robot}/controller", "subscribe"]
        assert f"/{robot}/joint_states" in found["/trainer", "subscribe"]
        assert f"/{robot}/model" in found["/trainer", "publish"]
    assert not any("joint_trajectory" in name for name in found["/trainer", "publish"])
