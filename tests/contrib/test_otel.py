"""OpenTelemetry: spans and metrics, by the SDK's exporters in memory."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.aiohttp_client import create_trace_config
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from chatloom_async import (
    ApiKey,
    AsyncChatloom,
    ChatloomError,
    ConnectionPool,
    NotFoundError,
    RateLimit,
    RateLimitError,
    RetryPolicy,
)
from chatloom_async.contrib.otel import telemetry
from chatloom_async.events import LimiterClosed, LimiterOpened
from chatloom_async.testing import FakeClock, Sandbox, StubReply, StubTransport, make_workspace
from tests.virtual import virtual

KEY = "clf_traced_and_never_told"
DOMAINS = StubReply({"domains": []})


class Recorded:
    """Providers that keep what they are given."""

    def __init__(self) -> None:
        self._spans, self._metrics = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers, self.meters = TracerProvider(), MeterProvider([self._metrics])
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))

    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._spans.get_finished_spans()

    def points(self, name: str) -> list[Any]:
        data: Any = self._metrics.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        metrics = [metric for scope in scopes for metric in scope.metrics]
        (found,) = [each for each in metrics if each.name == f"chatloom.client.{name}"]
        return list(found.data.data_points)


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    kept = Recorded()
    yield kept
    kept.tracers.shutdown()
    kept.meters.shutdown()


def run(recorded: Recorded, *replies: StubReply, calls: int = 1, **options: Any) -> None:
    clock = FakeClock()
    observer = telemetry(recorded.tracers, recorded.meters)
    transport = StubTransport(replies, clock=clock, observer=observer)

    async def look_up() -> None:
        async with AsyncChatloom(lambda: KEY, pool=transport, **options) as chatloom:
            for _ in range(calls):
                await chatloom.get_allowed_domains("agt_1")

    clock.run(look_up())


def test_a_call_is_a_span_with_its_attempts_as_events(recorded: Recorded) -> None:
    run(recorded, StubReply(status=503), DOMAINS)
    (span,) = recorded.spans()
    assert span.name == "GET /api/plugin/agents/{agent_id}/allowed-domains"
    assert span.attributes is not None
    assert span.attributes["http.request.method"] == "GET"
    assert span.attributes["server.address"] == "chatloom.app"
    assert span.attributes["chatloom.attempts"] == 2
    assert span.attributes["chatloom.key"] == ApiKey(KEY).fingerprint
    statuses = [dict(event.attributes or {})["http.response.status_code"] for event in span.events]
    assert statuses == [503, 200]
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes["http.response.status_code"] == 200


@virtual
async def test_pools_may_have_one_observer(
    recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    observer = telemetry(recorded.tracers, recorded.meters)
    slow = StubReply({"domains": []}, after=1.0)
    pools = [StubTransport([slow], observer=observer) for _ in range(2)]
    clients = [AsyncChatloom(KEY, pool=pool) for pool in pools]
    await asyncio.gather(*(client.get_allowed_domains("agt_1") for client in clients))
    assert len(recorded.spans()) == 2
    assert not caplog.records


def test_a_failed_call_is_a_failed_span(recorded: Recorded) -> None:
    with pytest.raises(NotFoundError):
        run(recorded, StubReply(status=404))
    (span,) = recorded.spans()
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "NotFoundError"


def test_calls_attempts_and_refusals_are_counted(recorded: Recorded) -> None:
    run(recorded, DOMAINS, StubReply(status=429), DOMAINS, calls=2)
    calls, attempts = recorded.points("call.duration"), recorded.points("attempt.duration")
    assert [point.count for point in calls] == [2]
    assert calls[0].explicit_bounds[:2] == (0.005, 0.01)  # for seconds: few calls take 5 of them
    by_status = {p.attributes["http.response.status_code"]: p.count for p in attempts}
    assert by_status == {200: 2, 429: 1}


def test_a_wait_at_the_limiter_is_measured(recorded: Recorded) -> None:
    run(recorded, *[DOMAINS] * 3, calls=3, rate_limit=RateLimit(per_minute=60, burst=1))
    (waits,) = recorded.points("limiter.wait")
    assert waits.count == 2
    assert waits.sum == pytest.approx(2.0, abs=0.1)


async def test_a_span_is_the_parent_of_what_the_call_sends(recorded: Recorded) -> None:
    hooks = [create_trace_config(tracer_provider=recorded.tracers)]
    observer = telemetry(recorded.tracers, recorded.meters)
    async with (
        Sandbox([make_workspace("acme", KEY)]) as sandbox,
        ConnectionPool(observer=observer, trace_configs=hooks) as pool,
    ):
        await AsyncChatloom(KEY, base_url=sandbox.base_url, pool=pool).list_agents()
    request, call = recorded.spans()
    assert request.parent is not None
    assert call.context is not None
    assert request.parent.span_id == call.context.span_id
    assert trace.get_current_span().get_span_context().span_id == 0


def test_no_span_or_metric_holds_the_key(recorded: Recorded) -> None:
    failure = StubReply({"error": KEY}, status=500, headers={"x": KEY})
    with pytest.raises(ChatloomError):
        run(recorded, failure, retry=RetryPolicy(attempts=1))
    told = repr([span.to_json() for span in recorded.spans()])
    told += repr([recorded.points(name) for name in ("call.duration", "attempt.duration")])
    assert told.count("500")
    assert KEY not in told


def test_a_closed_limiter_counts_until_it_opens(recorded: Recorded) -> None:
    observer = telemetry(recorded.tracers, recorded.meters)
    for key, limiter in (("k1", 1), ("k1", 2), ("k2", 3), ("k1", 1)):
        observer(LimiterClosed(key, "refused", 1.0, limiter))
    observer(LimiterOpened("k1", 2.0, 1))
    (closed,) = recorded.points("limiter.closed")
    assert (closed.value, dict(closed.attributes)) == (2, {"chatloom.reason": "refused"})


@pytest.mark.parametrize("forgotten", [True, False])
@virtual
async def test_a_closed_limiter_without_clients_counts_no_longer(
    recorded: Recorded, *, forgotten: bool
) -> None:
    observer = telemetry(recorded.tracers, recorded.meters)
    refused = StubReply(status=429, headers={"Retry-After": "1000"})
    pool = StubTransport([refused, DOMAINS], observer=observer)
    with pytest.raises(RateLimitError):
        await AsyncChatloom(KEY, pool=pool).get_allowed_domains("agt_1")
    assert [point.value for point in recorded.points("limiter.closed")] == [1]
    if forgotten:
        await asyncio.sleep(2000)
        await AsyncChatloom("clf_another", pool=pool).get_allowed_domains("agt_1")
    else:  # its pool is closed
        await pool.shared.limiters.aclose()
    assert [point.value for point in recorded.points("limiter.closed")] == [0]
