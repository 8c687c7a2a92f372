"""Shell commands to suggest to operators: built from words, and quoted in one place."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    #: The value of an option: True for one without a value; empty values omit the option.
    OptionValue = str | bool | Sequence[str] | None

#: The options of the current command that select the settings, and that suggested commands must repeat.
_shared: ContextVar[tuple[str, ...]] = ContextVar("mailctl_shared_options", default=())


@dataclass(frozen=True)
class ShellCommand:
    """A command line, whose text can be copied into a shell, whatever its words.

    Args:
        words: the program and its arguments.
        environment: names and values of environment variables.
        is_complete: whether the command can be run as it is; otherwise words in capitals must be replaced.
    """

    words: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    is_complete: bool = True

    def with_environment(self, **variables: str) -> ShellCommand:
        """Return the command with environment variables."""
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
    """Return a mailctl command.

    Args:
        name: the words of the command's name, such as "queue", "peek".
        arguments: positional arguments, which are never taken for options.
        is_complete: whether the command can be run as it is.
        options: values by name of the option, with _ for -; a sequence for a repeated option.
    """
    given = _option_words(options)
    needs_separator = any(argument.startswith("-") for argument in arguments)
    rest = [*given, "--", *arguments] if needs_separator else [*arguments, *given]
    return ShellCommand(("mailctl", *_shared.get(), *name, *rest), is_complete=is_complete)


def start_worker_command(queue: str | None = None) -> ShellCommand | None:
    """Return the command that starts a worker; None for a queue that `-Q` cannot name.

    Args:
        queue: the queue that the worker must consume; None for the default queues.
    """
    if queue is None:
        return mailctl_command("worker")
    # Celery splits the names at commas.
    return mailctl_command("worker", Q=queue) if queue and "," not in queue else None


def start_worker_fix(queue: str, *, default_queues: Collection[str]) -> str:
    """Return the fix for a queue that no worker consumes.

    Args:
        queue: the name of the queue.
        default_queues: the queues that a worker consumes without `-Q`; with `-Q` it would consume only one.
    """
    command = start_worker_command(None if queue in default_queues else queue)
    return f"Start one: {command}" if command else "Rename the queue: -Q takes names without commas."


def chmod_command(mode: str, paths: Sequence[Path]) -> ShellCommand:
    """Return the command that changes the permissions of files."""
    names = [str(path) for path in paths]
    needs_separator = any(name.startswith("-") for name in names)
    return ShellCommand(("chmod", mode, *(["--"] if needs_separator else []), *names))


@contextmanager
def sharing_options(**options: OptionValue) -> Iterator[None]:
    """Add options to all mailctl commands that are created during the block."""
    token = _shared.set(_option_words(options))
    try:
        yield
    finally:
        _shared.reset(token)


def shell_quote(word: str) -> str:
    """Return a word quoted for a shell, without characters that a terminal interprets.

    Unprintable characters are escaped in the form $'…' (POSIX 2024; bash, zsh, ksh).
    """
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{''.join(map(_escaped, word))}'"


@lru_cache(maxsize=1024)
def _escaped(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable() and character != "!":
        return character
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogatepass"))


def is_safe_unquoted(word: str) -> bool:
    """Whether a word can be typed or completed in a shell without quotes."""
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
