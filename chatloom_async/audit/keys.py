"""Keys files: workspace names and their API keys, read and checked before any request.

Here: TOML and CSV, ``env:NAME``, and where a name's key comes from. Not here: the key (``auth``).
"""

import csv
import io
import os
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from attrs import frozen

from chatloom_async.audit.text import plural
from chatloom_async.auth import ApiKey
from chatloom_async.errors import ConfigurationError

STANDARD_INPUT = "-"

_ENVIRONMENT = "env:"
_COLUMNS = 2
_HEADING = re.compile(r"(?ia:(api[ _-]?)?key)")  # which no key is
_DELIMITERS = (",", ";", "\t")
_SUFFIXES = {".toml": "toml", ".csv": "csv", ".tsv": "csv"}
_MOST_BYTES = 16 * 1024 * 1024
_KEY = re.compile(r"(?i)(?<!\w)clf_")  # where a name belongs, also in quotes or behind "Bearer"
_SWAPPED = "a key stands where its name belongs: the name comes first, then the key"
# Only in CSV may text in quotes, which is a name there too, stand before no equals sign.
_TOML = re.compile(r"""("(\\.|[^"\\])*"|'[^']*'|[^"',;\t=]*)\s*=\s*(["']|clf_|env:)""")
_SHAPE = 'write one line per workspace, in TOML ("name" = "clf_…") or CSV (name,clf_…)'


@frozen
class KeysFile:
    """The path of a keys file, and so a source of keys that holds none itself.

    Calling it with a workspace's name reads the file, wherever the call happens; that makes it fit
    for sending to other machines. ``path`` may be ``-``: standard input, which is read once.
    """

    path: str

    def read(self) -> dict[str, ApiKey]:
        """Return every workspace's key by its name, in the order of the file.

        A value ``env:NAME`` stands for the environment variable NAME.

        Raises:
            ConfigurationError: the file cannot be read, is empty or malformed, names a workspace
                twice, or a key cannot be one. The message names file and entry, never the key.
        """
        keys = _entries(self.path)
        if not keys:
            raise ConfigurationError(f"{_shown(self.path)} holds no keys; {_SHAPE}")
        problems = [each for each in keys.values() if isinstance(each, str)]
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise ConfigurationError(f"{_shown(self.path)}: {problems[0]}{more}")
        return {name: key for name, key in keys.items() if isinstance(key, ApiKey)}

    def open(self) -> Callable[[str], ApiKey]:
        """Read the file now; return a function from a name to its key that minds no other entry.

        ConfigurationError from both: the file as for ``read``, an unknown name, a wrong key.
        """
        shown, keys = _shown(self.path), _entries(self.path)

        def key_of(name: str) -> ApiKey:
            key = keys.get(name)
            if isinstance(key, ApiKey):
                return key
            raise ConfigurationError(f"{shown}: {key}" if key else f"{shown} has no entry {name!r}")

        return key_of

    def __call__(self, name: str) -> ApiKey:
        """Read the file and return one workspace's key; ConfigurationError as for ``open``."""
        return self.open()(name)


def same_keys(keys: Mapping[str, ApiKey]) -> Iterator[tuple[str, str]]:
    """Yield pairs of names that stand for the same key: most likely a copied line."""
    first: dict[ApiKey, str] = {}
    for name, key in keys.items():
        known = first.setdefault(key, name)
        if known != name:
            yield known, name


def _shown(path: str) -> str:
    return "the keys on standard input" if path == STANDARD_INPUT else f"keys file {path!r}"


def _read(path: str) -> str:
    try:
        if path == STANDARD_INPUT:
            data = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"cannot read {_shown(path)}: {reason}") from None
    if len(data) > _MOST_BYTES:
        problem = f"is too large to be one; {_SHAPE}"
    else:
        try:
            # Spreadsheets begin a file with a byte order mark, and files may be concatenated.
            return data.decode().replace("\ufeff", "")
        except UnicodeDecodeError as error:
            problem = f"is not text: byte {error.start + 1} is not UTF-8; save it as UTF-8"
    del data  # a traceback shows the locals of its frames
    # Raised out here, the error has no context: a UnicodeDecodeError holds the whole file.
    raise ConfigurationError(f"{_shown(path)} {problem}")


