"""A mail server on this host hands mail with feedback over by LMTP; nothing is lost."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import threading
import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.reports import FeedbackResult
from mailctl.feedback import lmtp as module
from mailctl.feedback.lmtp import LmtpSource
from mailctl.feedback.reading import read_mail
from mailctl.feedback.received_mail import MAX_OCTETS
from tests.servers.process import free_port
from tests.unit.feedback.taking import Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def refused() -> list[tuple[str, FeedbackResult]]:
    """What was refused before it was a message."""
    return []


@pytest.fixture
def lmtp(refused: list[tuple[str, FeedbackResult]]) -> Iterator[tuple[Taken, int]]:
    """A source that listens, with what it took, and its port."""
    taken, stopped, port = Taken(), threading.Event(), free_port()
    thread = _listening(port, taken, stopped, on_refused=lambda *each: refused.append(each))
    yield taken, port
    stopped.set()
    thread.join()


def _listening(
    port: int,
    taken: Taken,
    stopped: threading.Event,
    *,
    on_refused: Callable[[str, FeedbackResult], object] | None = None,
) -> threading.Thread:
    source = LmtpSource(f"127.0.0.1:{port}", on_refused=on_refused)
    thread = threading.Thread(
        target=source.run, args=(taken,), kwargs={"stopped": stopped, "once": False}, daemon=True
    )
    thread.start()
    deadline = time.monotonic() + 60
    while source.port is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return thread


def test_lmtp_takes_a_message_for_each_recipient(lmtp: tuple[Taken, int]) -> None:
    """With its envelope recipient, and without the dots that were added."""
    taken, port = lmtp
    with smtplib.LMTP("127.0.0.1", port) as client:
        client.ehlo()
        for command in ("MAIL FROM:<>", "RCPT TO:<a@example.com>", "RCPT TO:<b@example.com>"):
            assert client.docmd(command)[0] == 250
        assert client.data(b"Subject: x\r\n\r\n.dot\r\n")[0] == 250
        assert client.getreply()[0] == 250
        client.sendmail("", ["c@example.com"], b"Subject: y\r\n\r\n")
    assert [recipient for _, recipient in taken] == ["a@example.com", "b@example.com", "c@example.com"]
    assert taken[0][0] == b"Subject: x\r\n\r\n.dot\r\n"


def test_lmtp_refuses_what_is_too_large_and_has_it_counted(lmtp: tuple[Taken, int]) -> None:
    """Of such a message, what is taken is just enough to see that; the next one is taken whole."""
    taken, port = lmtp
    with smtplib.LMTP("127.0.0.1", port) as client:
        client.ehlo()
        for command in ("MAIL FROM:<>", "RCPT TO:<a@example.com>"):
            assert client.docmd(command)[0] == 250
        assert client.data((b"x" * 59_998 + b"\r\n") * 400)[0] == 552
        client.sendmail("", ["a@example.com"], b"Subject: y\r\n\r\n")
    assert MAX_OCTETS < len(taken[0][0]) <= MAX_OCTETS + 60_000
    assert taken[1] == (b"Subject: y\r\n\r\n", "a@example.com")
    assert read_mail(taken[0][0], bounces=None).rejected is FeedbackResult.OVERSIZED


def test_a_message_of_empty_lines_takes_the_memory_of_its_octets(lmtp: tuple[Taken, int]) -> None:
    """Not that of an object for each line: a message may have ten million."""
    taken, port = lmtp
    message = b"\r\n" * 200_000
    with smtplib.LMTP("127.0.0.1", port) as client:
        client.ehlo()
        for command in ("MAIL FROM:<>", "RCPT TO:<a@example.com>", "DATA"):
            client.docmd(command)
        tracemalloc.start()
        client.send(message + b".\r\n")
        assert client.getreply()[0] == 250
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert taken[0][0] == message
    assert peak < 4 * 1024 * 1024


def test_lmtp_holds_few_sessions_at_a_time(lmtp: tuple[Taken, int]) -> None:
    """Another one is asked to come later, and may when one has ended."""
    _, port = lmtp
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(smtplib.LMTP("127.0.0.1", port)) for _ in range(50)]
        with pytest.raises(smtplib.SMTPConnectError, match="Too many sessions"):
            smtplib.LMTP("127.0.0.1", port)
        clients[0].quit()
        assert _is_let_in(port)


def _is_let_in(port: int) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(smtplib.SMTPConnectError), smtplib.LMTP("127.0.0.1", port):
            return True
    return False


def test_lmtp_listens_on_a_socket_that_a_killed_process_has_left(tmp_path: Path) -> None:
    """And nobody but its user and group may write to it."""
    path = tmp_path / "feedback.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    taken, stopped = Taken(), threading.Event()
    source = LmtpSource(str(path))
    thread = threading.Thread(target=source.run, args=(taken,), kwargs={"stopped": stopped, "once": False})
    thread.start()
    deadline = time.monotonic() + 60
    client = smtplib.LMTP()
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            client.connect(str(path))
            break
    client.sendmail("", ["a@example.com"], b"Subject: x\r\n\r\n")
    client.quit()
    assert path.stat().st_mode & 0o777 == 0o660
    stopped.set()
    thread.join()
    assert taken == [(b"Subject: x\r\n\r\n", "a@example.com")]


def test_lmtp_defers_while_the_log_is_down(lmtp: tuple[Taken, int]) -> None:
    """The mail server keeps the message."""
    taken, port = lmtp
    taken.failures = 1
    with smtplib.LMTP("127.0.0.1", port) as client:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail("", ["a@example.com"], b"Subject: x\r\n\r\n")
        assert refused.value.smtp_code == 451
        client.sendmail("", ["a@example.com"], b"Subject: x\r\n\r\n")
    assert len(taken) == 1


def test_lmtp_stops_although_clients_are_connected() -> None:
    """They are told to try again later: a mail server keeps its connection open for its next message."""
    stopped, port = threading.Event(), free_port()
    thread = _listening(port, Taken(), stopped)
    with smtplib.LMTP("127.0.0.1", port, timeout=60) as client:
        client.ehlo()
        stopped.set()
        assert client.getreply()[0] == 421
        thread.join(60)
        assert not thread.is_alive()


def test_a_long_line_of_a_message_is_taken(lmtp: tuple[Taken, int]) -> None:
    """Its size alone limits a message (RFC 5321 section 4.5.3.1); a line may end like a message."""
    taken, port = lmtp
    data = b"Subject: x\r\n\r\n" + b"<p>" * 100_000 + b".\r\n" + b"y" * 65_535 + b"\r\n.dot\r\n"
    with smtplib.LMTP("127.0.0.1", port) as client:
        client.sendmail("", ["a@example.com"], data)
        client.sendmail("", ["a@example.com"], b"Subject: y\r\n\r\n")
    assert [text for text, _ in taken] == [data, b"Subject: y\r\n\r\n"]


@pytest.mark.parametrize("length", [5_000, 65_536, 65_537, 300_000])
def test_a_long_command_is_refused_and_counted(
    lmtp: tuple[Taken, int], refused: list[tuple[str, FeedbackResult]], length: int
) -> None:
    """RFC 5321 section 4.5.3.1.9; the connection goes on with the next command."""
    taken, port = lmtp
    with smtplib.LMTP("127.0.0.1", port) as client:
        client.ehlo()
        assert client.docmd("NOOP " + "x" * length) == (500, b"5.5.2 Line too long")
        client.sendmail("", ["a@example.com"], b"Subject: y\r\n\r\n")
    assert refused == [("lmtp", FeedbackResult.MALFORMED)]
    assert len(taken) == 1


@pytest.mark.parametrize("is_message", [False, True])
def test_a_client_that_never_ends_a_line_is_told_and_counted(
    lmtp: tuple[Taken, int],
    refused: list[tuple[str, FeedbackResult]],
    monkeypatch: pytest.MonkeyPatch,
    is_message: bool,
) -> None:
    """Its end is not waited for; other clients are served."""
    monkeypatch.setattr(module, "_MAX_READ", 1024 * 1024)
    taken, port = lmtp
    with smtplib.LMTP("127.0.0.1", port, timeout=60) as client:
        client.ehlo()
        for command in ("MAIL FROM:<>", "RCPT TO:<a@example.com>", "DATA")[: 3 if is_message else 0]:
            client.docmd(command)
        client.send(b"x" * (2 * 1024 * 1024))
        assert client.getreply() == (421, b"4.3.0 Too much")
        client.close()
    with smtplib.LMTP("127.0.0.1", port) as client:
        client.sendmail("", ["a@example.com"], b"Subject: y\r\n\r\n")
    assert refused == [("lmtp", FeedbackResult.OVERSIZED)]
    assert len(taken) == 1


def test_a_silent_client_is_told_before_its_connection_ends(
    lmtp: tuple[Taken, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 5321 section 3.8."""
    monkeypatch.setattr(module, "_IDLE_SECONDS", 0.1)
    with smtplib.LMTP("127.0.0.1", lmtp[1], timeout=60) as client:
        assert client.getreply() == (421, b"4.4.2 Too slow")
        client.close()


