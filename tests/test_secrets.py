"""The API key is a password: nothing that leaves a call, is logged or is shown may hold it."""

import asyncio
import copy
import gc
import logging
import os
import pickle
import re
import traceback
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import aiohttp
import attrs
import pytest

from chatloom_async import (
    ApiKey,
    AsyncChatloom,
    AuthenticationError,
    ChatloomError,
    ClientClosedError,
    ConfigurationError,
    ConnectionPool,
    FanOut,
    RateLimit,
    RetryPolicy,
)
from chatloom_async.testing import StubReply, StubTransport
from tests.faults.case import answer, says
from tests.faults.server import Close, Hang, Pause, Reset, Script, Server

SECRET = "SecretThatNobodyMaySee"  # noqa: S105 - the point
KEY = f"clf_{SECRET}"
PASSWORD = "PasswordThatNobodyMaySee"  # noqa: S105 - the point
TESTS = os.path.dirname(__file__)  # noqa: PTH120 - to compare with the names of files
# Its parser holds the last answer where no Python looks; the others know the key.
LEFT_OUT = ("aiohttp._http_parser", "tests", "chatloom_async.testing")
TWICE = RetryPolicy(attempts=2, initial_delay=0.01, patience=1)
pytestmark = pytest.mark.looptime

ECHO = (f"X-Echo: Bearer {KEY}", f"Set-Cookie: key={KEY}", f"WWW-Authenticate: Bearer {KEY}")


def leaks(root: object, *secrets: str) -> list[str]:
    """Return where a secret is to be found in what can be reached from an object.

    The garbage collector knows the ways: containers, slots, tracebacks, frames with their locals,
    coroutines.
    """
    found = list[str]()
    seen = dict[int, object]()  # which keeps them alive: an id is only unique among the living
    waiting: deque[tuple[str, object]] = deque([("", root)])
    while waiting:
        way, value = waiting.popleft()
        if id(value) in seen or _is_no_way(value):
            continue
        seen[id(value)] = value
        match value:
            case str():
                text = value
            case bytes() | bytearray() | memoryview():
                text = bytes(value).decode("latin-1")
            case _:
                way = f"{way} > {type(value).__name__}"
                # It leaves out keys that are texts.
                inside = [*gc.get_referents(value), *(value if isinstance(value, dict) else ())]
                waiting.extend((way, inner) for inner in inside)
                continue
        if any(secret in text for secret in secrets):
            found.append(f"{way}: {text!r:.80}")
    return found


def _is_no_way(value: object) -> bool:
    if isinstance(value, FrameType):
        return value.f_code.co_filename.startswith(TESTS)
    ends = (type, ModuleType, FunctionType, CodeType, asyncio.AbstractEventLoop)
    return isinstance(value, ends) or type(value).__module__.startswith(LEFT_OUT)


