"""OpenTelemetry: one span per call, and metrics, from what an observer is told (extra ``otel``).

::

    async with ConnectionPool(observer=telemetry()) as pool: ...

Names and attributes follow the semantic conventions for HTTP clients where there are some. No span
or metric holds a key, a body or a header; ``chatloom.key`` is the key's fingerprint. Spans of
opentelemetry-instrumentation-aiohttp-client, one per request, become children of the call's span.
"""

from __future__ import annotations

from contextvars import Token
from urllib.parse import urlsplit

from attrs import define, field
from opentelemetry import context, metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, MeterProvider, UpDownCounter
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, TracerProvider

from chatloom_async import events
from chatloom_async.version import __version__

_SCOPE = "chatloom_async"

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
    return _Telemetry(
        tracer=trace.get_tracer(_SCOPE, __version__, tracer_provider),
        calls=meter.create_histogram("chatloom.client.call.duration", "s"),
        attempts=meter.create_histogram("chatloom.client.attempt.duration", "s"),
        waits=meter.create_histogram("chatloom.client.limiter.wait", "s"),
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
            case events.AttemptEnded():
                self._attempt(event)
            case events.LimiterWaited():
                self.waits.record(event.seconds)
                self._add(event.call, "rate limiter", {"chatloom.wait": event.seconds})
            case events.CallEnded():
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
        span = self.tracer.start_span(
            f"{event.method} {event.route}",
            kind=SpanKind.CLIENT,
            attributes={
                **common,
                "url.template": event.route,
                "url.full": event.base_url + event.path,
                "chatloom.key": event.key,
            },
        )
        # The call's own requests, traced by others, belong below it; ``_end`` runs in this task.
        token = context.attach(trace.set_span_in_context(span))
        self._open[event.call] = span, token, common

    def _attempt(self, event: events.AttemptEnded) -> None:
        outcome = _outcome(event.outcome)
        self._add(event.call, "attempt", {"http.request.resend_count": event.number - 1, **outcome})
        opened = self._open.get(event.call)
        common: Attributes = {} if opened is None else opened[2]
        self.attempts.record(event.seconds, {**common, **outcome})

    def _add(self, call: int, name: str, attributes: Attributes) -> None:
        if call in self._open:
            self._open[call][0].add_event(name, attributes)

    def _end(self, event: events.CallEnded) -> None:
        opened = self._open.pop(event.call, None)
        if opened is None:
            return
        span, token, common = opened
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
