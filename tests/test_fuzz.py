"""Whatever arrives or is asked for, only what is documented comes out.

``HYPOTHESIS_PROFILE=long`` searches for longer than the quick default.
"""

import asyncio
import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from chatloom_async import (
    AgentList,
    AllowedDomains,
    AsyncChatloom,
    ChatloomError,
    ClientClosedError,
    ConfigurationError,
    ConnectionPool,
    ResponseDecodeError,
)
from chatloom_async.calls.answer import parse_retry_after
from chatloom_async.calls.request import check_base_url, check_raw_path
from chatloom_async.calls.wire import decode, decode_error
from chatloom_async.testing import FakeClock
from tests.clients import KEY, ONCE, client_at
from tests.faults.case import AGENT, DOCUMENT, answer
from tests.faults.server import Close, Hang, Script, Server

FEW = settings(
    max_examples=max(20, settings.default.max_examples // 4) if settings.default else 20,
    suppress_health_check=[HealthCheck.too_slow],
)

CLOCK = FakeClock()

finite = st.floats(allow_nan=False, allow_infinity=False)  # JSON knows no others
scalars = st.none() | st.booleans() | st.integers() | finite | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12
)
VALID: tuple[tuple[type[Any], dict[str, Any]], ...] = (
    (AgentList, {"agents": [AGENT, {**AGENT, "id": "b", "new": 1}], "count": 2, "next": None}),
    (AllowedDomains, {"domains": ["example.com", "a.example"], "extra": {"a": []}}),
)

TEXTS = {re.sub("[A-Z]", r"_\g<0>", name).lower(): name for name in AGENT if name != "createdAt"}
"""The fields of an agent that are texts, with their names on the wire."""