def shown(error: BaseException) -> str:
    """Show an error in every way that error reporters know."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    for entry in _chain(report):
        entry.stack = traceback.StackSummary.from_list(
            [frame for frame in entry.stack if not frame.filename.startswith(TESTS)]
        )
    return "\n".join((*report.format(), repr(error), str(error), f"{error!a}"))


def _chain(report: traceback.TracebackException | None) -> Iterator[traceback.TracebackException]:
    if report is not None:
        yield report
        yield from _chain(report.__cause__)
        yield from _chain(report.__context__)


def assert_silent(error: BaseException, *secrets: str) -> None:
    assert leaks(error, *secrets) == []
    assert not [secret for secret in secrets if secret in shown(error)]
    if isinstance(error, ChatloomError):
        pickled = pickle.dumps(error)
        assert not [secret for secret in secrets if secret.encode() in pickled]
        assert leaks(pickle.loads(pickled), *secrets) == []  # noqa: S301 - our own
        assert leaks(copy.deepcopy(error), *secrets) == []


@contextmanager
def raises_silently(
    kind: type[BaseException] = ChatloomError, *secrets: str
) -> Iterator[pytest.ExceptionInfo[BaseException]]:
    with pytest.raises(kind) as caught:
        yield caught
    assert_silent(caught.value, *(secrets or (SECRET,)))


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Capture every record of every logger, down to DEBUG."""
    caplog.set_level(logging.DEBUG)
    for name in ("chatloom_async", "aiohttp", "aiohttp.client", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


def assert_logs_silent(logged: pytest.LogCaptureFixture, *secrets: str) -> None:
    assert not [secret for secret in secrets if secret in logged.text]
    for record in logged.records:
        assert leaks(vars(record), *secrets) == []


def echo(status: int) -> bytes:
    return says({"error": f"the key {KEY} will not do", "you sent": KEY}, *ECHO, status=status)


@asynccontextmanager
async def client(
    *scripts: Script, api_key: Any = None, retry: RetryPolicy = TWICE, **pool: Any
) -> AsyncGenerator[AsyncChatloom]:
    async with Server(scripts or ((answer(),),)) as server, ConnectionPool(**pool) as connections:
        yield AsyncChatloom(
            KEY if api_key is None else api_key,
            base_url=server.url,
            timeout=0.5,
            retry=retry,
            pool=connections,
        )


ANSWERS: Mapping[str, Script] = {
    **{f"status {s}": (echo(s),) for s in (400, 401, 403, 404, 409, 429, 500, 503)},
    "status 404 in text": (answer(404, f"no {KEY}".encode(), kind="text/plain"),),
    "status 404 cut": (answer(404, KEY.encode(), length=900), Close()),
    "a redirect": (answer(302, KEY.encode(), f"Location: https://{KEY}.example/{KEY}?k={KEY}"),),
    "no JSON": (answer(200, f"{KEY} is no JSON".encode(), *ECHO),),
    "another document": (says({"domains": [KEY, 5], KEY: KEY}),),
    "no UTF-8": (answer(200, KEY.encode() + b"\xff"),),
    "a body cut off": (answer(200, KEY.encode(), *ECHO, length=900), Close()),
    "a body that ends late": (answer(200, KEY.encode(), *ECHO, length=900), Hang()),
    "a body too large": (answer(200, KEY.encode() * 500_000, *ECHO),),
    "a broken header": (f"HTTP/1.1 200 OK\r\nX-Echo: {KEY}\x00\r\n\r\n".encode(), Close()),
    "a long header": (f"HTTP/1.1 200 OK\r\n{KEY}: {KEY * 900}\r\n\r\n".encode(), Close()),
    "a broken length": (f"HTTP/1.1 200 OK\r\nContent-Length: {KEY}\r\n\r\n".encode(), Close()),
    "a broken chunk later": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        Pause(0.01),
        f"{KEY}\r\n".encode(),
        Close(),
    ),
    "no HTTP": (KEY.encode() + b"\r\n\r\n", Close()),
    "nothing": (Hang(),),
    "a reset": (Reset(),),
    "an end": (Close(),),
}


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
@pytest.mark.parametrize("script", ANSWERS.values(), ids=ANSWERS)
async def test_no_error_holds_a_key_the_server_repeats(
    script: Script, header: Any, logged: pytest.LogCaptureFixture
) -> None:
    async with client(script, api_key=ApiKey(KEY, header)) as chatloom:
        # asyncio's own debug log shows handles and tasks.
        asyncio.get_running_loop().set_debug(True)
        with raises_silently():
            await chatloom.get_allowed_domains("agt_1")
    assert_logs_silent(logged, SECRET)


@pytest.mark.parametrize(
    ("retry", "scripts"),
    [
        (RetryPolicy(deadline=0.8, initial_delay=0.01), ((echo(503),), (Hang(),))),
        (RetryPolicy(patience=3.0, initial_delay=0.01), ((echo(429),),)),
    ],
    ids=["deadline", "patience"],
)
async def test_no_error_of_waiting_holds_the_key(
    retry: RetryPolicy, scripts: tuple[Script, ...], logged: pytest.LogCaptureFixture
) -> None:
    async with client(*scripts, retry=retry) as chatloom:
        calls = [chatloom.get_allowed_domains(f"agt_{n}") for n in range(5)]
        for error in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(error, ChatloomError)
            assert_silent(error, SECRET)
        assert leaks(chatloom, SECRET) == []
    assert_logs_silent(logged, SECRET)


