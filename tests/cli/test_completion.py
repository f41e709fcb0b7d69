"""Completion scripts."""

import shutil
import subprocess

from tests.cli.terminals import Cli


def test_a_shell_reads_its_script(cli: Cli) -> None:
    script = cli("completion", "bash").out
    bash = shutil.which("bash")
    assert bash is not None
    asked = 'COMP_WORDS=(chatloom-async di); COMP_CWORD=1; _shtab_chatloom_async; echo "$COMPREPLY"'
    done = subprocess.run(
        [bash, "-c", f"{script}\n{asked}"], capture_output=True, text=True, check=False
    )
    assert done.stdout == "diff\n"
    assert cli("completion", "zsh").out.startswith("#compdef chatloom-async")
