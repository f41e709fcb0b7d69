"""What is shipped: the wheel and the source distribution, built as a release would be."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from tests.house import DOORS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return target


@pytest.fixture(scope="module")
def wheel(built: Path) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        yield archive


def test_the_wheel_holds_package_and_command(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0].split("-")[0] for name in wheel.namelist()}
    assert tops == {"chatloom_async", "_chatloom_async.py"}
    metadata = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert wheel.read(metadata).decode().endswith("\nchatloom-async = _chatloom_async:main\n")


def test_the_wheel_is_complete_without_leftovers(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    package = (ROOT / "chatloom_async").rglob("*.py")
    modules = {path.relative_to(ROOT).as_posix() for path in package}
    assert modules - set(names) == {"chatloom_async/cli/start.py"}  # it is beside the package
    assert "chatloom_async/py.typed" in names
    assert any(name.endswith("licenses/.github/LICENSE") for name in names)
    leftovers = ("__pycache__", ".pyc", "/tests/", ".orig")
    assert not [name for name in names if any(part in name for part in leftovers)]


def test_the_source_distribution_holds_the_six_entries(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        tops = {name.split("/")[1] for name in archive.getnames()}
    six = {"README.md", "benchmarks", "chatloom_async", "noxfile.py", "pyproject.toml", "tests"}
    assert {name for name in tops if not name.startswith(".")} == {"PKG-INFO", *six}


def test_every_dependency_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = {re.split(r"[\[<>=;]", line)[0].replace("-", "_") for line in declared}
    own = {"opentelemetry": "opentelemetry_api"}
    brought = {"yarl", "pydantic_core"}  # by aiohttp, and by a framework that asks for it
    assert {own.get(name, name) for name in DOORS} - names == brought
