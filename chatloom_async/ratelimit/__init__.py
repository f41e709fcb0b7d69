"""One rate limiter per API key (and base URL, limit and event loop).

``limiter`` is the gate that calls wait at: it asks ``schedule`` when the next one may leave, and
``waiting`` who that is. ``schedule`` goes by the user's limit and what is in flight
(``departures``), what the server tells (``told``), what its refusals teach (``bucket``,
``window``), and why and for how long it is closed (``closings``). ``shared`` asks a store too where
several processes share the limit, ``shared_file`` is such a store. ``common`` is the gate of
several keys that seem to meet one limit. ``registry`` finds the limiter of a key. ``values`` are
what all of them exchange.
"""
