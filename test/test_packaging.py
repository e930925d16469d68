"""The package is what colcon, rosdep and pip take it for."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import re_pose_ros

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "re_pose_ros"
MANIFEST = ElementTree.parse(ROOT / "package.xml").getroot()
NODES = {"camera", "partitioner", "detector", "fusion", "tuner", "robot"}
# Imported name: rosdep key and, unless ROS brings it, the name on the package index.
THIRD_PARTY = {
    "PIL": ("python3-pil", "pillow"),
    "cv2": ("python3-opencv", "opencv-python"),
    "jinja2": ("python3-jinja2", "jinja2"),
    "matplotlib": ("python3-matplotlib", "matplotlib"),
    "numpy": ("python3-numpy", "numpy"),
    "pycocotools": ("python3-pycocotools", "pycocotools"),
    "rosbags": ("python3-rosbags-pip", "rosbags"),
    "scipy": ("python3-scipy", "scipy"),
    "torch": ("python3-ultralytics-pip", "torch"),
    "torchvision": ("python3-ultralytics-pip", "torchvision"),
    "tqdm": ("python3-tqdm", "tqdm"),
    "ultralytics": ("python3-ultralytics-pip", "ultralytics"),
    "yaml": ("python3-yaml", "PyYAML"),
}
# Without a rosdep key; what needs it says so where it is absent.
OPTIONAL = {
    "gymnasium": "gymnasium",
    "plotly": "plotly",
    "safetensors": "safetensors",
    "sahi": "sahi",
    "stable_baselines3": "stable-baselines3",
}
WITHOUT_ROS = """
import importlib, pkgutil, sys

ROS = {"ament_index_python", "builtin_interfaces", "cv_bridge", "diagnostic_msgs",
       "geometry_msgs", "launch", "launch_ros", "lifecycle_msgs", "rcl_interfaces", "rclpy",
       "rosidl_runtime_py", "sensor_msgs", "std_msgs", "std_srvs", "vision_msgs"}

ROS_LAYER = {"re_pose_ros.nodes", "re_pose_ros.graph.launch"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ROS:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Absent())
import re_pose_ros

def walk(package):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if module.name in ROS_LAYER or module.name.endswith("__main__"):
            continue
        imported = importlib.import_module(module.name)
        print(module.name)
        if module.ispkg:
            walk(imported)

walk(re_pose_ros)
"""


def normal(line: str) -> str:
    return re.sub(r"[-_.]+", "-", line).lower()


def requirements(file: str) -> set[str]:
    """Normalised names that a requirements file and those it includes ask for."""
    found: set[str] = set()
    for line in (ROOT / file).read_text().splitlines():
        if line.startswith("-r "):
            found |= requirements(line[3:].strip())
        elif match := re.match(r"[A-Za-z0-9][\w.-]*", line):
            found.add(normal(match[0]))
    return found


def pins() -> dict[str, list[str]]:
    """Normalised names in the constraints file and the rest of their lines."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition("==")
            found.setdefault(normal(name), []).append(rest)
    return found


def imports(path: Path) -> Iterator[str]:
    """Top-level names of the absolute imports anywhere in a file."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def dependencies() -> set[str]:
    return {e.text or "" for e in MANIFEST.iter() if e.tag in ("depend", "exec_depend")}


def setup_of(*arguments: str) -> list[str]:
    command = [sys.executable, "setup.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_versions_agree() -> None:
    version = MANIFEST.findtext("version")
    assert setup_of("--name", "--version") == [MANIFEST.findtext("name"), version]
    assert re_pose_ros.__version__ == version
    assert re.search(rf"^{re.escape(str(version))} \(", (ROOT / "CHANGELOG.rst").read_text(), re.M)


def test_every_executable_leads_to_a_module_with_a_main() -> None:
    text = (ROOT / "setup.py").read_text()
    listed = next(
        ast.literal_eval(node.value)
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NODES"
    )
    assert set(listed) == NODES
    for node in NODES:
        spec = find_spec(f"re_pose_ros.nodes.{node}")
        assert spec is not None, node
        tree = ast.parse(Path(str(spec.origin)).read_text())
        functions = {entry.name for entry in tree.body if isinstance(entry, ast.FunctionDef)}
        assert "main" in functions, node


def test_an_installation_puts_everything_where_ros_looks(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(
        ".*", "__pycache__", "build", "install", "log", "out", "*.egg-info", "interfaces", "test"
    )
    shutil.copytree(ROOT, source, ignore=ignored)
    prefix = tmp_path / "prefix"
    command = [sys.executable, "setup.py", "-q", "install", "--single-version-externally-managed"]
    command += ["--prefix", str(prefix), "--record", str(tmp_path / "record")]
    subprocess.run(command, cwd=source, capture_output=True, text=True, check=True)
    assert {path.name for path in (prefix / "lib/re_pose_ros").iterdir()} == NODES
    assert (prefix / "share/ament_index/resource_index/packages/re_pose_ros").is_file()
    assert (prefix / "share/re_pose_ros/package.xml").is_file()
    for folder, pattern in (("launch", "*.launch.py"), ("config", "*.*")):
        expected = {path.name for path in (ROOT / folder).glob(pattern)}
        assert expected
        assert {path.name for path in (prefix / "share/re_pose_ros" / folder).iterdir()} == expected
    (packages,) = prefix.glob("lib/python*/site-packages")
    assert (packages / "re_pose_ros/py.typed").is_file()
    assert not (packages / "test").exists()


@pytest.mark.skipif(find_spec("colcon_core") is None, reason="needs colcon")
def test_colcon_sees_one_ament_python_package() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "colcon", "list", "--base-paths", str(ROOT)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLCON_LOG_PATH": os.devnull},
    )
    assert [line.split("\t") for line in done.stdout.splitlines()] == [
        ["re_pose_ros", str(ROOT), "(ros.ament_python)"]
    ]


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-test.txt"])
def test_every_requirement_is_pinned(file: str) -> None:
    assert requirements(file) <= pins().keys()


def test_pins_are_exact_and_not_ambiguous() -> None:
    for name, versions in pins().items():
        assert all(re.match(r"[\w.+]+(; python_version [<>]=? \"3\.\d+\")?$", v) for v in versions)
        assert len(versions) == 1 or all(";" in version for version in versions), name


def test_every_import_is_declared() -> None:
    used = {name for path in PACKAGE.rglob("*.py") for name in imports(path)}
    used -= set(sys.stdlib_module_names) | {"re_pose_ros"}
    wheels = requirements("requirements.txt")
    assert {normal(OPTIONAL[name]) for name in used & OPTIONAL.keys()} <= wheels
    used -= OPTIONAL.keys()
    keys = {THIRD_PARTY[name][0] if name in THIRD_PARTY else name for name in used}
    assert keys <= dependencies()
    for name in used & THIRD_PARTY.keys():
        assert normal(THIRD_PARTY[name][1]) in wheels
    overlay = {path.name for path in (ROOT / "interfaces").iterdir()}
    for name in used - THIRD_PARTY.keys() - overlay - {"launch", "launch_ros"}:
        assert normal(f"ros-{name}") in wheels | {"ros-ament-index-python"}, name


def test_only_the_nodes_and_the_launch_adapter_import_ros() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ROS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "re_pose_ros.geometry" in done.stdout.split()


def test_ultralytics_is_imported_in_one_place() -> None:
    importers = {
        str(p.relative_to(PACKAGE)) for p in PACKAGE.rglob("*.py") if "ultralytics" in imports(p)
    }
    assert importers == {"detection/networks.py"}
