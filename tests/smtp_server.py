"""A real SMTP server for tests whose every reply can be scripted; it runs in a thread of its own."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
import ssl
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import trustme

from tests.servers.streams import StreamListener, abort
from tests.smtp_conversation import (
    AcceptThenDrop,
    Action,
    Context,
    Conversation,
    Drop,
    HungUp,
    Reply,
    Reset,
    Script,
    Stall,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = [
    "AcceptThenDrop",
    "AcceptedMessage",
    "Action",
    "Certificates",
    "Context",
    "Drop",
    "Reply",
    "Reset",
    "Script",
    "ScriptedSmtpServer",
    "Stall",
    "test_certificates",
]

DEFAULT_EXTENSIONS = ("PIPELINING", "SIZE 10485760", "8BITMIME", "ENHANCEDSTATUSCODES")


@dataclass(frozen=True)
class AcceptedMessage:
    """A message that the server took responsibility for."""

    sender: str
    recipients: tuple[str, ...]
    data: bytes
    message_id: str
    session: int
    #: Unix time.
    at: float

    @property
    def text(self) -> str:
        """The header fields as they were transferred, and each part as a mail program decodes it."""
        message = email.message_from_bytes(self.data, policy=email.policy.default)
        parts = [str(part.get_content()) for part in message.walk() if not part.is_multipart()]
        header, _, _ = self.data.partition(b"\r\n\r\n")
        return "\n".join([header.decode(errors="replace"), *parts])


class ScriptedSmtpServer:
    """A server on 127.0.0.1; a context manager, and `start`/`stop` again on the same port.

    Args:
        script: by stage (banner, ehlo, lhlo, starttls, auth, mail, rcpt, data, body, rset, noop, quit) the
            actions, one for each time the stage is reached, then the usual reply; or a callable that decides.
        ssl_context: for STARTTLS, or with `implicit` for TLS from the start.
        credentials: user name and password, which are then required before MAIL.
        idle_timeout: seconds of silence after which the server says 421 and closes.
        max_messages_per_session: beyond it, MAIL is answered with 421.
        extensions: what EHLO offers besides STARTTLS and AUTH.
        port: 0 for any.
        path: of a Unix socket, instead of the port.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
        implicit: bool = False,
        credentials: tuple[str, str] | None = None,
        idle_timeout: float | None = None,
        max_messages_per_session: int | None = None,
        extensions: Sequence[str] = DEFAULT_EXTENSIONS,
        port: int = 0,
        path: Path | None = None,
    ) -> None:
        self.script = {stage: a if callable(a) else list(a) for stage, a in (script or {}).items()}
        self.ssl_context = ssl_context
        self.implicit = implicit
        self.credentials = credentials
        self.idle_timeout = idle_timeout
        self.max_messages_per_session = max_messages_per_session
        self.extensions = list(extensions)
        self.port = port
        self.path = path
        self.messages: list[AcceptedMessage] = []
        #: Sessions that were ever opened, and those that are open.
        self.sessions = 0
        self.open_sessions = 0
        self.peak_sessions = 0
        #: (session, "C" or "S", line); False keeps none, for many messages.
        self.keeps_log = True
        self.log: list[tuple[int, str, str]] = []
        #: What the client had sent beyond the command by the end of a stall, by stage.
        self.unread_after: dict[str, bytes] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; the port stays the same over `stop` and `start`."""
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        if not ready.wait(10):
            raise RuntimeError("the SMTP server did not start")

    def stop(self) -> None:
        """Hang up on everybody and stop listening."""
        if self._thread is None or self._loop is None or self._stopping is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)
        self._thread = self._loop = self._stopping = None

    def wait_for(self, count: int, timeout: float = 30.0) -> list[AcceptedMessage]:
        """Wait until at least `count` messages were accepted, and return them."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.messages) >= count, timeout):
                raise TimeoutError(f"{len(self.messages)} of {count} messages after {timeout} s")
            return list(self.messages)

    def wait_for_line(self, pattern: str, timeout: float = 30.0) -> str:
        """Wait until a client's line matches the regular expression `pattern`, and return the line."""

        def find() -> str | None:
            lines = (line for _, direction, line in self.log if direction == "C")
            return next((line for line in lines if re.match(pattern, line, re.IGNORECASE)), None)

        with self._changed:
            found = self._changed.wait_for(find, timeout)
        if found is None:
            raise TimeoutError(f"no line like {pattern!r} after {timeout} s")
        return found

    def wait_until_all_hung_up(self, timeout: float = 30.0) -> None:
        """Wait until no session is open."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self.open_sessions, timeout):
                raise TimeoutError(f"{self.open_sessions} sessions are open after {timeout} s")

    def by_message_id(self) -> dict[str, list[AcceptedMessage]]:
        """Return the accepted messages by their Message-ID, so that duplicates show."""
        found = defaultdict(list)
        for message in list(self.messages):
            found[message.message_id].append(message)
        return dict(found)

    def next_action(self, stage: str, context: Context) -> Action:
        """Take the next scripted action for a stage."""
        actions = self.script.get(stage)
        if callable(actions):
            return actions(context)
        return actions.pop(0) if actions else None

    def record(self, session: int, direction: str, line: str) -> None:
        """Write a line into the log."""
        if not self.keeps_log:
            return
        with self._changed:
            self.log.append((session, direction, line))
            self._changed.notify_all()

    def accept(self, context: Context, data: bytes) -> int:
        """Keep a message; return its number."""
        header = data.split(b"\r\n\r\n", 1)[0]
        found = re.search(rb"(?im)^message-id:\s*(\S+)", header)
        message_id = found[1].decode("ascii", "replace") if found else ""
        message = AcceptedMessage(
            sender=context.sender,
            recipients=tuple(context.recipients),
            data=data,
            message_id=message_id,
            session=context.session,
            at=time.time(),
        )
        with self._changed:
            self.messages.append(message)
            context.accepted += 1
            self._changed.notify_all()
            return len(self.messages)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_ignore_lost_connections)
        self._stopping = asyncio.Event()
        tls = self.ssl_context if self.implicit else None
        listener = StreamListener(self._converse, ssl_context=tls, limit=2**25)
        listener.open(self.path or ("127.0.0.1", self.port))
        if self.path is None:
            self.port = listener.port
        ready.set()
        await self._stopping.wait()
        await listener.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sessions += 1
        self.open_sessions += 1
        self.peak_sessions = max(self.peak_sessions, self.open_sessions)
        try:
            await Conversation(self, Context(self.sessions, is_encrypted=self.implicit), reader, writer).run()
        except (HungUp, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            if self._is_stopping:
                abort(writer.transport)
            else:
                writer.close()
            with self._changed:
                self.open_sessions -= 1
                self._changed.notify_all()

    @property
    def _is_stopping(self) -> bool:
        return self._stopping is None or self._stopping.is_set()


@dataclass(frozen=True)
class Certificates:
    """What a TLS server and its clients need."""

    server: ssl.SSLContext
    ca_file: Path


def test_certificates(folder: Path, *, host: str = "127.0.0.1") -> Certificates:  # noqa: PT028 - not a test
    """Make an authority, and a certificate for `host` from it; the authority's goes to `folder`/ca.pem."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    return Certificates(server=context, ca_file=ca_file)


test_certificates.__test__ = False  # type: ignore[attr-defined] # imported by tests, but not one


def _ignore_lost_connections(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Clients that hang up or do not like the certificate are part of the tests."""
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)
