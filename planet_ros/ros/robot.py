"""The robot that a controller has: what it reads, what it sends, and what it allows."""

from __future__ import annotations

from planet_ros.bundle.runtime import Bundle
from planet_ros.control.limits import check_allowed
from planet_ros.data import Signature
from planet_ros.errors import UserError
from planet_ros.interface.defaults import interface_of
from planet_ros.interface.document import Interface
from planet_ros.interface.files import load_interface
from planet_ros.interface.safe import SafeCommand
from planet_ros.interface.signature import signature_of
from planet_ros.interface.writing import ActionWriter
from planet_ros.messages.fields import shortened
from planet_ros.ros.types import make


class Robot:
    """An interface whose message types are installed.

    Attributes:
        interface: The document.
        signature: What goes in and out.
        safe: What is sent when nothing better is known.
    """

    def __init__(self, interface: Interface, signature: Signature | None = None) -> None:
        """Take the robot's own document, or the one that a bundle brings.

        Args:
            interface: The document.
            signature: Of a bundle, whose names and units are better than those of its topics.

        Raises:
            UserError: A message type is not installed, or has no such field.
        """
        self.interface = interface
        self.signature = signature or signature_of(interface, make)
        self.safe: SafeCommand = ActionWriter(interface.action, make).safe

    @classmethod
    def read(cls, name: str) -> Robot:
        """The robot that a document says, by its path or the name of an installed one.

        Raises:
            UserError: It cannot be read, or a message type is not installed, or has no such field.
        """
        interface = load_interface(name)
        try:
            return cls(interface)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None

    @classmethod
    def of(cls, bundle: Bundle) -> Robot:
        """The robot that a bundle says it is for, where nothing else is known of it.

        Raises:
            UserError: A message type is not installed, or the bundle's interface is not of its own
                signature.
        """
        signature = bundle.manifest.signature
        interface = bundle.manifest.interface
        if interface is None:
            return cls(interface_of(signature), signature)
        where = shortened(str(bundle.path))
        try:
            says = signature_of(interface, make)
        except UserError as error:
            raise UserError(f"{where}: interface: {error}") from None
        check_allowed(says, signature, where)
        return cls(interface, signature)

    def check(self, bundle: Bundle) -> None:
        """See that a bundle asks no more than this robot allows.

        Raises:
            UserError: It reads or commands other topics, or other fields of them; or it has another
                observation, more actions, wider ranges, faster changes or another period.
        """
        where = shortened(str(bundle.path))
        check_allowed(self.signature, bundle.manifest.signature, where)
        wanted = bundle.manifest.interface or interface_of(bundle.manifest.signature)
        for what, own, its in (
            ("observation", _sources(self.interface), _sources(wanted)),
            ("action", _sinks(self.interface), _sinks(wanted)),
        ):
            if own != its:
                missing = next((one for one in its if one not in own), "fewer parts")
                raise UserError(
                    f"{where}: interface.{what}: found {shortened(str(missing))}, expected "
                    f"{shortened(str(own))}, as of this robot"
                )
        if wanted.delay_periods != self.interface.delay_periods:
            raise UserError(
                f"{where}: interface.delay_periods: found {wanted.delay_periods}, expected "
                f"{self.interface.delay_periods}, as of this robot"
            )


def _sources(interface: Interface) -> list[tuple[str, ...]]:
    """What is read, as far as a model depends on it: topics, types, fields, encodings."""
    return [
        (
            part.topic,
            part.type,
            *(f"{one.path} {one.encoding} {one.scale:g} {one.clip}" for one in part.fields),
        )
        for part in interface.sources
    ]


def _sinks(interface: Interface) -> list[tuple[str, ...]]:
    return [
        (part.topic, part.type, *(one.path for one in part.fields)) for part in interface.action
    ]
