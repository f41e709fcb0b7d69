"""``python -m chatloom_async``: the same as ``chatloom-async``."""

import sys

from chatloom_async.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
