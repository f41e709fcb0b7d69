from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve
from pyarrow import parquet

from chatloom_async.audit.results import AGENT_FIELDS
from chatloom_async.contrib.parquet import SCHEMA, ParquetFile
from tests.audit.samples import ACME, AGENT, DEAD


def test_a_row_holds_an_agent_with_all_its_fields(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    with ParquetFile(tmp_path / "p") as file:
        file.add(evolve(ACME, read_at=moment))
        file.add(DEAD)
    first, second, dead = parquet.read_table(tmp_path / "p").to_pylist()
    assert {name: first[name] for name in AGENT_FIELDS} == {
        **{name: getattr(AGENT, name) for name in AGENT_FIELDS},
        "allowed_domains": ["example.com", "localhost"],
    }
    assert (first["workspace"], first["agent"], first["read_at"]) == ("acme", "agt_1", moment)
    assert [finding["rule"] for finding in first["findings"]] == ["private-address"]
    assert [gap["status"] for gap in second["gaps"]] == [500]
    assert (dead["agent"], dead["allowed_domains"], dead["read_at"]) == (None, None, None)
    assert list(SCHEMA.names) == list(first)


def test_a_whole_file_alone_takes_the_place(tmp_path: Path) -> None:
    place = tmp_path / "p"
    place.write_text("before")
    with pytest.raises(KeyError), ParquetFile(place) as file:
        file.add(ACME)
        raise KeyError
    assert place.read_text() == "before"
    with ParquetFile(place) as file:
        file.add(ACME)
        assert place.read_text() == "before"
    assert parquet.read_table(place).num_rows == 2
    assert list(tmp_path.iterdir()) == [place]


def test_half_a_surrogate_pair_is_written_out(tmp_path: Path) -> None:
    with ParquetFile(tmp_path / "p") as file:
        file.add(evolve(ACME, agents=(evolve(AGENT, name="\ud800", allowed_domains=("\udfff",)),)))
    row = parquet.read_table(tmp_path / "p").to_pylist()[-1]
    assert (row["name"], row["allowed_domains"]) == ("\\ud800", ["\\udfff"])


def test_a_number_that_fits_no_column_is_left_out(tmp_path: Path) -> None:
    (gap,) = DEAD.gaps
    with ParquetFile(tmp_path / "p") as file:
        file.add(evolve(DEAD, gaps=(evolve(gap, status=10**30),)))
    assert parquet.read_table(tmp_path / "p").to_pylist()[0]["gaps"][0]["status"] is None
