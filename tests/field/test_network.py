"""What users met on the way: silence, late timers, names that move, somebody else's trouble."""

import asyncio
import copy
import errno
import pickle
import socket
import weakref
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock, Mock, create_autospec, patch

import aiohttp
import pytest

from chatloom_async import (
    APIConnectionError,
    ApiKey,
    APITimeoutError,
    AsyncChatloom,
    ChatloomError,
    ConfigurationError,
    ConnectionPool,
    RateLimit,
    RetryPolicy,
)
from chatloom_async.testing import Fault, Sandbox, make_workspace
from tests.clients import KEY, ONCE, client_at, outcomes
from tests.faults.case import TWICE, answer
from tests.faults.server import HOST, Hang, Pause, Reset, Script, Server, Step

pytestmark = pytest.mark.looptime
ACME = make_workspace("acme", KEY, agents=1)


async def keep(client: AsyncChatloom, connections: int) -> None:
    await asyncio.gather(*(client.get_allowed_domains(f"agt_{n}") for n in range(connections)))


@pytest.mark.parametrize(
    ("end", "doomed", "left", "opened"),
    [
        (Hang(), {"timeout": 3}, 9, 5),
        (Hang(), {"retry": RetryPolicy(attempts=1, deadline=3)}, 9, 5),
        (Hang(), {}, 3, 5),
        (Hang(), {}, 0.1, 4),  # too soon to tell
        (Reset(), {}, 9, 5),
    ],
    ids=["timeout", "deadline", "caller", "hasty caller", "reset"],
)
async def test_a_lost_connection_ends_those_as_old(
    end: Step, doomed: dict[str, Any], left: float, opened: int
) -> None:
    scripts: list[Script] = [(Pause(1), answer())] * 4 + [(end,), (answer(),)]
    async with Server(scripts) as server, ConnectionPool() as pool:
        client = client_at(server.url, pool)
        await keep(client, 4)
        with pytest.raises((TimeoutError, APIConnectionError)):
            async with asyncio.timeout(left):
                await client.with_options(**doomed).list_agents()
        await client.get_allowed_domains("agt_5")
        assert pool.opened == opened