def test_lmtp_refuses_what_is_out_of_order(lmtp: tuple[Taken, int]) -> None:
    """And goes on."""
    taken, port = lmtp
    with smtplib.LMTP("127.0.0.1", port) as client:
        client.ehlo()
        codes = [
            client.docmd(command)[0]
            for command in ("DATA", "RCPT TO:<a@example.com>", "HELP", "RCPT TO: nothing", "NOOP", "RSET")
        ]
        assert codes == [503, 503, 500, 501, 250, 250]
        client.sendmail("", ["a@example.com"], b"x")
    with contextlib.suppress(smtplib.SMTPException, OSError):
        client.connect("127.0.0.1", port)
        client.send(b"x" * 200_000)
        client.close()
    assert len(taken) == 1


def test_lmtp_deletes_no_file(tmp_path: Path) -> None:
    """A path may be mistyped."""
    path = tmp_path / "precious"
    path.write_text("keep")
    with pytest.raises(OSError, match="in use"):
        LmtpSource(str(path)).run(Taken(), stopped=threading.Event(), once=False)
    assert path.read_text() == "keep"


def test_lmtp_takes_no_socket_from_a_process_that_listens(tmp_path: Path) -> None:
    """Its mail would come to both in turn."""
    path = tmp_path / "feedback.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            LmtpSource(str(path)).run(Taken(), stopped=threading.Event(), once=False)
        assert path.is_socket()
