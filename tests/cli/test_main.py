"""Arguments, help, exit statuses and errors, whatever the command."""

import sys

import pytest

from chatloom_async.cli import diff as diff_command
from chatloom_async.testing import Sandbox
from tests.cli.terminals import COMMANDS, Cli


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_shows_an_example(
    command: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = cli(command, "--help").out
    assert f"chatloom-async {command} " in shown.partition("example")[2]
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("missing", ["rich", "jinja2"])
@pytest.mark.parametrize("arguments", [["--help"], ["audit", "--sandbox"]])
def test_what_to_install_is_told_in_one_line(
    arguments: list[str], missing: str, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    shown = cli(*arguments, status=2)
    assert shown.out == ""
    assert shown.err == (
        "chatloom-async: the command line is an extra: pip install 'chatloom_async[cli]'\n"
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["nothing"], "invalid choice: 'nothing'"),
        (["audit", "k", "--fail-on", "a\x1b[2J"], "invalid choice: 'a\\x1b[2J'"),
        (["audit", "k", "\x1b[2J\nforged"], "unrecognized arguments: \\x1b[2J\\nforged"),
        (["audit", "k", "--sandbox"], "not allowed with"),
        (["audit", "k", "--ignore", "nothing"], "invalid choice"),
        (["audit", ""], "an argument is empty: is a variable of the shell not set?"),
        (["audit", "--sandbox", "--approved="], "an argument is empty"),
    ],
)
def test_wrong_arguments_are_told(arguments: list[str], told: str, cli: Cli) -> None:
    shown = cli(*arguments, status=2).err
    assert told in shown
    assert shown.count("\n") == 1
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    "argument",
    ["clf_4711", "'clf_4711'", "Bearer:clf_4711", "--key=clf_4711", "-kclf_4711", "(clf_4711"],
)
@pytest.mark.parametrize("before", [["audit"], ["audit", "--fail-on"], ["domains", "a"], []])
def test_a_key_as_argument_is_refused(before: list[str], argument: str, cli: Cli) -> None:
    shown = cli(*before, argument, status=2)
    assert "an API key does not belong on the command line" in shown.err
    assert "4711" not in shown.err + shown.out


@pytest.mark.parametrize("path", ["my_clf_keys.toml", "/srv/clf_keys.toml", "./clf_keys.toml"])
def test_a_file_may_be_named_after_the_prefix_of_keys(path: str, cli: Cli) -> None:
    assert "No such file" in cli("audit", path, status=2).err


def test_an_error_of_the_api_is_one_line(
    served: Sandbox, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLOOM_API_KEY", "clf_key_of_nobody")
    assert cli("agents", status=2).err == (
        "chatloom-async: 401 Invalid API key. (GET /api/plugin/agents)\n"
    )
    assert served.count() == 1


@pytest.mark.parametrize(("debug", "traces"), [([], 0), (["--debug"], 1)])
def test_an_unexpected_error_does_not_look_like_something_found(
    debug: list[str], traces: int, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    def broken(_: object) -> int:
        raise LookupError("nobody thought of this")

    monkeypatch.setattr(diff_command, "diff", broken)
    told = cli("diff", "old", "new", *debug, status=2).err
    assert "unexpected LookupError: nobody thought of this; --debug shows where" in told
    assert told.count("Traceback") == traces
