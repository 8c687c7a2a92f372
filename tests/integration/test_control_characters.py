"""What comes from outside controls no terminal: reading commands, on a log and a broker full of escapes."""

from __future__ import annotations

import base64
import io
import json
import logging
import sys
import threading
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from celery import Celery
from rich.text import Text

from mailctl.cli.terminal.output import Output
from mailctl.domain import unicode_safety
from mailctl.errors import Refused
from mailctl.json_logging import EscapingFormatter, JsonFormatter, escape_handlers
from mailctl.views.base import View
from tests.hostile.escapes import CONTROLS, ID, WAITING, hostile, plant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.commands import Mailctl
    from tests.servers import RedisServer


@pytest.fixture
def planted(tmp_path: Path) -> None:
    """A log in which everything that came from outside is hostile."""
    plant(tmp_path)


READING = {
    "list": ("list",),
    "list of a queue": ("list", "--queue", hostile("queue")),
    "list of an error": ("list", "--error", "\x1b[2J"),
    "list of nothing": ("list", "--to", hostile("nobody")),
    "status": ("status", ID),
    "status of several": ("status", ID, WAITING, hostile("id")),
    "why": ("why", ID),
    "why it waits": ("why", WAITING),
    "why, unknown": ("why", hostile("unknown")),
    "show": ("show", ID),
    "top": ("top", "--count", "1"),
    "queue list": ("queue", "list"),
    "queue peek": ("queue", "peek", hostile("queue")),
    "queue peek, nothing": ("queue", "peek", hostile("other")),
    "stats": ("stats",),
    "stats by queue": ("stats", "--by", "queue"),
    "stats by campaign": ("stats", "--by", "campaign"),
    "stats by error": ("stats", "--by", "error"),
    "stats by kind": ("stats", "--by", "kind"),
    "workers": ("workers",),
    "suppress list": ("suppress", "list"),
    "keys list": ("keys", "list"),
    "monitor": ("monitor",),
    "metrics": ("metrics",),
    "health": ("health",),
    "check-config": ("check-config", "--offline"),
    "retry --dry-run": ("retry", ID, WAITING, hostile("id"), "--dry-run"),
    "hold --dry-run": ("hold", "--queue", hostile("queue"), "--dry-run"),
    "campaign resumed": ("send", "email", "--subject", hostile("s"), "--email", "zoe@example.com"),
    "unknown option": ("list", hostile("--option")),
    "unknown command": (hostile("command"),),
    "unknown state": ("list", "--state", hostile("state")),
    "unknown kind": ("preview", hostile("kind")),
    "unknown time": ("list", "--since", hostile("24h")),
    "with the traceback": ("list", "--state", hostile("state"), "-v"),
}


@pytest.mark.parametrize("command", READING)
def test_a_command_prints_no_control_characters(command: str, mailctl: Mailctl, planted: None) -> None:
    """Neither as text nor as JSON, neither to stdout nor to stderr; JSON says all the same what it was."""
    for form in ((), ("--json",)):
        ran = mailctl(*READING[command], *form)
        assert ran.code in range(9), ran.err
        assert "Traceback" not in ran.err or "-v" in READING[command]
        for printed in (ran.out, ran.err):
            assert not CONTROLS.findall(printed), (command, form, printed)
        if form and ran.out and command != "metrics":
            assert all(isinstance(line, dict) for line in ran.lines)


def test_the_escapes_can_be_read(mailctl: Mailctl, planted: None) -> None:
    """An operator sees that there are some, in the place where they are; programs get the value."""
    assert r"queue\x1b]52;c;eHg=\x07" in mailctl("list", "--queue", hostile("queue")).out
    assert r"worker\x1b]52;c;eHg=\x07" in mailctl("status", ID).out
    assert mailctl("status", ID, "--json").lines[0]["campaign"] == hostile("campaign")


