"""A mailbox is named by a URL, and its folders are read without losing a message."""

from __future__ import annotations

import contextlib
import imaplib
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest
from typing_extensions import override

from mailctl.errors import ConfigurationError, LogUnavailable
from mailctl.feedback import imap
from mailctl.feedback.imap import ImapSource, parse_mailbox, quote_folder
from tests.unit.feedback.taking import Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds after which a test gives up waiting.
PATIENCE = 60.0
IDLING, EXISTS = b"+ idling\r\n", b"* 3 EXISTS\r\n"


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


def test_the_names_of_folders_may_contain_what_separates_them() -> None:
    """Escaped as in any URL."""
    box = parse_mailbox("imaps://a@h/INBOX,Old%2C%20new,R%C3%BCck", password="x", tokens=None)
    assert box.folders == ("INBOX", "Old, new", "Rück")


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("INBOX", '"INBOX"'),
        ("Junk mail", '"Junk mail"'),
        ("Rückläufer", '"R&APw-ckl&AOQ-ufer"'),
        ("台北", '"&U,BTFw-"'),
        ("Yes & no", '"Yes &- no"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("a\r\nA1 DELETE INBOX", '"a&AA0ACg-A1 DELETE INBOX"'),
    ],
)
def test_the_name_of_a_folder_is_written_as_imap_wants_it(name: str, quoted: str) -> None:
    """RFC 3501 section 5.1.3 has the example of the Chinese one; no name ends the command."""
    assert quote_folder(name) == quoted


@dataclass
class Connection:
    """What the source uses of a connection: folders and messages of a server, and what it was asked."""

    messages: dict[bytes, bytes | None] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ("IMAP4REV1", "AUTH=PLAIN")
    refuses: str = "nothing"
    asked: list[str] = field(default_factory=list)

    def uid(self, command: str, *arguments: str) -> tuple[str, list[Any]]:
        """Answer a command about messages."""
        self.asked.append(" ".join([command, *arguments[:1]]))
        if f"{command} {arguments[0]}".startswith(self.refuses):
            return "NO", [b"of a@example.com"]
        if command == "SEARCH":
            return "OK", [b" ".join(self.messages) or None]
        if command == "FETCH":
            data = self.messages[arguments[0].encode()]
            return "OK", [None] if data is None else [(b"1 (BODY[]<0>", data), b")"]
        self.messages.pop(arguments[0].encode())
        return "OK", [None]

    def authenticate(self, mechanism: str, answer: Callable[[bytes], bytes]) -> tuple[str, list[Any]]:
        """Sign in with a SASL mechanism."""
        self.asked.append(f"{mechanism} {answer(b'').decode()}")
        return "OK", [None]

    def login(self, user: str, password: str) -> tuple[str, list[Any]]:
        """Sign in with the command for it."""
        self.asked.append(f"LOGIN {user} {password}")
        return "OK", [None]


@pytest.fixture
def source() -> ImapSource:
    """A source whose connection a test replaces."""
    return ImapSource(parse_mailbox("imaps://a@h", password="x", tokens=None), "INBOX")


def take_all(source: ImapSource, connection: Connection, taken: Callable[[bytes], object]) -> bool:
    """Take the unseen messages of a server."""
    return source._take_unseen(cast("imaplib.IMAP4", connection), taken, stopped=threading.Event())


