"""What episodes are of, where there is no robot with an interface: a signature beside them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from planet_ros.data.signature import Signature
from planet_ros.errors import UserError
from planet_ros.interface.files import read_json
from planet_ros.messages.fields import shortened

DESCRIPTION_FILE = "signature.json"
"""Beside episodes, in the place of an interface."""

MAX_BYTES = 2**22
"""Of a file at most: a thousand named actions take less."""


@dataclass(frozen=True)
class Description:
    """What episodes are of.

    Attributes:
        signature: Of their steps.
        environment: Gymnasium's id of where they were collected; empty: nobody says.
    """

    signature: Signature
    environment: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


def description_from(document: Any, source: str) -> Description:
    """Check what a document says.

    Args:
        document: As `Description.to_dict` gives it, perhaps by a stranger.
        source: Where it comes from, for the error.

    Raises:
        UserError: Something in it is wrong.
    """
    try:
        return TypeAdapter(Description).validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "all of it"
        raise UserError(
            f"{source}: found no signature: {place}: {shortened(first['msg'], 300)}"
        ) from None
    except (RecursionError, ValueError) as error:
        raise UserError(f"{source}: found no signature: {shortened(str(error), 300)}") from None


def load_description(folder: Path) -> Description | None:
    """What a folder of episodes says of itself; None: it has no such file.

    Raises:
        UserError: It cannot be read, or something in it is wrong.
    """
    path = folder / DESCRIPTION_FILE
    if not path.exists():
        return None
    return description_from(read_json(path, MAX_BYTES), str(path))


def description_text(description: Description) -> str:
    """The document as JSON, for a file."""
    return json.dumps(description.to_dict(), indent=2) + "\n"
