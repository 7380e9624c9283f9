"""Bundles: the graphs say what torch says, and no damage to a bundle goes unnoticed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from batches import floats, signature_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

from planet_ros.bundle import graph_check, runtime
from planet_ros.bundle.export import BundleExporter
from planet_ros.bundle.graph_check import check_graph
from planet_ros.bundle.manifest import Manifest, _field_names
from planet_ros.bundle.runtime import Bundle, Rollouts, load_bundle
from planet_ros.config import PlannerSettings, WorldModelSettings
from planet_ros.data import Episode, Statistics
from planet_ros.errors import UserError
from planet_ros.models import Ensemble

LOW, HIGH = floats([-2, 0]), floats([2, 10])
SIGNATURE = signature_of(3, LOW, HIGH)
HORIZON = 4
CONFIGURATIONS: list[dict[str, Any]] = [
    {"members": 1, "activation": "relu", "target": "state", "normalize": False},
    {"members": 3, "predict_continue": True},
    {"members": 2, "head": "gaussian", "activation": "elu", "predict_continue": True},
    {"members": 5, "target": "state", "activation": "tanh", "hidden_sizes": [7, 9, 5]},
]


def model_of(**settings: Any) -> Ensemble:
    values = {"hidden_sizes": [16, 16], "predict_continue": False, **settings}
    model = Ensemble(SIGNATURE, WorldModelSettings(**values))
    give_other_weights(model, seed=0)
    return model


def give_other_weights(model: Ensemble, seed: int) -> None:
    """Weights, and scales as if fitted to data, of another random model."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.5, 0.5)
    model.fit_normalization(
        Statistics.of(
            [
                Episode(
                    observation={"observation": rng.normal(3, 2, (50, 3)).astype(np.float32)},
                    action=np.zeros((49, 2), np.float32),
                    reward=rng.normal(-50, 20, 49),
                    terminated=False,
                    truncated=True,
                )
            ]
        )
    )


def about(**fields: Any) -> dict[str, Any]:
    return {
        "model_kind": "ensemble",
        "horizon": HORIZON,
        "signature": SIGNATURE,
        "planner": PlannerSettings(horizon=HORIZON),
        **fields,
    }


def assert_same_as_torch(bundle: Bundle, model: Ensemble, candidates: int) -> None:
    rng = np.random.default_rng(candidates)
    belief = rng.normal(3, 2, 3).astype(np.float32)
    actions = rng.uniform(LOW, HIGH, (candidates, HORIZON, 2)).astype(np.float32)
    found = bundle.model.imagine(belief, actions)
    with torch.no_grad():
        expected = model.imagine(torch.from_numpy(belief), torch.from_numpy(actions))
    assert found._fields == expected._fields
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is None or other is None:
            continue
        assert one.shape == (candidates, HORIZON)
        assert one.dtype == np.float32
        largest = max(float(other.abs().max()), 1e-6)
        assert np.abs(one - other.numpy()).max() / largest < 1e-4
    seen = rng.normal(size=3).astype(np.float32)
    np.testing.assert_array_equal(
        bundle.model.observe(belief, actions[0, 0], {"observation": seen}), seen
    )


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=str)
def test_onnxruntime_agrees_with_torch_for_any_number_of_candidates(
    tmp_path: Path, configuration: dict[str, Any]
) -> None:
    model = model_of(**configuration)
    exporter = BundleExporter(model, HORIZON)
    for seed in (0, 1):  # the second export replaces the weights in the first one's graphs
        give_other_weights(model, seed)
        exporter.export(tmp_path / "model", about())
        bundle = load_bundle(tmp_path / "model")
        for candidates in (1, 2, 3, 7, 40, 1000, 2000):
            assert_same_as_torch(bundle, model, candidates)


def test_later_exports_carry_new_weights_without_tracing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced = []
    trace = torch.onnx.export

    def counted(*arguments: Any, **options: Any) -> Any:
        traced.append(arguments[0])
        return trace(*arguments, **options)

    monkeypatch.setattr(torch.onnx, "export", counted)
    model = model_of(members=2)
    exporter = BundleExporter(model, HORIZON)
    assert len(traced) == 3  # observe, imagine and predict
    belief, actions = floats([1, 2, 3]), np.full((1, HORIZON, 2), 0.5, np.float32)
    rewards = []
    for seed in range(3):
        give_other_weights(model, seed)
        exporter.export(tmp_path / "model", about())
        rewards.append(load_bundle(tmp_path / "model").model.imagine(belief, actions).rewards)
    assert len(traced) == 3
    assert np.abs(rewards[0] - rewards[1]).max() > 0.1
    assert np.abs(rewards[1] - rewards[2]).max() > 0.1


def test_every_weight_and_scale_of_the_model_reaches_the_graph(tmp_path: Path) -> None:
    model = model_of(members=2, predict_continue=True)
    exporter = BundleExporter(model, HORIZON)
    belief, actions = floats([1, 2, 3]), np.ones((3, HORIZON, 2), np.float32)

    def answers() -> NDArray[np.float32]:
        exporter.export(tmp_path / "model", about())
        found = load_bundle(tmp_path / "model").model.imagine(belief, actions)
        assert found.continues is not None and found.disagreement is not None
        return np.stack([found.rewards, found.continues, found.disagreement])

    before = answers()
    for name, value in model.state_dict().items():
        with torch.no_grad():
            old = value.clone()
            value.mul_(1.5).add_(0.1)
            assert np.abs(answers() - before).max() > 1e-4, name
            value.copy_(old)
    np.testing.assert_array_equal(answers(), before)


