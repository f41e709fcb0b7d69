"""Keys files: workspace names and their API keys, read and checked before any request.

Here: TOML and CSV, ``env:NAME``, and where a name's key comes from. Not here: the key (``auth``).
"""

import csv
import io
import os
import re
import sys
import tomllib
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
_CSV = (".csv", ".tsv")
_MOST_BYTES = 16 * 1024 * 1024
_KEY = re.compile(r"(?i)(?<!\w)clf_")  # where a name belongs, also in quotes or behind "Bearer"
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
        problems = [each for each in keys.values() if isinstance(each, str)]
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise ConfigurationError(f"{_named(self.path)}: {problems[0]}{more}")
        return {name: key for name, key in keys.items() if isinstance(key, ApiKey)}

    def open(self) -> Callable[[str], ApiKey]:
        """Read the file now; return a function from a name to its key that minds no other entry.

        ConfigurationError from both: the file as for ``read``, an unknown name, a wrong key.
        """
        named, keys = _named(self.path), _entries(self.path)

        def key_of(name: str) -> ApiKey:
            key = keys.get(name)
            if isinstance(key, ApiKey):
                return key
            raise ConfigurationError(f"{named}: {key}" if key else f"{named} has no entry {name!r}")

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


def _named(path: str) -> str:
    return "the keys on standard input" if path == STANDARD_INPUT else f"keys file {path!r}"


def _entries(path: str) -> dict[str, ApiKey | str]:
    """Return for each name its key, or what is wrong with it."""
    try:
        return {name: _resolve(name, value) for name, value in _values(path).items()}
    except ConfigurationError as error:
        problem = error.message
    # Raised out here, the error leads to no other error and no frame that holds keys.
    raise ConfigurationError(f"{_named(path)}: {problem}")


def _values(path: str) -> dict[str, str]:
    try:
        if path == STANDARD_INPUT:
            data = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"cannot read it: {reason}") from None
    if len(data) > _MOST_BYTES:
        raise ConfigurationError(f"it is too large to be one; {_SHAPE}")
    try:
        # Spreadsheets begin a file with a byte order mark, and files may be concatenated.
        text = data.decode().replace("\ufeff", "")
    except UnicodeDecodeError as error:
        place = f"byte {error.start + 1} is not UTF-8"
        raise ConfigurationError(f"it is not text: {place}; save it as UTF-8") from None
    suffix = Path(path).suffix.lower()
    is_toml = suffix == ".toml" or (suffix not in _CSV and _looks_like_toml(text))
    values = _from_toml(text) if is_toml else _from_csv(text)
    if not values:
        raise ConfigurationError(f"it holds no keys; {_SHAPE}")
    return values


def _looks_like_toml(text: str) -> bool:
    """Tell TOML from CSV by the first line that says something: only TOML has ``name = "…"``."""
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return first.startswith("[") or _TOML.match(first) is not None


def _from_toml(text: str) -> dict[str, str]:
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise ConfigurationError("not TOML: nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        told = str(error).replace("Cannot overwrite a value", "a name occurs twice")
        if told != str(error):
            raise ConfigurationError(f"{told}; names tell workspaces apart") from None
        raise ConfigurationError(f"not TOML: {told}; names and keys are in quotes") from None
    for name, value in table.items():
        if problem := _misfit(name, value):
            raise ConfigurationError(problem)
    return table


def _from_csv(text: str) -> dict[str, str]:
    """Return names and values; a first line like ``name,key`` is a header."""
    # Comments are of no column, and keep their number.
    lines = ["" if line.lstrip()[:1] == "#" else line for line in io.StringIO(text, newline="")]
    first = next(filter(str.strip, lines), "")
    delimiter = max(_DELIMITERS, key=first.rfind)  # a name may hold others, a key none
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    values: dict[str, str] = {}
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if len(cells) != _COLUMNS:
                columns = f"{plural(len(cells), 'column')}, not two: name{delimiter}key"
                raise ConfigurationError(f"line {reader.line_num} has {columns}")
            name, value = cells
            if not values and _HEADING.fullmatch(value):
                continue
            if problem := _misfit(name, value):
                raise ConfigurationError(f"line {reader.line_num}: {problem}")
            if name in values:
                problem = f"the name {name!r} occurs twice; names tell workspaces apart"
                raise ConfigurationError(problem)
            values[name] = value
    except csv.Error as error:
        raise ConfigurationError(f"line {reader.line_num} is not CSV: {error}") from None
    return values


def _misfit(name: str, value: object) -> str:
    if _KEY.search(name):
        return "a key stands where its name belongs: the name comes first, then the key"
    if not name.strip():
        return "a key has no name"
    if isinstance(value, dict):
        return f"{name!r} is a table; put names with dots in quotes, and use no [section]"
    return "" if isinstance(value, str) else f"the key of {name!r} is not text; put it in quotes"


def _resolve(name: str, value: str) -> ApiKey | str:
    """Return the key of an entry, or what is wrong with it; raising here would show the key."""
    entry = f"entry {name!r}"
    if value.startswith(_ENVIRONMENT):
        variable = value.removeprefix(_ENVIRONMENT).strip()
        if not variable or _KEY.search(variable):
            return f"{entry}: after env: comes the name of an environment variable"
        value = os.environ.get(variable, "")
        if not value:
            return f"{entry}: environment variable {variable!r} is not set"
        entry = f"{entry} (from {variable})"
    try:
        return ApiKey(value)
    except ConfigurationError as error:
        return f"{entry}: {error.message}"
