"""The only door of aiohttp's client: a pool of connections and one exchange on it."""