def test_manifest_says_where_the_model_comes_from(tmp_path: Path) -> None:
    environment = {"id": "Pendulum-v1", "kwargs": {"g": 9.81}, "wrappers": ["a:B"]}
    fields = about(environment=environment, environment_steps=1400, episodes=7, seed=3)
    BundleExporter(model_of(), HORIZON).export(tmp_path / "model", fields)
    bundle = load_bundle(tmp_path / "model")
    manifest = bundle.manifest
    assert manifest.environment is not None
    assert manifest.environment.id == "Pendulum-v1"
    assert manifest.environment.kwargs == {"g": 9.81}
    assert (manifest.environment_steps, manifest.episodes, manifest.seed) == (1400, 7, 3)
    assert manifest.signature == SIGNATURE
    content = (tmp_path / "model" / "manifest.json").read_bytes()
    assert bundle.digest == hashlib.sha256(content).hexdigest()
    document = json.loads(content)
    for name in ("observe", "imagine"):
        graph = (tmp_path / "model" / f"{name}.onnx").read_bytes()
        assert document["graphs"][name] == {
            "file": f"{name}.onnx",
            "sha256": hashlib.sha256(graph).hexdigest(),
            "bytes": len(graph),
        }
    assert Manifest.from_json(manifest.to_json(), "again") == manifest


def test_manifest_bears_its_own_hash_as_the_docs_define_it(whole: Path) -> None:
    content = (whole / "manifest.json").read_bytes()
    digits = json.loads(content)["manifest_sha256"]
    zeroed = content.replace(digits.encode(), b"0" * 64)
    assert hashlib.sha256(zeroed).hexdigest() == digits


def test_planner_is_written_with_every_number_that_it_uses(tmp_path: Path) -> None:
    BundleExporter(model_of(), HORIZON).export(tmp_path / "model", about())
    planner = json.loads((tmp_path / "model" / "manifest.json").read_bytes())["planner"]
    assert set(planner) == set(PlannerSettings.model_fields)
    assert 1 <= planner["elites"] <= planner["candidates"]


def test_what_the_model_does_not_predict_is_no_output_of_the_graph(whole: Path) -> None:
    graph = onnx.load(whole / "imagine.onnx").graph
    assert [output.name for output in graph.output] == ["rewards"]
    found = load_bundle(whole).model.imagine(
        np.zeros(3, np.float32), np.zeros((5, HORIZON, 2), np.float32)
    )
    assert isinstance(found, Rollouts)
    assert (found.continues, found.disagreement) == (None, None)


def test_refused_export_names_the_file_and_leaves_the_old_bundle(whole: Path) -> None:
    before = (whole / "manifest.json").read_bytes()
    with pytest.raises(UserError) as caught:
        BundleExporter(model_of(), HORIZON).export(whole, about(planner=PlannerSettings(horizon=9)))
    assert str(caught.value).startswith(
        f"{whole}/manifest.json: planner.horizon: found 9, expected"
    )
    assert (whole / "manifest.json").read_bytes() == before


@dataclass(frozen=True)
class Folder:
    """A bundle on disk that is about to be damaged."""

    path: Path

    def edit(self, change: Callable[[dict[str, Any]], None], *, honest: bool = True) -> None:
        """Another manifest; an honest one bears a hash that agrees."""
        file = self.path / "manifest.json"
        document = json.loads(file.read_text())
        change(document)
        if honest and "manifest_sha256" in document:
            document["manifest_sha256"] = "0" * 64
            content = json.dumps(document).encode()
            document["manifest_sha256"] = hashlib.sha256(content).hexdigest()
        file.write_text(json.dumps(document))

    def rewrite(self, name: str, content: bytes) -> None:
        """Another content for a graph, with a manifest that agrees."""
        (self.path / f"{name}.onnx").write_bytes(content)
        self.edit(
            lambda document: document["graphs"][name].update(
                sha256=hashlib.sha256(content).hexdigest(), bytes=len(content)
            )
        )


def _add_goal(folder: Folder) -> None:
    goal = {"name": "wanted", "shape": [2], "role": "goal"}
    folder.edit(lambda document: document["signature"]["observation"].append(goal))


def _remove(name: str) -> Callable[[Folder], None]:
    return lambda folder: (folder.path / name).unlink()


def _cut(name: str, length: int) -> Callable[[Folder], None]:
    def damage(folder: Folder) -> None:
        file = folder.path / name
        file.write_bytes(file.read_bytes()[:length])

    return damage


