"""The command line: ``chatloom-async``."""