async def test_silence_on_a_new_connection_ends_no_others() -> None:
    scripts: list[Script] = [*[(Pause(2), answer())] * 2, (Hang(),), (Pause(1), answer())]
    async with Server(scripts) as server, ConnectionPool() as pool:
        client = client_at(server.url, pool)
        calls = asyncio.gather(*(client.get_allowed_domains(f"agt_{n}") for n in range(2)))
        await asyncio.sleep(1)
        with pytest.raises(APITimeoutError):
            await client.with_options(timeout=3).get_allowed_domains("agt_3")
        await calls
        await keep(client, 2)
        assert pool.opened == 3


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that were looked up, each of which is found here after a moment."""
    names: list[str] = []

    async def resolve(_: object, host: str, port: int, **__: object) -> list[dict[str, Any]]:
        names.append(host)
        await asyncio.sleep(0.01)
        found = {"hostname": host, "host": HOST, "port": port, "family": socket.AF_INET}
        return [{**found, "proto": 0, "flags": 0}]

    monkeypatch.setattr(aiohttp.DefaultResolver, "resolve", resolve)
    return names


async def test_a_refused_connection_has_its_name_asked(looked_up: list[str]) -> None:
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        url = f"http://localhost:{unused.getsockname()[1]}"
        async with client_at(url, retry=TWICE) as client:
            with pytest.raises(APIConnectionError, match="cannot connect"):
                await client.list_agents()
    assert looked_up == ["localhost"] * 2


@pytest.mark.parametrize("clears", [True, False], ids=["forgotten meanwhile", "kept"])
async def test_one_look_up_for_many_calls_fails_as_it_should(
    looked_up: list[str], monkeypatch: pytest.MonkeyPatch, *, clears: bool
) -> None:
    pool, genuine = ConnectionPool(), aiohttp.DefaultResolver.resolve

    async def resolve(*arguments: Any, **options: Any) -> Any:
        found = await genuine(*arguments, **options)
        if clears and len(looked_up) == 1:
            loop = asyncio.get_running_loop()
            loop.call_soon(pool._by_loop[loop].lost_kept)  # noqa: SLF001 - as a dead connection does
        return found

    async def no_descriptor(*_: object, **__: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(aiohttp.DefaultResolver, "resolve", resolve)
    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", no_descriptor)
    async with pool:
        errors = await outcomes(client_at("http://localhost:9", pool), 5)
    assert {getattr(error, "reason", error) for error in errors} == {"local"}
    assert len(looked_up) == 1 + clears


@pytest.mark.parametrize("fault", [Fault.reset(), Fault.hang()], ids=["reset", "silence"])
async def test_a_lost_connection_has_its_name_asked(looked_up: list[str], fault: Fault) -> None:
    async with Sandbox([ACME]) as sandbox:
        url = sandbox.base_url.replace(HOST, "localhost")
        async with client_at(url, retry=TWICE) as client:
            await client.list_agents()
            sandbox.plant(fault)
            await client.list_agents()
    assert looked_up == ["localhost"] * 2


class HeldUpLoop(asyncio.SelectorEventLoop):
    """asyncio's own; its clock can jump, as if somebody's code had blocked it, sockets unread."""

    held_up = 0.0

    def time(self) -> float:
        return super().time() + self.held_up


def hold_up(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, HeldUpLoop)
    loop.held_up += seconds


def run(main: Callable[[], Any]) -> Any:
    with asyncio.Runner(loop_factory=HeldUpLoop) as runner:
        return runner.run(main())


@pytest.mark.parametrize(("faults", "lost"), [((), 0), ((Fault.hang(times=None),), 70)])
def test_only_what_has_not_arrived_is_late(faults: tuple[Fault, ...], lost: int) -> None:
    async def main() -> int:
        async with (
            Sandbox([ACME], faults=faults) as sandbox,
            client_at(sandbox.base_url, timeout=20) as client,
        ):
            calls = [asyncio.create_task(client.list_agents()) for _ in range(70)]
            while len(sandbox.requests) < 70:
                await asyncio.sleep(0)
            hold_up(25)
            answers = await asyncio.gather(*calls, return_exceptions=True)
        return sum(isinstance(each, APITimeoutError) for each in answers)

    assert run(main) == lost


@pytest.mark.parametrize(("held_up", "tries"), [(6.0, 2), (5.0, 1)])
def test_a_late_connect_timeout_connects_once_more(
    held_up: float, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(*_: object, **__: object) -> None:
        hold_up(held_up)
        raise TimeoutError

    connecting = AsyncMock(side_effect=connect)
    monkeypatch.setattr(aiohttp.BaseConnector, "connect", connecting)

    async def main() -> None:
        async with client_at("http://127.0.0.1:9") as client:
            await client.list_agents()

    with pytest.raises(APITimeoutError, match="connecting to"):
        run(main)
    assert connecting.call_count == tries


@pytest.mark.parametrize(("limit", "hanging"), [(100, 1), (10, 1), (100, 3)])
async def test_hanging_tenants_leave_places_to_the_others(limit: int, hanging: int) -> None:
    slow = [make_workspace(f"slow{n}", f"clf_slow{n}", agents=1) for n in range(hanging)]
    faults = [Fault.hang(workspace=each.name, times=None) for each in slow]
    workspaces = [make_workspace("well", "clf_well", agents=1), *slow]
    async with Sandbox(workspaces, faults=faults) as sandbox, ConnectionPool(limit=limit) as pool:
        well = AsyncChatloom(
            "clf_well", pool=pool, base_url=sandbox.base_url, retry=RetryPolicy(deadline=5.0)
        )
        others = [well.with_options(api_key=each.key, retry=RetryPolicy()) for each in slow]
        noise = [asyncio.create_task(outcomes(each, 300)) for each in others]
        await asyncio.sleep(0.1)
        for _ in range(6):
            assert len(await well.list_agents()) == 1
            await asyncio.sleep(1)
        for task in noise:
            task.cancel()


async def test_local_want_closes_no_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        Sandbox([ACME]) as sandbox,
        client_at(sandbox.base_url, rate_limit=RateLimit()) as client,
    ):
        with monkeypatch.context() as patched:
            patched.setattr(socket, "socket", Mock(side_effect=OSError(errno.ENFILE, "none left")))
            calls = [client.get_allowed_domains(f"agt_{n}") for n in range(12)]
            errors = await asyncio.gather(*calls, return_exceptions=True)
        assert {getattr(each, "reason", each) for each in errors} == {"local"}
        assert client.stats().limiter.state == "open"  # type: ignore[union-attr]  # it has one
        assert len(await client.list_agents()) == 1


@pytest.mark.parametrize("host", ["proxy..example", "a" * 64])
async def test_an_impossible_proxys_name_is_told(host: str) -> None:
    async with ConnectionPool(proxy=f"http://{host}:3128") as pool:
        with pytest.raises(ConfigurationError, match="or as proxy= is not"):
            await AsyncChatloom(KEY, pool=pool).list_agents()


async def test_what_is_no_punycode_is_an_unknown_host() -> None:
    unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    async with client_at("https://xn--a.example") as chatloom:
        with (
            patch("socket.getaddrinfo", side_effect=unknown),
            pytest.raises(APIConnectionError, match=r"host name xn--a\.example does not exist"),
        ):
            await chatloom.list_agents()


async def test_a_copy_of_a_pool_is_the_pool() -> None:
    async with ConnectionPool() as pool:
        settings = {"pool": pool}
        assert copy.copy(pool) is pool
        assert copy.deepcopy(settings)["pool"] is pool


def test_pool_and_key_can_be_inspected_without_loop() -> None:
    for one in (ConnectionPool(), ApiKey(KEY)):
        create_autospec(one)  # which asks for every attribute
        assert weakref.ref(one)() is one


async def test_a_pools_exchange_can_be_replaced() -> None:
    async with ConnectionPool() as pool:
        refused = AsyncMock(side_effect=ChatloomError("patched"))
        with patch.object(pool, "exchange", refused), pytest.raises(ChatloomError, match="patched"):
            await AsyncChatloom(KEY, pool=pool, retry=ONCE).list_agents()


def test_a_pool_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="make one in each process"):
        pickle.dumps(ConnectionPool())
