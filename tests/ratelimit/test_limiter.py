"""The gate: queue, timer, probes, people, patience; all in virtual time."""

import asyncio
import gc
import logging
import math
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from chatloom_async.errors import DeadlineExceededError
from chatloom_async.ratelimit.limiter import RateLimiter
from chatloom_async.ratelimit.values import Cost, RateLimit
from chatloom_async.ratelimit.waiting import Waiter, WaitingLine, WaitLimits
from tests.virtual import now, virtual

pytestmark = pytest.mark.virtual
UNLIMITED = RateLimit(per_minute=None)
ONE_A_SECOND = RateLimit(per_minute=60, burst=1)
ERROR = ConnectionError("reset by the server")


def limiter(limit: RateLimit = UNLIMITED, name: str = "k") -> RateLimiter:
    return RateLimiter(limit, name=name)


async def departure(gate: RateLimiter, path: str = "/a", *, urgent: bool = False) -> float:
    found = gate.try_acquire()
    return await gate.wait(path, WaitLimits(urgent=urgent)) if found is None else found


async def lookup(gate: RateLimiter, path: str = "/a", latency: float = 0.05) -> float:
    sent_at = await departure(gate, path)
    await asyncio.sleep(latency)
    gate.admitted(sent_at, path)
    return sent_at


async def pass_by(
    gate: RateLimiter, order: list[str], name: str, *, refused: bool = False, end: float = math.inf
) -> None:
    """Wait for a turn as a call for the resource ``name``, note that it came, and be answered."""
    sent_at = await gate.wait(name, WaitLimits(end), refused=refused)
    order.append(name)
    gate.admitted(sent_at, name)


async def close(gate: RateLimiter, retry_after: float | None = 10) -> None:
    gate.refused(await departure(gate), ERROR, retry_after)


async def break_down(gate: RateLimiter, *paths: str) -> None:
    """Let ten requests fail in a row."""
    for path in ((paths or ("/a",)) * 10)[:10]:
        gate.failed(await departure(gate, path), path, ERROR)


@define
class Api:
    """What a server says to each request, and the attempts of a call that obey the verdicts."""

    gate: RateLimiter
    answer: Callable[[str], str] = lambda _path: "200"
    latency: float = 0.05
    reported: Callable[[], None] = lambda: None  # right after, in the same tick
    sent: list[tuple[float, str]] = field(factory=list)

    async def call(
        self,
        path: str = "/a",
        *,
        attempts: int = 4,
        patience: float = 120.0,
        urgent: bool = False,
        give_up_at: float = math.inf,
    ) -> float:
        refused = False
        while True:
            sent_at = self.gate.try_acquire()
            if sent_at is None:
                terms = WaitLimits(give_up_at, urgent=urgent, patience=patience)
                sent_at = await self.gate.wait(path, terms, refused=refused)
            try:
                self.sent.append((now(), path))
                answer = self.answer(path)
                await asyncio.sleep(self.latency)
            except asyncio.CancelledError:
                self.gate.abandoned(sent_at)
                raise
            if answer == "200":
                self.gate.admitted(sent_at, path)
                self.reported()
                return sent_at
            error = ConnectionError(answer)
            refused = answer == "429"
            verdict = (
                self.gate.refused(sent_at, error, None)
                if refused
                else self.gate.failed(sent_at, path, error)
            )
            self.reported()
            attempts -= verdict is Cost.COUNTED
            if attempts == 0 or verdict is Cost.FINAL:
                raise error
            if verdict is Cost.COUNTED:
                await asyncio.sleep(0.5)


async def test_nobody_overtakes_those_who_wait() -> None:
    gate, order = limiter(ONE_A_SECOND), list[int]()

    async def call(number: int) -> None:
        gate.admitted(await departure(gate), "/a")
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(call(number))
            await asyncio.sleep(0.4)
    assert order == list(range(20))


async def test_a_call_made_in_the_tick_of_a_turn_does_not_overtake() -> None:
    gate, entered = limiter(ONE_A_SECOND), list[float | None]()
    gate.try_acquire()
    asyncio.get_running_loop().call_at(1.0, lambda: entered.append(gate.try_acquire()))
    await gate.wait("/a", WaitLimits())
    assert entered == [None]