def _flip(name: str) -> Callable[[Folder], None]:
    def damage(folder: Folder) -> None:
        content = bytearray((folder.path / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder.path / name).write_bytes(content)

    return damage


def _set(*keys: Any) -> Callable[[Folder], None]:
    """``_set("planner", "horizon", 3)``: another value for a field of the manifest."""
    *path, last, value = keys

    def change(document: Any) -> None:
        for key in path:
            document = document[key]
        document[last] = value

    return lambda folder: folder.edit(change)


def _delete(name: str) -> Callable[[Folder], None]:
    return lambda folder: folder.edit(lambda document: document.pop(name))


def _one_action_less(folder: Folder) -> None:
    folder.edit(lambda document: document["signature"]["action"].pop())


def _longer_horizon_throughout(folder: Folder) -> None:
    _set("horizon", 9)(folder)
    _set("planner", "horizon", 9)(folder)


def _more_to_imagine(folder: Folder) -> None:
    _set("horizon", 1000)(folder)
    _set("planner", "horizon", 1000)(folder)
    _set("planner", "candidates", 10_000)(folder)


def _swap_files(folder: Folder) -> None:
    observe, imagine = folder.path / "observe.onnx", folder.path / "imagine.onnx"
    observe.rename(folder.path / "aside")
    imagine.rename(observe)
    (folder.path / "aside").rename(imagine)


def _swap_in_manifest(folder: Folder) -> None:
    def change(document: dict[str, Any]) -> None:
        graphs = document["graphs"]
        graphs["observe"], graphs["imagine"] = graphs["imagine"], graphs["observe"]

    folder.edit(change)


def _outside(file: str) -> Callable[[Folder], None]:
    def damage(folder: Folder) -> None:
        shutil.copy(folder.path / "imagine.onnx", folder.path.parent / "imagine.onnx")
        name = str(folder.path.parent / "imagine.onnx") if file == "absolute" else file
        _set("graphs", "imagine", "file", name)(folder)

    return damage


def _no_graph_but_the_right_hash(folder: Folder) -> None:
    folder.rewrite("imagine", b"\x08\x07 this is no graph")


def _content(content: str | bytes) -> Callable[[Folder], None]:
    """Another manifest altogether."""

    def damage(folder: Folder) -> None:
        encoded = content.encode() if isinstance(content, str) else content
        (folder.path / "manifest.json").write_bytes(encoded)

    return damage


def _pipe(name: str) -> Callable[[Folder], None]:
    def damage(folder: Folder) -> None:
        (folder.path / name).unlink()
        os.mkfifo(folder.path / name)

    return damage


def _device(name: str) -> Callable[[Folder], None]:
    def damage(folder: Folder) -> None:
        (folder.path / name).unlink()
        (folder.path / name).symlink_to("/dev/zero")

    return damage


CAMERA = {"name": "camera", "shape": [8, 8, 3], "role": "image", "dtype": "uint8"}

DAMAGES: dict[str, tuple[Callable[[Folder], None], list[str]]] = {
    "no manifest": (_remove("manifest.json"), ["manifest.json: cannot be read: No such file"]),
    "no observe graph": (_remove("observe.onnx"), ["observe.onnx: cannot be read: No such file"]),
    "no imagine graph": (_remove("imagine.onnx"), ["imagine.onnx: cannot be read: No such file"]),
    "manifest cut short": (_cut("manifest.json", 100), ["manifest.json: is not JSON"]),
    "empty manifest": (_cut("manifest.json", 0), ["manifest.json: is not JSON"]),
    "binary manifest": (
        _content(b"\xff\x00"),
        ["manifest.json: is not JSON"],
    ),
    "manifest that is a list": (
        _content("[]"),
        ["manifest.json: found a list, expected an object"],
    ),
    "graph cut short": (_cut("imagine.onnx", 500), ["imagine.onnx: found 500 bytes", "expected"]),
    "empty graph": (_cut("observe.onnx", 0), ["observe.onnx: found 0 bytes"]),
    "flipped bit in imagine": (_flip("imagine.onnx"), ["imagine.onnx: found SHA-256", "expected"]),
    "flipped bit in observe": (_flip("observe.onnx"), ["observe.onnx: found SHA-256", "expected"]),
    "not a graph": (_no_graph_but_the_right_hash, ["imagine.onnx: is not an ONNX file"]),
    "graph files swapped": (_swap_files, ["observe.onnx: found ", "expected"]),
    "graphs swapped in manifest": (_swap_in_manifest, ["imagine.onnx: inputs: found", "expected"]),
    "later version": (_set("version", 3), ["manifest.json: version: found 3, expected 1 or 2"]),
    "version that is text": (_set("version", "2"), ["manifest.json: version: found '2', expected"]),
    "no version": (_delete("version"), ["manifest.json: version: found None, expected 1 or 2"]),
    "no hash of its own": (
        _delete("manifest_sha256"),
        ["manifest.json: manifest_sha256: found None, expected the manifest's own SHA-256"],
    ),
    "field changed by hand": (
        lambda folder: folder.edit(lambda document: document.update(seed=5), honest=False),
        ["manifest.json: found SHA-256", "expected", "manifest_sha256 says: the file was altered"],
    ),
    "field that must be understood and is not": (
        _set("requires", ["horizon", "weather.forecast"]),
        ["manifest.json: requires: found ['weather.forecast']", "update planet_ros"],
    ),
    "graph that must be understood and is not": (
        _set("requires", ["graphs.propose"]),
        ["manifest.json: requires: found ['graphs.propose']", "update planet_ros"],
    ),
    "requirements that are no list": (_set("requires", "horizon"), ["requires: found 'horizon'"]),
    "unknown planner": (_set("planner", "kind", "oracle"), ["planner.kind: ", "found 'oracle'"]),
    "goal and nothing that is seen": (
        _set("signature", "observation", 0, {"name": "goal", "shape": [3], "role": "goal"}),
        ["manifest.json: signature: found the goals ['goal']", "beside something that is seen"],
    ),
    "goal that the graph does not take": (
        _add_goal,
        ["imagine.onnx: inputs: found ['actions', 'belief']", "expected", "'goal'"],
    ),
    "other format": (_set("format", "tar"), ["manifest.json: format: ", "'tar'"]),
    "other belief size": (
        _set("belief_size", 4),
        ["observe.onnx: input belief: found", "[3]", "expected", "[4]"],
    ),
    "belief size 0": (_set("belief_size", 0), ["manifest.json: belief_size: ", "found 0"]),
    "belief size that is text": (_set("belief_size", "a"), ["belief_size: ", "found 'a'"]),
    "no belief size": (_delete("belief_size"), ["manifest.json: belief_size: Field required"]),
    "one action less": (
        _one_action_less,
        ["observe.onnx: input action: found", "[2]", "expected", "[1]"],
    ),
    "no actions": (
        _set("signature", "action", []),
        ["manifest.json: signature: found 0 actions, expected 1 to"],
    ),
    "no signature": (_delete("signature"), ["manifest.json: signature: Field required"]),
    "other horizon than the planner's": (
        _set("horizon", 9),
        ["manifest.json: planner.horizon: found 4, expected horizon = 9"],
    ),
    "other horizon throughout": (
        _longer_horizon_throughout,
        ["imagine.onnx: input actions: found", "4, 2]", "expected", "9, 2]"],
    ),
    "other observation shape": (
        _set("signature", "observation", 0, "shape", [5]),
        ["observe.onnx: input observation: found", "[3]", "expected", "[5]"],
    ),
    "other observation name": (
        _set("signature", "observation", 0, "name", "joints"),
        ["observe.onnx: inputs: found", "'observation'", "expected", "'joints'"],
    ),
    "camera that the graph does not have": (
        _set("signature", "observation", 0, CAMERA),
        ["observe.onnx: inputs: found", "'observation'", "'camera'"],
    ),
    "image without channels": (
        _set("signature", "observation", 0, {**CAMERA, "shape": [8, 8]}),
        ["manifest.json: signature.observation.0: found camera of uint8 [8, 8]", "channels"],
    ),
    "observation of doubles": (
        _set("signature", "observation", 0, "dtype", "float64"),
        ["manifest.json: signature.observation.0.dtype", "'float64'"],
    ),
    "actions upside down": (
        _set("signature", "action", 1, "low", 20.0),
        ["manifest.json: signature.action.1", "from 20 to 10", "low < high"],
    ),
    "infinite action": (
        _set("signature", "action", 0, "high", float("inf")),
        ["manifest.json: signature.action.0", "to inf"],
    ),
    **{
        f"control period of {period}": (
            _set("signature", "period_s", period),
            ["manifest.json: signature: period_s: found", "expected 0.001 to 60 seconds"],
        )
        for period in (0, 1e-9, 1e300, float("inf"), float("nan"))
    },
    "huge belief": (_set("belief_size", 10**7), ["belief_size: ", "found 10000000"]),
    "huge horizon": (_set("horizon", 1001), ["manifest.json: horizon: ", "found 1001"]),
    "more to imagine than there is memory": (
        _more_to_imagine,
        ["planner.candidates: found 10000 candidates of 1000 steps", "at most 16777216"],
    ),
    "more elites than candidates": (
        _set("planner", "elites", 41),
        ["manifest.json: planner", "planner.elites: found 41, expected at most"],
    ),
    "graph left out": (
        lambda folder: folder.edit(lambda document: document["graphs"].pop("observe")),
        ["manifest.json: graphs: found ['imagine', 'predict'], expected observe and imagine"],
    ),
    "graph in the folder above": (
        _outside("../imagine.onnx"),
        ["manifest.json: graphs: found file '../imagine.onnx'", "own folder"],
    ),
    "graph elsewhere": (
        _outside("absolute"),
        ["manifest.json: graphs: found file '/", "own folder"],
    ),
    "graph named as a folder": (_outside(".."), ["graphs: found file '..'", "own folder"]),
    "graph with a NUL in its name": (_outside("a\0b"), ["graphs: found file 'a\\x00b'"]),
    "huge graph": (
        _set("graphs", "imagine", "bytes", 10**10),
        ["manifest.json: graphs.imagine.bytes: ", "found 10000000000"],
    ),
    "manifest of more than a megabyte": (
        _set("software", "torch", "x" * 1_000_000),
        ["manifest.json: found 1001", "bytes, expected at most 1000000"],
    ),
    "nested too deep": (
        _content("[" * 100_000),
        ["manifest.json: is not JSON: recursion limit"],
    ),
    "nested too deep within": (
        _content('{"version": 2, "environment": {"kwargs":' + '{"a":' * 50_000),
        ["manifest.json: is not JSON: recursion limit"],
    ),
    "number too long": (
        _content('{"version": ' + "9" * 100_000 + "}"),
        ["manifest.json: "],
    ),
    "manifest that is a pipe": (
        _pipe("manifest.json"),
        ["manifest.json: cannot be read: found no"],
    ),
    "graph that is a pipe": (_pipe("imagine.onnx"), ["imagine.onnx: cannot be read: found no"]),
    "graph that is a device": (_device("observe.onnx"), ["observe.onnx: cannot be read: found no"]),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "model"
    BundleExporter(model_of(members=1, hidden_sizes=[5]), HORIZON).export(path, about())
    return path


class TestDamage:
    @pytest.fixture
    def folder(self, whole: Path, tmp_path: Path) -> Folder:
        shutil.copytree(whole, tmp_path / "model")
        return Folder(tmp_path / "model")

    @pytest.mark.parametrize("kind", DAMAGES)
    def test_is_an_error_that_names_the_file_and_what_is_wrong_with_it(
        self, folder: Folder, kind: str
    ) -> None:
        load_bundle(folder.path)
        damage, reasons = DAMAGES[kind]
        damage(folder)
        with pytest.raises(UserError) as caught:
            load_bundle(folder.path)
        message = str(caught.value)
        assert message.startswith(str(folder.path))
        at = 0
        for reason in reasons:  # in this order
            assert reason in message[at:], message
            at = message.index(reason, at) + len(reason)

    def test_no_folder_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="none: found nothing, expected the folder of a bundle"):
            load_bundle(tmp_path / "none")

    def test_file_in_place_of_the_folder_is_an_error(self, folder: Folder) -> None:
        with pytest.raises(UserError, match=r"manifest\.json: found a file, expected the folder"):
            load_bundle(folder.path / "manifest.json")

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_weights_that_are_not_finite_are_an_error(self, tmp_path: Path, value: float) -> None:
        model = model_of()
        with torch.no_grad():
            model.biases[-1][0, 0, -1] = value
        BundleExporter(model, HORIZON).export(tmp_path / "model", about())
        with pytest.raises(UserError) as caught:
            load_bundle(tmp_path / "model")
        assert f"{tmp_path / 'model'}: rewards: found values that are not finite" in str(
            caught.value
        )


class TestManifest:
    def test_no_bit_of_it_can_flip_unnoticed(self, whole: Path) -> None:
        content = (whole / "manifest.json").read_bytes()
        Manifest.from_json(content, "whole")
        damaged = bytearray(content)
        for at in range(len(content)):
            for bit in range(8):
                damaged[at] ^= 1 << bit
                with pytest.raises(UserError):
                    Manifest.from_json(bytes(damaged), "damaged")
                damaged[at] ^= 1 << bit

    @pytest.mark.parametrize(
        "keys",
        [
            ("later",),
            ("signature", "later"),
            ("signature", "observation", 0, "later"),
            ("signature", "action", 1, "later"),
            ("planner", "later"),
            ("evaluation", "later"),
            ("environment", "later"),
            ("graphs", "observe", "later"),
            ("graphs", "later"),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("value", [{"a": [1, {}]}, None, 7], ids=str)
    def test_unknown_field_is_passed_over(
        self, whole: Path, tmp_path: Path, keys: tuple[Any, ...], value: Any
    ) -> None:
        shutil.copytree(whole, tmp_path / "model")
        folder = Folder(tmp_path / "model")
        _set("environment", {"id": "Pendulum-v1"})(folder)
        before = load_bundle(folder.path).manifest
        _set(*keys, value)(folder)
        assert load_bundle(folder.path).manifest == before

    def test_what_is_known_can_be_required(self, whole: Path, tmp_path: Path) -> None:
        shutil.copytree(whole, tmp_path / "model")
        required = [
            "manifest_sha256",
            "signature.observation.role",
            "signature.observation.numbers.unit",
            "signature.action.low",
            "planner.noise_beta",
            "graphs.imagine",
            "graphs.imagine.continues",
        ]
        _set("requires", required)(Folder(tmp_path / "model"))
        assert load_bundle(tmp_path / "model").manifest.requires == required

    @settings(max_examples=150, deadline=None)
    @given(data=st.data())
    def test_any_document_is_read_or_refused(self, whole: Path, data: st.DataObject) -> None:
        """One value, anywhere in the document, is another one: no error but `UserError`."""
        document = json.loads((whole / "manifest.json").read_bytes())
        holder, key = document, data.draw(st.sampled_from(sorted(document)))
        while isinstance(holder[key], (dict, list)) and holder[key] and data.draw(st.booleans()):
            holder = holder[key]
            keys = list(holder) if isinstance(holder, dict) else range(len(holder))
            key = data.draw(st.sampled_from(keys))
        holder[key] = data.draw(
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.sampled_from([10**400, -(2**63), 1e308])
                | st.floats()
                | st.text(max_size=5),
                lambda inner: (
                    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner)
                ),
                max_leaves=5,
            )
        )
        document["manifest_sha256"] = "0" * 64
        if data.draw(st.booleans()):
            document["version"] = 1
        content = json.dumps(document).encode()
        digits = hashlib.sha256(content).hexdigest().encode()
        try:
            Manifest.from_json(content.replace(b"0" * 64, digits, 1), "manifest.json")
        except UserError as error:
            assert str(error).startswith("manifest.json: ")
            assert len(str(error)) < 3000

    @settings(max_examples=150, deadline=None)
    @given(content=st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode("utf-16")))
    def test_any_bytes_are_refused(self, content: bytes) -> None:
        with pytest.raises(UserError):
            Manifest.from_json(content, "manifest.json")


