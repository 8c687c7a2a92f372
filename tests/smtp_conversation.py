"""One conversation of the scriptable SMTP server, and the actions that a script consists of."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from tests.smtp_server import ScriptedSmtpServer


@dataclass(frozen=True)
class Drop:
    """Close the connection without a reply."""


@dataclass(frozen=True)
class Reset:
    """Reset the connection (TCP RST) without a reply."""


@dataclass(frozen=True)
class Stall:
    """Wait, then reply as usual."""

    seconds: float


@dataclass(frozen=True)
class Reply:
    """Say `text`, which may have several lines; then perhaps close the connection."""

    text: str
    then_drop: bool = False


@dataclass(frozen=True)
class AcceptThenDrop:
    """At the body: take the message, and close the connection without a reply."""


@dataclass
class Context:
    """What a scripted callable knows of the moment."""

    session: int
    stage: str = ""
    line: str = ""
    sender: str = ""
    recipients: list[str] = field(default_factory=list)
    is_encrypted: bool = False
    is_signed_in: bool = False
    #: Messages accepted on this session.
    accepted: int = 0


#: What to do at a stage; a string is a reply, None the usual one.
Action = str | Reply | Drop | Reset | Stall | AcceptThenDrop | None
Script = Mapping[str, Sequence[Action] | Callable[[Context], Action]]


class HungUp(Exception):
    """The script ended the connection."""


class Conversation:
    """One session, from the greeting to the end."""

    def __init__(
        self,
        server: ScriptedSmtpServer,
        context: Context,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.server = server
        self.context = context
        self.reader = reader
        self.writer = writer

    async def run(self) -> None:
        await self.answer("banner", "220 127.0.0.1 ESMTP test")
        while True:
            line = await self.read_line()
            verb, _, argument = line.partition(" ")
            handle = getattr(self, f"on_{verb.lower()}", None)
            if handle is None:
                await self.say("500 5.5.2 unknown command")
            else:
                await handle(argument)

    async def read_line(self) -> str:
        try:
            raw = await asyncio.wait_for(self.reader.readuntil(b"\n"), self.server.idle_timeout)
        except TimeoutError:
            await self.say("421 4.4.2 idle for too long")
            raise HungUp from None
        line = raw.decode("latin-1").rstrip("\r\n")
        self.context.line = line
        self.server.record(self.context.session, "C", line)
        return line

    async def say(self, text: str) -> None:
        for line in text.splitlines():
            self.server.record(self.context.session, "S", line)
        self.writer.write("".join(f"{line}\r\n" for line in text.splitlines()).encode())
        await self.writer.drain()

    async def answer(self, stage: str, usual: str, *, body: bytes | None = None) -> str:
        """Do what the script says, else reply as usual; return the reply."""
        self.context.stage = stage
        action = self.server.next_action(stage, self.context)
        if isinstance(action, Stall):
            await asyncio.sleep(action.seconds)
            self.server.unread_after[stage] = bytes(self.reader._buffer)  # type: ignore[attr-defined]
            action = None
        if isinstance(action, AcceptThenDrop) and body is not None:
            self.server.accept(self.context, body)
        if isinstance(action, Drop | Reset | AcceptThenDrop):
            self.hang_up(with_reset=isinstance(action, Reset))
        text = action.text if isinstance(action, Reply) else action or usual
        if body is not None and text.startswith("250"):
            number = self.server.accept(self.context, body)
            text = text.replace("{number}", str(number))
        await self.say(text)
        if isinstance(action, Reply) and action.then_drop:
            self.hang_up()
        return text

    def hang_up(self, *, with_reset: bool = False) -> NoReturn:
        if with_reset:
            linger = struct.pack("ii", 1, 0)
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.writer.transport.abort()
        raise HungUp

    async def on_ehlo(self, argument: str) -> None:
        server, context = self.server, self.context
        offered = list(server.extensions)
        if server.ssl_context is not None and not context.is_encrypted:
            offered.append("STARTTLS")
        elif server.credentials is not None:
            offered.append("AUTH PLAIN LOGIN XOAUTH2")
        lines = ["127.0.0.1 greets you", *offered]
        usual = "\n".join(f"250-{line}" for line in lines[:-1]) + f"\n250 {lines[-1]}"
        await self.answer("ehlo", usual.lstrip("\n"))

    async def on_helo(self, argument: str) -> None:
        await self.answer("ehlo", "250 127.0.0.1 greets you")

    async def on_lhlo(self, argument: str) -> None:
        await self.answer("lhlo", "500 5.5.2 unknown command")

    async def on_starttls(self, argument: str) -> None:
        if self.server.ssl_context is None or self.context.is_encrypted:
            await self.say("502 5.5.1 not offered")
            return
        reply = await self.answer("starttls", "220 2.0.0 go ahead")
        if reply.startswith("220"):
            await self.writer.start_tls(self.server.ssl_context)
            self.context.is_encrypted = True

    async def on_auth(self, argument: str) -> None:
        mechanism, _, initial = argument.partition(" ")
        if mechanism.upper() == "PLAIN":
            given = _decode(initial or await self.ask("")).split("\0")[1:]
        elif mechanism.upper() == "XOAUTH2":
            found = re.fullmatch(r"user=(.*?)\x01auth=Bearer (.*?)\x01\x01", _decode(initial))
            given = list(found.groups()) if found else []
            if tuple(given) != self.server.credentials:
                await self.ask("eyJzdGF0dXMiOiI0MDAifQ==")
        else:
            name = _decode(initial or await self.ask("VXNlcm5hbWU6"))
            given = [name, _decode(await self.ask("UGFzc3dvcmQ6"))]
        is_right = tuple(given) == self.server.credentials
        reply = await self.answer("auth", "235 2.7.0 welcome" if is_right else "535 5.7.8 wrong credentials")
        self.context.is_signed_in = reply.startswith("235")

    async def ask(self, challenge: str) -> str:
        await self.say(f"334 {challenge}")
        return await self.read_line()

    async def on_mail(self, argument: str) -> None:
        server, context = self.server, self.context
        if (
            server.max_messages_per_session is not None
            and context.accepted >= server.max_messages_per_session
        ):
            await self.say("421 4.7.0 too many messages on this connection")
            raise HungUp
        if server.credentials is not None and not context.is_signed_in:
            await self.say("530 5.7.0 sign in first")
            return
        usual = "503 5.5.1 one message at a time" if context.sender else "250 2.1.0 sender ok"
        if (await self.answer("mail", usual)).startswith("250"):
            context.sender = _path(argument)

    async def on_rcpt(self, argument: str) -> None:
        usual = "250 2.1.5 recipient ok" if self.context.sender else "503 5.5.1 MAIL first"
        if (await self.answer("rcpt", usual)).startswith("25"):
            self.context.recipients.append(_path(argument))

    async def on_data(self, argument: str) -> None:
        usual = "354 go ahead" if self.context.recipients else "503 5.5.1 RCPT first"
        if not (await self.answer("data", usual)).startswith("354"):
            return
        lines: list[bytes] = []
        while (line := await self.reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line.removeprefix(b"."))
        await self.answer("body", "250 2.0.0 queued as {number}", body=b"".join(lines))
        self.forget_transaction()

    async def on_rset(self, argument: str) -> None:
        self.forget_transaction()
        await self.answer("rset", "250 2.0.0 forgotten")

    async def on_noop(self, argument: str) -> None:
        await self.answer("noop", "250 2.0.0 here")

    async def on_quit(self, argument: str) -> None:
        await self.answer("quit", "221 2.0.0 bye")
        raise HungUp

    def forget_transaction(self) -> None:
        self.context.sender = ""
        self.context.recipients = []


def _path(argument: str) -> str:
    found = re.search(r"<([^>]*)>", argument)
    return found[1] if found else ""


def _decode(text: str) -> str:
    with contextlib.suppress(ValueError):
        return base64.b64decode(text).decode()
    return ""