async def test_a_refused_call_leaves_before_those_who_wait_already() -> None:
    gate, order = limiter(), list[str]()
    await close(gate)
    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(pass_by(gate, order, f"waiting {number}"))
        await asyncio.sleep(1)
        group.create_task(pass_by(gate, order, "refused", refused=True))
    assert order == ["refused", "waiting 0", "waiting 1", "waiting 2"]


async def test_a_refused_call_does_not_count_those_behind_it() -> None:
    gate = limiter(ONE_A_SECOND)
    first = await departure(gate)
    waiting = [asyncio.create_task(lookup(gate)) for _ in range(20)]
    await asyncio.sleep(0)
    gate.refused(first, ERROR, 0.5)
    assert await gate.wait("/a", WaitLimits(give_up_at=4.0), refused=True) < 4
    for each in waiting:
        each.cancel()


async def test_one_probe_leaves_and_its_success_lets_the_others_go() -> None:
    gate = limiter()
    await close(gate)
    await asyncio.sleep(12)
    assert gate.try_acquire() is None  # a probe leaves from the queue only
    probe, *others = sorted(await asyncio.gather(*(lookup(gate, latency=2) for _ in range(5))))
    assert 12 <= probe <= 12.1
    assert all(sent_at >= probe + 2 for sent_at in others)


async def test_a_probe_is_preferably_of_a_resource_that_has_not_failed() -> None:
    gate, order = limiter(), list[str]()
    await break_down(gate, "/a", "/b", "/c")
    await asyncio.gather(*(pass_by(gate, order, path) for path in ("/a", "/b", "/d", "/c")))
    assert order == ["/d", "/a", "/b", "/c"]


async def test_the_probes_of_an_outage_wait_as_long_as_the_server_asks() -> None:
    gate, probes = limiter(), list[float]()
    await break_down(gate)
    for asked in (20, None, None):
        probes.append(await gate.wait("/a", WaitLimits()))
        gate.failed(probes[-1], "/a", ERROR, asked)
    first, second, third = probes
    assert second == pytest.approx(first + 20, abs=0.01)
    assert third <= second + 2.3


async def test_the_probe_is_of_who_can_wait_longest_for_its_answer() -> None:
    gate, order = limiter(), list[str]()
    await close(gate)
    ends = {"first": 10.5, "late": 15.0, "latest": 16.0}
    await asyncio.gather(*(pass_by(gate, order, each, end=ends[each]) for each in ends))
    assert order == ["latest", "first", "late"]


@pytest.mark.parametrize(("answer", "most"), [("429", 16.0), ("503", 8.0)])
@pytest.mark.parametrize(("latency", "pause"), [(0.3, 0.2), (3.0, 0.5)])
async def test_a_gate_opens_soon_although_every_call_has_a_short_deadline(
    answer: str, most: float, latency: float, pause: float
) -> None:
    """Calls come steadily; the next in line is always about to give up."""
    api = Api(limiter(), latency=latency)
    api.answer = lambda _path: answer if 10 <= now() < 30 else "200"
    healthy_since = list[float]()

    async def call(number: int) -> None:
        await asyncio.sleep(number * pause)
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(5):
                await api.call(f"/{number % 20}", give_up_at=now() + 5)
            if now() > 30:
                healthy_since.append(now())

    await asyncio.gather(*(call(number) for number in range(int(90 / pause))))
    assert min(healthy_since) <= 30 + most + latency


@pytest.mark.parametrize("seconds", [2, 30])
async def test_an_outage_loses_nothing_and_sends_few_requests(seconds: float) -> None:
    api = Api(limiter())
    api.answer = lambda _path: "503" if 20 <= now() < 20 + seconds else "200"

    async def job(number: int) -> None:
        for turn in range(60):
            await api.call(f"/{number}/{turn}")

    async with asyncio.TaskGroup() as group:
        for number in range(50):
            group.create_task(job(number))
    assert sum(20 <= sent_at < 20 + seconds for sent_at, _ in api.sent) <= 25