class TestAnnouncement:
    def test_announced_bundle_is_loaded(self, whole: Path) -> None:
        digest = hashlib.sha256((whole / "manifest.json").read_bytes()).hexdigest()
        assert load_bundle(whole, digest).digest == digest

    @pytest.mark.parametrize("content", [None, b"[" * 10_000, b""])
    def test_another_one_is_refused_before_anything_of_it_is_parsed(
        self, whole: Path, tmp_path: Path, content: bytes | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(whole, tmp_path / "model")
        (tmp_path / "model" / "imagine.onnx").write_bytes(b"loops for ever")
        if content is not None:
            (tmp_path / "model" / "manifest.json").write_bytes(content)
        monkeypatch.setattr(Manifest, "from_json", None)
        with pytest.raises(UserError, match=r"manifest\.json: found SHA-256 .* as announced"):
            load_bundle(tmp_path / "model", "0" * 64)


def test_checks_come_in_the_order_that_the_docs_state(whole: Path, tmp_path: Path) -> None:
    """Each wrong thing is mended in turn, and the next one is found."""
    shutil.copytree(whole, tmp_path / "model")
    folder = Folder(tmp_path / "model")
    good = {file.name: file.read_bytes() for file in folder.path.iterdir()}

    def reason(digest: str | None = None) -> str:
        with pytest.raises(UserError) as caught:
            load_bundle(folder.path, digest)
        return str(caught.value)

    altered = good["imagine.onnx"] + b"x"
    (folder.path / "imagine.onnx").write_bytes(altered)
    _set("version", 7)(folder)
    folder.edit(lambda document: document.update(requires=["x"], belief_size=9), honest=False)
    assert "as announced" in reason("0" * 64)
    assert "manifest_sha256" in reason()
    folder.edit(lambda document: None)
    assert "version: found 7" in reason()
    _set("version", 2)(folder)
    assert "requires: found ['x']" in reason()
    _delete("requires")(folder)
    _set("horizon", 0)(folder)
    assert "manifest.json: horizon" in reason()
    _set("horizon", HORIZON)(folder)
    assert "imagine.onnx: found" in reason()
    folder.rewrite("imagine", altered)
    assert "imagine.onnx: is not an ONNX file" in reason()
    folder.rewrite("imagine", good["imagine.onnx"])
    assert "observe.onnx: input belief" in reason()
    _set("belief_size", 3)(folder)
    load_bundle(folder.path)


def imagining(
    *nodes: onnx.NodeProto,
    initializers: Any = (),
    outputs: tuple[str, ...] = ("rewards",),
    **model: Any,
) -> onnx.ModelProto:
    """A graph for `imagine` whose rewards are the first action, and nodes beside."""
    rows: list[str | int | None] = ["N", HORIZON]
    starts = helper.make_tensor("starts", TensorProto.INT64, [1], [0])
    ends = helper.make_tensor("ends", TensorProto.INT64, [1], [1])
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [2])
    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["belief"], ["unused"], keepdims=0),
            helper.make_node("Slice", ["actions", "starts", "ends", "axes"], ["first"]),
            helper.make_node("Squeeze", ["first", "axes"], ["squeezed"]),
            helper.make_node("Mul", ["unused", "zero"], ["nothing"]),
            helper.make_node("Add", ["squeezed", "nothing"], ["rewards"]),
            *nodes,
        ],
        "imagine",
        [
            helper.make_tensor_value_info("belief", TensorProto.FLOAT, [3]),
            helper.make_tensor_value_info("actions", TensorProto.FLOAT, [*rows, 2]),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, rows) for name in outputs],
        [
            starts,
            ends,
            axes,
            helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
            *initializers,
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **model)


