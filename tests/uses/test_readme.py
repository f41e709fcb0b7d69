"""Every Python block of the README runs, top to bottom, as printed."""

import ast
import asyncio
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatloom_async.testing import Sandbox, make_workspace

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)
# Blocks that are whole files begin with their names; ``test_backends`` serves them.
FILES = {block.split()[1].rstrip(":"): block for block in BLOCKS if re.match(r"# \w+\.py\b", block)}
SCRIPTS = [block for block in BLOCKS if block not in FILES.values()]


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    workspaces = [make_workspace(name, f"clf_{name}_key", agents=3) for name in ("acme", "globex")]
    with Sandbox(workspaces).in_thread() as sandbox:
        monkeypatch.setenv("CHATLOOM_API_KEY", "clf_acme_key")
        monkeypatch.setenv("CHATLOOM_BASE_URL", sandbox.base_url)
        yield sandbox


def run(block: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "readme"}
    code = compile(block, str(README), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:

        async def main() -> None:
            await eval(code, names)  # noqa: S307 - our own README

        asyncio.run(main())
    else:
        exec(code, names)  # noqa: S102 - our own README
    return names


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("block", SCRIPTS, ids=lambda block: block.splitlines()[-1].strip())
def test_a_block_runs(block: str) -> None:
    names = run(block)
    if "lifespan" in names:
        asyncio.run(_enter(names["lifespan"]))


async def _enter(lifespan: Any) -> None:
    async with lifespan(None) as state:
        assert len(await state["chatloom"].list_agents()) == 3


def test_the_blocks_were_found() -> None:
    assert len(BLOCKS) >= 7


@pytest.mark.usefixtures("sandbox")
def test_the_first_block_prints_agents_and_domains(capsys: pytest.CaptureFixture[str]) -> None:
    run(BLOCKS[0])
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 3
    assert all("→" in line for line in printed)


@pytest.mark.usefixtures("sandbox")
def test_a_broken_block_would_fail() -> None:
    with pytest.raises(AttributeError):
        run("import chatloom_async\nchatloom_async.no_such_name")
