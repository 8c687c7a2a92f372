"""Every argument and option of every command, found by looking at the commands, with hostile values."""

from __future__ import annotations

import email
import email.policy
import io
import os
import sys
from contextlib import closing
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from mailctl import runtime
from mailctl.cli.context import CliSession
from mailctl.cli.main import app, main
from mailctl.domain.catalog import GENERIC
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.send_service import Recipients, SendService
from mailctl.errors import ExitCode, MailctlError
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.acceptance.every_command import ROWS, Office
from tests.hostile.escapes import CONTROLS, hostile

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What a terminal, a shell, a format string, a parser or a path may obey. No absolute path: some are written.
VALUES = {
    "escapes": hostile("x"),
    "empty": "",
    "blank": "  ",
    "nul": "a\x00b",
    "long": "A" * 100_000,
    "shell": "$(id)`id`;'\"|&<>\\ *?[a]{b,c}~",
    "format": "%s%n%(x)s{0}{x!r}{{7*7}}{%raise%}",
    "markup": "[bold red]x[/] [/x] <b>&amp;</b>",
    "option": "--yes",
    "path": "../" * 40 + "nowhere/file",
    "number": "9" * 400,
    "negative": "-1",
    "nought": "0",
    "not a number": "nan",
    "infinite": "1e999",
    "no UTF-8": "a\udcffb",
    "bidi": "a\u202eb\u2066c",
    "list": ",,;\n,",
    "JSON": '{"a": [' + "[" * 2000,
    "query": "' OR 1=1; DROP TABLE mailctl_emails; --",
    "regex": "(a+)+$" * 20,
    "link": "https://evil.example/\r\nBcc: x@evil.example",
    "address": '"a b"@[127.0.0.1], x@example.com',
    "time": "99999999999999d",
    "database": "sqlite:////etc/passwd?mode=rwc",
}
#: What no output may contain.
SECRETS = {
    "EMAIL_HOST_PASSWORD": "canary-of-the-mail-password",
    "REDIS_PASSWORD": "canary-of-the-redis-password",
    "MAILCTL_SECRET_KEYS_OLD": "canary-of-an-earlier-secret-key-0123456789",
}
#: Every command has these; a few commands stand for all.
COMMON = ("app", "env_file")
WITH_COMMON = ("send welcome", "status", "check-config")
#: They serve until somebody ends them: a file that is not there ends them after they have read their options.
SERVING = {row.command for row in ROWS} - {row.command for row in ROWS if not row.until}
#: It takes no values but the common ones, and sends emails through a worker of its own.
WITHOUT_VALUES = ("demo",)
#: The values of the short form for each option; the long form takes all.
FEW = 1
#: The longest output of one command, in characters: nothing is repeated at any length.
LONGEST_OUTPUT = 20_000


def parameters() -> dict[str, list[Any]]:
    """Return the arguments and options with a value of each command, by its name."""
    found: dict[str, list[Any]] = {}

    def walk(command: Any, words: tuple[str, ...]) -> None:
        if not hasattr(command, "list_commands"):
            taken = [each for each in command.params if not getattr(each, "is_flag", False)]
            found[" ".join(words)] = taken
            return
        with command.make_context("mailctl", [], resilient_parsing=True, obj=CliSession()) as context:
            for name in command.list_commands(context):
                walk(command.get_command(context, name), (*words, name))

    walk(typer.main.get_command(app), ())
    return found


PARAMETERS = parameters()


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """A folder with a delivery log in which there is something of everything."""
    return Office(tmp_path_factory.mktemp("office"))


