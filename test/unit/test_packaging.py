"""What a release, rosdep, colcon and pip read of this package agrees with itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What setup.py passes to setup()."""
    setuptools = pytest.importorskip("setuptools")
    passed: dict[str, Any] = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "setup", lambda **kwargs: passed.update(kwargs))
    source = (ROOT / "setup.py").read_text(encoding="utf-8")
    exec(compile(source, "setup.py", "exec"), {"__name__": "__main__"})
    return passed


def run_setup(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    setuptools = pytest.importorskip("setuptools")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "setup", lambda **kwargs: None)
    monkeypatch.setattr(setuptools, "__version__", version)
    source = (ROOT / "setup.py").read_text(encoding="utf-8")
    exec(compile(source, "setup.py", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize(("version", "told"), [("79.0.1", False), ("84.0.0", True)])
def test_colcon_is_told_where_it_cannot_link(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], version: str, told: bool
) -> None:
    monkeypatch.setattr(sys, "argv", ["setup.py", "build"])
    run_setup(monkeypatch, version)
    assert ("setuptools<80" in capsys.readouterr().err) == told
    monkeypatch.setattr(sys, "argv", ["pip"])
    run_setup(monkeypatch, version)
    assert capsys.readouterr().err == ""


def test_the_readme_installs_what_colcon_needs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    installs = [line for line in readme.splitlines() if "pip install" in line and "src/" in line]
    assert installs
    assert all("'setuptools<80'" in line for line in installs)


def test_ubuntus_pytest_runs_the_tests(arguments: dict[str, Any]) -> None:
    """Ubuntu 24.04 has 7.4.4, with the plug-ins that ROS's packages need."""
    configuration = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^minversion = "(\d+)\.(\d+)"', configuration, re.MULTILINE)
    assert found
    assert tuple(map(int, found.groups())) <= (7, 4)
    assert "pytest>=7.4" in arguments["extras_require"]["test"]


def test_training_leaves_ubuntus_numpy_in_place(arguments: dict[str, Any]) -> None:
    """onnx brings ml_dtypes, which from 0.6 on brings NumPy 2."""
    found = [one for one in arguments["extras_require"]["train"] if name_of(one) == "ml-dtypes"]
    assert found and all(one.endswith("<0.6") for one in found)


@pytest.fixture(scope="module")
def manifest() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


def text(manifest: ElementTree.Element, tag: str) -> str:
    return (manifest.findtext(tag) or "").strip()


def name_of(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return match.group().lower().replace("_", "-")


def test_name_version_and_license_agree(
    arguments: dict[str, Any], manifest: ElementTree.Element
) -> None:
    assert arguments["name"] == text(manifest, "name")
    assert arguments["version"] == text(manifest, "version")
    assert arguments["license"] == text(manifest, "license")
    maintainer = manifest.find("maintainer")
    assert maintainer is not None
    assert arguments["maintainer_email"] == maintainer.get("email")


def test_license_text_is_there(manifest: ElementTree.Element) -> None:
    tag = manifest.find("license")
    assert tag is not None
    license_file = ROOT / tag.attrib["file"]
    content = license_file.read_text(encoding="utf-8")
    assert "Apache License" in content and "END OF TERMS AND CONDITIONS" in content


def test_package_xml_is_valid() -> None:
    catkin_package = pytest.importorskip("catkin_pkg.package")
    warnings: list[str] = []
    package = catkin_package.parse_package(str(ROOT / "package.xml"), warnings=warnings)
    assert warnings == []
    assert package.get_build_type() == "ament_python"


def test_changelog_is_what_release_tools_read(
    tmp_path: Path, manifest: ElementTree.Element
) -> None:
    """Make a release in a copy, as catkin_prepare_release does, and read that version back."""
    changelogs = pytest.importorskip("catkin_pkg.changelog")
    versions = pytest.importorskip("catkin_pkg.package_version")
    shutil.copy(ROOT / "CHANGELOG.rst", tmp_path)
    changelog = changelogs.get_changelog_from_path(str(tmp_path), package_name="planet_ros")
    label = versions.get_forthcoming_label(changelog.rst)
    if label is None:  # the release has been made
        expected = text(manifest, "version")
    else:
        expected = "99.0.0"
        path = str(tmp_path / "CHANGELOG.rst")
        versions.update_changelog_sections({"planet_ros": (path, changelog, label)}, expected)
    released = changelogs.get_changelog_from_path(str(tmp_path), package_name="planet_ros")
    newest, _date, items = next(iter(released.foreach_version()))
    assert newest == expected
    assert items


def test_launch_and_config_files_are_installed(arguments: dict[str, Any]) -> None:
    installed = {
        f"{folder}/{Path(name).name}" for folder, names in arguments["data_files"] for name in names
    }
    for folder, pattern in (
        ("launch", "*.py"),
        ("config", "*.yaml"),
        ("config/interfaces", "*.yaml"),
        ("config/foxglove", "*.json"),
        ("config/sros2", "*.xml"),
    ):
        assert list((ROOT / folder).glob(pattern))
        for path in (ROOT / folder).glob(pattern):
            assert f"share/planet_ros/{folder}/{path.name}" in installed
    assert "share/planet_ros/package.xml" in installed
    assert "share/ament_index/resource_index/packages/planet_ros" in installed


def test_every_folder_with_code_is_installed(arguments: dict[str, Any]) -> None:
    packages = set(arguments["packages"])
    for top in ("planet_ros", "sim_bridge"):
        for module in (ROOT / top).rglob("*.py"):
            package = ".".join(module.parent.relative_to(ROOT).parts)
            assert package in packages, f"{module.parent} has no __init__.py"


def test_commands_exist(arguments: dict[str, Any]) -> None:
    scripts = arguments["entry_points"]["console_scripts"]
    assert {script.split(" = ")[0] for script in scripts} == {
        "planet-ros",
        "controller",
        "trainer",
        "gym_bridge",
        "robot",
    }
    for script in scripts:
        module, function = script.split(" = ")[1].split(":")
        path = ROOT / (module.replace(".", "/") + ".py")
        assert path.is_file(), script
        assert f"\ndef {function}(" in path.read_text(encoding="utf-8"), script


def test_ros2_run_finds_the_commands() -> None:
    assert "install_scripts=$base/lib/planet_ros" in (ROOT / "setup.cfg").read_text("utf-8")
    assert "script_dir=$base/lib/planet_ros" in (ROOT / "setup.cfg").read_text("utf-8")


def test_robots_half_is_small(arguments: dict[str, Any]) -> None:
    assert {name_of(item) for item in arguments["install_requires"]} == {
        "numpy",
        "onnxruntime",
        "pillow",
        "pydantic",
    }


def test_every_dependency_is_bounded(arguments: dict[str, Any]) -> None:
    extras = arguments["extras_require"]
    requirements = [
        *arguments["install_requires"],
        *(r for extra in extras.values() for r in extra),
    ]
    for requirement in requirements:
        assert re.search(r"[=>]=", requirement), requirement
    for requirement in extras["ros"]:
        assert "==" in requirement, f"{requirement}: the ROS wheels are one release"


def test_messages_have_a_wheel_and_a_rosdep_key(
    arguments: dict[str, Any], manifest: ElementTree.Element
) -> None:
    wheels = {name_of(item) for item in arguments["extras_require"]["ros"]}
    keys = {item.text for item in manifest.findall("exec_depend")}
    ros_keys = {
        key for key in keys if key and re.search(r"_msgs$|_srvs$|_interfaces$|^rclpy$", key)
    }
    expected = {"ros-" + key.replace("_", "-") for key in ros_keys}
    assert wheels == expected | {"ros-rmw-fastrtps-cpp"}


MESSAGE_IMPORT = re.compile(r"^\s*(?:from|import) (\w+(?:_msgs|_srvs|_interfaces))\b", re.MULTILINE)


def test_messages_that_the_code_imports_are_depended_on(manifest: ElementTree.Element) -> None:
    keys = {item.text for item in manifest.findall("exec_depend")}
    for top in ("planet_ros", "sim_bridge", "launch"):
        for path in (ROOT / top).rglob("*.py"):
            for package in MESSAGE_IMPORT.findall(path.read_text(encoding="utf-8")):
                assert package in keys, f"{path.relative_to(ROOT)} imports {package}"


def test_colcon_takes_it_for_an_ament_package() -> None:
    beside_python = str(Path(sys.executable).parent)
    colcon = shutil.which("colcon", path=beside_python) or shutil.which("colcon")
    if colcon is None:
        pytest.skip("colcon is not installed")
    listed = subprocess.run(
        [colcon, "--log-base", os.devnull, "list", "--paths", str(ROOT)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert listed.stdout.split() == ["planet_ros", str(ROOT), "(ros.ament_python)"], listed.stderr
