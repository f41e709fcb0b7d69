from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where an audit file may be written."""
    return tmp_path / "audit.jsonl"
