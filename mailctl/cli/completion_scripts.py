"""The scripts by which a shell completes commands; file names only where a command asks for a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer

from mailctl.errors import ExitCode, InvalidInput

#: How a completion ends that stands for file names, which the shell itself completes best.
_FILE = "<file>"
_BASH = """\
_mailctl_completion() {
    local IFS=$'\\n' found
    found=$(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" _MAILCTL_COMPLETE=complete_bash "$1")
    COMPREPLY=()
    if [[ $found == *'<file>' ]]; then
        compopt -o default
    else
        COMPREPLY=($found)
    fi
}
complete -F _mailctl_completion mailctl
"""
_ZSH = """\
#compdef mailctl
_mailctl_completion() {
  local found
  found="$(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _MAILCTL_COMPLETE=complete_zsh mailctl)"
  case $found in
    *'<file>'*) _files ;;
    _files) ;;
    *) eval "$found" ;;
  esac
}
compdef _mailctl_completion mailctl
"""
_FISH = """\
function __mailctl_complete
    set -lx _MAILCTL_COMPLETE complete_fish
    set -lx _TYPER_COMPLETE_FISH_ACTION get-args
    set -lx _TYPER_COMPLETE_ARGS (commandline -cp)
    set -l found (mailctl)
    if string match -q '*<file>' -- $found
        __fish_complete_path (commandline -ct)
    else
        printf '%s\\n' $found
    end
end
complete --command mailctl --no-files --arguments '(__mailctl_complete)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
#: Where each shell reads its script, below the home folder.
_PATHS = {
    "bash": ".bash_completions/mailctl.sh",
    "zsh": ".zfunc/_mailctl",
    "fish": ".config/fish/completions/mailctl.fish",
}
#: The start-up file of a shell, and the line in it that loads the script; fish needs none.
_START_UP = {
    "bash": (".bashrc", "source ~/.bash_completions/mailctl.sh"),
    "zsh": (".zshrc", "fpath+=~/.zfunc; autoload -Uz compinit; compinit"),
}


def complete_file(incomplete: str) -> list[str]:
    """Complete a file name: the scripts leave that to the shell."""
    return [f"{incomplete}{_FILE}"]


def use_own_scripts(parameters: list[Any]) -> None:
    """Let the options of Typer that show and install completion do so with the scripts of this module."""
    callbacks = {"show_completion": _show, "install_completion": _install}
    for parameter in parameters:
        if parameter.name in callbacks:
            parameter.callback = callbacks[parameter.name]


def _show(ctx: Any, _: Any, value: Any) -> None:
    if value and not ctx.resilient_parsing:
        typer.echo(_SCRIPTS[_shell()], nl=False)
        ctx.exit(ExitCode.DONE)


def _install(ctx: Any, _: Any, value: Any) -> None:
    if value and not ctx.resilient_parsing:
        path = install(_shell(), home=Path.home())
        typer.echo(f"Completion is installed in {path}. It takes effect in the next shell that you start.")
        ctx.exit(ExitCode.DONE)


def install(shell: str, *, home: Path) -> Path:
    """Write the script of a shell below a home folder, and load it in the shell's start-up file.

    Args:
        shell: bash, zsh or fish.
        home: the home folder.

    Returns:
        The path of the script.
    """
    path = home / _PATHS[shell]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_SCRIPTS[shell])
    if shell in _START_UP:
        name, line = _START_UP[shell]
        start_up = home / name
        before = start_up.read_text() if start_up.exists() else ""
        if line not in before.splitlines():
            start_up.write_text(f"{before}\n{line}\n")
    return path


def _shell() -> str:
    """Return the shell that started this process.

    Raises:
        InvalidInput: it is none of those that have a script.
    """
    import shellingham

    try:
        name = str(shellingham.detect_shell()[0])
    except shellingham.ShellDetectionFailure:
        name = Path(os.environ.get("SHELL", "")).name
    if name not in _SCRIPTS:
        raise InvalidInput(
            "Completion", f"is not available for {name or 'this shell'}.", fix="Use bash, zsh or fish."
        )
    return name
