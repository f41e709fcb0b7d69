"""Completion scripts."""

import shutil
import subprocess

import pytest

from tests.cli.terminals import Cli


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_script_knows_every_command(shell: str, cli: Cli) -> None:
    script = cli("completion", shell).out
    for word in ("audit", "sandbox", "resume", "approved"):
        assert word in script


def test_bash_reads_the_script(cli: Cli) -> None:
    script = cli("completion", "bash").out
    bash = shutil.which("bash")
    assert bash is not None
    asked = 'COMP_WORDS=(chatloom-async di); COMP_CWORD=1; _shtab_chatloom_async; echo "$COMPREPLY"'
    done = subprocess.run(
        [bash, "-c", f"{script}\n{asked}"], capture_output=True, text=True, check=False
    )
    assert done.stdout == "diff\n"