@pytest.mark.parametrize(("answer", "late"), [("503", 10), ("429", 80)])
async def test_trouble_beyond_a_calls_patience_raises(answer: str, late: float) -> None:
    api = Api(limiter(), lambda _path: answer)

    async def call(number: int, patience: float) -> None:
        with pytest.raises(ConnectionError, match=answer):
            await api.call(f"/{number}", attempts=99, patience=patience)
        assert patience <= now() <= patience + late

    await asyncio.gather(*(call(*each) for each in enumerate([60] * 50 + [300] * 50)))


async def test_those_who_wait_for_a_healthy_resource_are_not_failed() -> None:
    gate = limiter()
    await break_down(gate, "/poisoned")
    waiting = asyncio.create_task(gate.wait("/poisoned", WaitLimits(patience=1)))
    await asyncio.sleep(0.6)
    probe = await waiting
    bystander = asyncio.create_task(gate.wait("/healthy", WaitLimits(patience=0.1)))
    await asyncio.sleep(5)
    assert gate.failed(probe, "/poisoned", ERROR) is Cost.FINAL
    assert await bystander


async def test_those_who_wait_for_any_resource_are_failed_when_three_fail() -> None:
    gate = limiter()
    await break_down(gate, "/a", "/b", "/c")
    probe = await gate.wait("/a", WaitLimits())
    waiting = asyncio.create_task(gate.wait("/d", WaitLimits(patience=0.1)))
    await asyncio.sleep(1)
    gate.failed(probe, "/a", ERROR)
    with pytest.raises(ConnectionError):
        await waiting


async def test_each_waiter_gets_a_copy_of_the_error() -> None:
    gate = limiter()
    await break_down(gate)
    calls = [asyncio.create_task(gate.wait("/a", WaitLimits(patience=0.1))) for _ in range(5)]
    (probe,), others = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    gate.failed(await probe, "/a", ERROR)
    errors = await asyncio.gather(*others, return_exceptions=True)
    assert len({id(error) for error in (ERROR, *errors)}) == 5
    assert {str(error) for error in errors} == {str(ERROR)}
    assert gate.statistics().waiting == 0


async def test_a_new_call_in_a_hopeless_outage_fails_soon() -> None:
    api = Api(limiter(), lambda _path: "503")
    await asyncio.gather(*(api.call() for _ in range(20)), return_exceptions=True)
    started = now()
    with pytest.raises(ConnectionError):
        await api.call()
    assert now() - started <= 4.5


async def test_a_person_leaves_before_the_timer_of_bulk() -> None:
    gate = limiter(RateLimit(per_minute=2, burst=2))
    for _ in range(2):
        gate.admitted(await departure(gate), "/a")
    bulk = asyncio.create_task(departure(gate))
    await asyncio.sleep(40)
    assert await departure(gate, urgent=True) == 40
    bulk.cancel()


async def test_bulk_keeps_every_fourth_departure_when_urgent_calls_never_end() -> None:
    gate, served = limiter(ONE_A_SECOND), Counter[str]()

    async def job(kind: str) -> None:
        while now() < 400:
            sent_at = await gate.wait("/a", WaitLimits(urgent=kind == "urgent"))
            gate.admitted(sent_at, "/a")
            served[kind] += now() < 400

    async with asyncio.TaskGroup() as group:
        for kind in ["urgent", "bulk"] * 20:
            group.create_task(job(kind))
    assert served["bulk"] == pytest.approx(100, abs=3)
    assert served["urgent"] == pytest.approx(300, abs=3)


async def test_a_task_cancelled_in_the_tick_of_its_turn_passes_it_on() -> None:
    gate = limiter()
    await close(gate)
    probe = await gate.wait("/a", WaitLimits())
    tasks = [asyncio.create_task(gate.wait("/a", WaitLimits())) for _ in range(3)]
    first, *_, second = tasks
    await asyncio.sleep(1)
    gate.admitted(probe, "/a")  # opens the gate, and lets some through
    assert gate.statistics().waiting == 1
    first.cancel()
    started = now()
    assert await second == started == now()


async def test_a_probe_cancelled_in_the_tick_of_its_turn_passes_it_on() -> None:
    gate = limiter(RateLimit(per_minute=6, burst=1))
    await close(gate)
    probe = await gate.wait("/a", WaitLimits())
    first, second = (asyncio.create_task(gate.wait("/a", WaitLimits())) for _ in range(2))
    await asyncio.sleep(11)
    gate.abandoned(probe)  # now the first one is the probe
    first.cancel()
    gate.admitted(await asyncio.wait_for(second, 1), "/a")  # the ceiling is not paid twice
    assert gate.statistics().state == "open"


