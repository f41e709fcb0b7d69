"""OpenTelemetry: one span per call, and metrics, from what an observer is told (extra ``otel``).

::

    async with ConnectionPool(observer=telemetry()) as pool: ...

Names and attributes follow the semantic conventions for HTTP clients where there are some. No span
or metric holds a key, a body or a header; ``chatloom.key`` is the key's fingerprint. Spans of
opentelemetry-instrumentation-aiohttp-client, one per request, become children of the call's span.
"""

from __future__ import annotations

from contextvars import Token
from functools import partial
from urllib.parse import urlsplit

from attrs import define, field
from opentelemetry import context, metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, MeterProvider, UpDownCounter
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, TracerProvider

from chatloom_async import events
from chatloom_async.version import __version__

_SCOPE = "chatloom_async"
# Seconds; up to 10 as the conventions have them, then as long as calls may wait for a limit. The
# SDK's own are made for milliseconds.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 120)

Attributes = dict[str, str | int | float]


def telemetry(
    tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> events.Observer:
    """Return an observer for ``ConnectionPool(observer=…)``; None: the global providers.

    Metrics, durations in seconds:

    - ``chatloom.client.call.duration``: everything a caller waited for, by route and outcome;
      its count is the number of calls.
    - ``chatloom.client.attempt.duration``: single requests, by status or reason; the count of
      those with status 429 is the number of refusals.
    - ``chatloom.client.limiter.wait``: waits at a rate limiter.
    - ``chatloom.client.limiter.closed``: rate limiters that let nothing pass, by reason.
    """
    meter = metrics.get_meter(_SCOPE, __version__, meter_provider)
    seconds = partial(
        meter.create_histogram, unit="s", explicit_bucket_boundaries_advisory=_BUCKETS
    )
    return _Telemetry(
        tracer=trace.get_tracer(_SCOPE, __version__, tracer_provider),
        calls=seconds("chatloom.client.call.duration"),
        attempts=seconds("chatloom.client.attempt.duration"),
        waits=seconds("chatloom.client.limiter.wait"),
        closed=meter.create_up_down_counter("chatloom.client.limiter.closed", "{limiter}"),
    )


@define(eq=False)
class _Telemetry:
    tracer: Tracer
    calls: Histogram
    attempts: Histogram
    waits: Histogram
    closed: UpDownCounter
    _open: dict[int, tuple[Span, Token[Context], Attributes]] = field(factory=dict, init=False)
    _reasons: dict[int, str] = field(factory=dict, init=False)  # of the limiters that are closed

    def __call__(self, event: events.Event) -> None:
        match event:
            case events.CallStarted():
                self._start(event)
            case events.AttemptEnded() if event.call in self._open:
                self._attempt(event)
            case events.LimiterWaited():
                self.waits.record(event.seconds)
                if event.call in self._open:
                    waited = {"chatloom.wait": event.seconds}
                    self._open[event.call][0].add_event("rate limiter", waited)
            case events.CallEnded() if event.call in self._open:
                self._end(event)
            case events.LimiterClosed() if event.limiter not in self._reasons:
                self._reasons[event.limiter] = event.reason
                self.closed.add(1, {"chatloom.reason": event.reason})
            case events.LimiterOpened() if event.limiter in self._reasons:
                self.closed.add(-1, {"chatloom.reason": self._reasons.pop(event.limiter)})

    def _start(self, event: events.CallStarted) -> None:
        server = urlsplit(event.base_url)
        common: Attributes = {
            "http.request.method": event.method,
            "server.address": server.hostname or "",
            "server.port": server.port or (443 if server.scheme == "https" else 80),
        }
        route, url = event.route, event.base_url + event.path
        told = {**common, "url.template": route, "url.full": url, "chatloom.key": event.key}
        name = f"{event.method} {route}"
        span = self.tracer.start_span(name, kind=SpanKind.CLIENT, attributes=told)
        # The call's own requests, traced by others, belong below it; ``_end`` runs in this task.
        token = context.attach(trace.set_span_in_context(span))
        self._open[event.call] = span, token, common

    def _attempt(self, event: events.AttemptEnded) -> None:
        span, _, common = self._open[event.call]
        outcome = _outcome(event.outcome)
        span.add_event("attempt", {"http.request.resend_count": event.number - 1, **outcome})
        span.set_attribute("chatloom.key", event.key)  # a call may have begun without one
        if event.outcome.isdecimal():
            span.set_attribute("http.response.status_code", int(event.outcome))
        self.attempts.record(event.seconds, {**common, **outcome})

    def _end(self, event: events.CallEnded) -> None:
        span, token, common = self._open.pop(event.call)
        context.detach(token)
        outcome: Attributes = {} if event.outcome == "ok" else {"error.type": event.outcome}
        if outcome:
            span.set_status(StatusCode.ERROR, event.outcome)
        span.set_attributes({"chatloom.attempts": event.attempts, **outcome})
        span.end()
        self.calls.record(event.seconds, {**common, "url.template": event.route, **outcome})


def _outcome(outcome: str) -> Attributes:
    if not outcome.isdecimal():
        return {"error.type": outcome}
    status: Attributes = {"http.response.status_code": int(outcome)}
    return status if outcome < "400" else {**status, "error.type": outcome}
