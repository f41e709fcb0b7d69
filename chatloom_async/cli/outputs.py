"""Files that commands write: nothing that exists is replaced by accident."""

from __future__ import annotations

from argparse import ArgumentParser
from io import BufferedWriter
from pathlib import Path

from chatloom_async.audit.draft import Draft
from chatloom_async.errors import ConfigurationError


def add_force(command: ArgumentParser) -> None:
    """Add --force to a command's options."""
    command.add_argument("--force", action="store_true", help="write over files that exist")


def check_free(path: str, *, force: bool) -> None:
    """Refuse to write over something, unless that is wanted.

    Raises:
        ConfigurationError: the file exists and holds something.
    """
    file = Path(path)
    if not force and file.is_file() and file.stat().st_size:
        raise ConfigurationError(f"{path} exists; write to another file, or replace it: --force")


def write_whole(path: str, text: str) -> None:
    """Write a file of which nothing is left when the disk is full.

    Raises:
        ConfigurationError: it cannot be made.
        OSError: it cannot be written.
    """
    draft = Draft.begin(path)
    try:
        with BufferedWriter(draft.file) as file:
            file.write(text.encode())
            file.flush()
            draft.publish()
    finally:
        draft.discard()