async def test_those_who_gave_up_do_not_stay_in_memory() -> None:
    line, loop = WaitingLine(), asyncio.get_running_loop()
    remembered = weakref.WeakSet[Waiter]()
    for number in range(2000):
        waiter = Waiter("/a", WaitLimits(urgent=number % 2 == 0), loop.create_future())
        remembered.add(waiter)
        line.add(waiter, first=False)
    for waiter in list(line):
        assert line.forget(waiter)
    del waiter
    gc.collect()
    assert not remembered


@settings(max_examples=100, deadline=None)
@given(
    answers=st.lists(st.sampled_from(["200", "200", "429", "503"]), max_size=60),
    starts=st.lists(st.floats(0, 5), min_size=3, max_size=25),
    cancellations=st.lists(st.tuples(st.integers(0, 24), st.floats(0, 40)), max_size=20),
    in_the_tick=st.lists(st.none() | st.integers(0, 24), max_size=80),
    limit=st.sampled_from([UNLIMITED, ONE_A_SECOND, RateLimit(600, 3)]),
)
@virtual
async def test_no_turn_and_no_wake_up_is_lost_whoever_is_cancelled(
    answers: list[str],
    starts: list[float],
    cancellations: list[tuple[int, float]],
    in_the_tick: list[int | None],
    limit: RateLimit,
) -> None:
    """Tasks end at any moment, also in the tick in which a report lets others through."""
    tasks = list[asyncio.Task[float]]()
    script, victims = iter(answers), iter(in_the_tick)

    def strike() -> None:
        victim = next(victims, None)
        if victim is not None:
            tasks[victim % len(tasks)].cancel()

    api = Api(limiter(limit), lambda _path: next(script, "200"), reported=strike)

    async def call(number: int, start: float) -> float:
        await asyncio.sleep(start)
        return await api.call(f"/{number % 4}", attempts=99, urgent=number % 3 == 0)

    tasks += [asyncio.create_task(call(*each)) for each in enumerate(starts)]
    for victim, at in cancellations:
        asyncio.get_running_loop().call_later(at, tasks[victim % len(tasks)].cancel)
    async with asyncio.timeout(1000):
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        await api.call("/afterwards", attempts=99)
    statistics = api.gate.statistics()
    assert (statistics.waiting, statistics.in_flight) == (0, 0)


async def test_statistics_tell_what_happened() -> None:
    gate = limiter(ONE_A_SECOND)
    await lookup(gate)
    await lookup(gate)
    gate.try_acquire()
    gate.refused(await departure(gate), ERROR, None)
    statistics = gate.statistics()
    assert (statistics.sent, statistics.refused, statistics.in_flight) == (3, 1, 0)
    assert statistics.waited == pytest.approx(1.9, abs=0.01)
    assert (statistics.waiting, statistics.rate, statistics.state) == (0, None, "refused")


async def test_the_last_error_is_known_while_the_gate_is_closed() -> None:
    gate = limiter()
    await close(gate)
    assert gate.last_error is ERROR
    with pytest.raises(ConnectionError):  # at once: its deadline comes before the probe
        await gate.wait("/a", WaitLimits(give_up_at=5.0))
    assert now() == 0
    await lookup(gate)
    assert gate.last_error is None


async def test_each_closing_is_one_warning_and_one_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "chatloom_async")
    gate = limiter(name="0a1b2c")
    await asyncio.sleep(100)
    await close(gate, retry_after=10)
    await lookup(gate)
    await break_down(gate)
    for _ in range(5):
        gate.failed(await departure(gate), "/a", ERROR)
    await lookup(gate)
    told = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
    expected = [
        "WARNING key 0a1b2c: rate limit reached; gate closed, probe in 10.",
        "INFO key 0a1b2c: gate open again after 10.",
        "WARNING key 0a1b2c: the service fails; gate closed, probe in 0.",
        "INFO key 0a1b2c: gate open again after ",
    ]
    assert all(line.startswith(begin) for line, begin in zip(told, expected, strict=True))
    assert {vars(record)["chatloom_key"] for record in caplog.records} == {"0a1b2c"}


