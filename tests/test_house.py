import ast
from collections.abc import Callable
from pathlib import Path

import pytest

import chatloom_async
from tests.house import STAIR, circles, lost_pointers, package_sources, place, violations

PACKAGE = Path(chatloom_async.__file__).parent


@pytest.mark.parametrize("rule", [violations, circles, lost_pointers])
def test_the_package_breaks_no_rule(rule: Callable[[dict[str, str]], list[str]]) -> None:
    assert rule(package_sources(PACKAGE)) == []


def test_every_module_stands_on_a_stair() -> None:
    modules = {place(name) for name in package_sources(PACKAGE)}
    assert modules - {"ratelimit.__init__", "ratelimit"} == STAIR.keys()


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("errors", "from chatloom_async.auth import ApiKey"),
        ("calls.call", "from chatloom_async import audit"),
        ("calls.call", "from chatloom_async.network.pool import ConnectionPool"),
        ("network.pool", "from chatloom_async.calls.retry import RetryPolicy"),
        ("audit.results", "from chatloom_async.audit.run import audit"),
        ("audit.files", "from chatloom_async.audit import audit"),
        ("client", "import aiohttp"),
        ("models", "from cattrs import Converter"),
        ("audit.run", "def later():\n    import rich"),
        ("calls.call", "if TYPE_CHECKING:\n    from aiohttp import web"),
        ("audit.run", "from . import cli"),
        ("client", "from chatloom_async import AsyncChatloom"),
        ("stray", "from chatloom_async.errors import ChatloomError"),
    ],
)
def test_a_planted_violation_is_found(module: str, source: str) -> None:
    assert len(violations({module: source})) == 1


@pytest.mark.parametrize("package", [".", "audit", "testing"])
def test_a_packages_face_holds_imports_and_all_only(package: str) -> None:
    body = ast.parse((PACKAGE / package / "__init__.py").read_text("utf-8")).body
    docstring, *imports, names = body
    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(node, ast.ImportFrom) for node in imports)
    assert isinstance(names, ast.Assign)


def test_a_planted_circle_is_found() -> None:
    chain = {f"a{n}": f"import chatloom_async.a{(n + 1) % 3}" for n in range(3)}
    assert circles({**chain, "alone": "import chatloom_async.a0"}) == ["a0", "a1", "a2"]


def test_a_planted_lost_pointer_is_found() -> None:
    docstring = '"""Not here: this (``other``), that (``calls.call``), it (``call``)."""'
    sources = {"calls.wire": docstring, "calls.call": ""}
    assert lost_pointers(sources) == ["calls.wire points to other"]


def test_the_package_is_taken_in_at_a_glance() -> None:
    entries = [each for each in PACKAGE.iterdir() if each.name != "__pycache__"]
    files = [each for each in entries if each.is_file()]
    assert len(files) <= 12
    assert len(entries) - len(files) <= 7
