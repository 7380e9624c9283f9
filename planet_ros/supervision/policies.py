"""Policies of SROS2: which topics and services a node may use, read from the running node.

What ``ros2 security generate_policy`` does, for some nodes alone, and the same text each time.
"""

from __future__ import annotations

import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node, NodeNameNonExistentError

from planet_ros.supervision.supervisor import Supervisor

VERSION = "0.2.0"
"""Of the format, which is sros2's policy.xsd."""

SETTLED_S = 1.0
"""For which nothing new may be seen of a node, before what was seen is all."""

TIMEOUT_S = 60.0

RULES = (
    ("services", "reply"),
    ("services", "request"),
    ("topics", "publish"),
    ("topics", "subscribe"),
)
"""What can be allowed, in the order in which it is written."""


@dataclass(frozen=True)
class Profile:
    """What one node may do.

    Attributes:
        name: Of the node.
        namespace: With its leading slash; ``/`` is none.
        allowed: Full names of topics and services, by rule (`RULES`).
    """

    name: str
    namespace: str
    allowed: Mapping[tuple[str, str], frozenset[str]]

    @property
    def path(self) -> str:
        """The node's full name, which is that of its enclave: each process has keys of its own."""
        return f"{self.namespace.rstrip('/')}/{self.name}"


def profile_of(
    supervisor: Supervisor, name: str, namespace: str, while_alive: Callable[[], None]
) -> Profile:
    """What a node publishes, subscribes to, offers and calls, once it has made all of it.

    Args:
        supervisor: Which sees the node.
        name: Of the node, which answers.
        namespace: Without a leading slash; empty: none.
        while_alive: Raises when there is nothing to wait for any more.

    Raises:
        TimeoutError: It is not there.
    """
    supervisor.wait_until_known(f"{namespace}/{name}".lstrip("/"), TIMEOUT_S, while_alive)
    found: Profile | None = None
    since_s = time.monotonic()

    def settled() -> Profile | None:
        nonlocal found, since_s
        now = _seen(supervisor.node, name, f"/{namespace}")
        if now is None or now != found:
            found, since_s = now, time.monotonic()
        return found if time.monotonic() - since_s > SETTLED_S else None

    return supervisor.spin_until(settled, TIMEOUT_S, while_alive)


def _seen(node: Node, name: str, namespace: str) -> Profile | None:
    """What is known of a node now; None: its name is not, though its services may be."""
    asked: dict[tuple[str, str], Any] = {
        ("services", "reply"): node.get_service_names_and_types_by_node,
        ("services", "request"): node.get_client_names_and_types_by_node,
        ("topics", "publish"): node.get_publisher_names_and_types_by_node,
        ("topics", "subscribe"): node.get_subscriber_names_and_types_by_node,
    }
    try:
        names = {
            rule: frozenset(one for one, _ in ask(name, namespace)) for rule, ask in asked.items()
        }
    except NodeNameNonExistentError:
        return None
    return Profile(name, namespace, names)


def policy_xml(profiles: Iterable[Profile]) -> str:
    """The document that allows each node what it does, and nothing else.

    Names of a node's own are written ``~/reset``, all others in full.
    """
    policy = ElementTree.Element("policy", version=VERSION)
    policy.append(ElementTree.Comment(" Made by `planet-ros policy`: see docs/security.md. "))
    enclaves = ElementTree.SubElement(policy, "enclaves")
    for profile in sorted(profiles, key=lambda one: one.path):
        enclave = ElementTree.SubElement(enclaves, "enclave", path=profile.path)
        inner = ElementTree.SubElement(
            ElementTree.SubElement(enclave, "profiles"),
            "profile",
            node=profile.name,
            ns=profile.namespace,
        )
        for kind, action in RULES:
            names = profile.allowed[kind, action]
            if not names:
                continue
            rule = ElementTree.SubElement(inner, kind, {action: "ALLOW"})
            for text in sorted(_own(name, profile.path) for name in names):
                ElementTree.SubElement(rule, kind.removesuffix("s")).text = text
    ElementTree.indent(policy)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(policy, "unicode")}\n'


def _own(name: str, path: str) -> str:
    return f"~{name.removeprefix(path)}" if name.startswith(f"{path}/") else name
