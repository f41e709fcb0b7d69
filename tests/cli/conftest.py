"""Fixtures of the commands."""

from pathlib import Path

import pytest

from chatloom_async.cli.main import main
from chatloom_async.testing import Sandbox
from tests.cli.terminals import Cli, Shown


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command, which ends with this status, and returns what it has written."""

    def run(*arguments: object, status: int = 0) -> Shown:
        assert main([str(each) for each in arguments]) == status
        return Shown(*capsys.readouterr())

    return run


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a command runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def acme_key(served: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of a workspace that is served, in the environment."""
    assert served.base_url
    monkeypatch.setenv("CHATLOOM_API_KEY", "clf_key_of_acme")