def test_messages_of_others_are_read_as_harmlessly(
    mailctl: Mailctl, redis_url: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids, tasks, routing keys and addresses on a broker, and what a worker has stored as a result."""
    monkeypatch.setenv("DEBUG", "False")
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("SECRET_KEY", "a-secret-key-of-more-than-32-characters")
    odd, task_id = hostile("queue"), hostile("id")
    body = [[{"email": hostile("x@example.com")}], {}, {}]
    envelope = {
        "body": base64.b64encode(json.dumps(body).encode()).decode(),
        "headers": {"id": task_id, "task": hostile("task"), "lang": "py"},
        "properties": {"delivery_info": {"routing_key": odd}, "delivery_tag": str(uuid.uuid4())},
        "content-type": "application/json",
        "content-encoding": "utf-8",
    }
    client = redis_server.client()
    for queue in ("celery", odd):
        client.lpush(queue, json.dumps(envelope))
    error = {"exc_type": "Boom", "exc_message": [hostile("result")], "exc_module": "builtins"}
    stored = {"status": "FAILURE", "result": error, "traceback": hostile("traceback"), "task_id": "a-task"}
    client.set("celery-task-meta-a-task", json.dumps(stored))
    client.close()
    for command in (
        ("queue", "list"),
        ("queue", "peek"),
        ("queue", "peek", odd),
        ("status", "a-task"),
        ("why", "a-task"),
        ("status", task_id),
        ("why", task_id),
        ("health",),
        ("check-config",),
    ):
        for form in ((), ("--json",)):
            ran = mailctl(*command, *form)
            assert not CONTROLS.findall(ran.out + ran.err), command
            assert "Traceback" not in ran.err
    assert r"result\x1b]52;" in mailctl("status", "a-task").out


@pytest.fixture
def odd_worker(redis_url: str) -> Iterator[str]:
    """A worker of somebody's with a hostile name, which answers what it is asked with hostile values."""
    name, queue = hostile("worker@host"), {"name": hostile("queue")}
    handlers = {
        "ping": lambda state: {"ok": hostile("pong")},
        "active_queues": lambda state: [queue],
        "stats": lambda state: {"pid": 1, "pool": {"implementation": hostile("pool"), "max-concurrency": 1}},
        "active": lambda state: [],
    }
    is_over = threading.Event()
    with (
        Celery("odd", broker=redis_url, set_as_current=False) as app,
        app.connection_for_read() as connection,
    ):
        node = app.control.mailbox.Node(name, state=None, handlers=handlers, channel=connection.channel())
        consumer = node.listen()

        def answer() -> None:
            while not is_over.is_set():
                with suppress(TimeoutError):
                    connection.drain_events(timeout=0.1)

        thread = threading.Thread(target=answer)
        thread.start()
        yield name
        is_over.set()
        thread.join()
        consumer.cancel()


def test_replies_of_workers_are_as_harmless(
    mailctl: Mailctl, odd_worker: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names, queues and pools."""
    monkeypatch.setenv("DEBUG", "False")
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("SECRET_KEY", "a-secret-key-of-more-than-32-characters")
    for command in (("workers",), ("workers", "ping"), ("workers", "ping", odd_worker), ("check-config",)):
        for form in ((), ("--json",)):
            ran = mailctl(*command, *form)
            assert not CONTROLS.findall(ran.out + ran.err), command
            assert "Traceback" not in ran.err
            assert r"worker@host\x1b]52" in ran.out or form or command == ("check-config",), ran.out


class TextView(View):
    """An object with one text."""

    value: str


class TestSink:
    @pytest.fixture
    def output(self) -> Output:
        """Where results go."""
        return Output()

    def test_every_way_to_print(self, output: Output, capsys: pytest.CaptureFixture[str]) -> None:
        """Lines, prose, tables, fields, states, styled text, notes and errors."""
        text = hostile("x")
        output.line(text)
        output.prose(text, hang=2)
        output.prose(Text(text), hang=2)
        output.state("sent", text)
        output.fields([("name", text)])
        output.table([text, "x"], [[text, "y"]])
        output.lines([Text.assemble((text, "bold"))])
        output.note(text)
        output.error(text, text)
        output.record(TextView(value=text))
        printed = capsys.readouterr()
        assert not CONTROLS.findall(printed.out + printed.err)
        assert r"\x1b]52;c;eHg=\x07" in printed.out

    def test_what_is_drawn_passes_it_too(self, output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
        """A terminal gets our own colours and movements, and none of somebody else's."""
        screen = io.StringIO()
        screen.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stdout", screen)
        monkeypatch.setattr(sys, "stderr", screen)
        monkeypatch.setenv("TERM", "xterm-256color")
        with output.full_screen() as show:
            show(lambda width, height: [Text(hostile("line"), style="bold")])
        with output.live_table(["name"]) as (draw, _):
            draw([[hostile("cell")]])
        with output.spinner(hostile("spinner")) as update:
            update(hostile("spinner"))
        output.state("failed", hostile("reason"))
        drawn = screen.getvalue()
        assert "\x1b[" in drawn
        for foreign in ("\x1b]52", "\x9b6n", "\x1b[5n", "\x1b[2J\x1b[1A", "\x07", "\b", "\u202e", "\x85"):
            assert foreign not in drawn, ascii(foreign)

    def test_raw_data_is_exact_in_a_pipe_and_text_on_a_terminal(
        self, output: Output, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where it is text, it says that it is not exact."""
        output.raw(b"Subject: \x1b[2Jx\xff\r\n\r\nHello\r\n")
        assert capfdbinary.readouterr().out == b"Subject: \x1b[2Jx\xff\r\n\r\nHello\r\n"
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        Output(with_color=False).raw(b"Subject: \x1b[2Jx\xff\r\n\r\nHello\r\n")
        printed = capfdbinary.readouterr()
        assert printed.out == b"Subject: \\x1b[2Jx\\xff\n\nHello\n"
        assert b"for the exact bytes" in printed.err

    def test_a_question_is_as_harmless(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whether somebody is there to answer or not."""
        from mailctl.cli.terminal.confirm import confirm

        stdin = io.StringIO("n\n")
        stdin.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(Refused):
            confirm(f"Hold {hostile('queue')}?", is_confirmed=False)
        printed = capsys.readouterr()
        assert not CONTROLS.findall(printed.out + printed.err)


class TestLogs:
    """Of workers: what a message says of itself stands in lines of Celery's, too."""

    @pytest.fixture
    def written(self) -> Iterator[tuple[logging.Logger, io.StringIO]]:
        """A logger, and what it writes in Celery's form, in colour."""
        from celery.utils.log import ColorFormatter

        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(ColorFormatter("[%(levelname)s] %(message)s", use_color=True))
        log = logging.getLogger(f"test.{uuid.uuid4()}")
        log.addHandler(handler)
        log.propagate = False
        log.setLevel(logging.INFO)
        escape_handlers(log)
        escape_handlers(log)
        assert isinstance(handler.formatter, EscapingFormatter)
        yield log, stream
        log.removeHandler(handler)

    def test_a_value_writes_no_line_of_its_own(self, written: tuple[logging.Logger, io.StringIO]) -> None:
        """Celery's colours stay."""
        log, stream = written
        log.error("Received task: %s[%s]", hostile("name"), "x\n[ERROR] forged")
        line = stream.getvalue()
        assert line.startswith("\x1b[1;31m[ERROR] Received task: name\\x1b]52;c;eHg=\\x07")
        assert line.count("\n") == 1
        assert not CONTROLS.findall(line.removeprefix("\x1b[1;31m").removesuffix("\x1b[0m\n"))

    def test_a_traceback_keeps_its_lines(self, written: tuple[logging.Logger, io.StringIO]) -> None:
        """And loses what it would do to a terminal."""
        log, stream = written
        try:
            raise ValueError(hostile("boom"))
        except ValueError:
            log.info("failed", exc_info=True)
        text = stream.getvalue()
        assert "\n  File " in text
        assert "boom\\x1b]52;" in text
        assert not CONTROLS.findall(text.replace("\t", ""))

    def test_lines_of_our_own_stay(self, written: tuple[logging.Logger, io.StringIO]) -> None:
        """Such as those of a banner; the record itself is left as it was for others."""
        log, stream = written
        log.info("first\nsecond %s", "x\x1b[2J")
        assert stream.getvalue() == "[INFO] first\nsecond x\\x1b[2J\n"

    def test_json_is_as_harmless(self) -> None:
        """Although JSON lets C1 controls stand."""
        record = logging.makeLogRecord({"msg": "task %s", "args": (hostile("name"),), "levelname": "INFO"})
        line = JsonFormatter().format(record)
        assert not CONTROLS.findall(line)
        assert json.loads(line)["message"] == f"task {hostile('name')}"


def test_only_what_is_obeyed_is_escaped() -> None:
    """Letters of all scripts, marks, joiners and emoji stand as they are."""
    for text in ("Zoë", "e\u0301", "نص", "\U0001f469\u200d\U0001f4bb", "a\tb\nc", "\\x1b"):
        assert unicode_safety.escape_controls(text) == text
    assert unicode_safety.escape_controls("\udc80\x00") == r"\udc80\x00"
    assert unicode_safety.escape_controls_as_line("a\tb\nc") == r"a\tb\nc"
