"""What users import: names, versions, types, and what an import does not cost."""

import inspect
import json
import subprocess
import sys
from typing import Any, get_type_hints

import pytest

import chatloom_async
from chatloom_async import audit, testing
from chatloom_async.contrib import dask


def loaded_by(statement: str) -> set[str]:
    """The modules a fresh interpreter holds after this statement."""
    code = f"import sys\n{statement}\nimport json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", [chatloom_async, audit, testing])
def test_every_exported_name_is_there_once_and_documented(module: Any) -> None:
    names = module.__all__
    assert len(names) == len(set(names))
    exported = [(name, getattr(module, name)) for name in names]
    assert not [name for name, one in exported if callable(one) and not inspect.getdoc(one)]


@pytest.mark.parametrize("module", [chatloom_async, audit, testing, dask])
def test_annotations_can_be_read_at_run_time(module: Any) -> None:
    for name in module.__all__:
        exported = getattr(module, name)
        methods = inspect.getmembers(exported, inspect.isfunction)
        for one in (exported, *(method for _, method in methods)):
            if inspect.isclass(one) or inspect.isfunction(one):
                get_type_hints(one)


def test_nothing_takes_more_than_six_keyword_options() -> None:
    for name in chatloom_async.__all__:
        exported = getattr(chatloom_async, name)
        if inspect.isclass(exported) and not issubclass(exported, BaseException):
            parameters = inspect.signature(exported).parameters.values()
            options = [one for one in parameters if one.kind is one.KEYWORD_ONLY]
            most = 7 if name == "ConnectionPool" else 6  # beside them direct=, a way out
            assert len(options) <= most, name


HEAVY = (
    "tenacity cattrs aiohttp.web rich jinja2 pytest orjson argparse sqlite3 pyarrow distributed "
    "chatloom_async.cli chatloom_async.audit.keys"
)


def test_an_import_loads_nothing_it_may_not_need() -> None:
    loaded = loaded_by("import chatloom_async") - loaded_by("import aiohttp")
    assert set(HEAVY.split()) & loaded == set()


# The audit hook sees what the interpreter does, whoever does it.
REFUSING = """
import aiohttp, socket, sys

def refuse(event, arguments):
    if event.startswith(("socket.", "subprocess.", "sqlite3.", "os.system")):
        raise AssertionError(event)
    if event == "open" and set(str(arguments[1])) & set("wax+"):
        raise AssertionError(arguments[0])

sys.dont_write_bytecode = True
sys.addaudithook(refuse)
"""


def test_an_import_opens_no_socket_or_file() -> None:
    loaded_by(f"{REFUSING}import chatloom_async.audit")


def test_a_planted_socket_at_import_is_seen() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        loaded_by(f"{REFUSING}socket.socket()")
