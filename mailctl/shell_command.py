"""Commands that are offered for copying: composed of words, and quoted for a shell in one place."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    #: What an option is given: True for one that takes nothing; those that are empty are left out.
    OptionValue = str | bool | Sequence[str] | None

#: The options of this call that say where the settings come from; a command without them would read others.
_shared: ContextVar[tuple[str, ...]] = ContextVar("mailctl_shared_options", default=())


@dataclass(frozen=True)
class ShellCommand:
    """A command line; as text, it can be copied into a shell whatever its words are.

    Args:
        words: the program and its arguments.
        environment: variables that are set for it, by name.
        is_complete: whether it runs as it stands; else what is in capitals has to be filled in.
    """

    words: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    is_complete: bool = True

    def with_environment(self, **variables: str) -> ShellCommand:
        """Return the same command with variables set for it."""
        return replace(self, environment=tuple(variables.items()))

    def __str__(self) -> str:
        settings = (f"{name}={shell_quote(value)}" for name, value in self.environment)
        return " ".join([*settings, *map(shell_quote, self.words)])


def mailctl_command(
    *name: str,
    arguments: Sequence[str] = (),
    is_complete: bool = True,
    **options: OptionValue,
) -> ShellCommand:
    """Return a command of ours.

    Args:
        name: of the command, such as "queue", "peek".
        arguments: values that stand alone; none of them is taken for an option, whatever it is.
        options: values by the option's name, with _ for -; a sequence for one that is repeated.
    """
    given = _option_words(options)
    is_told_apart = any(argument.startswith("-") for argument in arguments)
    rest = [*given, "--", *arguments] if is_told_apart else [*arguments, *given]
    return ShellCommand(("mailctl", *_shared.get(), *name, *rest), is_complete=is_complete)


def start_worker_command(queue: str | None = None) -> ShellCommand | None:
    """Return the command that starts a worker; None for a queue that `-Q` cannot name.

    Args:
        queue: the one it has to consume; None means the usual ones.
    """
    if queue is None:
        return mailctl_command("worker")
    # Celery takes the names apart at commas.
    return mailctl_command("worker", Q=queue) if queue and "," not in queue else None


def start_worker_fix(queue: str) -> str:
    """Return what to do about a queue that no worker consumes."""
    command = start_worker_command(queue)
    return f"Start one: {command}" if command else "Rename the queue: -Q takes names without commas."


def chmod_command(mode: str, paths: Sequence[Path]) -> ShellCommand:
    """Return the command that changes who may read files."""
    names = [str(path) for path in paths]
    is_told_apart = any(name.startswith("-") for name in names)
    return ShellCommand(("chmod", mode, *(["--"] if is_told_apart else []), *names))


@contextmanager
def sharing_options(**options: OptionValue) -> Iterator[None]:
    """Give all commands that are offered meanwhile these options; see `mailctl`."""
    token = _shared.set(_option_words(options))
    try:
        yield
    finally:
        _shared.reset(token)


def shell_quote(word: str) -> str:
    """Return a word as a shell reads it back, and as nothing that a terminal acts on.

    Characters that cannot be printed are escaped in the form $'…' (POSIX 2024; bash, zsh, ksh).
    """
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{''.join(map(_escaped, word))}'"


def _escaped(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable() and character != "!":
        return character
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogatepass"))


def is_safe_unquoted(word: str) -> bool:
    """Whether a shell takes a word as it is, so that it can be typed, or completed, without quotes."""
    return shell_quote(word) == word and not word.startswith("-")


def _option_words(options: Mapping[str, OptionValue]) -> tuple[str, ...]:
    return tuple(word for name, value in options.items() for word in _option(name, value))


def _option(name: str, given: OptionValue) -> list[str]:
    is_short = len(name) == 1
    option = f"-{name}" if is_short else f"--{name.replace('_', '-')}"
    if isinstance(given, bool):
        return [option] if given else []
    values = [given] if isinstance(given, str) else given or ()
    return [word for value in values if value for word in _with_value(option, value, is_short=is_short)]


def _with_value(option: str, value: str, *, is_short: bool) -> list[str]:
    if value.startswith("-"):
        return [f"{option}{value}" if is_short else f"{option}={value}"]
    return [option, value]
