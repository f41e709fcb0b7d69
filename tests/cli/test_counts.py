"""What the observer of an audit counts."""

from chatloom_async import APIConnectionError, AsyncChatloom, ChatloomError
from chatloom_async.cli.counts import Counts
from chatloom_async.testing import StubReply, StubTransport
from tests.virtual import virtual

TIMES = "\N{MULTIPLICATION SIGN}"


@virtual
async def test_every_repeated_request_is_counted_by_what_it_followed() -> None:
    counts = Counts({})
    cut = APIConnectionError("cut", "cut off")
    failures = [StubReply(status=429), StubReply(status=503)]
    replies: list[StubReply | ChatloomError] = [cut, *failures, StubReply([])]
    transport = StubTransport(replies, observer=counts.observe)
    await AsyncChatloom("clf_counted", pool=transport).get_raw("/x")
    assert (counts.requests, counts.refusals) == (4, 1)
    causes = f"cut answer {TIMES}1, 429 {TIMES}1, 503 {TIMES}1"
    assert counts.summary() == f"4 requests, 3 of them retries after {causes}"