def encode(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def decoded(body: bytes, model: type[Any]) -> Any:
    """Decode, and check that the outcome is a documented one."""
    try:
        result = decode(body, model)
    except ResponseDecodeError as error:
        event("refused")
        assert str(error)
        return None
    event("accepted")
    check_document(result)
    sent = json.loads(body.decode().removeprefix("\ufeff"))
    if isinstance(result, AllowedDomains):
        assert list(result) == sent["domains"]
    elif isinstance(result, AgentList):
        assert result.count == sent["count"]
        for agent, fields in zip(result, sent["agents"], strict=True):
            assert {name: getattr(agent, name) for name in TEXTS} == {
                name: fields[on_the_wire] for name, on_the_wire in TEXTS.items()
            }
    return result


def check_document(result: object) -> None:
    if isinstance(result, AgentList):
        assert type(result.count) is int
        for agent in result:
            assert {type(getattr(agent, name)) for name in TEXTS} == {str}
            assert agent.created_at.tzinfo is not None
    elif isinstance(result, AllowedDomains):
        assert {type(domain) for domain in result} <= {str}


@st.composite
def noisy(draw: st.DrawFn, originals: Sequence[bytes]) -> bytes:
    """Take one of them and put a few bytes in place of a few."""
    whole = draw(st.sampled_from(originals))
    start = draw(st.integers(0, len(whole)))
    end = draw(st.integers(start, min(len(whole), start + 8)))
    return whole[:start] + draw(st.binary(max_size=6)) + whole[end:]


@given(
    body=values.map(encode)
    | st.binary(max_size=300)
    | noisy([encode(valid) for _, valid in VALID]),
    model=st.sampled_from([AgentList, AllowedDomains, object]),
)
def test_any_body_is_a_document_or_refused(body: bytes, model: type[Any]) -> None:
    decoded(body, model)
    decode_error(body)


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield way
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*way, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from places(inner, (*way, number))


def replaced(value: Any, way: tuple[Any, ...], by: Any) -> Any:
    if not way:
        return by
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[way[0]] = replaced(value[way[0]], way[1:], by)
    return copy


@given(valid=st.sampled_from(VALID), data=st.data(), by=values)
def test_a_changed_document_is_one_or_refused(
    valid: tuple[type[Any], Any], data: st.DataObject, by: Any
) -> None:
    model, value = valid
    way = data.draw(st.sampled_from(list(places(value))))
    result = decoded(encode(replaced(value, way, by)), model)
    if way[:1] in (("next",), ("extra",)) or way[-1:] == ("new",):
        assert result is not None  # what a release does not know never breaks it


@given(
    text=st.text(max_size=40)
    | st.from_regex(r"[-+ ]?[0-9]{0,20}([.,][0-9]{0,4})?([eE]-?[0-9]{1,3})?", fullmatch=True)
    | st.from_regex(
        r"[A-Z][a-z]{2}, [0-9]{1,2} [A-Z][a-z]{2} [0-9]{1,5} [0-9:]{4,8} GMT", fullmatch=True
    ),
    name=st.sampled_from(["retry-after", "retry-after-ms"]),
    date=st.none() | st.text(max_size=30),
)
def test_any_retry_after_is_finite_or_none(text: str, name: str, date: str | None) -> None:
    wait = parse_retry_after({name: text} | ({} if date is None else {"date": date}), CLOCK)
    assert wait is None or (wait > 0 and math.isfinite(wait))


@contextmanager
def served(
    script: Script, **options: Any
) -> Iterator[tuple[asyncio.Runner, Server, AsyncChatloom]]:
    """A server, and a client of it, on a loop that outlives each example."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        server = runner.run(stack.enter_async_context(Server([script])))
        chatloom = client_at(server.url, **options)
        try:
            yield runner, server, chatloom
        finally:
            runner.run(chatloom.aclose())
            runner.run(stack.aclose())


ids = st.text(max_size=30) | st.text("./%?#:@ \\ä\x00\u2028", max_size=6)


def test_any_agent_id_is_one_segment_or_refused() -> None:
    with served((answer(),)) as (runner, server, chatloom):

        @FEW
        @given(agent_id=ids)
        def asked(agent_id: str) -> None:
            server.requests.clear()
            try:
                runner.run(chatloom.get_allowed_domains(agent_id))
            except ConfigurationError:
                event("refused")
                assert not server.requests
                assert (
                    agent_id in ("", ".", "..")
                    or re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", agent_id) is not None
                )
                return
            (head,) = server.requests
            found = re.match(rb"GET /api/plugin/agents/([^ /]+)/allowed-domains HTTP/1.1\r\n", head)
            assert found is not None
            assert re.fullmatch(rb"([A-Za-z0-9._~-]|%[0-9A-F]{2})+", found[1]) is not None
            assert unquote(found[1].decode(), errors="strict") == agent_id

        asked()


steps = st.text("/.%aZ09?=&#\\ \r\n@:ä", max_size=3) | st.integers(0, 255).map("%{:02x}".format)


@given(path=st.lists(steps, max_size=8).map(lambda texts: "/" + "".join(texts)))
def test_any_raw_path_stays_or_is_refused(path: str) -> None:
    try:
        checked = check_raw_path(path)
    except ConfigurationError:
        return
    assert checked == path
    assert re.fullmatch(r"/(?!/)[!-~]*", checked) is not None
    meant = unquote_to_bytes(checked)
    assert re.search(rb"[\x00-\x1f\x7f]", meant) is None
    assert re.search(r"%(?![0-9A-Fa-f]{2})", checked) is None
    segments = checked.partition("?")[0].split("/")
    assert not {".", ".."} & {unquote(segment) for segment in segments}


@given(
    url=st.text(max_size=40)
    | st.builds(
        "{}://{}{}{}".format,
        st.sampled_from(["http", "https", "ftp", "HTTPS"]),
        st.text("user:pw@[]", max_size=4),
        st.sampled_from(
            ["a.example", "127.0.0.1", "localhost", "[::1]", "", "127.0.0.1.evil.example"]
        ),
        st.text(":/?#0189@\\", max_size=5),
    )
)
def test_any_base_url_is_safe_or_refused(url: str) -> None:
    try:
        checked = check_base_url(url)
    except ConfigurationError as error:
        assert "pw" not in str(error)
        return
    host = r"(127\.\d+\.\d+\.\d+|localhost|\[[0:]+1\])"
    assert re.match(rf"https://|http://{host}(:\d*)?(/|$)", checked, re.IGNORECASE)
    assert not set("?#@ ") & set(checked)
    assert not checked.endswith("/")


def test_any_noisy_answer_ends_as_documented() -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
    originals = [answer(), answer(404), chunks % (len(DOCUMENT), DOCUMENT)]
    with served((), timeout=0.5) as (runner, server, chatloom):

        @FEW
        @given(sent=noisy(originals))
        def answered(sent: bytes) -> None:
            server.play((sent, Close()))
            try:
                check_document(runner.run(chatloom.get_allowed_domains("a")))
            except ChatloomError as error:
                event(type(error).__name__)
                assert error.__context__ is None
            assert chatloom.stats().in_flight == 0

        answered()


class LifeCycles(RuleBasedStateMachine):
    """Clients made, used, left waiting, cancelled and closed in any order, on one loop and pool."""

    clients: Bundle[AsyncChatloom] = Bundle("clients")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.closed: set[int] = set()
        self.waiting: list[tuple[AsyncChatloom, asyncio.Task[AllowedDomains]]] = []
        self.pool = ConnectionPool(limit=50)

    @initialize(target=clients)
    def serve(self) -> AsyncChatloom:
        self.good = self.runner.run(self.stack.enter_async_context(Server([(answer(),)])))
        self.silent = self.runner.run(self.stack.enter_async_context(Server([(Hang(),)])))
        return self.made("clf_first")

    def made(self, key: str) -> AsyncChatloom:
        return AsyncChatloom(key, base_url=self.good.url, retry=ONCE, pool=self.pool)

    @rule(target=clients, key=st.sampled_from(["clf_first", "clf_second"]))
    def make(self, key: str) -> AsyncChatloom:
        return self.made(key)

    @rule(target=clients, client=clients, timeout=st.sampled_from([1.0, 15.0]))
    def derive(self, client: AsyncChatloom, timeout: float) -> AsyncChatloom:
        return client.with_options(timeout=timeout)

    @rule(client=clients)
    def call(self, client: AsyncChatloom) -> None:
        try:
            domains = self.runner.run(client.get_allowed_domains("a"))
        except ClientClosedError:
            assert id(client) in self.closed
        else:
            assert id(client) not in self.closed
            assert len(domains) == 2

    @rule()
    def leave_waiting(self) -> None:
        client = AsyncChatloom(KEY, base_url=self.silent.url, retry=ONCE, pool=self.pool)

        async def start() -> None:
            self.waiting.append((client, asyncio.create_task(client.get_allowed_domains("a"))))
            await asyncio.sleep(0.001)

        self.runner.run(start())

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), how=st.sampled_from(["cancel", "close"]))
    def interrupt(self, data: st.DataObject, how: str) -> None:
        client, task = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))

        async def end() -> BaseException | None:
            if how == "cancel":
                task.cancel()
            else:
                await client.aclose()
            await asyncio.wait([task])
            return None if task.cancelled() else task.exception()

        assert isinstance(self.runner.run(end()), ClientClosedError) == (how == "close")

    @rule(client=clients)
    def close(self, client: AsyncChatloom) -> None:
        self.runner.run(client.aclose())
        self.closed.add(id(client))

    @invariant()
    def only_those_who_wait_are_in_flight(self) -> None:
        assert len(self.pool.shared.in_flight) == len(self.waiting)

    def teardown(self) -> None:
        async def close() -> list[object]:
            await self.pool.aclose()
            tasks = [task for _, task in self.waiting]
            return list(await asyncio.gather(*tasks, return_exceptions=True))

        outcomes = self.runner.run(close())
        assert {type(outcome) for outcome in outcomes} <= {ClientClosedError}
        self.runner.run(self.stack.aclose())
        self.runner.close()


TestLifeCycles = LifeCycles.TestCase
TestLifeCycles.settings = settings(
    max_examples=15 if settings.default is None else max(15, settings.default.max_examples // 10),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
