"""Which bundle there is: said by the trainer on ``model``, by the controller on ``model_in_use``.

The text is JSON, ``{"path": "/…/model", "hash": "9b33…"}``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from planet_ros.errors import UserError
from planet_ros.messages.fields import quoted

MAX_CHARACTERS = 32_768
MAX_PATH = 4096


@dataclass(frozen=True)
class Announcement:
    """A bundle, by the folder where it is and by the hash that it has.

    Attributes:
        path: Folder.
        digest: SHA-256 of its manifest, 64 lower-case hexadecimal digits.
    """

    path: Path
    digest: str

    def to_text(self) -> str:
        """What is published."""
        return json.dumps({"path": str(self.path), "hash": self.digest})

    @classmethod
    def read(cls, text: str) -> Announcement:
        """Undo `to_text`; other keys are passed over.

        Raises:
            UserError: The text is too long or no JSON object, or path and hash are none.
        """
        if len(text) > MAX_CHARACTERS:
            raise _refused(text, f"at most {MAX_CHARACTERS} characters")
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):  # nested too deeply for the parser
            raise _refused(text, "JSON") from None
        if not isinstance(document, dict):
            raise _refused(text, "a JSON object")
        path, digest = document.get("path"), document.get("hash")
        if not isinstance(path, str) or not _is_path(path):
            raise _refused(path, f"a path of 1 to {MAX_PATH} characters", "path: ")
        if not isinstance(digest, str) or not re.fullmatch("[0-9a-fA-F]{64}", digest):
            raise _refused(digest, "the 64 hexadecimal digits of a SHA-256", "hash: ")
        return cls(Path(path), digest.lower())


def _is_path(text: str) -> bool:
    """Whether the file system can be asked for it."""
    if not 1 <= len(text) <= MAX_PATH or "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _refused(found: object, expected: str, where: str = "") -> UserError:
    return UserError(
        f"announcement: {where}found {quoted(found)}, expected {expected}; a bundle is announced "
        'as {"path": "/folder/of/the/bundle", "hash": "SHA-256 of its manifest"}'
    )
