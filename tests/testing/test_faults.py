"""Planted faults: what they do to an answer, whom they strike and how often."""

import math
from collections.abc import Callable
from functools import partial

import pytest

from chatloom_async.testing.faults import Fault
from chatloom_async.testing.sandbox import Sandbox
from tests.testing.asking import ACME, AGENTS, KEY, OTHER, ask, domains_of, raw, statuses
from tests.virtual import now

PAGE = {"content-type": "text/html", "X-Request-Id": "7"}


@pytest.mark.parametrize(
    ("fault", "status", "headers", "body"),
    [
        (Fault.status(503), 503, {}, b'{"error":"Service Unavailable"}'),
        (Fault.status(500, retry_after=0.2), 500, {"Retry-After": "0.2"}, None),
        (Fault.status(429, retry_after="soon"), 429, {"Retry-After": "soon"}, None),
        (Fault.status(502, body=b"<h1>No</h1>", headers=PAGE), 502, PAGE, b"<h1>No</h1>"),
        (Fault.malformed(), 200, {}, b'{"agents": [{"id": '),
    ],
)
async def test_a_planted_answer_is_sent_as_given(
    fault: Fault, status: int, headers: dict[str, str], body: bytes | None
) -> None:
    async with Sandbox([ACME], faults=[fault]) as sandbox:
        answer = await ask(sandbox)
    assert answer.status == status
    assert body in (None, answer.body)
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    assert {name: answer.headers.getall(name) for name in headers} == {
        name: [value] for name, value in headers.items()
    }
    assert ("Retry-After" in answer.headers) == ("Retry-After" in headers)


async def test_a_lost_connection_ends_before_any_byte() -> None:
    async with Sandbox([ACME], faults=[Fault.reset(), Fault.disconnect()]) as sandbox:
        with pytest.raises(ConnectionResetError):
            await ask(sandbox)
        assert await raw(sandbox, f"GET {AGENTS} HTTP/1.1", f"X-API-Key: {KEY}") == b""


async def test_a_cut_body_ends_before_its_content_length() -> None:
    async with Sandbox([ACME], faults=[Fault.cut_body()]) as sandbox:
        answer = await ask(sandbox)
    assert (answer.status, sandbox.count(status=0)) == (200, 1)
    assert 0 < len(answer.body) < int(answer.headers["Content-Length"])


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("fault", "status", "seconds"),
    [
        (Fault.delay(30), 200, 50),
        (Fault.status(500).after(10), 500, 30),
        (Fault.drip(2), 200, 20 + 2 * len('{"domains":[]}')),
    ],
)
async def test_a_late_answer_comes_whole(fault: Fault, status: int, seconds: float) -> None:
    async with Sandbox([ACME], latency=20, faults=[fault]) as sandbox:
        asked = now()
        answer = await ask(sandbox, domains_of("agt_2"))
        assert now() - asked == pytest.approx(seconds, abs=3)
        await ask(sandbox)
        assert now() - asked == pytest.approx(seconds + 20, abs=3)
    assert answer.status == status
    assert int(answer.headers["Content-Length"]) == len(answer.body)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.status(500, path=domains_of("agt_1")), [200, 500, 200]),
        (Fault.status(500, path=f"{AGENTS}/*", times=None), [200, 500, 500]),
        (Fault.status(500, times=None).on(path=f"{AGENTS}/*", workspace="acme"), [200, 500, 500]),
        (Fault.status(500, times=None), [500, 500, 500]),
        (Fault.status(500).every(2), [200, 500, 200]),
        (Fault.status(500).every(1), [500, 500, 500]),
        (Fault.status(500, times=2).every(1), [500, 500, 200]),
        (Fault.status(500).every(1, times=1), [500, 200, 200]),
        (Fault.status(500).sometimes(1.0, times=1), [500, 200, 200]),
        (Fault.status(500, workspace="other").on(path=f"{AGENTS}/*"), [200, 200, 200]),
        (Fault.status(500, path=AGENTS, times=None).on(workspace="acme"), [500, 200, 200]),
    ],
)
async def test_a_fault_strikes_what_it_names(fault: Fault, expected: list[int]) -> None:
    paths = (AGENTS, domains_of("agt_1"), domains_of("agt_2") + "?x=1")
    async with Sandbox([ACME, OTHER], faults=[fault]) as sandbox:
        assert await statuses(sandbox, *paths) == expected


async def test_a_fault_by_chance_repeats_with_its_seed() -> None:
    runs: list[list[int]] = []
    for _ in range(2):
        fault = Fault.status(500).sometimes(0.3, seed=4)
        async with Sandbox([ACME], faults=[fault]) as sandbox:
            runs.append(await statuses(sandbox, *[AGENTS] * 40))
    assert runs[0] == runs[1]
    assert 5 <= runs[0].count(500) <= 20


async def test_the_fault_planted_first_strikes_first() -> None:
    faults = [Fault.status(500), Fault.status(503)]
    async with Sandbox([ACME], faults=[*faults, faults[0]]) as sandbox:
        assert await statuses(sandbox, *[AGENTS] * 4) == [500, 503, 500, 200]


async def test_a_fault_for_everybody_needs_no_key() -> None:
    async with Sandbox([ACME], faults=[Fault.status(500)]) as sandbox:
        assert await statuses(sandbox, AGENTS, key=None) == [500]


ENDLESS = (-1.0, math.nan, math.inf)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        *((partial(Fault, None, times=times), "times") for times in (0, -1)),
        (partial(Fault.reset, times=2.5), "whole number"),  # type: ignore[arg-type]  # as users may
        (partial(Fault.reset().every, 0), "nth"),
        *((partial(Fault.reset().sometimes, chance), "probability") for chance in (0.0, 1.5)),
        *((partial(Fault.status, status), "200 to 599") for status in (0, 100, 199, 600)),
        (partial(Fault.status, 429, retry_after=1, headers={"retry-after": "2"}), "not both"),
        (partial(Fault.status, 500, headers={"X-Note": "a\r\nb"}), "control character"),
        *((partial(Fault.delay, seconds), "'wait' must be") for seconds in ENDLESS),
        *((partial(Fault.drip, seconds), "'pause' must be") for seconds in ENDLESS),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(make: Callable[[], object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()
