"""Planted faults: what they do to an answer, whom they strike and how often."""

import asyncio

import pytest

from chatloom_async.testing.faults import Fault, Occurrence
from chatloom_async.testing.sandbox import Sandbox
from tests.testing.asking import ACME, AGENTS, KEY, OTHER, ask, domains_of, raw, statuses


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_planted_status_answers_an_error_and_heals() -> None:
    async with Sandbox([ACME], faults=[Fault.status(503, times=2)]) as sandbox:
        answers = [await ask(sandbox) for _ in range(3)]
    assert [answer.status for answer in answers] == [503, 503, 200]
    assert answers[0].json == {"error": "Service Unavailable"}


@pytest.mark.parametrize(
    ("given", "sent"), [(2, "2"), (0.2, "0.2"), ("soon", "soon"), (None, None)]
)
async def test_retry_after_is_sent_as_given(given: float | str | None, sent: str | None) -> None:
    async with Sandbox([ACME], faults=[Fault.status(429, retry_after=given)]) as sandbox:
        answer = await ask(sandbox)
    assert (answer.status, answer.headers.get("Retry-After")) == (429, sent)


async def test_a_planted_answer_may_have_body_and_headers() -> None:
    page = Fault.status(
        502,
        body=b"<h1>Bad Gateway</h1>",
        headers={"content-type": "text/html", "X-Request-Id": "7"},
    )
    async with Sandbox([ACME], faults=[page]) as sandbox:
        answer = await ask(sandbox)
    assert answer.body == b"<h1>Bad Gateway</h1>"
    assert answer.headers.getall("Content-Type") == ["text/html"]
    assert answer.headers["X-Request-Id"] == "7"


async def test_a_malformed_body_is_delivered_well() -> None:
    async with Sandbox([ACME], faults=[Fault.malformed()]) as sandbox:
        answer = await ask(sandbox)
    assert answer.status == 200
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    with pytest.raises(ValueError, match="Expecting"):
        _ = answer.json


async def test_a_reset_comes_before_any_byte() -> None:
    async with Sandbox([ACME], faults=[Fault.reset()]) as sandbox:
        with pytest.raises(ConnectionResetError):
            await ask(sandbox)


async def test_a_disconnect_closes_without_a_byte() -> None:
    async with Sandbox([ACME], faults=[Fault.disconnect()]) as sandbox:
        assert await raw(sandbox, f"GET {AGENTS} HTTP/1.1", f"X-API-Key: {KEY}") == b""


async def test_a_cut_body_ends_before_its_content_length() -> None:
    async with Sandbox([ACME], faults=[Fault.cut_body()]) as sandbox:
        answer = await ask(sandbox)
    assert answer.status == 200
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


@pytest.mark.looptime
async def test_a_hanging_request_keeps_nobody_waiting() -> None:
    async with Sandbox([ACME], faults=[Fault.hang()]) as sandbox:
        hanging = asyncio.create_task(ask(sandbox))
        await asyncio.sleep(3600)
        other = await ask(sandbox)
        assert not hanging.done()
        hanging.cancel()
        await asyncio.wait([hanging])
    assert other.status == 200


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.status(500, path=domains_of("agt_1")), [200, 500, 200]),
        (Fault.status(500, path=f"{AGENTS}/*", times=None), [200, 500, 500]),
        (Fault.status(500, times=None).on(path=f"{AGENTS}/*", workspace="acme"), [200, 500, 500]),
        (Fault.status(500, workspace="other"), [200, 200, 200]),
        (Fault.status(500, times=None), [500, 500, 500]),
        (Fault.status(500).every(2), [200, 500, 200]),
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


@pytest.mark.parametrize(
    ("times", "every", "probability"),
    [(0, 1, 1.0), (-1, 1, 1.0), (1, 0, 1.0), (1, 1, 0.0), (1, 1, 1.5)],
)
def test_an_occurrence_that_makes_no_sense_is_refused(
    times: int, every: int, probability: float
) -> None:
    with pytest.raises(ValueError, match=r"times|every|probability"):
        Occurrence(times, every, probability)


@pytest.mark.parametrize("status", [0, 100, 199, 600])
def test_a_status_that_ends_no_exchange_is_refused(status: int) -> None:
    with pytest.raises(ValueError, match="200 to 599"):
        Fault.status(status)


def test_retry_after_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        Fault.status(429, retry_after=1, headers={"retry-after": "2"})


def test_a_header_with_a_line_break_is_refused() -> None:
    with pytest.raises(ValueError, match="control character"):
        Fault.status(500, headers={"X-Note": "a\r\nb"})


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_wait_that_is_no_duration_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="'wait' must be"):
        Fault.delay(seconds)
    with pytest.raises(ValueError, match="'pause' must be"):
        Fault.drip(seconds)
