"""Where mail with feedback arrives: a Maildir, LMTP and IMAP; a source that fails stops nothing."""

from __future__ import annotations

import contextlib
import os
import smtplib
import threading
import time
from typing import TYPE_CHECKING

import pytest

from mailctl.errors import ConfigurationError, LogUnavailable
from mailctl.feedback.imap import parse_mailbox
from mailctl.feedback.lmtp import LmtpSource
from mailctl.feedback.maildir import MaildirSource
from mailctl.feedback.watching import require_sources, sources_from_settings
from mailctl.settings import Settings
from tests.servers.process import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOWN = LogUnavailable("The delivery log is down.")


class Taken(list[tuple[bytes, str]]):
    """Takes messages as the ingester does; fails as often as it is told."""

    failures = 0

    def __call__(self, data: bytes, recipient: str = "") -> None:
        """Take a message."""
        if self.failures:
            self.failures -= 1
            raise DOWN
        self.append((data, recipient))


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    """An empty Maildir."""
    for name in ("new", "cur", "tmp"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_new_messages_of_a_maildir_are_taken_once(maildir: Path) -> None:
    """And marked as seen; what is there already, hidden, or leads elsewhere is left alone."""
    (maildir / "new" / "1.a").write_bytes(b"first")
    (maildir / "new" / "2.b:2,").write_bytes(b"second")
    (maildir / "new" / ".hidden").write_bytes(b"no")
    (maildir / "cur" / "0.c:2,S").write_bytes(b"old")
    (maildir / "new" / "3.link").symlink_to("/etc/passwd")
    os.mkfifo(maildir / "new" / "4.pipe")
    taken = Taken()
    for _ in range(2):
        MaildirSource(maildir).run(taken, stopped=threading.Event(), once=True)
    assert [data for data, _ in taken if data] == [b"first", b"second"]
    assert {"1.a:2,S", "2.b:2,S"} <= {path.name for path in (maildir / "cur").iterdir()}


def test_a_message_stays_new_until_it_is_recorded(maildir: Path) -> None:
    """The log may be down."""
    (maildir / "new" / "1.a").write_bytes(b"first")
    taken = Taken()
    taken.failures = 1
    source = MaildirSource(maildir)
    with pytest.raises(LogUnavailable):
        source.run(taken, stopped=threading.Event(), once=True)
    source.run(taken, stopped=threading.Event(), once=True)
    assert taken == [(b"first", "")]


@pytest.fixture
def lmtp() -> Iterator[tuple[Taken, int]]:
    """A source that listens, with what it took, and its port."""
    taken, stopped, port = Taken(), threading.Event(), free_port()
    thread = _listening(port, taken, stopped)
    yield taken, port
    stopped.set()
    thread.join()


def _listening(port: int, taken: Taken, stopped: threading.Event) -> threading.Thread:
    source = LmtpSource(f"127.0.0.1:{port}")
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


def test_lmtp_listens_on_a_socket_that_a_killed_process_has_left(tmp_path: Path) -> None:
    """And nobody but its user and group may write to it."""
    path = tmp_path / "feedback.sock"
    path.touch()
    taken, stopped = Taken(), threading.Event()
    source = LmtpSource(str(path))
    thread = threading.Thread(target=source.run, args=(taken,), kwargs={"stopped": stopped, "once": False})
    thread.start()
    deadline = time.monotonic() + 60
    while not path.is_socket() and time.monotonic() < deadline:
        time.sleep(0.01)
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


@pytest.mark.parametrize(
    "address", ["0.0.0.0:24", "mail.example.com:24", "24", "relative.sock", "127.0.0.1:x"]
)
def test_lmtp_listens_on_this_host_alone(address: str) -> None:
    """Nobody else may hand feedback over without signing in."""
    with pytest.raises(ConfigurationError, match="MAILCTL_FEEDBACK_LMTP"):
        LmtpSource(address)


def test_a_mailbox_is_read_from_its_url() -> None:
    """With several folders, and an address as the name to sign in with."""
    box = parse_mailbox(
        "imaps://bounces%40example.com@mail.example.com/INBOX,Junk", password="x", tokens=None
    )
    assert (box.user, box.host, box.port) == ("bounces@example.com", "mail.example.com", 993)
    assert (box.folders, box.has_implicit_tls) == (("INBOX", "Junk"), True)
    plain = parse_mailbox("imap://a@h:10143", password="x", tokens=None)
    assert (plain.port, plain.folders, plain.has_implicit_tls) == (10143, ("INBOX",), False)
    assert "password" not in repr(plain)


@pytest.mark.parametrize(
    "url", ["imaps://host/INBOX", "imaps://a:secret@host", "pop3://a@host", "x", "imaps://a@h:x"]
)
def test_a_url_that_is_none_of_a_mailbox_is_refused(url: str) -> None:
    """And not repeated: it may hold a password."""
    with pytest.raises(ConfigurationError) as refused:
        parse_mailbox(url, password="x", tokens=None)
    assert "secret" not in str(refused.value)


def test_the_settings_name_the_sources(maildir: Path) -> None:
    """None, or all of them at once."""
    with pytest.raises(ConfigurationError, match="No source"):
        require_sources(Settings())
    with pytest.raises(ConfigurationError, match="password or access tokens"):
        sources_from_settings(Settings(mailctl_feedback_imap="imaps://a@h"))
    found = sources_from_settings(
        Settings(
            mailctl_feedback_maildir=maildir,
            mailctl_feedback_lmtp="127.0.0.1:0",
            mailctl_feedback_imap="imaps://a@h/INBOX,Junk",
            mailctl_feedback_imap_token_command="echo token",  # type: ignore[arg-type]
        )
    )
    assert [source.name for source in found] == ["maildir", "lmtp", "imap/INBOX", "imap/Junk"]


def test_a_folder_that_is_no_maildir_is_refused(tmp_path: Path) -> None:
    """With the name of the setting."""
    with pytest.raises(ConfigurationError, match="MAILCTL_FEEDBACK_MAILDIR"):
        MaildirSource(tmp_path)
