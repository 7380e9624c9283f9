"""Bundles as bytes: what comes out is what went in, or nothing; and the folder that keeps them."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from batches import signature_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planet_ros.bundle.archive import MAGIC, BundleStore, pack, unpack
from planet_ros.bundle.export import BundleExporter
from planet_ros.bundle.manifest import MANIFEST_FILE
from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import PlannerSettings, WorldModelSettings
from planet_ros.errors import UserError
from planet_ros.models import Ensemble


def write_bundle(path: Path, members: int = 1) -> Path:
    signature = signature_of({"observation": 3}, [-2], [2])
    model = Ensemble(signature, WorldModelSettings(members=members, hidden_sizes=[8]))
    about = {
        "model_kind": "ensemble",
        "horizon": 3,
        "signature": signature,
        "planner": PlannerSettings(horizon=3, candidates=8),
    }
    BundleExporter(model, 3).export(path, about)
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "one")


@pytest.fixture(scope="module")
def packed(bundle: Path) -> bytes:
    return pack(bundle)


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_what_comes_out_is_what_went_in(bundle: Path, packed: bytes) -> None:
    digest, files = unpack(packed)
    assert {name: bytes(content) for name, content in files.items()} == files_of(bundle)
    assert digest == load_bundle(bundle).digest


def test_another_bundle_than_was_announced_is_not_packed(bundle: Path) -> None:
    with pytest.raises(UserError, match="as announced"):
        pack(bundle, "0" * 64)


@pytest.mark.parametrize("length", [0, 5, len(MAGIC), len(MAGIC) + 4, -1, -1000])
def test_what_was_cut_short_is_refused(packed: bytes, length: int) -> None:
    with pytest.raises(UserError, match="bundle: found"):
        unpack(packed[:length])


def test_what_was_extended_is_refused(packed: bytes) -> None:
    with pytest.raises(UserError, match="bytes of graphs, expected"):
        unpack(packed + b"x")


def test_a_huge_manifest_is_refused_before_it_is_read(packed: bytes) -> None:
    damaged = MAGIC + struct.pack("<I", 2**32 - 1) + packed[len(MAGIC) + 4 :]
    with pytest.raises(UserError, match="a manifest of 4294967295 bytes"):
        unpack(damaged)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_byte_can_be_altered_unseen(packed: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(packed) - 1))
    damaged = bytearray(packed)
    damaged[at] ^= data.draw(st.integers(1, 255))
    try:
        digest, _ = unpack(bytes(damaged))
    except UserError:
        return
    # In the manifest an altered byte may leave a document: another one, by its hash.
    assert digest != unpack(packed)[0]


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    for one in (data, MAGIC + data, MAGIC + struct.pack("<I", len(data)) + data):
        with pytest.raises(UserError):
            unpack(one)


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "a/b", ".", "..", "", MANIFEST_FILE, "a\0b"]
)
def test_a_graph_has_a_name_of_its_own_in_the_folder(packed: bytes, name: str) -> None:
    head = len(MAGIC) + 4
    (length,) = struct.unpack("<I", packed[len(MAGIC) : head])
    document = json.loads(packed[head : head + length])
    document["graphs"]["observe"]["file"] = name
    document["manifest_sha256"] = "0" * 64
    document["manifest_sha256"] = hashlib.sha256(json.dumps(document).encode()).hexdigest()
    content = json.dumps(document).encode()
    damaged = MAGIC + struct.pack("<I", len(content)) + content + packed[head + length :]
    with pytest.raises(UserError, match=r"in the bundle's own folder|twice, expected two"):
        unpack(damaged)


# ── the folder ───────────────────────────────────────────────────────────────────────────────


def test_bundles_are_kept_by_their_hash_and_load(tmp_path: Path, bundle: Path) -> None:
    store = BundleStore(tmp_path / "a" / "store", most=3)
    path, digest = store.put(pack(bundle))
    assert path == store.folder / digest
    assert files_of(path) == files_of(bundle)
    assert load_bundle(path, digest).digest == digest


def test_one_that_is_there_is_not_written_again_unless_it_was_damaged(
    tmp_path: Path, bundle: Path, packed: bytes
) -> None:
    store = BundleStore(tmp_path, most=3)
    path, _ = store.put(packed)
    before = path.stat().st_ino
    assert store.put(packed)[0].stat().st_ino == before
    (path / "imagine.onnx").write_bytes(b"damaged")
    store.put(packed)
    assert files_of(path) == files_of(bundle)


def test_the_oldest_goes_but_not_the_one_in_use(tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "store", most=2)
    paths: list[Path] = []
    for number in range(4):
        packed = pack(write_bundle(tmp_path / str(number), members=number + 1))
        path, _ = store.put(packed, in_use=paths[0] if paths else None)
        os.utime(path, (number, number))
        paths.append(path)
    assert {one for one in store.folder.iterdir()} == {paths[0], paths[3]}


def test_what_a_killed_writer_left_goes_in_time(tmp_path: Path, packed: bytes) -> None:
    store = BundleStore(tmp_path, most=1)
    old, new = tmp_path / f".{'0' * 64}.old", tmp_path / f".{'0' * 64}.new"
    old.mkdir()
    new.mkdir()
    os.utime(old, (0, 0))
    store.put(packed)
    assert not old.exists() and new.exists()


def test_what_is_not_its_own_stays(tmp_path: Path, packed: bytes) -> None:
    """Somebody may name a folder that is in use: their home."""
    names = ["documents", ".ssh", ".config.d", "0" * 63, "g" * 64]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "precious").write_text("precious")
        os.utime(tmp_path / name, (0, 0))
    path, _ = BundleStore(tmp_path, most=1).put(packed)
    assert {one.name for one in tmp_path.iterdir()} == {*names, path.name}


@contextmanager
def room_for_few_bytes() -> Iterator[None]:
    """No file can become longer than 1000 bytes, as on a full disk; nor can pytest's own."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_without_room_nothing_is_left_half_done(tmp_path: Path, packed: bytes) -> None:
    store = BundleStore(tmp_path, most=1)
    other, _ = store.put(pack(write_bundle(tmp_path / "other", members=2)))
    before = files_of(other)
    with (
        room_for_few_bytes(),
        pytest.raises(UserError, match=r"cannot be kept there: .*make room"),
    ):
        store.put(packed)
    assert {one.name for one in tmp_path.iterdir()} == {"other", other.name}
    assert files_of(other) == before


def test_what_is_refused_leaves_nothing(tmp_path: Path, packed: bytes) -> None:
    store = BundleStore(tmp_path / "store", most=1)
    with pytest.raises(UserError):
        store.put(packed[:-1])
    assert not store.folder.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, packed: bytes) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(UserError, match=r"cannot be kept there: .*controller\.bundle_folder"):
        BundleStore(blocked / "store", most=1).put(packed)
    assert blocked.read_text() == "not a folder"
