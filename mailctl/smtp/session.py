"""One SMTP session, which sends one message at a time and knows its current stage."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import aiosmtplib

from mailctl.errors import ConfigurationError
from mailctl.settings.hosts import socket_path
from mailctl.smtp.classify import BAD_SEQUENCE_CODE, CLOSING_CODE, classify_reply
from mailctl.smtp.commands import DATA_COMMAND, dot_stuff, mail_command, rcpt_command, with_crlf
from mailctl.smtp.failures import classify_error, wrong_protocol
from mailctl.smtp.protocol import SmtpClient, SmtpProtocol
from mailctl.smtp.reply_masking import mask_password
from mailctl.smtp.sender import no_fence
from mailctl.smtp.server import address_literal, is_full_host_name

if TYPE_CHECKING:
    from mailctl.domain.models import Envelope, Handover
    from mailctl.domain.outcomes import Outcome
    from mailctl.smtp.server import SmtpServer

#: The expected exceptions of a session, which `SmtpSession.explain` turns into outcomes.
SESSION_ERRORS = (aiosmtplib.SMTPException, ConfigurationError, OSError, ValueError)

#: Seconds for RSET and QUIT, whose replies do not matter to the outcome.
RESET_AND_QUIT_SECONDS = 2.0
#: The stages that show whether a server works at all; replies at the others may depend on slow checks.
_LIVENESS_STAGES = frozenset({"connect", "tls", "mail"})
#: Reply codes of servers that do not know EHLO and may accept HELO (RFC 5321 section 4.1.1.1).
_EHLO_UNKNOWN = frozenset({500, 502, 504})
#: Reply codes after which the session cannot be used any more.
_SESSION_ENDING_CODES = frozenset({CLOSING_CODE, BAD_SEQUENCE_CODE})

_OK_CODE = 250
_START_INPUT_CODE = 354
#: Reply codes after which the transaction continues, by stage.
_EXPECTED_CODES = {"mail": {_OK_CODE}, "rcpt": {_OK_CODE, 251, 252}, "data": {_START_INPUT_CODE}}

OpeningStep = Callable[[], Awaitable[None]]
#: Returns the outcome of a refusal; None if the server accepts the command.
TransactionStep = Callable[[], Awaitable["Outcome | None"]]


class SmtpSession:
    """An SMTP session, for one message at a time.

    Args:
        server: the mail server.
        tls_context: returns the TLS context when it is needed.
    """

    def __init__(self, server: SmtpServer, *, tls_context: Callable[[], ssl.SSLContext]) -> None:
        self._server = server
        self._tls_context = tls_context
        self._smtp = SmtpClient(
            timeout=server.timeout_seconds, use_tls=server.tls == "implicit", start_tls=False
        )
        self._transport: asyncio.BaseTransport | None = None
        #: The protocol, once aiosmtplib has opened the session.
        self._protocol: SmtpProtocol | None = None
        #: The current stage, or the last one of a session that has ended.
        self.stage = "connect"
        self.body_handed_over = False
        #: The access token that was used last; "" if none was.
        self._token = ""
        #: The number of transactions on this session, the current one included.
        self.transactions = 0
        self.opened_at = self.used_at = time.monotonic()

    @property
    def is_connected(self) -> bool:
        """Whether the connection is open, as far as the client knows."""
        return self._smtp.is_connected if self._protocol is None else self._protocol.is_usable

    @property
    def has_been_greeted(self) -> bool:
        """Whether the server has accepted the connection and greeted this host (RFC 5321 section 3.1)."""
        return self._transport is not None

    @property
    def awaits_greeting(self) -> bool:
        """Whether the server has accepted the connection, and has not greeted this host."""
        return self._smtp.has_connected and not self.has_been_greeted

    @property
    def helo_name(self) -> str:
        """The name by which this host has introduced itself; "" before it has."""
        return str(self._smtp.local_hostname or "")

    @property
    def extensions(self) -> Collection[str]:
        """The extensions in the last reply to EHLO, in lower case."""
        return self._smtp.esmtp_extensions.keys()

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS object of the connection; None if it is not encrypted."""
        found = self._smtp.get_transport_info("ssl_object")
        return found if isinstance(found, ssl.SSLObject) else None

    def opening_steps(self) -> list[tuple[str, OpeningStep]]:
        """Return the stages that open the session, in order, each with its function."""
        steps: list[tuple[str, OpeningStep]] = [("connect", self._connect)]
        if self._server.tls == "starttls":
            steps.append(("tls", self._start_tls))
        if self._server.username:
            steps.append(("auth", self._authenticate))
        return steps

    def transaction_steps(self, *, sender: str, recipient: str) -> list[tuple[str, TransactionStep]]:
        """Return the stages of a transaction before the body, in order; `reset` ends the transaction."""
        return [
            ("mail", lambda: self._send_command("mail", self._mail_command(sender, size=0))),
            ("rcpt", lambda: self._send_command("rcpt", rcpt_command(recipient))),
        ]

    async def open(self) -> None:
        """Connect, encrypt and authenticate.

        Raises:
            SESSION_ERRORS: a stage failed, which `stage` names.
        """
        cancellations = _cancellations()
        for stage, step in self.opening_steps():
            self.stage = stage
            await step()
            if _cancellations() > cancellations:
                # Before Python 3.12, `asyncio.wait_for`, which aiosmtplib uses, loses a cancellation that
                # comes in the same moment as what it waits for.
                raise asyncio.CancelledError

    async def send(self, envelope: Envelope, *, fence: Callable[[], None] = no_fence) -> Outcome:
        """Send a message with MAIL, RCPT and DATA (RFC 5321 section 3.3).

        The three commands are pipelined if the server offers it (RFC 2920): two round trips instead of four.

        Args:
            envelope: the message.
            fence: as `Sender.send`.

        Returns:
            The outcome.

        Raises:
            SESSION_ERRORS: there was no reply; `explain` returns the outcome.
        """
        self.transactions += 1
        self.body_handed_over = envelope.handover.has_begun = False
        self.stage = "mail"
        protocol = self._ensure_protocol()
        lines = with_crlf(envelope.data)
        token = envelope.bounce_token
        commands = {"mail": self._mail_command(envelope.sender, size=len(lines), envelope_id=token)}
        self.stage = "rcpt"
        rcpt = rcpt_command(envelope.recipient, extensions=self.extensions, notify=envelope.notify)
        commands |= {"rcpt": rcpt, "data": DATA_COMMAND}
        is_pipelined = "pipelining" in self.extensions
        fence()
        if is_pipelined:
            protocol.write(b"".join(commands.values()), commands=len(commands))
        for stage, command in commands.items():
            refusal = await (
                self._read_refusal(stage) if is_pipelined else self._send_command(stage, command)
            )
            if refusal is not None:
                return refusal
            fence()
        return await self._send_body(protocol, dot_stuff(lines), envelope.handover)

    def explain(self, error: BaseException, *, guesses_port: bool = True) -> Outcome:
        """Return the outcome of an exception at the current stage, with a guess about a silent port."""
        if wrong := wrong_protocol(error, stage=self.stage):
            return self._name_settings(wrong)
        if isinstance(error, aiosmtplib.SMTPResponseException):
            return self._classify_reply(error.code, error.message)
        server = self._server
        found = classify_error(
            error,
            stage=self.stage,
            body_handed_over=self.body_handed_over,
            timeout_seconds=self._timeout_seconds,
            implicit_tls=server.tls == "implicit",
            awaits_greeting=self.awaits_greeting,
            guesses_port=guesses_port and server.tls != "implicit",
        )
        return self._name_settings(found)

    def _name_settings(self, outcome: Outcome) -> Outcome:
        """Return an outcome that we have worded ourselves with the names of this server's settings."""
        text = self._server.names.in_text(outcome.reply.text)
        return replace(outcome, reply=replace(outcome.reply, text=text))

    @property
    def _timeout_seconds(self) -> float:
        """Seconds that the current stage may take."""
        server = self._server
        if self.body_handed_over:
            return server.data_timeout_seconds
        shorter = server.connect_timeout_seconds if self.stage in _LIVENESS_STAGES else None
        return server.timeout_seconds if shorter is None else shorter

    def can_be_reused(self, outcome: Outcome) -> bool:
        """Whether the session can send another message after this outcome, once it was reset."""
        code = outcome.reply.code or 0
        # After any other reply than a plain refusal, replies and commands may no longer match.
        return 400 <= code <= 599 and code not in _SESSION_ENDING_CODES and self.is_connected

    async def reset(self) -> bool:
        """End an unfinished transaction with RSET; return whether the session can be reused."""
        try:
            protocol = self._ensure_protocol()
            while protocol.outstanding:
                reply = await protocol.read(within=RESET_AND_QUIT_SECONDS)
                if reply.code == _START_INPUT_CODE:
                    return False  # the server waits for a body
            protocol.write(b"RSET\r\n")
            reply = await protocol.read(within=RESET_AND_QUIT_SECONDS)
        except SESSION_ERRORS:
            return False
        return reply.code == _OK_CODE and self.is_connected

    async def quit(self) -> None:
        """Send QUIT if possible, and close the connection in any case."""
        try:
            with contextlib.suppress(*SESSION_ERRORS):
                if self._protocol is None:
                    await self._smtp.quit(timeout=RESET_AND_QUIT_SECONDS)
                else:
                    self._protocol.write(b"QUIT\r\n")
                    await self._protocol.read(within=RESET_AND_QUIT_SECONDS)
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection at once."""
        transport = self._transport or self._smtp.transport
        self._smtp.close()
        # Without it, a TLS transport waits for the server's close_notify.
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()

    def _require_encryption(self) -> None:
        is_exposed = self._server.tls == "none" and socket_path(self._server.host) is None
        if self._server.username and is_exposed:
            self.stage = "auth"
            raise ConfigurationError(
                "credentials are never sent without TLS",
                fix="Set EMAIL_TLS to starttls or implicit, or remove EMAIL_HOST_USER.",
            )

    async def _connect(self) -> None:
        self._require_encryption()
        server, smtp = self._server, self._smtp
        smtp.tls_context = self._tls_context() if smtp.use_tls else None
        name = server.local_hostname or await asyncio.to_thread(own_host_name)
        path = socket_path(server.host)
        await smtp.connect(
            hostname=server.host if path is None else None,
            port=server.port if path is None else None,
            socket_path=path,
            local_hostname=name,
            timeout=self._timeout_seconds,
        )
        self._transport, smtp.timeout = self._smtp.transport, self._timeout_seconds
        if not server.local_hostname and not is_full_host_name(str(name)):
            # The name of a container says nothing to the server (RFC 5321 section 4.1.4).
            smtp.local_hostname = address_literal(self._smtp.get_transport_info("sockname")) or name
        await self._send_ehlo()

    async def _send_ehlo(self) -> None:
        try:
            await self._smtp.ehlo()
        except aiosmtplib.SMTPHeloError as error:
            if error.code not in _EHLO_UNKNOWN:
                raise
            await self._send_helo()

    async def _send_helo(self) -> None:
        try:
            await self._smtp.helo()
        except aiosmtplib.SMTPHeloError as error:
            if error.code in _EHLO_UNKNOWN and await self._speaks_lmtp():
                raise ConfigurationError(
                    "the server speaks LMTP, not SMTP",
                    fix="Use a server that speaks SMTP and relays email.",
                ) from None
            raise

    async def _speaks_lmtp(self) -> bool:
        reply = await self._smtp.execute_command(b"LHLO", self.helo_name.encode())
        return reply.code == _OK_CODE

    async def _start_tls(self) -> None:
        if not self._smtp.supports_extension("starttls"):
            raise ConfigurationError("the server does not offer STARTTLS")
        self._smtp.timeout = self._timeout_seconds
        await self._smtp.starttls(tls_context=self._tls_context(), timeout=self._timeout_seconds)
        self._transport = self._smtp.transport
        await self._send_ehlo()

    async def _authenticate(self) -> None:
        """Try one mechanism once, because each failure counts towards a lock-out (RFC 4954)."""
        smtp, server = self._smtp, self._server
        smtp.timeout = self._timeout_seconds
        if server.auth == "xoauth2":
            await self._authenticate_by_token()
            return
        mechanisms = {"plain": smtp.auth_plain, "login": smtp.auth_login, "cram-md5": smtp.auth_crammd5}
        allowed = mechanisms if server.auth == "auto" else {server.auth: mechanisms[server.auth]}
        offered = smtp.supported_auth_methods
        sign_in = next((method for name, method in allowed.items() if name in offered), None)
        if sign_in is None:
            names = " and ".join(name.upper() for name in allowed)
            raise ConfigurationError(
                f"the server offers no AUTH mechanism of {names}",
                fix=f"Set EMAIL_AUTH to one that it offers: {', '.join(offered) or 'none'}.",
            )
        await sign_in(server.username, server.password)

    async def _authenticate_by_token(self) -> None:
        """Sign in with an access token; one that has expired is renewed once."""
        tokens = self._server.tokens
        if tokens is None:
            raise ConfigurationError(
                "EMAIL_AUTH=xoauth2 needs an access token",
                fix="Set EMAIL_OAUTH_TOKEN or EMAIL_OAUTH_TOKEN_COMMAND.",
            )
        seconds = self._server.token_seconds
        self._token = await asyncio.to_thread(tokens.token, within=seconds)
        try:
            await self._smtp.auth_xoauth2(self._server.username, self._token)
        except aiosmtplib.SMTPAuthenticationError:
            refused = self._token
            self._token = await asyncio.to_thread(tokens.token, instead_of=refused, within=seconds)
            if self._token == refused:
                raise
            await self._smtp.auth_xoauth2(self._server.username, self._token)

    def _ensure_protocol(self) -> SmtpProtocol:
        if self._protocol is None:
            if not isinstance(self._transport, asyncio.Transport):
                raise aiosmtplib.SMTPServerDisconnected("Connection lost")
            self._protocol = SmtpProtocol(self._transport)
        return self._protocol

    async def _send_command(self, stage: str, command: bytes) -> Outcome | None:
        """Send a command; return the outcome of a refusal, or None if the transaction continues."""
        self.stage = stage
        self._ensure_protocol().write(command)
        return await self._read_refusal(stage)

    async def _read_refusal(self, stage: str) -> Outcome | None:
        self.stage = stage
        reply = await self._ensure_protocol().read(within=self._timeout_seconds)
        return None if reply.code in _EXPECTED_CODES[stage] else self._classify_reply(reply.code, reply.text)

    def _classify_reply(self, code: int, text: str) -> Outcome:
        """Return the outcome of a reply at the current stage; a password that it repeats is masked."""
        server = self._server
        for secret in (server.password, self._token):
            text = mask_password(text, secret, user=server.username, also_plain=self.stage == "auth")
        return classify_reply(code, text, stage=self.stage)

    def _mail_command(self, sender: str, *, size: int, envelope_id: str = "") -> bytes:
        return mail_command(sender, size=size, extensions=self.extensions, envelope_id=envelope_id)

    async def _send_body(self, protocol: SmtpProtocol, body: bytes, handover: Handover) -> Outcome:
        # No await before the flags are set: a cancellation must not come in between.
        protocol.write(body)
        self.body_handed_over = handover.has_begun = True
        self.stage = "body"
        reply = await protocol.read(within=self._server.data_timeout_seconds)
        return self._classify_reply(reply.code, reply.text)


def _cancellations() -> int:
    """Return how often the running task was cancelled."""
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


@cache
def own_host_name() -> str:
    """Return the full name of this host, as far as it has one; it is looked up once."""
    return socket.getfqdn()
