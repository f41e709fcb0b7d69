"""Every Python block of the README runs, top to bottom, as printed."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatloom_async.testing import Sandbox, make_workspace

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)
# Blocks that are whole files begin with their names; ``test_backends`` serves them.
FILES = {block.split()[1].rstrip(":"): block for block in BLOCKS if re.match(r"# \w+\.py\b", block)}
SCRIPTS = [block for block in BLOCKS if block not in FILES.values()]


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    workspaces = [make_workspace(name, f"clf_{name}_key", agents=3) for name in ("acme", "globex")]
    with Sandbox(workspaces).in_thread() as sandbox:
        monkeypatch.chdir(tmp_path)  # where a block may leave a file
        monkeypatch.setenv("CHATLOOM_API_KEY", "clf_acme_key")
        monkeypatch.setenv("CHATLOOM_BASE_URL", sandbox.base_url)
        monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
        level = logging.getLogger("chatloom_async").level
        yield sandbox
        logging.getLogger("chatloom_async").setLevel(level)


def run(block: str) -> None:
    exec(compile(block, str(README), "exec"), {"__name__": "__main__"})  # noqa: S102 - our README


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("block", SCRIPTS, ids=lambda block: block.splitlines()[-1].strip())
def test_a_block_runs(block: str) -> None:
    run(block)


def test_the_blocks_were_found() -> None:
    assert len(BLOCKS) >= 7


@pytest.mark.usefixtures("sandbox")
def test_the_first_block_prints_agents_and_domains(capsys: pytest.CaptureFixture[str]) -> None:
    run(BLOCKS[0])
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 3
    assert all("→" in line for line in printed)