async def test_no_interrupted_calls_error_holds_the_key() -> None:
    async with client((Hang(),)) as chatloom:
        with raises_silently(TimeoutError) as caught:  # which carries the cancelled call's error
            async with asyncio.timeout(0.1):
                await chatloom.list_agents()
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        call = asyncio.create_task(chatloom.list_agents())
        await asyncio.sleep(0.01)
        await chatloom.aclose()
        with raises_silently(ClientClosedError):
            await call


async def fail(*_: object) -> None:
    raise LookupError("no span") from KeyError("span")


async def dawdle(*_: object) -> None:
    await asyncio.sleep(0.4)


@pytest.mark.parametrize(
    ("name", "hook", "kind"),
    [("on_request_start", fail, LookupError), ("on_request_exception", dawdle, TimeoutError)],
)
async def test_no_trace_hooks_error_holds_the_key(
    name: str, hook: Callable[..., Awaitable[None]], kind: type[Exception]
) -> None:
    hooks = aiohttp.TraceConfig()
    getattr(hooks, name).append(hook)
    async with client((Reset(),), trace_configs=[hooks]) as chatloom:
        with raises_silently(kind):
            async with asyncio.timeout(0.1):
                await chatloom.list_agents()


@pytest.mark.parametrize(
    "proxy", [f"http://user:{PASSWORD}@127.0.0.1:1/", f"http://user:{PASSWORD}@[::1]:1"]
)
async def test_no_proxys_error_holds_key_or_password(proxy: str) -> None:
    async with client(proxy=proxy, trust_env=False) as chatloom:
        assert PASSWORD not in repr(chatloom)
        with raises_silently() as caught:
            await chatloom.list_agents()
        assert PASSWORD not in shown(caught.value)


INSIDE = " ", "\n", "\rX: 1", "\r\nX-Admin: 1", "\t", "\u00a0", "\x00", "\x7f", "é", "\u200b", "“"
BAD_KEYS: dict[str, list[Any]] = {
    "no API key: generate one": ["", "  \n"],
    "starts with clf_ and goes on": ["clf_"],
    "an API key starts with clf_": [f"sk_{SECRET}", f"CLF_{SECRET}"],
    "white space or other than printable": [
        f"Bearer clf_{SECRET}",
        *(f"clf_12{inside}{SECRET}" for inside in INSIDE),
    ],
    "is text, not bytes": [f"clf_{SECRET}".encode()],
    "is text, not list": [[f"clf_{SECRET}"]],
    "is text, not dict": [{"key": f"clf_{SECRET}"}],
}
MALFORMED = [(key, problem) for problem, keys in BAD_KEYS.items() for key in keys]