def _subgraph() -> onnx.GraphProto:
    value = helper.make_node("Constant", [], ["x"], value_float=1.0)
    output = helper.make_tensor_value_info("x", TensorProto.FLOAT, [])
    return helper.make_graph([value], "branch", [], [output])


def _external() -> onnx.TensorProto:
    tensor = helper.make_tensor("away", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../weights"
    return tensor


def _sparse_external() -> onnx.SparseTensorProto:
    indices = helper.make_tensor("i", TensorProto.INT64, [3], [0, 1, 2])
    return helper.make_sparse_tensor(_external(), indices, [9])


def _function() -> onnx.FunctionProto:
    body = [helper.make_node("Identity", ["x"], ["y"])]
    return helper.make_function("own", "Same", ["x"], ["y"], body, [helper.make_opsetid("", 17)])


FORBIDDEN: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "condition": (
        lambda: imagining(
            helper.make_node(
                "If", ["yes"], ["y"], then_branch=_subgraph(), else_branch=_subgraph()
            ),
            initializers=[helper.make_tensor("yes", TensorProto.BOOL, [], [True])],
        ),
        "the operator 'If', expected no loops and no conditions",
    ),
    "subgraph": (
        lambda: imagining(helper.make_node("Else", ["belief"], ["y"], branch=_subgraph())),
        "a graph within a node",
    ),
    "subgraphs": (
        lambda: imagining(helper.make_node("Else", ["belief"], ["y"], branches=[_subgraph()])),
        "a graph within a node",
    ),
    "operator of onnxruntime": (
        lambda: imagining(helper.make_node("Gelu", ["belief"], ["y"], domain="com.microsoft")),
        "an operator of the domain 'com.microsoft', expected standard operators alone",
    ),
    "function": (lambda: imagining(functions=[_function()]), "functions of its own"),
    "external weights": (
        lambda: imagining(initializers=[_external()]),
        "a tensor that is kept in another file",
    ),
    "external constant": (
        lambda: imagining(helper.make_node("Constant", [], ["y"], value=_external())),
        "a tensor that is kept in another file",
    ),
    "external sparse constant": (
        lambda: imagining(helper.make_node("Constant", [], ["y"], sparse_value=_sparse_external())),
        "a tensor that is kept in another file",
    ),
}


