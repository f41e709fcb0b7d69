"""The only door of aiohttp's client: a pool of connections and one exchange on it.

In the order of an exchange: ``pool`` takes a place and starts the time (``bounds``), and sends the
request by ``direct`` or by ``exchange``. Both get their connection from ``connector``.
``translation`` makes our errors of aiohttp's. ``options`` checks what a pool is given,
``statistics`` is what it tells of itself.
"""
