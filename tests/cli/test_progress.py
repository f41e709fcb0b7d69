"""The progress bar, on terminals and elsewhere."""

import io
import re
from contextlib import closing

import pytest

from chatloom_async import APIConnectionError, AsyncChatloom
from chatloom_async.cli.progress import Counts, Progress
from chatloom_async.testing import StubReply, StubTransport
from tests.cli.terminals import HOSTILE, Terminal
from tests.virtual import virtual


def standing(done: int) -> dict[str, int]:
    return {"done": done, "total": 10, "requests": 100, "refusals": 2, "gaps": 1}


def test_off_a_terminal_nothing_but_notes_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    for notes in (False, True):
        stream = io.StringIO()
        with closing(Progress(stream, notes_anywhere=notes)) as bar:
            bar.show(**standing(3))
            bar.note("✓", "something")
        assert stream.getvalue() == ""
        assert capsys.readouterr().err == ("✓ something\n" if notes else "")


def test_the_bar_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    stream = Terminal()
    with closing(Progress(stream)) as bar:
        bar.show(**standing(3))
        bar.note("✓", "one")
        bar.note("↻", f"acme: {HOSTILE}")
        bar.note("✗", "three")
    shown = stream.getvalue()
    for told in ("3 of 10 workspaces", "requests/s", "2 refusals", "1 gap", "left"):
        assert told in shown
    for note in ("✓ one", "↻ acme: ", "✗ three"):
        assert note in shown
    assert "[bold]\\x1b[2J" in shown
    assert "\x1b[2J" not in shown


def test_the_last_figures_go_where_the_terminal_is_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    bar = Progress(stream)
    bar.show(done=1530, total=20_000, requests=9, refusals=1204, gaps=317)
    shown = re.sub(r"\x1b\[[\d;?]*\w", "", stream.getvalue())
    bar.close()
    assert "1,530 of 20,000 workspaces · " in shown
    assert "left" in shown
    assert "requests/s" not in shown
    assert "…" not in shown


@pytest.mark.parametrize("done", [0, 10])
def test_the_bar_does_not_guess_at_the_beginning_and_the_end(done: int) -> None:
    stream = Terminal()
    with closing(Progress(stream)) as bar:
        bar.show(**standing(done))
    assert "left" not in stream.getvalue()


@virtual
async def test_every_repeated_request_is_counted_by_what_it_followed() -> None:
    counts, cut = Counts({}), APIConnectionError("cut", "cut off")
    script = (cut, StubReply(status=429), StubReply([]))
    transport = StubTransport(script, observer=counts.observe)
    await AsyncChatloom("clf_counted", pool=transport).get_raw("/x")
    assert (counts.requests, counts.refusals) == (3, 1)
    causes = "cut answer \N{MULTIPLICATION SIGN}1, 429 \N{MULTIPLICATION SIGN}1"
    assert counts.summary() == f"3 requests, 2 of them retries after {causes}"