@pytest.fixture
def ids(office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The ids of the emails in a copy of the log, in the folder where commands run."""
    folder = tmp_path / "a" / "b"
    office.copy_to(folder)
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    return office.ids


def base_of(command: str, ids: dict[str, str]) -> tuple[tuple[str, ...], int]:
    """Return the words with which a command does something, so that values are used, and its exit code."""
    if command in SERVING:
        return (*command.split(), "--env-file", "no-such-file"), ExitCode.USAGE
    [row, *_] = (row for row in ROWS if row.command == command and not row.until)
    return row.words(ids), row.code


def hostile_words(command: str, *, is_long: bool) -> Iterator[tuple[str, ...]]:
    """Yield what to add to a command: each argument and option with some of the values."""
    names = list(VALUES)
    for number, parameter in enumerate(PARAMETERS[command]):
        if parameter.name in COMMON and command not in WITH_COMMON and not is_long:
            continue
        first = number * FEW
        some = names if is_long else ["escapes", *(names[(first + n) % len(names)] for n in range(FEW))]
        for name in dict.fromkeys(some):
            option = parameter.opts[:1] if parameter.param_type_name == "option" else []
            yield (*option, VALUES[name])


@pytest.mark.parametrize("command", sorted(PARAMETERS.keys() - {*WITHOUT_VALUES}))
def test_a_hostile_value_is_used_or_refused_in_one_sentence(
    command: str,
    ids: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With a documented exit code, no traceback, no secret, and nothing that a terminal obeys."""
    base, usual_code = base_of(command, ids)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
        try:
            code = main((*base, *words))
        finally:
            runtime.close()
        return (code, *capsys.readouterr())

    code, _, err = run()
    assert code == usual_code, err
    for words in hostile_words(command, is_long=os.environ.get("MAILCTL_FAULTS") == "long"):
        code, out, err = run(*words)
        shown = [command, *(word[:60] for word in words)]
        assert code in set(ExitCode), shown
        assert "Traceback" not in out + err, (shown, err)
        assert not CONTROLS.findall(out + err), (shown, out, err)
        assert not [name for name, secret in SECRETS.items() if secret[-30:] in out + err], (shown, err)
        assert len(out) + len(err) < LONGEST_OUTPUT, (shown, len(out), len(err))
        assert err.count("error: ") <= 1, (shown, err)
        assert out + err, shown


#: What a shell makes of variables that are not set, alone, in a text or in a list.
EMPTY = ("", " ", ",")
#: What Flower takes.
MAY_BE_EMPTY = ("flower", "arguments")
#: It takes the words of a command, and there is none without a name.
TAKES_WORDS = "help"


def test_no_value_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    """An empty filter would fit all emails, and an empty queue is none: it is refused in one sentence.

    Where an empty text is the default, as of names and reasons, it is taken.
    """
    empties = cycle(EMPTY)
    for command, taken in PARAMETERS.items():
        before: list[str] = []
        for parameter in taken:
            is_argument = parameter.param_type_name == "argument"
            name = parameter.metavar if is_argument else parameter.opts[0]
            words = before if is_argument else [name]
            may_be_empty = parameter.default == "" or (command, parameter.name) == MAY_BE_EMPTY
            if command != TAKES_WORDS and not may_be_empty:
                code = main([*command.split(), *words, next(empties)])
                err = capsys.readouterr().err
                assert code == ExitCode.USAGE, (command, name, err)
                assert err.startswith(f"error: {name} has an empty value. Give one"), (command, err)
                assert err.count("\n") == 1, err
            before += ["x"] if is_argument else []


def test_every_command_takes_part() -> None:
    """A new command or option is found by itself."""
    assert {row.command for row in ROWS} <= PARAMETERS.keys()
    assert sum(map(len, PARAMETERS.values())) > 250


def shown_of(data: bytes) -> str:
    """Return what a mail program shows of a message: its header fields, decoded, and its parts."""
    message = email.message_from_bytes(data, policy=email.policy.default)
    parts = [str(part.get_content()) for part in message.walk() if not part.is_multipart()]
    return "\n".join([*map(str, message.values()), *parts]).replace("\r\n", "\n")


@pytest.mark.parametrize("name", VALUES)
def test_the_test_message_shows_an_operator_nothing_hostile(
    name: str, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused, or `check-config --send-test` sends what no mail program obeys."""
    if "\x00" in VALUES[name] or "\udcff" in VALUES[name]:
        pytest.skip("no environment can hold it")
    for setting in ("PROJECT_NAME", "EMAIL_FROM_NAME"):
        monkeypatch.setenv(setting, VALUES[name])
    code = main(["check-config", "--send-test", "ops@example.com"])
    runtime.close()
    out, err = capsys.readouterr()
    assert code in set(ExitCode)
    assert not CONTROLS.findall(out + err)
    for file in Path(".mailctl", "mail").glob("*.eml"):
        assert not CONTROLS.findall(shown_of(file.read_bytes()))


@pytest.mark.parametrize("name", VALUES)
def test_a_redirected_email_shows_an_operator_nothing_hostile(
    name: str, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its subject and header fields name the recipient that it was for; a hostile value is refused."""
    monkeypatch.setenv("MAILCTL_REDIRECT_TO", "ops@example.com")
    settings, value = Settings.load(), VALUES[name]
    for fields in ({"subject": value}, {"name": value}, {"email": value}, {"title": value}):
        given = {"subject": "Hi", "email": "zoe@example.com", "name": "", "title": "Hi"} | fields
        context: dict[str, Any] = {"title": given["title"]}
        request = EmailRequest(kind=GENERIC, template="message", subject=given["subject"], context=context)
        try:
            with closing(Runtime(settings)) as parts:
                recipients = Recipients(email=given["email"], name=given["name"])
                [envelope] = SendService(parts).preview(request, recipients)
        except MailctlError:
            continue
        assert envelope.recipient == "ops@example.com"
        header = shown_of(envelope.data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        assert not CONTROLS.findall(header)
