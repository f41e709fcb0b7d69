"""CSV and Parquet, as spreadsheets and data frames read them."""

import csv
import io
import sys
from pathlib import Path

import pytest
from attrs import evolve
from pyarrow import parquet

from chatloom_async.audit.results import Finding, WorkspaceAudit
from chatloom_async.contrib.parquet import ParquetFile
from chatloom_async.testing import Fault, Sandbox, SandboxAgent, Workspace
from tests.audit.samples import no_file_beyond
from tests.cli.terminals import Cli, CtrlC


def test_csv_tells_findings_and_gaps(served: Sandbox, keys: str, cli: Cli) -> None:
    agent = SandboxAgent("agt_1", "=1+1", domains=("localhost",))
    served.add(Workspace("acme", "clf_key_of_acme", (agent,)))
    served.revoke("beta")
    rows = csv.DictReader(cli("audit", keys, "--format", "csv").out[1:].splitlines())
    first, second = sorted(rows, key=lambda row: row["workspace"])
    assert (first["name"], first["allowed_domains"], first["gaps"]) == ("'=1+1", "localhost", "")
    assert first["findings"].startswith("medium ")
    assert (second["workspace"], second["agent"], second["findings"]) == ("beta", "", "")
    assert second["gaps"].startswith("AuthenticationError: This API key has been revoked")


def test_csv_in_a_file_begins_as_excel_wants_it(
    served: Sandbox, keys: str, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
    cli("audit", keys, "--format", "csv")
    assert written.getvalue().startswith(b"\xef\xbb\xbfworkspace,agent,name,")
    assert written.getvalue().count(b"\n") == 6
    assert b"\n(several)," in written.getvalue()
    assert served.count() == 6


def test_a_resume_overwrites_parquet_only(served: Sandbox, keys: str, out: Path, cli: Cli) -> None:
    rows = out.with_name("p")
    command = ["audit", keys, "--out", out, "--parquet", rows, "--resume"]
    for _ in range(2):
        cli(*command)
    *_, last = table = parquet.read_table(rows).to_pylist()
    assert len(table) == 5
    assert (last["workspace"], last["findings"][0]["rule"]) == ("(several)", "shared-domain")
    rows.write_text("precious")
    assert "p exists" in cli(*command, status=2).err
    assert rows.read_text() == "precious"
    assert served.count() == 6


def test_an_interrupted_run_leaves_no_parquet_file(
    served: Sandbox, keys: str, out: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    served.plant(Fault.hang(workspace="beta", times=None))
    monkeypatch.setattr(sys, "stdout", CtrlC(at='"workspace":'))
    parquet_file = out.with_name("p")
    told = cli("audit", keys, "--format", "jsonl", "--parquet", parquet_file, status=130).err
    assert list(out.parent.glob("p*")) == []
    assert f"; {parquet_file} is not written" in told


def test_a_parquet_file_for_which_there_is_no_room_is_named(tmp_path: Path) -> None:
    finding = Finding("url", "low", None, None, "…")
    many = WorkspaceAudit("acme", findings=tuple(evolve(finding, rule=str(n)) for n in range(9999)))
    full = no_file_beyond(1000)
    with full, pytest.raises(OSError, match="/p'"), ParquetFile(tmp_path / "p") as file:
        file.add(many)
