"""A bundle as bytes, for a machine that shares no file system with the one that learned it.

```
magic   length of the manifest   manifest.json   graph   graph   …
        uint32, little endian                    sizes and order are in the manifest
```

Nothing of it is a path or is executed. The manifest, which is bounded, says how many bytes must
follow, and each graph has its hash there: what was cut short, extended or altered is refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import time
from pathlib import Path

from planet_ros.bundle.manifest import MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest
from planet_ros.bundle.runtime import check_graph_name, read_files
from planet_ros.errors import UserError
from planet_ros.files import folder_written_whole

MAGIC = b"planet_ros bundle\n"
_LENGTH = struct.Struct("<I")
_KEPT = re.compile("[0-9a-f]{64}")
_LEFTOVER = re.compile(r"\.[0-9a-f]{64}\..+")
_LEFTOVER_S = 600.0
"""Age from which on what a writer left half done is nobody's."""


def pack(path: Path, digest: str | None = None) -> bytes:
    """The bytes of a bundle.

    Args:
        path: Its folder.
        digest: SHA-256 that its manifest is to have; None: any.

    Raises:
        UserError: A file is missing, or does not agree with the manifest.
    """
    content, manifest, graphs = read_files(path, digest)
    parts = [graphs[name] for name in manifest.graphs]
    return b"".join([MAGIC, _LENGTH.pack(len(content)), content, *parts])


def unpack(data: bytes | memoryview) -> tuple[str, dict[str, memoryview]]:
    """What `pack` packed; no more memory is needed than `data` has.

    Args:
        data: Any bytes.

    Returns:
        SHA-256 of the manifest, and the content of each file by its name.

    Raises:
        UserError: These are not the bytes of a bundle, whole and unaltered.
    """
    view = memoryview(data)
    head = len(MAGIC) + _LENGTH.size
    if len(view) < head or view[: len(MAGIC)] != MAGIC:
        raise UserError(f"bundle: found {len(view)} bytes that do not begin as one does")
    (length,) = _LENGTH.unpack(view[len(MAGIC) : head])
    if not 0 < length <= min(MAX_MANIFEST_BYTES, len(view) - head):
        raise UserError(
            f"bundle: found a manifest of {length} bytes, expected 1 to "
            f"{min(MAX_MANIFEST_BYTES, len(view) - head)}"
        )
    content = view[head : head + length]
    manifest = Manifest.from_json(bytes(content), f"bundle: {MANIFEST_FILE}")
    files = {MANIFEST_FILE: content}
    rest = view[head + length :]
    expected = sum(graph.bytes for graph in manifest.graphs.values())
    if len(rest) != expected:
        raise UserError(
            f"bundle: found {len(rest)} bytes of graphs, expected {expected} as its manifest says: "
            "it was cut short or altered on its way"
        )
    for name, graph in manifest.graphs.items():
        check_graph_name(graph.file, f"bundle: {MANIFEST_FILE}")
        if graph.file in files:
            raise UserError(f"bundle: graphs: found {graph.file[:200]!r} twice, expected two files")
        part, rest = rest[: graph.bytes], rest[graph.bytes :]
        if hashlib.sha256(part).hexdigest() != graph.sha256:
            raise UserError(
                f"bundle: {name}: the bytes have another SHA-256 than its manifest says: it was "
                "altered on its way"
            )
        files[graph.file] = part
    return hashlib.sha256(content).hexdigest(), files


class BundleStore:
    """A folder of bundles, each in one of its own that is named by its hash.

    What else is in the folder is not touched: it may be anybody's.

    Attributes:
        folder: Where they are.
    """

    def __init__(self, folder: Path, *, most: int) -> None:
        """Write nothing yet.

        Args:
            folder: Where to keep bundles; no other store keeps any there.
            most: How many, the newest; the one in use and the one that just came stay, even so.
        """
        self.folder = folder
        self._most = most

    def put(self, data: bytes | memoryview, in_use: Path | None = None) -> tuple[Path, str]:
        """Keep a bundle, whole or not at all, and let the oldest go.

        Args:
            data: Its bytes, as `pack` gives them.
            in_use: Folder of one that must stay.

        Returns:
            Its folder, and the SHA-256 of its manifest.

        Raises:
            UserError: These are not the bytes of a bundle, or it cannot be written: what was there
                stays.
        """
        digest, files = unpack(data)
        path = self.folder / digest
        try:
            if not _holds(path, digest):
                with folder_written_whole(path) as folder:
                    for name, content in files.items():
                        (folder / name).write_bytes(content)
            os.utime(path)
            self._let_go({path, *([in_use] if in_use else [])})
        except OSError as error:
            raise UserError(
                f"{self.folder}: a bundle cannot be kept there: {error.strerror}; make room, or "
                "set controller.bundle_folder"
            ) from None
        return path, digest

    def _let_go(self, keep: set[Path]) -> None:
        ages = {one: one.stat().st_mtime for one in self.folder.iterdir() if one.is_dir()}
        bundles = [one for one in ages if _KEPT.fullmatch(one.name)]
        may_go = sorted((one for one in bundles if one not in keep), key=ages.__getitem__)
        old = may_go[: max(0, len(bundles) - self._most)]
        old += [  # by a writer that was killed
            one
            for one in ages
            if _LEFTOVER.fullmatch(one.name) and time.time() - ages[one] > _LEFTOVER_S
        ]
        for one in old:
            shutil.rmtree(one, ignore_errors=True)


def _holds(path: Path, digest: str) -> bool:
    """Whether a folder has a bundle, unaltered."""
    try:
        # By hashes: to compare the bytes themselves would hold the interpreter, and so the ticks.
        read_files(path, digest)
    except UserError:
        return False
    return True
