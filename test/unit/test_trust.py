"""A bundle from somebody else: its graphs run, and no Python that it names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from planet_ros.bundle.manifest import EnvironmentRecord, Manifest
from planet_ros.bundle.runtime import Bundle, load_bundle
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.environments.trust import KNOWN_WRAPPERS, check_names
from planet_ros.errors import UserError
from planet_ros.supervision.parameters import simulation_of
from planet_ros.training.evaluate import environment_of

EVIL = "a_strangers_module"


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that exists once a module of the name `EVIL` has been imported, or a shell has run."""
    trace = tmp_path / "trace"
    (tmp_path / f"{EVIL}.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass Any: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    return trace


@pytest.fixture
def bundle_of(tiny_run: Path, tmp_path: Path) -> Callable[..., Bundle]:
    """``bundle_of(id=…, wrappers=[…])``: a bundle whose manifest names that environment."""

    def make(**names: Any) -> Bundle:
        folder = tmp_path / "bundle"
        shutil.copytree(tiny_run / "model", folder)
        file = folder / "manifest.json"
        manifest = Manifest.from_json(file.read_bytes(), "manifest.json")
        record = EnvironmentRecord(**{"id": "Pendulum-v1", **names})
        file.write_bytes(manifest.model_copy(update={"environment": record}).to_json())
        return load_bundle(folder)

    return make


STRANGERS: list[dict[str, Any]] = [
    {"modules": [EVIL]},
    {"id": f"{EVIL}:Pendulum-v1"},
    {"wrappers": [f"{EVIL}:Any"]},
    {"wrappers": [f'{EVIL}:Any {{"a": {{"()": "subprocess.Popen"}}}}']},
    {"wrappers": ['subprocess:Popen {"args": ["touch", "TRACE"]}']},
    {"wrappers": ['builtins:str {"object": {"()": "subprocess:Popen", "args": "touch TRACE"}}']},
    {"wrappers": ["gymnasium.wrappers:RecordVideo"]},
    {"wrappers": ["planet_ros.wrappers:ActionRepeat ", "os:system"]},
]


@pytest.mark.parametrize("names", STRANGERS)
def test_no_command_runs_python_that_a_bundle_names(
    bundle_of: Callable[..., Bundle],
    evil: Path,
    prints: Callable[..., str],
    fails: Callable[..., str],
    names: dict[str, Any],
    tmp_path: Path,
) -> None:
    bundle = bundle_of(**json.loads(json.dumps(names).replace("TRACE", str(evil))))
    prints("info", bundle.path)
    prints("info", bundle.path, "--json")
    arguments = ["--model", bundle.path, "--gif", tmp_path / "a.gif", "--env-kwargs", "{}"]
    message = fails("evaluate", *arguments)
    assert "if you know and trust it, add --allow-python " in message
    with pytest.raises(UserError, match="--allow-python"):
        simulation_of(bundle)
    assert not evil.exists()


def test_what_is_wanted_is_named_with_the_flags_that_allow_it(
    bundle_of: Callable[..., Bundle], evil: Path
) -> None:
    bundle = bundle_of(modules=["one", "two"], wrappers=["three.four:Five", f"{EVIL}:Any"])
    with pytest.raises(UserError) as caught:
        environment_of(bundle, ["two", EVIL])
    assert "names the module one, the wrapper three.four:Five," in str(caught.value)
    assert str(caught.value).endswith("add --allow-python one --allow-python three.four")


@pytest.mark.parametrize("how", ["flag", "config"])
def test_what_a_person_names_is_trusted(
    tiny_run: Path, prints: Callable[..., str], tmp_path: Path, how: str
) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("/**:\n  ros__parameters:\n    env_modules: [tiny_environments]\n")
    trust = ["--allow-python", "tiny_environments"] if how == "flag" else ["--config", config]
    planner = ["--set", "planner.horizon=4"]
    prints("evaluate", "--model", tiny_run / "model", "--episodes", 1, *trust, *planner)


def test_a_module_that_is_allowed_allows_no_other(tiny_run: Path) -> None:
    bundle = load_bundle(tiny_run / "model")
    assert environment_of(bundle, ["tiny_environments"]).modules == ("tiny_environments",)
    for allowed in ([], ["tiny"], ["tiny_environments.more"], ["tiny_environments:PointMass"]):
        with pytest.raises(UserError, match="tiny_environments"):
            environment_of(bundle, allowed)


def test_environments_of_gymnasium_and_known_wrappers_need_no_leave(
    bundle_of: Callable[..., Bundle],
) -> None:
    bundle = bundle_of(
        kwargs={"g": 9.81},
        wrappers=[
            'planet_ros.wrappers:SelectObservation {"indices": [0, 1]}',
            'gymnasium.wrappers:TimeLimit {"max_episode_steps": 7}',
        ],
    )
    environment = Environment(environment_of(bundle))
    assert environment.signature.vector_size == 2
    environment.close()


@pytest.mark.parametrize("name", sorted(KNOWN_WRAPPERS))
def test_known_wrappers_exist_and_take_no_function_and_write_no_file(name: str) -> None:
    module, _, attribute = name.partition(":")
    wrapper = getattr(__import__(module, fromlist=["_"]), attribute)
    assert issubclass(wrapper, gymnasium.Wrapper)
    arguments = wrapper.__init__.__annotations__
    assert not any("Callable" in str(kind) or "folder" in key for key, kind in arguments.items())


def test_names_that_do_not_print_are_shown_escaped_and_cut() -> None:
    spec = EnvironmentSpec("Pendulum-v1", modules=("\x1b[2J\n" + "x" * 10_000,))
    with pytest.raises(UserError) as caught:
        check_names(spec, (), "bundle")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_every_wrapper_of_the_project_is_known() -> None:
    from planet_ros import wrappers

    for name in wrappers.__all__:
        wrapper = getattr(wrappers, name)
        for module in ("planet_ros.wrappers", wrapper.__module__):
            assert f"{module}:{name}" in KNOWN_WRAPPERS
