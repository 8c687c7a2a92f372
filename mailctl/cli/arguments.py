"""What commands read besides their options: tokens, template variables, times, ids."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mailctl.cli.terminal.confirm import ask_secret
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mailctl.domain.catalog import Kind


#: What is said where standard input held none.
NO_IDS = "No id was given on standard input; nothing to do."


def read_tokens(kind: Kind, *, from_stdin: bool) -> dict[str, str]:
    """Return the service's own tokens for the links of a kind, never from an argument, which `ps` would show.

    Args:
        from_stdin: read a line for each link, instead of the environment.

    Raises:
        InvalidInput: there are fewer tokens than links.
    """
    names = [link.token for link in kind.links]
    if from_stdin:
        tokens = {name: _read_line(name) for name in names}
    else:
        tokens = {name: os.environ.get(f"MAILCTL_{name.upper()}", "") for name in names}
        if not any(tokens.values()):
            return {}
    for name, token in tokens.items():
        if not token:
            raise InvalidInput(
                name, "is missing.", fix=f"An email of kind {kind.name} takes {', '.join(names)}."
            )
    return tokens


def read_variables(settings: list[str]) -> dict[str, str]:
    """Return template variables given as NAME=VALUE.

    Raises:
        InvalidInput: one is not, or is given twice.
    """
    variables: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise InvalidInput(
                "--set", f"{setting!r} is not NAME=VALUE.", fix="Give one like --set title=Hello."
            )
        if name in variables:
            raise InvalidInput("--set", f"{name!r} is given twice.")
        variables[name] = value
    return variables


def read_input_file(path: Path, *, field: str) -> bytes:
    """Return what is in a file; - is standard input.

    Raises:
        InvalidInput: it cannot be read.
    """
    if str(path) == "-":
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            field, f"{path} cannot be read ({error.strerror}).", fix="Name a CSV or JSON lines file."
        ) from error


def parse_send_time(*, at: str | None, after: str | None) -> datetime | None:
    """Return the time that --at or --in says; None for now.

    Raises:
        InvalidInput: both are given, or one is not a time.
    """
    from mailctl.timefmt import parse_duration, parse_future_time

    now = datetime.now(UTC)
    if at is not None and after is not None:
        raise InvalidInput("--at", "cannot be combined with --in.", fix="Give one of them.")
    if at is not None:
        return parse_future_time(at, field="--at", now=now)
    return now + parse_duration(after, field="--in") if after is not None else None


def _read_line(name: str) -> str:
    if sys.stdin.isatty():
        return ask_secret(name)
    return sys.stdin.readline().strip()


def read_ids(given: Sequence[str]) -> list[str]:
    """Return the ids that were given, each once; `-` stands for those on standard input.

    There they come one a line, or as the JSON lines that `list` and `send` print; blank lines, comments and
    JSON lines about something else than an email are passed over.
    """
    found: list[str] = []
    for each in given:
        found += _ids_in(sys.stdin) if each == "-" else [each.strip()]
    return list(dict.fromkeys(found))


def _ids_in(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        text = line.partition("#")[0].strip()
        if line.lstrip().startswith("{"):
            text = _id_in_json(line.strip())
        if text:
            yield text


def _id_in_json(line: str) -> str:
    try:
        task_id = json.loads(line).get("task_id", "")
    except (ValueError, RecursionError):
        return line  # nobody knows an email of that name, which is then said
    return task_id if isinstance(task_id, str) else line