@pytest.mark.parametrize(
    ("limit", "rounds", "told"),
    [
        (ONE_A_SECOND, [5, 20], ["key k: 20 calls wait, for about 19 s"]),
        (RateLimit(burst=60), [60, 200], ["key k: 199 calls wait, for about 40 s"]),
    ],
)
async def test_every_long_queue_is_a_line(
    limit: RateLimit, rounds: list[int], told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "chatloom_async")
    gate = limiter(limit)
    for calls in rounds:
        await asyncio.gather(*(lookup(gate) for _ in range(calls)))
    assert [record.getMessage() for record in caplog.records] == told
    assert {record.levelname for record in caplog.records} <= {"INFO"}


@pytest.mark.parametrize("cancelled", [True, False])
async def test_people_are_not_told_the_queue_of_bulk(
    *, cancelled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chatloom_async")
    gate = limiter(RateLimit(per_minute=60, burst=60))
    await asyncio.gather(*(lookup(gate) for _ in range(60)))
    person = asyncio.create_task(departure(gate, urgent=True))
    await asyncio.sleep(0.5)
    if cancelled:
        person.cancel()
    await asyncio.sleep(2)
    assert person.done()
    assert not caplog.records


@pytest.mark.parametrize("urgent", [True, False])
async def test_a_call_without_room_before_its_deadline_fails_at_once(*, urgent: bool) -> None:
    gate = limiter(ONE_A_SECOND)
    waiting = [asyncio.create_task(departure(gate, urgent=urgent)) for _ in range(6)]
    await asyncio.sleep(0)
    with pytest.raises(DeadlineExceededError, match="RateLimit has no room") as caught:
        await gate.wait("/a", WaitLimits(give_up_at=5.5, urgent=urgent))
    assert now() == 0
    assert caught.value.retry_after == pytest.approx(6)
    await asyncio.gather(*waiting)


async def test_a_person_is_not_told_the_wait_of_bulk() -> None:
    gate = limiter(ONE_A_SECOND)
    bulk = [asyncio.create_task(lookup(gate)) for _ in range(50)]
    await asyncio.sleep(0.5)
    assert await gate.wait("/a", WaitLimits(give_up_at=5.0, urgent=True)) == pytest.approx(1)
    await asyncio.gather(*bulk)


async def test_a_late_timer_lets_no_one_leave_before_the_answers_are_read() -> None:
    gate, loop = limiter(ONE_A_SECOND), asyncio.get_running_loop()
    first = await departure(gate)
    waiting = asyncio.create_task(departure(gate))
    await asyncio.sleep(0)
    loop._virtual._now += 3.0  # type: ignore[attr-defined] # noqa: SLF001 - a loop held up
    loop.call_later(0.01, gate.refused, first, ERROR, 60)  # what the sockets held
    await asyncio.sleep(0.5)
    assert not waiting.done()


async def test_a_loop_that_is_always_late_holds_nobody_up() -> None:
    gate, loop = limiter(ONE_A_SECOND), asyncio.get_running_loop()
    await lookup(gate)
    waiting = asyncio.create_task(departure(gate))
    for _ in range(20):
        await asyncio.sleep(0)
        loop._virtual._now += 0.1  # type: ignore[attr-defined] # noqa: SLF001 - a loop held up
    assert waiting.done()


def test_a_task_thrown_away_after_its_loop_harms_nothing() -> None:
    async def hold(gate: RateLimiter) -> None:
        sent_at = await departure(gate)
        try:
            await asyncio.sleep(99)
        finally:
            gate.abandoned(sent_at)

    async def main() -> RateLimiter:
        gate = limiter()
        tasks.extend(asyncio.create_task(hold(gate)) for _ in range(12))
        await asyncio.sleep(0.01)
        return gate

    tasks, loop = list[asyncio.Task[None]](), asyncio.new_event_loop()
    gate = loop.run_until_complete(main())
    loop.close()
    statistics = gate.statistics()
    assert (statistics.in_flight, statistics.waiting) == (6, 6)
    while tasks:
        tasks.pop(0)._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001 - the one way
    gc.collect()  # what cannot be raised is a warning, and so an error
    assert gate.statistics().in_flight == 0