class TestGraphs:
    @pytest.fixture
    def folder(self, whole: Path, tmp_path: Path) -> Folder:
        shutil.copytree(whole, tmp_path / "model")
        return Folder(tmp_path / "model")

    def test_graph_of_another_maker_is_loaded(self, folder: Folder) -> None:
        folder.rewrite("imagine", imagining().SerializeToString())
        actions = np.arange(3 * HORIZON * 2, dtype=np.float32).reshape(3, HORIZON, 2)
        found = load_bundle(folder.path).model.imagine(np.ones(3, np.float32), actions)
        np.testing.assert_array_equal(found.rewards, actions[:, :, 0])
        assert (found.continues, found.disagreement) == (None, None)

    def test_further_outputs_are_passed_over(self, folder: Folder) -> None:
        graph = imagining(
            helper.make_node("Neg", ["rewards"], ["regret"]),
            helper.make_node("Abs", ["rewards"], ["disagreement"]),
            outputs=("regret", "disagreement", "rewards"),
        )
        folder.rewrite("imagine", graph.SerializeToString())
        actions = -np.ones((3, HORIZON, 2), np.float32)
        found = load_bundle(folder.path).model.imagine(np.ones(3, np.float32), actions)
        assert found.disagreement is not None
        np.testing.assert_array_equal(found.rewards, -1)
        np.testing.assert_array_equal(found.disagreement, 1)
        assert found.continues is None

    def test_rewards_are_required(self, folder: Folder) -> None:
        graph = imagining(
            helper.make_node("Abs", ["rewards"], ["disagreement"]), outputs=("disagreement",)
        )
        folder.rewrite("imagine", graph.SerializeToString())
        with pytest.raises(
            UserError, match=r"outputs: found \['disagreement'\], expected .*rewards"
        ):
            load_bundle(folder.path)

    @pytest.mark.parametrize("rows", [[7, HORIZON], ["N", "H"]], ids=str)
    def test_candidates_are_open_and_the_horizon_is_fixed(
        self, folder: Folder, rows: list[Any]
    ) -> None:
        graph = imagining()
        shape = graph.graph.input[1].type.tensor_type.shape
        for dimension, size in zip(shape.dim[:2], rows, strict=True):
            dimension.Clear()
            if isinstance(size, int):
                dimension.dim_value = size
            else:
                dimension.dim_param = size
        folder.rewrite("imagine", graph.SerializeToString())
        with pytest.raises(
            UserError, match=r"imagine\.onnx: input actions: found .* expected .*4, 2"
        ):
            load_bundle(folder.path)

    @pytest.mark.parametrize("kind", FORBIDDEN)
    def test_what_might_not_end_or_lies_elsewhere_is_refused_before_it_runs(
        self, folder: Folder, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make, reason = FORBIDDEN[kind]
        folder.rewrite("imagine", make().SerializeToString())
        monkeypatch.setattr(runtime.onnxruntime, "InferenceSession", None)
        with pytest.raises(UserError) as caught:
            load_bundle(folder.path)
        assert f"imagine.onnx: found {reason}" in str(caught.value)

    def test_export_refuses_what_a_reader_would(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "planet_ros.bundle.export._trace",
            lambda *arguments, **options: imagining(initializers=[_external()]),
        )
        with pytest.raises(UserError, match="kept in another file"):
            BundleExporter(model_of(), HORIZON)

    def test_format_of_onnxruntime_itself_is_refused(self, folder: Folder) -> None:
        """It is told by four letters, which may stand in an ONNX file too, in a text of it."""
        content = imagining().SerializeToString()
        field = b"\x32\x08\x00\x00ORTM\x00\x00"  # doc_string of the model
        check_graph(field + content, "both")
        folder.rewrite("imagine", field + content)
        try:
            bundle = load_bundle(folder.path)
        except UserError:
            return
        found = bundle.model.imagine(np.ones(3, np.float32), np.ones((1, HORIZON, 2), np.float32))
        np.testing.assert_array_equal(found.rewards, 1)  # read as what was checked

    def test_reserved_graph_is_checked_by_its_hash_and_others_are_not_read(
        self, folder: Folder
    ) -> None:
        graph = {"file": "propose.onnx", "sha256": "0" * 64, "bytes": 3}
        _set("graphs", "dream", graph)(folder)
        load_bundle(folder.path)
        _set("graphs", "propose", graph)(folder)
        with pytest.raises(UserError, match=r"propose\.onnx: cannot be read: No such file"):
            load_bundle(folder.path)
        folder.rewrite("propose", b"any")
        load_bundle(folder.path)

    @pytest.mark.parametrize(
        ("when", "products", "left_s"), [("in a run", 1000, 2), ("while it is loaded", 150, 30)]
    )
    def test_graph_that_takes_too_long_ends_with_an_error(
        self,
        folder: Folder,
        when: str,
        products: int,
        left_s: float,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Products of large matrices, one after another, for many seconds or for some.

        A run is stopped; the making of a session cannot be, and goes on a little by itself.
        """
        size, last = 700, "start"
        matrix = np.full((size, size), 1 / size, np.float32)
        inputs = ["matrix", "nothing" if when == "in a run" else "zero"]  # known when it is loaded
        nodes = [helper.make_node("Add", inputs, ["start"])]
        for index in range(products):
            nodes.append(helper.make_node("MatMul", [last, "matrix"], [f"power_{index}"]))
            last = f"power_{index}"
        nodes.append(helper.make_node("ReduceMean", [last], ["mean"], keepdims=0))
        nodes.append(helper.make_node("Add", ["rewards", "mean"], ["continues"]))
        graph = imagining(
            *nodes,
            initializers=[onnx.numpy_helper.from_array(matrix, "matrix")],
            outputs=("rewards", "continues"),
        )
        folder.rewrite("imagine", graph.SerializeToString())
        monkeypatch.setattr(runtime, "LOAD_LIMIT_S", 0.3)
        began = time.monotonic()
        with pytest.raises(UserError, match=r"the graphs were not through after 0\.3 s"):
            load_bundle(folder.path)
        assert time.monotonic() - began < 2  # and so long is the wait at most
        until = time.monotonic() + left_s
        while any(thread.name == "bundle" for thread in threading.enumerate()):
            assert time.monotonic() < until, "it runs on"
            time.sleep(0.05)


class TestGraphCheck:
    """A reader of foreign bytes: it ends, soon, and with one kind of error."""

    @staticmethod
    def verdict(content: bytes) -> bool:
        try:
            check_graph(content, "graph.onnx")
        except UserError as error:
            assert str(error).startswith("graph.onnx: ")
            assert len(str(error)) < 300
            return False
        return True

    @settings(max_examples=1000, deadline=None)
    @given(content=st.binary(max_size=200))
    def test_any_bytes_pass_or_are_refused(self, content: bytes) -> None:
        self.verdict(content)

    @settings(max_examples=500, deadline=None)
    @given(data=st.data(), kind=st.sampled_from(sorted(FORBIDDEN)))
    def test_so_does_a_graph_with_a_few_other_bytes(self, data: st.DataObject, kind: str) -> None:
        content = bytearray(FORBIDDEN[kind][0]().SerializeToString())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        cut = data.draw(st.integers(0, len(content)))
        self.verdict(bytes(content))
        self.verdict(bytes(content[:cut]))

    @pytest.mark.parametrize("kind", FORBIDDEN)
    def test_fields_in_any_order_and_numbers_in_a_longer_form_hide_nothing(self, kind: str) -> None:
        """Protocol buffers allow both, and merge what is given twice."""
        content = FORBIDDEN[kind][0]().SerializeToString()
        graph = onnx.ModelProto.FromString(content).graph.SerializeToString()
        assert not self.verdict(content + imagining().SerializeToString())
        assert not self.verdict(imagining().SerializeToString() + content)
        if kind != "function":
            size = struct.pack("5B", *[len(graph) >> 7 * at & 127 | 128 for at in range(4)], 0)
            assert not self.verdict(b"\xba\x80\x00" + size + graph)  # 58, which is field 7

    def test_time_grows_with_the_size_alone(self) -> None:
        """Nested as deep as bytes allow, or of the smallest fields: a second for a megabyte."""
        hostile = [b"\x3a\x00" * 2**19, b"\x08\x01" * 2**19, b"\x80" * 2**20]
        nested = b""
        for _ in range(1000):
            nested = b"\x3a" + _varint(len(nested)) + nested
        began = time.process_time()
        for content in (*hostile, nested, b"\x3a" + _varint(2**20) + b"\x0a\x00" * 2**19):
            self.verdict(content)
        assert time.process_time() - began < 10

    def test_too_many_fields_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(graph_check, "_MAX_FIELDS", 1000)
        with pytest.raises(UserError, match="found more than 1000 fields"):
            check_graph(b"\x3a\x00" * 1001, "graph.onnx")
        check_graph(b"\x3a\x00" * 1000, "graph.onnx")


def _varint(value: int) -> bytes:
    digits = []
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


VERSION_1 = Path(__file__).parents[1] / "fixtures" / "bundles"


class TestVersion1:
    """Bundles that the code of version 1 wrote; the numbers are what that code gave for them."""

    @staticmethod
    def played(name: str) -> tuple[Bundle, NDArray[np.float32], Rollouts]:
        bundle = load_bundle(VERSION_1 / name)
        belief = bundle.model.initial_belief()
        for step, action in enumerate(floats([[0.0, 0.0], [0.25, -0.75]]), start=1):
            seen: dict[str, Any] = {"observation": floats([0.5, -1.25]) * step}
            for part, shape in bundle.manifest.signature.images.items():
                pixels = np.arange(np.prod(shape)) * 37 % 256
                seen[part] = pixels.astype(np.uint8).reshape(shape)
            belief = bundle.model.observe(belief, action, seen)
        actions = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 2, 2)
        return bundle, belief, bundle.model.imagine(belief, actions)

    def test_ensemble_gives_the_same_numbers(self) -> None:
        bundle, belief, found = self.played("version_1_ensemble")
        assert bundle.digest == "1f365f44d50b938dce7b59839ca1cc06a8498dfde3f94c5b83215cbc6eae9a57"
        assert found.continues is not None and found.disagreement is not None
        np.testing.assert_array_equal(belief, [1.0, -2.5])
        for one, other in (
            (
                found.rewards,
                [
                    [-2.261042833328247, -2.26637864112854],
                    [-2.313404083251953, -2.3136837482452393],
                    [-2.354175329208374, -2.3494105339050293],
                ],
            ),
            (
                found.continues,
                [
                    [0.5189154148101807, 0.5264649987220764],
                    [0.5346185564994812, 0.5405219793319702],
                    [0.5464930534362793, 0.5507089495658875],
                ],
            ),
            (
                found.disagreement,
                [
                    [0.021677732467651367, 0.14259862899780273],
                    [0.20462357997894287, 0.2875936031341553],
                    [0.31963658332824707, 0.37027037143707275],
                ],
            ),
        ):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)

    def test_rssm_with_an_image_gives_the_same_numbers(self) -> None:
        bundle, belief, found = self.played("version_1_rssm_image")
        assert bundle.digest == "31e825dbc5b4f96918d7870ab2d3529a6a67170f9e11dc0d4f3dec1e6a33a98b"
        np.testing.assert_allclose(
            belief,
            [
                -0.22610391676425934,
                -0.09958933293819427,
                -0.12345708906650543,
                -0.058983732014894485,
                -0.16784173250198364,
                -0.2672618627548218,
            ],
            rtol=1e-5,
            atol=1e-6,
        )
        rewards = [
            [-7.357749938964844, -7.342391014099121],
            [-7.342354774475098, -7.323598384857178],
            [-7.3295488357543945, -7.313538074493408],
        ]
        np.testing.assert_allclose(found.rewards, rewards, rtol=1e-6)
        np.testing.assert_array_equal(found.continues, 1)
        np.testing.assert_array_equal(found.disagreement, 0)

    def test_document_says_the_same_in_the_form_of_this_version(self) -> None:
        manifest = load_bundle(VERSION_1 / "version_1_rssm_image").manifest
        assert manifest.signature == signature_of(
            2, [-1, -1], [1, 1], {"camera": (8, 8, 1)}, period_s=0.04
        )
        assert (manifest.planner.candidates, manifest.planner.elites) == (8, 2)
        assert manifest.environment is not None
        assert manifest.environment.modules == ["tiny_environments"]
        again = Manifest.from_json(manifest.to_json(), "again")
        assert again == manifest
        assert json.loads(manifest.to_json())["version"] == 2

    def test_field_that_is_missing_is_named(self, tmp_path: Path) -> None:
        shutil.copytree(VERSION_1 / "version_1_ensemble", tmp_path / "model")
        folder = Folder(tmp_path / "model")
        _set("later", 3)(folder)
        load_bundle(folder.path)
        _delete("control_period_s")(folder)
        with pytest.raises(UserError, match="period_s: Field required"):
            load_bundle(folder.path)


@pytest.mark.parametrize("name", ["/\udcff/model", "/" + "x" * 5000, "a\0b"], ids=ascii)
def test_path_that_cannot_be_is_an_error_that_can_be_printed(name: str) -> None:
    with pytest.raises(UserError) as caught:
        load_bundle(name)
    str(caught.value).encode()


def test_bundle_replaced_while_it_is_read_is_read_as_one_or_the_other(tmp_path: Path) -> None:
    path = tmp_path / "model"
    model = model_of(members=1, hidden_sizes=[4])
    exporter = BundleExporter(model, HORIZON)

    def export(number: int) -> None:
        """A model that predicts its number as every reward."""
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
            model.target_mean[-1] = number
        exporter.export(path, about(environment_steps=number))

    done = threading.Event()
    failures: list[BaseException] = []

    def replace_forever() -> None:
        number = 1
        while not done.is_set():
            try:
                export(number)
            except BaseException as error:
                failures.append(error)
                return
            number += 1

    export(0)
    writer = threading.Thread(target=replace_forever, daemon=True)
    writer.start()
    numbers = set()
    try:
        for _ in range(60):
            bundle = load_bundle(path)
            number = bundle.manifest.environment_steps
            rollouts = bundle.model.imagine(
                np.zeros(3, np.float32), np.zeros((2, HORIZON, 2), np.float32)
            )
            np.testing.assert_array_equal(rollouts.rewards, number)
            numbers.add(number)
    finally:
        done.set()
        writer.join(timeout=30)
    assert not failures
    assert len(numbers) > 1
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


class TestDocs:
    """docs/bundle.md is all that the maker of another reader has."""

    def test_reader_that_stands_there_reads_what_is_written(
        self, root: Path, tmp_path: Path
    ) -> None:
        signature = signature_of(3, [-2], [2])
        settings = WorldModelSettings(members=2, hidden_sizes=[8], predict_continue=False)
        torch.manual_seed(0)
        model = Ensemble(signature, settings)
        BundleExporter(model, HORIZON).export(tmp_path / "model", about(signature=signature))
        (code,) = re.findall(r"```python\n(.*?)```", (root / "docs/bundle.md").read_text(), re.S)

        def run() -> subprocess.CompletedProcess[str]:
            arguments = [sys.executable, "-c", code, str(tmp_path / "model")]
            return subprocess.run(arguments, capture_output=True, text=True, check=False)

        result = run()
        assert result.returncode == 0, result.stderr
        actions = np.random.default_rng(0).uniform(-2, 2, (1000, HORIZON, 1)).astype(np.float32)
        found = load_bundle(tmp_path / "model").model.imagine(floats([1, 0, 0.5]), actions)
        returns = found.rewards @ PlannerSettings().discount ** np.arange(HORIZON)
        printed = re.fullmatch(r"action \[(.*)\], expected return (.*)\n", result.stdout)
        assert printed is not None
        assert float(printed[1]) == pytest.approx(actions[returns.argmax(), 0, 0], rel=1e-4)
        assert float(printed[2]) == pytest.approx(returns.max(), abs=0.01)

        file = tmp_path / "model" / "manifest.json"
        file.write_text(file.read_text().replace('"horizon"', '"horizons"'))
        assert "manifest.json: was altered" in run().stderr

    def test_tables_name_every_field(self, root: Path) -> None:
        text = (root / "docs/bundle.md").read_text()
        named = set(re.findall(r"`([^`]+)`", text))
        lists = {"observation": "observation[]", "action": "action[]", "numbers": "numbers[]"}
        for name in (*_field_names(Manifest), "manifest_sha256"):
            first, *rest = name.split(".")
            if first == "planner" and rest:
                continue  # docs/configuration.md has them
            if first == "signature":
                parts = [lists.get(part, part) for part in rest[:-1]]
                name = ".".join([*parts, *rest[-1:]]) or first
            if first == "graphs" and rest:
                name = ".".join([first, "*", *rest])
            short = f".{name.rpartition('.')[2]}"  # `evaluation.mean_return`, `.worst_return`
            assert name in named or short in named, name