def _entries(path: str) -> dict[str, ApiKey | str]:
    """Return for each name its key, or what is wrong with it."""
    text = _read(path)
    kind = _SUFFIXES.get(Path(path).suffix.lower()) or _guessed(text)
    values, problem = _from_toml(text) if kind == "toml" else _from_csv(text)
    twice = [name for name, count in Counter(name for name, _ in values).items() if count > 1]
    if twice and not problem:
        problem = f"the name {twice[0]!r} occurs twice; names tell workspaces apart"
    if not problem:
        return {name: _resolve(name, value) for name, value in values}
    del text, values  # a traceback shows the locals of its frames
    raise ConfigurationError(f"{_shown(path)}: {problem}")


def _guessed(text: str) -> str:
    """Tell TOML from CSV by the first line that says something: only TOML has ``name = "…"``."""
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return "toml" if _TOML.match(first) or first.startswith("[") else "csv"


def _from_toml(text: str) -> tuple[list[tuple[str, str]], str]:
    """Return names and values, and what is wrong; raising here would show the keys as locals."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        told = str(error)
        if "Cannot overwrite" in told:
            told = told.replace("Cannot overwrite a value", "a name occurs twice")
            return [], f"{told}; names tell workspaces apart"
        return [], f"not TOML: {told}; names and keys are in quotes"
    except RecursionError:
        return [], "not TOML: nested too deeply"
    problem = next(filter(None, (_misfit(name, value) for name, value in table.items())), "")
    return ([] if problem else list(table.items())), problem


def _misfit(name: str, value: object) -> str:
    if _KEY.search(name):
        return _SWAPPED
    if not name.strip():
        return "a key has no name"
    if isinstance(value, dict):
        return f"{name!r} is a table; put names with dots in quotes, and use no [section]"
    if not isinstance(value, str):
        return f"the key of {name!r} is not text; put it in quotes"
    return ""


def _from_csv(text: str) -> tuple[list[tuple[str, str]], str]:
    """Return names and values, and what is wrong; a first line like ``name,key`` is a header."""
    # Comments are of no column, and keep their number.
    lines = ["" if line.lstrip()[:1] == "#" else line for line in io.StringIO(text, newline="")]
    first = next(filter(str.strip, lines), "")
    delimiter = max(_DELIMITERS, key=first.rfind)  # a name may hold others, a key none
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    values: list[tuple[str, str]] = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if not values and len(cells) == _COLUMNS and _HEADING.fullmatch(cells[1]):
                continue
            if len(cells) != _COLUMNS:
                columns = plural(len(cells), "column")
                return [], f"line {reader.line_num} has {columns}, not two: name{delimiter}key"
            problem = _misfit(*cells)
            if problem:
                return [], f"line {reader.line_num}: {problem}"
            values.append((cells[0], cells[1]))
    except csv.Error as error:
        return [], f"line {reader.line_num} is not CSV: {error}"
    return values, ""


def _resolve(name: str, value: str) -> ApiKey | str:
    """Return the key of an entry, or what is wrong with it; raising here would show the key."""
    if not value.startswith(_ENVIRONMENT):
        return _checked(f"entry {name!r}", value)
    variable = value.removeprefix(_ENVIRONMENT).strip()
    if not variable or _KEY.search(variable):
        return f"entry {name!r}: after env: comes the name of an environment variable"
    if not os.environ.get(variable):
        return f"entry {name!r}: environment variable {variable!r} is not set"
    return _checked(f"entry {name!r} (from {variable})", os.environ[variable])


def _checked(entry: str, value: str) -> ApiKey | str:
    try:
        return ApiKey(value)
    except ConfigurationError as error:
        return f"{entry}: {error.message}"
