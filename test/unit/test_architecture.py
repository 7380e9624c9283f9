"""What may import what: the rules that keep the controller small and the planners reusable."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

RunPython = Callable[..., "subprocess.CompletedProcess[str]"]

# Each part of planet_ros, and what else of it that may be imported there: only parts named above
# it, so that the whole has no cycles.
MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "errors": set(),
    "files": set(),
    "config": {"errors", "files"},
    "images": set(),
    "planning": set(),
    "data": {"errors", "files"},
    "environment": {"config", "data", "errors"},
    "wrappers": {"environment", "images"},
    "models": {"config", "data", "errors"},
    "bundle": {"config", "errors", "files", "models"},
    "control": {"bundle", "config", "errors", "planning"},
    "training": {
        "bundle",
        "config",
        "control",
        "data",
        "environment",
        "errors",
        "files",
        "models",
        "planning",
    },
    "ros": {
        "bundle",
        "config",
        "control",
        "data",
        "environment",
        "errors",
        "files",
        "images",
        "models",
        "planning",
        "training",
    },
    "cli": {
        "__init__",
        "bundle",
        "config",
        "control",
        "data",
        "environment",
        "errors",
        "files",
        "models",
        "planning",
        "ros",
        "training",
    },
}


def sources(root: Path, *folders: str) -> list[Path]:
    return [file for folder in folders for file in sorted((root / folder).rglob("*.py"))]


def imports(file: Path, root: Path) -> Iterator[str]:
    """Full dotted names of everything that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ""
            if node.level:
                parts = file.relative_to(root).with_suffix("").parts
                package = ".".join(parts[: len(parts) - node.level])
            yield ".".join(part for part in (package, node.module or "") if part)
            # `from planet_ros import config` imports a module as well.
            if (node.module or package) in ("planet_ros", "sim_bridge"):
                yield from (f"{node.module or package}.{alias.name}" for alias in node.names)


def tops(file: Path, root: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(file, root)}


def part_of(file: Path, root: Path) -> str:
    return file.relative_to(root / "planet_ros").with_suffix("").parts[0]


def test_every_part_of_the_package_has_its_rule(root: Path) -> None:
    parts = {part_of(file, root) for file in sources(root, "planet_ros")}
    assert parts == set(MAY_IMPORT)


def test_rules_allow_no_cycle() -> None:
    above: set[str] = set()
    for part, allowed in MAY_IMPORT.items():
        assert allowed <= above, part
        above.add(part)


def test_imports_point_downwards(root: Path) -> None:
    wrong = []
    for file in sources(root, "planet_ros"):
        part = part_of(file, root)
        for name in imports(file, root):
            package, _, rest = name.partition(".")
            target = rest.partition(".")[0]
            if package == "sim_bridge" and part != "cli":
                wrong.append(f"{file.relative_to(root)} imports {name}")
            if package != "planet_ros" or not target or target == part:
                continue
            # `from planet_ros import __version__` names no module.
            if target in MAY_IMPORT and target not in MAY_IMPORT[part]:
                wrong.append(f"{file.relative_to(root)} imports {name}")
    assert not wrong


def test_planning_needs_nothing_but_numpy(root: Path) -> None:
    allowed = {*sys.stdlib_module_names, "numpy"}
    files = sources(root, "planet_ros/planning")
    assert files
    for file in files:
        for name in imports(file, root):
            top = name.partition(".")[0]
            assert top in allowed or name.startswith("planet_ros.planning"), (
                f"{file} imports {name}"
            )


@pytest.mark.parametrize("folder", ["planning", "control", "data", "models", "bundle", "training"])
def test_core_does_not_know_ros(root: Path, folder: str) -> None:
    files = sources(root, f"planet_ros/{folder}")
    assert files
    for file in files:
        ros = {name for name in tops(file, root) if name == "rclpy" or name.endswith("_msgs")}
        assert not ros, f"{file} imports {ros}"


def test_only_the_models_their_export_and_the_learner_import_torch(root: Path) -> None:
    allowed = {"models", "training"}
    for file in sources(root, "planet_ros", "sim_bridge"):
        relative = file.relative_to(root)
        if "torch" in tops(file, root):
            assert relative.parts[1] in allowed or relative == Path("planet_ros/bundle/export.py")


def test_simulation_does_not_know_the_learner(root: Path) -> None:
    forbidden = ("planet_ros.training", "planet_ros.models", "planet_ros.cli", "torch")
    for file in sources(root, "sim_bridge"):
        for name in imports(file, root):
            assert not name.startswith(forbidden), f"{file} imports {name}"


LOADED = """
import importlib, sys
for name in sys.argv[1].split(","):
    importlib.import_module(name)
print(",".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def loaded_by(modules: list[str], run_python: RunPython) -> set[str]:
    """Top-level packages in a fresh interpreter that has imported some modules."""
    result = run_python(LOADED, ",".join(modules))
    assert result.returncode == 0, result.stderr
    return set(result.stdout.strip().split(","))


def modules_in(root: Path, folder: str) -> list[str]:
    return [
        ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for file in sources(root, folder)
    ]


LEARNERS_PACKAGES = {"torch", "gymnasium", "onnx", "onnxscript", "matplotlib"}


def test_controlling_loads_no_package_of_the_learner(root: Path, run_python: RunPython) -> None:
    modules = ["planet_ros.bundle.runtime", *modules_in(root, "planet_ros/control")]
    loaded = loaded_by(modules, run_python)
    assert {"numpy", "onnxruntime"} <= loaded
    assert not loaded & (LEARNERS_PACKAGES | {"rclpy"})


def test_controller_node_loads_no_package_of_the_learner(root: Path, run_python: RunPython) -> None:
    if not (root / "planet_ros" / "ros" / "controller_node.py").exists():
        pytest.skip("there is no controller node")
    pytest.importorskip("rclpy")
    loaded = loaded_by(["planet_ros.ros.controller_node"], run_python)
    assert "onnxruntime" in loaded
    assert not loaded & LEARNERS_PACKAGES


def test_bridge_loads_no_package_of_the_learner_but_gymnasium(
    root: Path, run_python: RunPython
) -> None:
    if not (root / "sim_bridge" / "gym_bridge.py").exists():
        pytest.skip("there is no bridge")
    pytest.importorskip("rclpy")
    loaded = loaded_by(modules_in(root, "sim_bridge"), run_python)
    assert not loaded & (LEARNERS_PACKAGES - {"gymnasium"})


def test_planning_loads_neither_onnxruntime_nor_pydantic(root: Path, run_python: RunPython) -> None:
    loaded = loaded_by(modules_in(root, "planet_ros/planning"), run_python)
    assert "numpy" in loaded
    assert not loaded & (LEARNERS_PACKAGES | {"rclpy", "onnxruntime", "pydantic", "scipy"})


def test_starting_the_command_line_loads_no_package_of_the_learner(run_python: RunPython) -> None:
    """`planet-ros config` and `info` work on a robot."""
    loaded = loaded_by(["planet_ros.cli.main"], run_python)
    assert not loaded & (LEARNERS_PACKAGES | {"rclpy"})
