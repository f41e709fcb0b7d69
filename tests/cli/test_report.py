"""The command ``report``."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from chatloom_async.audit.log import AuditLog
from chatloom_async.audit.results import Finding, WorkspaceAudit
from tests.audit.samples import write
from tests.cli.terminals import Cli

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    path = tmp_path / "out.jsonl"
    write(path, WorkspaceAudit("acme"))
    return path


@pytest.mark.parametrize(
    ("page", "more", "told"),
    [
        ("{0}/./out.jsonl", [], "would write over the audit"),
        ("{0}/old.jsonl", ["--since", "{0}/old.jsonl"], "would write over the audit"),
        ("-", [], "name a file"),
    ],
)
def test_what_is_no_place_for_a_page_is_refused(
    out: Path, page: str, more: list[str], told: str, cli: Cli
) -> None:
    before = out.read_bytes()
    out.with_name("old.jsonl").write_bytes(before)
    places = [each.format(out.parent) for each in (page, *more)]
    assert told in cli("report", out, "--force", "--html", *places, status=2).err
    assert out.read_bytes() == before


def test_a_file_that_exists_is_written_over_only_by_force(out: Path, cli: Cli) -> None:
    page = out.with_name("page.html")
    page.write_text("precious")
    assert f"{page} exists" in cli("report", out, "--html", page, status=2).err
    assert page.read_text() == "precious"
    shown = cli("report", out, "--html", page, "--force")
    assert shown.out == f"Written to {page}; open it in a browser.\n"
    assert "acme" in page.read_text(encoding="utf-8")


def test_a_page_says_what_is_new_since_an_earlier_audit(out: Path, cli: Cli) -> None:
    finding = Finding("url", "medium", None, "x.example/", "'x.example/' is a URL")
    new = out.with_name("new.jsonl")
    write(new, WorkspaceAudit("acme", findings=(finding,), read_at=NOON))
    page = out.with_name("page.html")
    command = ["report", new, "--html", page, "--force", "--since"]
    cli(*command, out)
    assert "1 new since out.jsonl" in page.read_text("utf-8").replace(str(out), out.name)
    cli(*command, new)
    assert "0 new since 01 March 2026" in page.read_text("utf-8")


def test_a_page_of_a_cut_run_names_what_is_missing(out: Path, cli: Cli) -> None:
    cut = out.with_name("cut.jsonl")
    with AuditLog.open(cut, workspaces=["acme", "beta"]) as log:
        log.append(WorkspaceAudit("acme"))
    page = out.with_name("page.html")
    assert "1 workspace missing from the page" in cli("report", cut, "--html", page).err
    source = page.read_text("utf-8")
    assert "1 of 2 workspaces was read" in source
    assert "Missing: <bdi>beta</bdi>." in source
