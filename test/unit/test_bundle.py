"""Bundles: the graphs say what torch says, and no damage to a bundle goes unnoticed."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from planet_ros.bundle.export import BundleExporter
from planet_ros.bundle.manifest import Manifest
from planet_ros.bundle.runtime import Bundle, load_bundle
from planet_ros.config import PlannerSettings, WorldModelSettings
from planet_ros.control.agent import Agent
from planet_ros.data import Episode
from planet_ros.errors import UserError
from planet_ros.models import Ensemble, Shapes

LOW, HIGH = np.float32([-2, 0]), np.float32([2, 10])
HORIZON = 4
CONFIGURATIONS: list[dict[str, Any]] = [
    {"members": 1, "activation": "relu", "target": "state", "normalize": False},
    {"members": 3, "predict_continue": True},
    {"members": 2, "head": "gaussian", "activation": "elu", "predict_continue": True},
    {"members": 5, "target": "state", "activation": "tanh", "hidden_sizes": [7, 9, 5]},
]


def model_of(**settings: Any) -> Ensemble:
    values = {"hidden_sizes": [16, 16], "predict_continue": False, **settings}
    model = Ensemble(Shapes(3, LOW, HIGH), WorldModelSettings(**values))
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
        [
            Episode(
                observation=rng.normal(3, 2, (50, 3)).astype(np.float32),
                action=np.zeros((49, 2), np.float32),
                reward=rng.normal(-50, 20, 49),
                terminated=False,
                truncated=True,
            )
        ]
    )


def about(**fields: Any) -> dict[str, Any]:
    return {
        "model_kind": "ensemble",
        "horizon": HORIZON,
        "control_period_s": 0.05,
        "observation": [{"name": "observation", "shape": [3]}],
        "action": [
            {"name": f"action_{index}", "low": float(LOW[index]), "high": float(HIGH[index])}
            for index in range(2)
        ],
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
    for one, other in zip(found, expected, strict=True):
        assert one.shape == (candidates, HORIZON)
        assert one.dtype == np.float32
        largest = max(float(other.abs().max()), 1e-6)
        assert np.abs(one - other.numpy()).max() / largest < 1e-4
    seen = rng.normal(size=3).astype(np.float32)
    np.testing.assert_array_equal(bundle.model.observe(belief, actions[0, 0], seen), seen)


@pytest.mark.parametrize("settings", CONFIGURATIONS, ids=str)
def test_onnxruntime_agrees_with_torch_for_any_number_of_candidates(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    model = model_of(**settings)
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
    assert len(traced) == 2  # observe and imagine
    belief, actions = np.float32([1, 2, 3]), np.full((1, HORIZON, 2), 0.5, np.float32)
    rewards = []
    for seed in range(3):
        give_other_weights(model, seed)
        exporter.export(tmp_path / "model", about())
        rewards.append(load_bundle(tmp_path / "model").model.imagine(belief, actions)[0])
    assert len(traced) == 2
    assert np.abs(rewards[0] - rewards[1]).max() > 0.1
    assert np.abs(rewards[1] - rewards[2]).max() > 0.1


def test_every_weight_and_scale_of_the_model_reaches_the_graph(tmp_path: Path) -> None:
    model = model_of(members=2, predict_continue=True)
    exporter = BundleExporter(model, HORIZON)
    belief, actions = np.float32([1, 2, 3]), np.ones((3, HORIZON, 2), np.float32)

    def answers() -> NDArray[np.float32]:
        exporter.export(tmp_path / "model", about())
        return np.stack(load_bundle(tmp_path / "model").model.imagine(belief, actions))

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


def test_agent_refuses_a_horizon_that_the_graphs_do_not_have(tmp_path: Path) -> None:
    BundleExporter(model_of(), HORIZON).export(tmp_path / "model", about())
    bundle = load_bundle(tmp_path / "model")
    with pytest.raises(UserError) as caught:
        Agent.of(bundle, 0, PlannerSettings(horizon=HORIZON + 1))
    assert f"planner.horizon: found {HORIZON + 1}" in str(caught.value)
    assert f"horizon {HORIZON}" in str(caught.value)


@dataclass(frozen=True)
class Folder:
    """A bundle on disk that is about to be damaged."""

    path: Path

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        file = self.path / "manifest.json"
        document = json.loads(file.read_text())
        change(document)
        file.write_text(json.dumps(document))

    def rewrite(self, name: str, content: bytes) -> None:
        """Another content for a graph, with a manifest that agrees."""
        (self.path / f"{name}.onnx").write_bytes(content)
        self.edit(
            lambda document: document["graphs"][name].update(
                sha256=hashlib.sha256(content).hexdigest(), bytes=len(content)
            )
        )


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
    folder.edit(lambda document: document["action"].pop())


def _longer_horizon_throughout(folder: Folder) -> None:
    _set("horizon", 9)(folder)
    _set("planner", "horizon", 9)(folder)


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


DAMAGES: dict[str, tuple[Callable[[Folder], None], list[str]]] = {
    "no manifest": (_remove("manifest.json"), ["manifest.json: cannot be read: No such file"]),
    "no observe graph": (_remove("observe.onnx"), ["observe.onnx: cannot be read: No such file"]),
    "no imagine graph": (_remove("imagine.onnx"), ["imagine.onnx: cannot be read: No such file"]),
    "manifest cut short": (_cut("manifest.json", 100), ["manifest.json: is not JSON"]),
    "empty manifest": (_cut("manifest.json", 0), ["manifest.json: is not JSON"]),
    "binary manifest": (
        lambda folder: (folder.path / "manifest.json").write_bytes(b"\xff\x00"),
        ["manifest.json: is not JSON"],
    ),
    "manifest that is a list": (
        lambda folder: (folder.path / "manifest.json").write_text("[]"),
        ["manifest.json: found a list, expected an object"],
    ),
    "graph cut short": (_cut("imagine.onnx", 500), ["imagine.onnx: found 500 bytes", "expected"]),
    "empty graph": (_cut("observe.onnx", 0), ["observe.onnx: found 0 bytes"]),
    "flipped bit in imagine": (_flip("imagine.onnx"), ["imagine.onnx: found SHA-256", "expected"]),
    "flipped bit in observe": (_flip("observe.onnx"), ["observe.onnx: found SHA-256", "expected"]),
    "not a graph": (_no_graph_but_the_right_hash, ["imagine.onnx: onnxruntime cannot load it"]),
    "graph files swapped": (_swap_files, ["observe.onnx: found ", "expected"]),
    "graphs swapped in manifest": (_swap_in_manifest, ["imagine.onnx: inputs: found", "expected"]),
    "other version": (_set("version", 2), ["manifest.json: version: found 2, expected 1"]),
    "no version": (_delete("version"), ["manifest.json: version: found None, expected 1"]),
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
    "no actions": (_set("action", []), ["manifest.json: action: "]),
    "other horizon than the planner's": (
        _set("horizon", 9),
        ["manifest.json: planner.horizon: found 4, expected horizon = 9"],
    ),
    "other horizon throughout": (
        _longer_horizon_throughout,
        ["imagine.onnx: input actions: found", "4, 2]", "expected", "9, 2]"],
    ),
    "other observation shape": (
        _set("observation", 0, "shape", [5]),
        ["observe.onnx: input observation: found", "[3]", "expected", "[5]"],
    ),
    "other observation name": (
        _set("observation", 0, "name", "joints"),
        ["manifest.json: observation.0: found joints of float32 [3], expected observation of"],
    ),
    "camera that the graph does not have": (
        _set("observation", 0, {"name": "camera", "shape": [8, 8, 3], "dtype": "uint8"}),
        ["observe.onnx: inputs: found", "'observation'", "'camera'"],
    ),
    "image without channels": (
        _set("observation", 0, {"name": "camera", "shape": [8, 8], "dtype": "uint8"}),
        ["manifest.json: observation.0: found camera of uint8 [8, 8], expected", "channels"],
    ),
    "observation of doubles": (
        _set("observation", 0, "dtype", "float64"),
        ["manifest.json: observation.0.dtype", "'float64'"],
    ),
    "actions upside down": (
        _set("action", 1, "low", 20.0),
        ["manifest.json: action.1", "low 20", "high 10"],
    ),
    "infinite action": (_set("action", 0, "high", float("inf")), ["manifest.json: action.0.high"]),
    "control period of 0": (_set("control_period_s", 0), ["manifest.json: control_period_s"]),
    "infinite control period": (
        _set("control_period_s", float("inf")),
        ["manifest.json: control_period_s"],
    ),
    "more elites than candidates": (
        _set("planner", "elites", 41),
        ["manifest.json: planner", "planner.elites: found 41, expected at most"],
    ),
    "unknown field": (_set("weights", 1), ["manifest.json: weights: "]),
    "graph left out": (
        lambda folder: folder.edit(lambda document: document["graphs"].pop("observe")),
        ["manifest.json: graphs: found ['imagine'], expected observe and imagine"],
    ),
    "graph in the folder above": (
        _outside("../imagine.onnx"),
        ["manifest.json: graphs: found file '../imagine.onnx'", "own folder"],
    ),
    "graph elsewhere": (
        _outside("absolute"),
        ["manifest.json: graphs: found file '/", "own folder"],
    ),
    "graph named as a folder": (_outside(".."), ["cannot be read"]),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "model"
    BundleExporter(model_of(), HORIZON).export(path, about())
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
            rewards, _, _ = bundle.model.imagine(
                np.zeros(3, np.float32), np.zeros((2, HORIZON, 2), np.float32)
            )
            np.testing.assert_array_equal(rewards, number)
            numbers.add(number)
    finally:
        done.set()
        writer.join(timeout=30)
    assert not failures
    assert len(numbers) > 1
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
