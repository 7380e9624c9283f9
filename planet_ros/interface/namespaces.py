"""A robot in a namespace: the same document, with the topics that it has there."""

from __future__ import annotations

from typing import TypeVar

from planet_ros.interface.document import End, Interface, Reward, TopicSource

_Source = TypeVar("_Source", bound=TopicSource)
_Scalar = TypeVar("_Scalar", Reward, End)


def under(namespace: str, name: str) -> str:
    """The name of a topic or a service in a namespace.

    One that is absolute (``/tf``) or a node's own (``~/reset``) is the same in all.
    """
    if not namespace or name.startswith(("/", "~")):
        return name
    return f"{namespace}/{name}"


def in_namespace(interface: Interface, namespace: str) -> Interface:
    """The document of a robot whose topics are in a namespace; in the empty one, itself."""
    if not namespace:
        return interface

    def moved(source: _Source) -> _Source:
        return source.model_copy(update={"topic": under(namespace, source.topic)})

    def named(scalar: _Scalar) -> _Scalar:
        if not scalar.topic:
            return scalar
        return scalar.model_copy(update={"topic": under(namespace, scalar.topic)})

    return interface.model_copy(
        update={
            "observation": [moved(part) for part in interface.observation],
            "action": [moved(part) for part in interface.action],
            "goal": None if interface.goal is None else moved(interface.goal),
            "reward": named(interface.reward),
            "end": named(interface.end),
        }
    )
