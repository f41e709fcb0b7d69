"""From a method of the client to its answer."""
