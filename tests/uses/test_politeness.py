"""The benchmark of the rate limiter plays its scenarios and judges them by their bars."""

import re
import sys
from operator import attrgetter

import pytest

from benchmarks import politeness
from benchmarks.simulated_jobs import Job
from benchmarks.simulated_limits import Bar, Row, rows
from chatloom_async.testing import Quota

JOB = Job(Quota.token_bucket(600, 60), calls=100, tasks=10)


@pytest.mark.parametrize(
    ("bar", "word"),
    [
        (Bar(time=0.9), "slow"),
        (Bar(refused=0.0), "refused"),
        (Bar(theirs=-1.0), "greedy"),
        (Bar(time=3.0, refused=0.5), ""),
    ],
)
def test_only_a_missed_bar_fails_the_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bar: Bar, word: str
) -> None:
    monkeypatch.setattr(politeness, "rows", lambda **_: [Row("a bucket", (JOB,), bar)])
    monkeypatch.setattr(sys, "argv", ["politeness", "--check", "--seeds=1", "--only=a bucket"])
    assert politeness.main() == bool(word)
    assert f"{word}\n" in capsys.readouterr().out


def test_every_row_is_told_apart_by_its_title() -> None:
    titles = [(row.title, row.client) for row in rows(quick=False)]
    assert len(titles) == len(set(titles)) > 100


# What the README says of these: they miss their bars, or hold them with some seeds only.
MISSED = re.compile(
    "counters|clock window|Upstash sliding 100/10 s, silent|four processes|a neighbour"
    "|always 0 left|Retry-After 0|limits of their own"
)
SHORT_JOBS = [
    row
    for row in rows(quick=True)
    if row.client == "chatloom_async"
    and all(job.calls <= 2000 for job in row.jobs)
    and not MISSED.search(row.title)
]


@pytest.mark.parametrize("row", SHORT_JOBS, ids=attrgetter("title"))
def test_a_limit_is_lived_with_within_its_bar(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(politeness, "rows", lambda **_: [row])
    (line,) = politeness.limits(re.compile(""), 1, quick=True)
    assert not line.missed, line.text
