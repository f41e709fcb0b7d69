"""One rate limiter per API key."""
