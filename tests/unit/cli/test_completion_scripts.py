"""The scripts for shell completion: bash runs its script for real."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mailctl.cli.completion_scripts import complete_file, install


def in_bash(script: str, *typed: str, folder: Path) -> str:
    """Type into an interactive bash, and return what its terminal shows until it exits."""
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        ["bash", "--noprofile", "--rcfile", script, "-i"],
        **dict.fromkeys(("stdin", "stdout", "stderr"), inner),
        cwd=folder,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PS1": "$ "},
        start_new_session=True,
    )
    os.close(inner)
    os.write(outer, "".join([*typed, "\n", "exit\n"]).encode())
    shown = b""
    while part := read(outer):
        shown += part
    assert process.wait(timeout=60) is not None
    os.close(outer)
    return shown.decode()


def read(terminal: int) -> bytes:
    """Return what a terminal shows next; nothing at its end."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_file_names_where_a_file_is_asked_for(tmp_path: Path) -> None:
    """And nowhere else: a word of mailctl comes from mailctl alone."""
    install("bash", home=tmp_path)
    (tmp_path / "users-of-spring.csv").touch()
    (tmp_path / "failures.txt").touch()
    script = str(tmp_path / ".bash_completions" / "mailctl.sh")
    shown = in_bash(
        script,
        *("mailctl suppress import us\t\x01echo \n", "mailctl list --state fail\t\x01echo \n"),
        folder=tmp_path,
    )
    # What `echo` prints, not what was typed.
    assert "mailctl suppress import users-of-spring.csv\r\n" in shown
    assert "mailctl list --state failed\r\n" in shown


@pytest.mark.parametrize(("shell", "start_up"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", None)])
def test_a_script_is_installed_once(tmp_path: Path, shell: str, start_up: str | None) -> None:
    """Again, it changes the script and not the start-up file."""
    if start_up:
        (tmp_path / start_up).write_text("alias m=mailctl\n")
    paths = {install(shell, home=tmp_path) for _ in range(2)}
    assert "_MAILCTL_COMPLETE" in paths.pop().read_text()
    if start_up:
        lines = (tmp_path / start_up).read_text().splitlines()
        assert lines[0] == "alias m=mailctl"
        assert len(lines) == 3


def test_a_file_is_left_to_the_shell() -> None:
    """It knows best how to quote its name."""
    assert complete_file("dir/fi") == ["dir/fi<file>"]
