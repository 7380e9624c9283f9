"""No part of the project runs code that comes as data: every file is looked at, nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDERS = ("planet_ros", "sim_bridge", "launch", "benchmarks", "examples")

UNPICKLING = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
RUNNING = {"builtins", "code", "codeop", "runpy", "imp", "pty"}
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "os.execv",
    "os.execve",
    "os.execvp",
    "os.spawnv",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "torch.load",
    "torch.jit.load",
    "torch.save",
    "yaml.load",
    "yaml.full_load",
    "yaml.full_load_all",
    "yaml.unsafe_load",
    "yaml.unsafe_load_all",
}
FORBIDDEN_NAMES = {"yaml.Loader", "yaml.FullLoader", "yaml.UnsafeLoader", "yaml.CLoader"}

IMPORTERS = {
    "planet_ros/ros/types.py": "packages of message definitions alone",
    "planet_ros/models/task.py": "functions of the learner's own interface",
    "planet_ros/environments/environment.py": "what a person's settings name, see trust.py",
    "benchmarks/update.py": "a file beside it, named on the command line",
}
"""Files that import by a name which is data, and what they do."""

STARTERS = {
    "planet_ros/supervision/processes.py": "the nodes and the project's own recorder",
    "benchmarks/regression.py": "another checkout of the project",
    "benchmarks/delay.py": "the project's own commands",
    "benchmarks/import_bag.py": "the project's own commands",
    "benchmarks/latency.py": "itself, as the node beside the controller",
}
"""Files that start processes, and which."""


def dotted(node: ast.expr) -> str:
    """``a.b.c`` of an expression; empty if it is none."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def aliases(tree: ast.AST) -> dict[str, str]:
    """What names of a file stand for, where they were imported: ``np`` for ``numpy``."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update({one.asname: one.name for one in node.names if one.asname})
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.update(
                {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
            )
    return found


def imported(tree: ast.AST) -> set[str]:
    """Full names of the modules that a file imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
    return found


def problems(source: str, name: str = "planet_ros/other.py") -> Iterator[str]:
    """What a file does that none may, or that only others may."""
    tree = ast.parse(source)
    stands_for = aliases(tree)
    modules = imported(tree)
    tops = {one.partition(".")[0] for one in modules}
    yield from (f"imports {one}" for one in sorted(tops & (UNPICKLING | RUNNING)))
    if "importlib" in tops and name not in IMPORTERS:
        yield "imports by a name"
    if "subprocess" in tops and name not in STARTERS:
        yield "starts processes"
    safe = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and "yaml.SafeLoader" in map(dotted, node.bases)
    } | {"yaml.SafeLoader"}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Attribute, ast.Name)):
            what = full(node, stands_for)
            if what in FORBIDDEN_NAMES:
                yield f"names {what}"
        if not isinstance(node, ast.Call):
            continue
        what = full(node.func, stands_for)
        given = {one.arg: one.value for one in node.keywords}
        if what in FORBIDDEN_CALLS:
            yield f"calls {what}"
        elif what == "numpy.load" and not is_constant(given.get("allow_pickle"), False):
            yield "calls numpy.load without allow_pickle=False"
        elif what == "yaml.load_all" and dotted(given.get("Loader", node.func)) not in safe:
            yield "calls yaml.load_all without a safe loader"
        if "shell" in given and not is_constant(given["shell"], False):
            yield "gives a shell a command"


def full(node: ast.expr, stands_for: dict[str, str]) -> str:
    """A name with what its first part stands for."""
    first, dot, rest = dotted(node).partition(".")
    return f"{stands_for.get(first, first)}{dot}{rest}"


def is_constant(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def files(root: Path) -> list[Path]:
    return [file for folder in FOLDERS for file in sorted((root / folder).rglob("*.py"))]


def test_no_file_runs_what_is_data(root: Path) -> None:
    found = {}
    for file in files(root):
        name = file.relative_to(root).as_posix()
        found[name] = list(problems(file.read_text(encoding="utf-8"), name))
    assert len(found) > 100
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize("exceptions", [IMPORTERS, STARTERS], ids=["importers", "starters"])
def test_every_exception_is_still_one(root: Path, exceptions: dict[str, str]) -> None:
    for name in exceptions:
        assert list(problems((root / name).read_text(encoding="utf-8"))), name


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import pickle", "imports pickle"),
        ("from pickle import loads", "imports pickle"),
        ("def f():\n    import marshal", "imports marshal"),
        ("import joblib as j", "imports joblib"),
        ("x = eval(text)", "calls eval"),
        ("import builtins\nbuiltins.exec(text)", "imports builtins"),
        ("exec(text)", "calls exec"),
        ("compile(text, 'x', 'exec')", "calls compile"),
        ("import re\nre.compile(text)", ""),
        ("model.eval()", ""),
        ("__import__(name)", "calls __import__"),
        ("import importlib\nimportlib.import_module(name)", "imports by a name"),
        ("from importlib import import_module", "imports by a name"),
        ("import importlib.util", "imports by a name"),
        ("import os\nos.system(text)", "calls os.system"),
        ("from os import system\nsystem(text)", "calls os.system"),
        ("import subprocess", "starts processes"),
        ("run(text, shell=True)", "gives a shell a command"),
        ("run(text, shell=flag)", "gives a shell a command"),
        ("import torch\ntorch.load(path)", "calls torch.load"),
        ("import torch\ntorch.load(path, weights_only=True)", "calls torch.load"),  # none is needed
        ("import numpy as np\nnp.load(path)", "calls numpy.load without allow_pickle=False"),
        ("import numpy as np\nnp.load(path, allow_pickle=True)", "allow_pickle=False"),
        ("import numpy as np\nnp.load(path, allow_pickle=False)", ""),
        ("import yaml\nyaml.load(text, Loader=yaml.SafeLoader)", "calls yaml.load"),
        ("import yaml\nyaml.load_all(text, Loader=Mine)", "without a safe loader"),
        ("import yaml\nyaml.load_all(text)", "without a safe loader"),
        ("import yaml\nyaml.load_all(text, Loader=yaml.SafeLoader)", ""),
        ("import yaml\nclass A(yaml.SafeLoader): ...\nyaml.load_all(t, Loader=A)", ""),
        ("import yaml\nclass A(yaml.Loader): ...\nyaml.load_all(t, Loader=A)", "names yaml.Loader"),
        ("import yaml\nyaml.safe_load(text)", ""),
    ],
)
def test_what_runs_data_is_found(source: str, expected: str) -> None:
    found = "; ".join(problems(source))
    assert (expected in found) if expected else found == ""
