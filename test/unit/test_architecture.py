"""What may import what: the rules that keep the controller small and the planners reusable."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

RunPython = Callable[..., "subprocess.CompletedProcess[str]"]

# Each part of planet_ros, and what else of it that is imported there: only parts named above it, so
# that the whole has no cycles, and none that is not.
IMPORTS: dict[str, set[str]] = {
    "__init__": set(),
    "errors": set(),
    "files": set(),
    "planning": set(),
    "config": {"errors", "files", "planning"},
    "data": {"errors", "files"},
    "messages": {"data", "errors"},
    "interface": {"config", "data", "errors", "messages"},
    "datasets": {"config", "data", "errors", "files", "interface", "messages"},
    "environments": {"config", "data", "errors"},
    "wrappers": {"environments"},
    "tasks": set(),
    "models": {"config", "data", "errors"},
    "bundle": {"config", "data", "errors", "files", "interface", "models"},
    "control": {"bundle", "config", "data", "errors", "interface", "planning"},
    "training": {
        "bundle",
        "config",
        "control",
        "data",
        "environments",
        "errors",
        "files",
        "interface",
        "messages",
        "models",
        "planning",
    },
    "report": {
        "bundle",
        "config",
        "control",
        "data",
        "environments",
        "errors",
        "files",
        "interface",
        "messages",
        "models",
        "planning",
        "training",
    },
    "ros": {
        "bundle",
        "config",
        "control",
        "data",
        "datasets",
        "environments",
        "errors",
        "interface",
        "messages",
        "models",
        "report",
        "training",
    },
    "supervision": {"bundle", "data", "errors", "interface", "messages", "ros", "training"},
    "cli": {
        "__init__",
        "bundle",
        "config",
        "data",
        "datasets",
        "environments",
        "errors",
        "files",
        "interface",
        "messages",
        "models",
        "report",
        "ros",
        "supervision",
        "training",
    },
}

LONGEST_FILE = 450
LONGER = {
    "benchmarks/damage.py": "who sends, who is attacked and who listens, in one attack",
    "planet_ros/models/rssm.py": "filter, imagination and loss share every layer",
    "test/unit/test_bundle.py": "all that can be wrong with a bundle, by one writer",
    "test/unit/test_control_loop.py": "every event that the loop can meet, by one rig",
    "test/unit/test_ensemble.py": "one model",
    "test/unit/test_episodes.py": "store, sampling and statistics of the same numbered episodes",
    "test/unit/test_rssm.py": "one model",
    "test/unit/test_rssm_training.py": "one learner of pictures",
    "test/unit/test_session.py": "every order in which steps can arrive",
    "test/unit/test_training.py": "runs, and all that may stop them",
}
"""Files of more lines, and why."""


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
    assert parts == set(IMPORTS)


def test_rules_allow_no_cycle() -> None:
    above: set[str] = set()
    for part, allowed in IMPORTS.items():
        assert allowed <= above, part
        above.add(part)


def parts_imported(file: Path, root: Path) -> Iterator[str]:
    """Other parts of planet_ros that a file imports."""
    for name in imports(file, root):
        package, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        # `from planet_ros import __version__` names no module.
        if package == "planet_ros" and target in IMPORTS and target != part_of(file, root):
            yield target


def test_each_part_imports_what_its_rule_says_and_nothing_else(root: Path) -> None:
    found: dict[str, set[str]] = {part: set() for part in IMPORTS}
    for file in sources(root, "planet_ros"):
        found[part_of(file, root)] |= set(parts_imported(file, root))
        # `from planet_ros import __version__` is an import of the package itself.
        if any(name == "planet_ros.__version__" for name in imports(file, root)):
            found[part_of(file, root)].add("__init__")
    assert found == IMPORTS


def test_simulators_are_imported_by_nobody(root: Path) -> None:
    for file in sources(root, "planet_ros"):
        assert "sim_bridge" not in tops(file, root), file


@pytest.mark.parametrize(
    ("packages", "folders"),
    [
        ({"gymnasium"}, {"planet_ros/environments", "planet_ros/datasets", "sim_bridge"}),
        ({"minari", "h5py"}, {"planet_ros/datasets"}),
        ({"pyarrow", "av"}, {"planet_ros/datasets"}),
        ({"matplotlib"}, {"planet_ros/report"}),
        (
            {"PIL"},
            {"planet_ros/report", "planet_ros/data", "planet_ros/messages", "planet_ros/datasets"},
        ),
        ({"onnxruntime"}, {"planet_ros/bundle"}),
        ({"onnx"}, {"planet_ros/bundle"}),
        (
            {"torch"},
            {
                "planet_ros/models",
                "planet_ros/training",
                "planet_ros/bundle",
                "planet_ros/report",
                "planet_ros/tasks.py",
            },
        ),
        ({"rclpy"}, {"planet_ros/ros", "planet_ros/supervision", "sim_bridge"}),
        (
            {"pydantic"},
            {
                "planet_ros/config",
                "planet_ros/interface",
                "planet_ros/bundle",
                "planet_ros/training",
            },
        ),
    ],
    ids=lambda value: "-".join(sorted(value)) if len(value) == 1 else "",
)
def test_library_is_imported_in_its_rooms_alone(
    root: Path, packages: set[str], folders: set[str]
) -> None:
    seen = set()
    for file in sources(root, "planet_ros", "sim_bridge"):
        if packages & tops(file, root):
            seen |= {folder for folder in folders if file.is_relative_to(root / folder)} or {
                str(file.relative_to(root))
            }
    assert seen == folders


@pytest.mark.parametrize(
    "folder", ["planet_ros", "sim_bridge", "benchmarks", "examples", "launch", "test"]
)
def test_no_file_is_too_long_to_be_read_at_once(root: Path, folder: str) -> None:
    lengths = {
        str(file.relative_to(root)): len(file.read_text(encoding="utf-8").splitlines())
        for file in sources(root, folder)
    }
    assert lengths
    too_long = {name for name, length in lengths.items() if length > LONGEST_FILE}
    assert too_long == {name for name in LONGER if name.startswith(f"{folder}/")}


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


@pytest.mark.parametrize(
    "folder",
    [
        "planning",
        "control",
        "data",
        "messages",
        "interface",
        "models",
        "bundle",
        "training",
        "environments",
    ],
)
def test_core_does_not_know_ros(root: Path, folder: str) -> None:
    files = sources(root, f"planet_ros/{folder}")
    assert files
    for file in files:
        ros = {name for name in tops(file, root) if name == "rclpy" or name.endswith("_msgs")}
        assert not ros, f"{file} imports {ros}"


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
    pytest.importorskip("rclpy")
    loaded = loaded_by(["planet_ros.ros.controller_node"], run_python)
    assert "onnxruntime" in loaded
    assert not loaded & LEARNERS_PACKAGES


def test_bridge_loads_no_package_of_the_learner_but_gymnasium(
    root: Path, run_python: RunPython
) -> None:
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
