"""What leaves the house, what it costs to start, and what it may not contain."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "hwtrain").rglob("*.py"))
POSIX_ONLY = {"fcntl", "termios", "pwd", "resource", "grp"}
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (file,) = folder.glob("*.whl")
    return file


def test_the_wheel_holds_exactly_the_listed_files(wheel: Path, golden: Callable[[str, str], None]) -> None:
    names = sorted(zipfile.ZipFile(wheel).namelist())
    assert any(name.startswith("hwtrain/_shipped/devices/") for name in names)
    golden("wheel-files.txt", "".join(f"{name}\n" for name in names))


def test_the_wheel_runs_on_any_machine_and_is_small(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    assert wheel.stat().st_size < 2 * MEBIBYTE


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M)
    assert cited
    assert project["version"] == cited[1] == version("hwtrain")


@pytest.mark.parametrize(
    ("arguments", "limit_s"),
    [
        pytest.param(["-c", "import hwtrain"], 0.2, id="import"),
        pytest.param(["-m", "hwtrain", "--help"], 0.5, id="help"),
    ],
)
def test_starting_is_fast_and_does_not_import_torch(arguments: list[str], limit_s: float) -> None:
    loaded = _python("-X", "importtime", *arguments).stderr
    assert re.search(r"\| +hwtrain$", loaded, re.M), "the import list was not understood"
    assert not re.search(r"\| +torch$", loaded, re.M)
    best = min(_seconds(arguments) for _ in range(5))
    assert best < limit_s, f"python {' '.join(arguments)} took {best:.2f} s of CPU, five tries, the best"


@pytest.mark.parametrize("module", MODULES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_a_module_imports_on_every_system_and_never_unpickles(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    at_import = {name for node in tree.body for name in _imported(node)}
    anywhere = {name for node in ast.walk(tree) for name in _imported(node)}
    assert not at_import & POSIX_ONLY, "import it inside the function that needs it"
    assert not anywhere & UNPICKLERS, "hwtrain writes JSON, TOML and safetensors"
    assert not list(_unsafe_loads(tree)), "a file must not be able to run code"


def test_the_unsafe_load_check_sees_what_it_should() -> None:
    bad = "torch.load(f)\nnumpy.load(f, allow_pickle=True)\n"
    good = "json.load(f)\nnumpy.load(f)\nsafetensors.torch.load(b)\n"
    assert list(_unsafe_loads(ast.parse(bad + good))) == [1, 2]


def test_no_committed_file_is_larger_than_a_mebibyte() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    assert [file for file in files if file.is_file() and file.stat().st_size > MEBIBYTE] == []


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh Python; fails the test with what it said."""
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def _seconds(arguments: list[str]) -> float:
    """Of the processor's time, which other work on the machine does not lengthen."""
    start = os.times()
    _python(*arguments)
    end = os.times()
    return end.children_user + end.children_system - start.children_user - start.children_system


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module.split(".")[0]]
    return []


def _unsafe_loads(tree: ast.AST) -> Iterator[int]:
    """The lines of ``torch.load(...)`` and of any call with ``allow_pickle=True``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            pickled = any(
                word.arg == "allow_pickle" and getattr(word.value, "value", True) for word in node.keywords
            )
            if pickled or ast.unparse(node.func) == "torch.load":
                yield node.lineno
