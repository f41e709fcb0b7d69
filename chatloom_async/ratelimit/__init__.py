"""One rate limiter per API key (and base URL, limit and event loop).

``limiter`` is the gate that calls wait at: it asks ``schedule`` when the next one may leave, and
``waiting`` who that is. ``schedule`` goes by the user's limit and what is in flight
(``departures``), what the server tells (``told``), what its refusals teach (``bucket``,
``window``), and why and for how long it is closed (``closings``). ``shared`` asks a store too where
several processes share the limit, ``shared_file`` is such a store. ``common`` is the gate of
several keys that seem to meet one limit. ``registry`` finds the limiter of a key. ``values`` are
what all of them exchange.

The words:

- gate: what the attempts of a key leave by, open or closed. The common gate is one more, of all
  keys at a base URL.
- departure: when an attempt left the gate. It stands for the attempt: no two of a key are the same.
- attempt in flight: one that left and has not been reported back.
- refusal: a 429, or what stands for one. Failure: a 5xx, a lost connection or a timeout. A 503 may
  be either, and is judged.
- echo: a refusal of what was in flight with a refusal before; it closes no gate.
- probe: the one attempt that a closed gate lets out. Its good answer opens the gate.
- in vain: said of a probe that was refused.
- trial: an attempt that leaves though the common gate is closed, to find out whether the limit is
  that of its key alone.
- trying: letting more leave than a window is worth, to find out whether the limit rose.
- excuse: take a refusal out of what is learned from: it is an echo, or another gate's affair.
- pardon: undo what 503s did to the number in flight, as they were no refusals.
"""