@pytest.mark.parametrize(("value", "problem"), MALFORMED)
async def test_no_refusal_of_a_malformed_key_holds_it(
    value: Any, problem: str, logged: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLOOM_API_KEY", "clf_other")  # which takes the place of none

    async def asked() -> Any:
        return value

    chatloom = AsyncChatloom("clf_other", pool=StubTransport([]))
    attempts: list[Callable[[], Awaitable[object] | object]] = [
        lambda: ApiKey(value),
        lambda: AsyncChatloom(value),
        lambda: chatloom.with_options(api_key=value),
        lambda: AsyncChatloom(asked, pool=StubTransport([])).list_agents(),
        lambda: AsyncChatloom(lambda: value, pool=StubTransport([])).list_agents(),
    ]
    if isinstance(value, str) and "\x00" not in value:
        monkeypatch.setenv("CHATLOOM_API_KEY", value)
        attempts.append(AsyncChatloom)
    for attempt in attempts:
        with raises_silently(ConfigurationError) as caught:
            outcome = attempt()
            if isinstance(outcome, Awaitable):
                await outcome
        assert re.search(problem, str(caught.value))
    assert_logs_silent(logged, SECRET)


@pytest.mark.parametrize("proxy", [f"socks5://user:{PASSWORD}@proxy.example", f"{PASSWORD}:x"])
def test_no_refusal_of_a_proxy_tells_its_password(proxy: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ConnectionPool(proxy=proxy)
    assert PASSWORD not in f"{caught.value!r} {caught.value} {vars(caught.value)}"


async def test_no_refusal_of_an_option_holds_the_key() -> None:
    chatloom = AsyncChatloom(KEY, pool=StubTransport([]))
    header: Any = "Cookie"
    swapped: Any = KEY
    for attempt in (
        lambda: ApiKey(KEY, header),
        lambda: ApiKey("X-API-Key", swapped),
        lambda: AsyncChatloom(KEY, timeout=0),
        lambda: chatloom.with_options(timeout=-1),
        lambda: chatloom.with_options(api_key=KEY, timeout=float("nan")),
    ):
        with raises_silently(ConfigurationError):
            attempt()


@pytest.mark.parametrize(
    ("second", "attempts"),
    [(f"not a key: {SECRET}", 1), (LookupError("the vault is shut"), 1), (f"{KEY}-new", 2)],
    ids=["no key", "an error", "another key"],
)
async def test_no_error_after_a_401_holds_a_key(
    second: str | Exception, attempts: int, logged: pytest.LogCaptureFixture
) -> None:
    answers: Iterator[str | Exception] = iter((KEY, second))

    def source() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    keys = (KEY, f"{KEY}-new")
    script = [StubReply({"error": f"not {key}"}, 401, {"X-Echo": key}) for key in keys]
    with raises_silently(AuthenticationError) as caught:
        await AsyncChatloom(source, pool=StubTransport(script)).list_agents()
    assert len(getattr(caught.value, "attempts", ())) == attempts
    assert_logs_silent(logged, SECRET)


def public_objects(chatloom: AsyncChatloom, pool: ConnectionPool) -> Iterable[object]:
    return (
        ApiKey(KEY),
        ApiKey(KEY, "X-API-Key"),
        chatloom,
        chatloom.with_options(api_key=KEY),
        chatloom.stats(),
        pool,
        pool.shared,
        pool.shared.limiters,
        pool.shared.in_flight,
        FanOut(chatloom.get_allowed_domains, ["agt_1"]),
        RetryPolicy(),
        RateLimit(),
    )


async def test_no_public_object_shows_the_key() -> None:
    scripts: tuple[Script, ...] = ((answer(),), (echo(404),), (Hang(),), (answer(),))
    once = RetryPolicy(attempts=1)
    async with client(*scripts, retry=once) as chatloom, client(api_key=lambda: KEY) as asking:
        for mine in (chatloom, asking):
            for _ in scripts:
                await asyncio.gather(mine.get_allowed_domains("a"), return_exceptions=True)
            pool = attrs.evolve(ConnectionPool())
            for shown_object in public_objects(mine, pool):
                assert SECRET not in f"{shown_object!r} {shown_object} {shown_object!a}"
                assert leaks(shown_object, SECRET) == []


def test_a_client_is_not_pickled() -> None:
    with raises_silently(Exception):
        pickle.dumps(AsyncChatloom(KEY, pool=StubTransport([])))


class Slotted:
    __slots__ = ("held",)
    __module__ = "somewhere"

    def __init__(self, held: object) -> None:
        self.held = held


@pytest.mark.parametrize("hidden", ["local", "note", "context"])
def test_the_search_finds_a_key_at_an_error(hidden: str) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        names = {"key": Slotted([KEY]) if hidden == "local" else None}
        exec("def f(key): 1 / 0\nf(key)", names)  # noqa: S102 - a frame that is no test's
    if hidden == "note":
        caught.value.add_note(KEY)
    elif hidden == "context":
        caught.value.__context__ = ValueError(KEY.encode())
    assert leaks(caught.value, SECRET) != []


@pytest.mark.parametrize("inside", [{1: {KEY: 2}}, Slotted(deque([Slotted((KEY,))]))])
def test_the_search_finds_a_key_inside_values(inside: object) -> None:
    assert leaks(ValueError(inside), SECRET) != []
