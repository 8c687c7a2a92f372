"""Reads the arguments of commands, stdin and files: ids, tokens, variables, times."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mailctl.cli.terminal.confirm import ask_secret
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import TextIO

    from mailctl.domain.catalog import Kind

#: The largest file that is read at once: some millions of rows, and no disk full of them.
MAX_INPUT_BYTES = 256 * 1024 * 1024
_STDIN = "-"
_RANGE = re.compile(r"(?P<sign>[<>]=?|=?)\s*(?P<number>\d{1,6})")
NO_IDS = "There are no ids on stdin; nothing was done."


def read_ids(arguments: Sequence[str]) -> list[str]:
    """Return the given ids without duplicates; `-` stands for the ids on stdin.

    Stdin has one id per line, or the JSON lines that `list` and `send` print. Blank lines, comments and JSON
    objects without a task id are skipped.
    """
    ids: list[str] = []
    for argument in arguments:
        ids += _ids_in(sys.stdin) if argument == _STDIN else [argument.strip()]
    return list(dict.fromkeys(ids))


def check_address(value: str | None, *, name: str) -> str | None:
    """Return an address as it was given; a message about a wrong one quotes it.

    Args:
        value: the address; None if none was given.
        name: the option, or the metavariable of the argument.

    Raises:
        InvalidInput: it is not an email address.
    """
    if value is not None:
        # Slow to import, and most commands take no address.
        from mailctl.domain.address_validation import validate_address

        validate_address(value, field=f"{name} {value!r}")
    return value


def read_tokens(kind: Kind, *, from_stdin: bool) -> dict[str, str]:
    """Return the service's own tokens for the links of a kind by name; nothing if it gives none.

    Tokens are never arguments, which `ps` would show.

    Args:
        kind: the kind of the email.
        from_stdin: whether to read one line per token from stdin instead of the environment.

    Raises:
        InvalidInput: some tokens are missing.
    """
    names = [link.token for link in kind.links]
    if from_stdin:
        tokens = {name: _read_token(name) for name in names}
    else:
        tokens = {name: os.environ.get(f"MAILCTL_{name.upper()}", "") for name in names}
        if not any(tokens.values()):
            return {}
    for name, token in tokens.items():
        if not token:
            raise InvalidInput(
                name, "is missing.", fix=f"An email of kind {kind.name} needs {', '.join(names)}."
            )
    return tokens


def read_variables(assignments: Sequence[str]) -> dict[str, str]:
    """Return template variables that were given as NAME=VALUE.

    Raises:
        InvalidInput: an assignment has another form, or a name is given twice.
    """
    variables: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise InvalidInput(
                "--set", f"{assignment!r} is not NAME=VALUE.", fix="Write it like --set title=Hello."
            )
        if name in variables:
            raise InvalidInput("--set", f"{name!r} is given twice.")
        variables[name] = value
    return variables


def read_input_file(path: Path, *, field: str) -> bytes:
    """Return the content of a file; - stands for stdin.

    Raises:
        InvalidInput: the file cannot be read, or is too large.
    """
    try:
        if str(path) == _STDIN:
            data = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
        else:
            with path.open("rb") as stream:
                data = stream.read(MAX_INPUT_BYTES + 1)
    except OSError as error:
        raise InvalidInput(
            field, f"{path} cannot be read ({error.strerror}).", fix="Give a CSV or JSON lines file."
        ) from error
    if len(data) > MAX_INPUT_BYTES:
        raise InvalidInput(field, f"{path} is larger than {MAX_INPUT_BYTES >> 20} MiB.", fix="Split it.")
    return data


def read_message(path: Path, *, field: str, limit: int) -> bytes:
    """Return the message in a file, cut a little above a limit in octets; - stands for stdin.

    Raises:
        InvalidInput: the file cannot be read, or stdin is a terminal.
    """
    if str(path) == _STDIN:
        if sys.stdin.isatty():
            raise InvalidInput(field, "is missing.", fix="Name a file, or pipe a message into the command.")
        return sys.stdin.buffer.read(limit + 1)
    try:
        with path.open("rb") as stream:
            return stream.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise InvalidInput(field, f"{path} cannot be read ({reason}).", fix="Name a file.") from error


@contextmanager
def open_csv_file(path: Path) -> Iterator[TextIO]:
    """Open a CSV file in UTF-8; - stands for stdin.

    Raises:
        InvalidInput: the file cannot be read.
    """
    if str(path) == _STDIN:
        yield sys.stdin
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield stream
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InvalidInput(str(path), f"cannot be read ({reason}).", fix="Give a CSV file.") from error


def parse_send_time(*, at: str | None, after: str | None) -> datetime | None:
    """Return the time given by --at or --in; None for now.

    Args:
        at: the value of --at, an ISO 8601 time.
        after: the value of --in, a duration.

    Raises:
        InvalidInput: both are given, or a value cannot be parsed.
    """
    from mailctl.timefmt import parse_duration, parse_future_time

    now = datetime.now(UTC)
    if at is not None and after is not None:
        raise InvalidInput("--at", "cannot be combined with --in.", fix="Give one of them.")
    if at is not None:
        return parse_future_time(at, field="--at", now=now)
    return now + parse_duration(after, field="--in") if after is not None else None


def parse_period(
    since: str | None, until: str | None, between: str | None = None
) -> tuple[datetime | None, datetime | None]:
    """Return the beginning and the end of the period that --since, --until or --between give.

    Args:
        since: the value of --since, a time in the past; None for no beginning.
        until: the value of --until; None for no end.
        between: the value of --between, two times with `..` between them; None if it was not given.

    Raises:
        InvalidInput: a time cannot be parsed, the period ends before it begins, or --between is combined with
            the others.
    """
    from mailctl.timefmt import parse_past_time

    now, names = datetime.now(UTC), ("--since", "--until")
    if between is not None:
        if since is not None or until is not None:
            raise InvalidInput("--between", "cannot be combined with --since or --until.", fix="Give one.")
        since, dots, until = between.partition("..")
        if not (since and dots and until):
            raise InvalidInput(
                "--between", f"{between!r} is not two times.", fix="Give them like 10:00..10:30."
            )
        names = ("--between", "--between")
    first, last = (
        parse_past_time(text.strip(), field=name, now=now) if text else None
        for text, name in zip((since, until), names, strict=True)
    )
    if first is not None and last is not None and first > last:
        raise InvalidInput(
            names[1],
            "ends before the period begins.",
            fix="Give the earlier time first; name the dates if it spans midnight.",
        )
    return first, last


def parse_range(text: str, *, field: str) -> tuple[int | None, int | None]:
    """Return the least and the greatest number that a text such as 3, >2 or <=1 allows; None for no limit.

    Raises:
        InvalidInput: the text is not of this form.
    """
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        raise InvalidInput(field, f"{text!r} is not a number.", fix="Give one like 3, '>2' or '<=1'.")
    number = int(found["number"])
    match found["sign"]:
        case ">":
            return number + 1, None
        case ">=":
            return number, None
        case "<":
            return None, number - 1
        case "<=":
            return None, number
        case _:
            return number, number


def split_values(given: Sequence[str] | None) -> list[str]:
    """Return the values of a repeatable option, of which each may be several with commas between them."""
    values = (value.strip() for text in given or () for value in text.split(","))
    return [value for value in dict.fromkeys(values) if value]


def _read_token(name: str) -> str:
    if sys.stdin.isatty():
        return ask_secret(name)
    return sys.stdin.readline().strip()


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
        return line  # reported as an unknown id
    return task_id if isinstance(task_id, str) else line
