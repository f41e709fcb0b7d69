"""The command line: ``chatloom-async``."""

from chatloom_async.cli.entry import main

__all__ = ["main"]