class TestUnseen:
    """Messages that nobody has seen."""

    def test_each_is_taken_and_then_marked(self, source: ImapSource) -> None:
        """In this order: what ends in between comes again."""
        connection, taken = Connection({b"7": b"first", b"9": b"second"}), Taken()
        assert take_all(source, connection, taken)
        assert taken == [(b"first", ""), (b"second", "")]
        assert connection.asked == ["SEARCH UNSEEN", "FETCH 7", "STORE 7", "FETCH 9", "STORE 9"]
        assert not take_all(source, connection, taken)

    def test_one_that_cannot_be_recorded_stays_unseen(self, source: ImapSource) -> None:
        """The delivery log may be down; it is the first one again."""
        connection, taken = Connection({b"7": b"first"}), Taken()
        taken.failures = 1
        with pytest.raises(LogUnavailable):
            take_all(source, connection, taken)
        assert connection.messages == {b"7": b"first"}
        assert take_all(source, connection, taken)

    def test_one_that_is_deleted_meanwhile_is_none(self, source: ImapSource) -> None:
        """Somebody reads the mailbox too; nothing was malformed."""
        connection, taken = Connection({b"7": None, b"9": b"second"}), Taken()
        take_all(source, connection, taken)
        assert taken == [(b"second", "")]
        assert "STORE 7" not in connection.asked

    @pytest.mark.parametrize("refuses", ["FETCH 7", "STORE 7"])
    def test_one_that_the_server_refuses_keeps_back_no_other(
        self, source: ImapSource, refuses: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is left alone for a while, without the words of the server, which may name people."""
        connection, taken = Connection({b"7": b"broken", b"9": b"second"}, refuses=refuses), Taken()
        assert take_all(source, connection, taken)
        assert taken[-1] == (b"second", "")
        assert not take_all(source, connection, taken)
        assert connection.asked.count("FETCH 7") == 1
        assert "imap/INBOX cannot" in caplog.text
        assert "example.com" not in caplog.text

    def test_one_that_ends_the_connection_keeps_back_no_other(self, source: ImapSource) -> None:
        """The next connection begins with those after it."""

        class Ending(Connection):
            """Ends with one message."""

            @override
            def uid(self, command: str, *arguments: str) -> tuple[str, list[Any]]:
                if (command, arguments[0]) == ("FETCH", "7"):
                    raise imaplib.IMAP4.abort
                return super().uid(command, *arguments)

        connection, taken = Ending({b"7": b"broken", b"9": b"second"}), Taken()
        with pytest.raises(imaplib.IMAP4.abort):
            take_all(source, connection, taken)
        assert take_all(source, connection, taken)
        assert taken == [(b"second", "")]

    def test_one_that_ends_the_connection_does_not_end_a_single_look(
        self, source: ImapSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each run of cron would end at the same message; an error that is not due to one does end it."""
        takes, taken = iter([b"7", b"8", b""]), Taken()

        def look(*_: object, **__: object) -> None:
            if not (uid := next(takes)):
                taken(b"second")
                return
            source._set_aside[uid] = 1e9
            raise imaplib.IMAP4.abort

        monkeypatch.setattr(source, "_run", look)
        source.run(taken, stopped=threading.Event(), once=True)
        assert taken == [(b"second", "")]
        takes = iter([b"7"])
        with pytest.raises(imaplib.IMAP4.abort):
            source.run(taken, stopped=threading.Event(), once=True)

    def test_one_that_was_set_aside_is_tried_again(
        self, source: ImapSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The server may have been restarted."""
        monkeypatch.setattr(imap, "_SET_ASIDE_SECONDS", 0.0)
        connection, taken = Connection({b"7": b"first"}, refuses="FETCH 7"), Taken()
        assert not take_all(source, connection, taken)
        connection.refuses = "nothing"
        assert take_all(source, connection, taken)

    def test_what_a_server_says_of_a_refusal_is_not_repeated(self, source: ImapSource) -> None:
        """It may name people."""
        with pytest.raises(imaplib.IMAP4.error) as refused:
            take_all(source, Connection({b"7": b"x"}, refuses="SEARCH"), Taken())
        assert "example.com" not in str(refused.value)

    def test_a_process_that_stops_takes_no_more(self, source: ImapSource) -> None:
        """What is left is unseen."""
        stopped, taken = threading.Event(), Taken()
        stopped.set()
        connection = Connection({b"7": b"x"})
        source._take_unseen(cast("imaplib.IMAP4", connection), taken, stopped=stopped)
        assert (taken, connection.messages) == ([], {b"7": b"x"})


@pytest.mark.parametrize(
    ("capabilities", "said"),
    [(("AUTH=PLAIN",), "PLAIN \0zoë\0päß word"), ((), "LOGIN zoë päß word")],
)
def test_any_password_signs_in(capabilities: tuple[str, ...], said: str) -> None:
    """SASL PLAIN takes UTF-8 and spaces in the name, LOGIN does not."""
    connection = Connection(capabilities=capabilities)
    imap._sign_in_with_password(cast("imaplib.IMAP4", connection), "zoë", "päß word")
    assert connection.asked == [said]


class Server:
    """A server that answers IDLE with what a test gives."""

    def __init__(self, *, answer: bytes, before: bytes = b"") -> None:
        self.answer, self.before = answer, before
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        #: Whether the client has ended the IDLE.
        self.is_done = False

    def _serve(self) -> None:
        with (
            self._listening,
            self._listening.accept()[0] as connection,
            connection.makefile("rb") as lines,
            contextlib.suppress(ConnectionError),  # a client that does not wait for the end of an answer
        ):
            connection.settimeout(PATIENCE)
            connection.sendall(b"* PREAUTH [CAPABILITY IMAP4rev1 IDLE] ready\r\n")
            for line in lines:
                tag, command = line.split()[0], line.split()[-1]
                if command == b"CAPABILITY":
                    reply = b"* CAPABILITY IMAP4rev1 IDLE\r\n" + tag + b" OK done\r\n"
                    connection.sendall(reply + self.before)
                elif command == b"IDLE":
                    connection.sendall(self.answer)
                elif command == b"DONE":
                    self.is_done = True
                    connection.sendall(b"mailctl OK done\r\n")

    def close(self) -> None:
        """Wait until the client has gone."""
        self._thread.join(PATIENCE)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that says what the test is given."""
    found = Server(**request.param)
    yield found
    found.close()


@pytest.mark.parametrize(
    "server",
    [
        {"answer": IDLING + EXISTS},
        {"answer": EXISTS + IDLING},
        {"answer": IDLING, "before": EXISTS},
    ],
    ids=["with the continuation", "before it", "with the answer before"],
    indirect=True,
)
def test_a_message_that_comes_as_the_waiting_begins_ends_it(server: Server) -> None:
    """It lies in the buffer of this process, and no later message may come to wake it."""
    connection = imap._Connection("127.0.0.1", server.port, timeout=PATIENCE)
    stopped = threading.Event()
    waiting = threading.Thread(
        target=imap._wait, args=(connection, stopped), kwargs={"seconds": 10 * PATIENCE}
    )
    waiting.start()
    waiting.join(PATIENCE)
    has_ended = not waiting.is_alive()
    stopped.set()
    waiting.join(PATIENCE)
    connection.shutdown()
    assert has_ended
    assert server.is_done


@pytest.mark.parametrize("server", [{"answer": b"mailctl BAD no\r\n"}], indirect=True)
def test_a_server_that_does_not_wait_is_asked_again_over_a_new_connection(server: Server) -> None:
    """It offers IDLE, and refuses it."""
    connection = imap._Connection("127.0.0.1", server.port, timeout=PATIENCE)
    with pytest.raises(imaplib.IMAP4.abort, match="refused"):
        imap._wait(connection, threading.Event(), seconds=PATIENCE)
    connection.shutdown()


@pytest.mark.parametrize("server", [{"answer": b"x" * 2_000_000}], indirect=True)
def test_a_line_without_an_end_is_not_kept(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fill the memory."""
    monkeypatch.setattr(imap, "_MAX_LINE", 1_000_000)
    connection = imap._Connection("127.0.0.1", server.port, timeout=PATIENCE)
    with pytest.raises(imaplib.IMAP4.error, match="too long"):
        imap._wait(connection, threading.Event(), seconds=PATIENCE)
    connection.shutdown()


@pytest.mark.parametrize(
    "server", [{"answer": b"", "before": b"* 1 FETCH (BODY[] {99999999999}\r\n"}], indirect=True
)
def test_a_literal_beyond_any_message_is_not_read(server: Server) -> None:
    """It would fill the memory; the connection ends."""
    connection = imap._Connection("127.0.0.1", server.port, timeout=PATIENCE)
    with pytest.raises(imaplib.IMAP4.error, match="too long"):
        connection.noop()
    connection.shutdown()


@pytest.mark.parametrize("server", [{"answer": EXISTS * 100_000}], indirect=True)
@pytest.mark.parametrize(("limit", "value"), [("_MAX_ANSWER", 1_000_000), ("_ANSWER_SECONDS", 0.0)])
def test_an_answer_that_does_not_end_is_not_waited_for(
    server: Server, monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    """Each line of it is a good one, and they are kept until it ends."""
    connection = imap._Connection("127.0.0.1", server.port, timeout=PATIENCE)
    monkeypatch.setattr(imap, limit, value)
    with pytest.raises(imaplib.IMAP4.abort, match="does not end"):
        imap._wait(connection, threading.Event(), seconds=PATIENCE)
    connection.shutdown()


def test_the_numbers_of_very_many_messages_are_read() -> None:
    """A mailbox that nobody has read for long has them on one line."""
    client, server = socket.socketpair()
    connection = imap._Connection.__new__(imap._Connection)
    connection.sock = client
    line = b"* SEARCH " + b" ".join(b"%d" % uid for uid in range(200_000)) + b"\r\n"
    sending = threading.Thread(target=server.sendall, args=(line,))
    sending.start()
    assert connection.readline() == line
    sending.join()
    client.close()
    server.close()
