"""The repository keeps its own rules: packages, names, sizes of rooms, one quaternion order."""

import importlib
import re
import subprocess
from pathlib import Path

import pytest

from robot_rl.apps import cli

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("robot_rl", "sim", "calibration")
MODULES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if path.name != "__main__.py"  # importing it runs it
)
WORKSPACE = sorted((ROOT / "ros_ws" / "src").glob("*/robot_rl_*/*.py"))
ALL = [*MODULES, *WORKSPACE]
VAGUE_NAMES = {"utils.py", "common.py", "helpers.py", "misc.py"}


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_every_name_in_all_can_be_imported(path):
    module = importlib.import_module(dotted(path))
    names = getattr(module, "__all__", None)
    if names is None:
        assert path.name == "__init__.py", f"{path} has no __all__"
        return
    assert len(set(names)) == len(names), "a name stands twice in __all__"
    for name in names:
        assert hasattr(module, name), f"{dotted(path)}.__all__ names '{name}', which is not there"


@pytest.mark.parametrize("path", ALL, ids=dotted)
def test_every_module_is_one_room(path):
    lines = path.read_text().count("\n")
    assert lines <= 600, f"{path} has {lines} lines; split it"
    assert path.name not in VAGUE_NAMES


def test_every_folder_with_python_is_a_package():
    folders = {path.parent for path in MODULES}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_says_that_it_is_typed(package):
    assert (ROOT / package / "py.typed").exists()


def test_launch_does_not_shadow_the_launch_package_of_ros():
    assert not (ROOT / "launch" / "__init__.py").exists()


def test_no_colcon_package_takes_a_name_of_ours():
    names = {path.parent.name for path in (ROOT / "ros_ws").rglob("package.xml")}
    assert names.isdisjoint(PACKAGES)


@pytest.mark.parametrize("folder", [*PACKAGES, "ros_ws", "launch", "tests"])
def test_each_top_level_folder_explains_itself(folder):
    text = (ROOT / folder / "README.md").read_text()
    assert text.startswith("# ") and len(text) > 200


def test_tests_carry_no_package_files():
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_quaternions_of_ros_order_stay_out_of_the_library():
    ros_order = re.compile(r"\bxyzw\b|\(x, y, z, w\)")
    allowed = {"convert.py"}
    leaks = [p for p in ALL if p.name not in allowed and ros_order.search(p.read_text())]
    assert leaks == []


def test_no_unfinished_places_in_the_product():
    unfinished = re.compile(r"MagicMock|unittest\.mock|NotImplementedError|\b(TODO|FIXME|XXX)\b")
    assert [p for p in ALL if unfinished.search(p.read_text())] == []


def test_no_catch_all_in_the_product():
    catch_all = re.compile(r"except Exception\b|except:")
    assert [p for p in ALL if catch_all.search(p.read_text())] == []


def test_no_pickle_is_loaded():
    pickle = re.compile(r"\bpickle\.loads?\(|allow_pickle=True|weights_only=False")
    assert [p for p in ALL if pickle.search(p.read_text())] == []


def test_git_ignores_what_runs_and_tools_leave_behind():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    for path in (".venv/x", "runs/x", "data/x.zarr/x", ".typings/x", "robot_rl.egg-info/x"):
        done = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False)
        assert done.returncode == 0, f"{path} is not ignored"


def test_documents_name_only_verbs_and_targets_that_are_there():
    verbs, targets = cli.available_verbs(), (ROOT / "Makefile").read_text()
    for name in ("README.md", "CONTRIBUTING.md", "Makefile"):
        text = (ROOT / name).read_text()
        for verb in re.findall(r"robot-rl ([a-z]+)", text):
            assert verb in verbs, f"{name} names the verb '{verb}'"
        for target in re.findall(r"^make ([a-z]+)", text, re.MULTILINE):
            assert f"\n{target}:" in targets, f"{name} names the target '{target}'"


def test_documents_link_only_to_files_that_are_there():
    for path in (*ROOT.glob("*.md"), *ROOT.glob("*/README.md")):
        for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / link).exists(), f"{path.name} links to {link}"
