"""The command ``report``."""

from pathlib import Path

import pytest

from chatloom_async.audit.files import AuditLog
from chatloom_async.audit.results import WorkspaceAudit
from chatloom_async.cli.main import main

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    path = tmp_path / "out.jsonl"
    with AuditLog.open(path) as log:
        log.append(WorkspaceAudit("acme"))
    return path


def test_a_page_is_made_of_an_audit_file(out: Path, capsys: Captured) -> None:
    page = out.with_name("report.html")
    assert main(["report", str(out), "--html", str(page)]) == 0
    assert "acme" in page.read_text(encoding="utf-8")
    assert capsys.readouterr().out == f"Written to {page}; open it in a browser.\n"


def test_a_page_does_not_replace_its_audit(out: Path, capsys: Captured) -> None:
    before = out.read_bytes()
    assert main(["report", str(out), "--html", f"{out.parent}/./{out.name}", "--force"]) == 2
    assert "would write over the audit" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_a_file_that_exists_is_written_over_only_by_force(out: Path, capsys: Captured) -> None:
    page = out.with_name("page.html")
    page.write_text("precious")
    assert main(["report", str(out), "--html", str(page)]) == 2
    assert f"{page} exists" in capsys.readouterr().err
    assert page.read_text() == "precious"
    assert main(["report", str(out), "--html", str(page), "--force"]) == 0
    assert "acme" in page.read_text(encoding="utf-8")
