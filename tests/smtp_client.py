"""A client for the tests of the pool: messages, settings for the test server, and one event loop a call."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from mailctl.domain.models import Envelope
from mailctl.smtp.pool import SmtpPool
from mailctl.smtp.server import SmtpServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from mailctl.domain.outcomes import Outcome
    from mailctl.smtp.pool_limits import PoolLimits
    from mailctl.smtp.probe import ProbeStep
    from tests.smtp_server import Certificates, ScriptedSmtpServer

T = TypeVar("T")

#: Seconds: longer than any reply takes on a busy machine.
TIMEOUT = 60.0
#: Seconds after which a client gives up where a test wants it to, and for which a server says nothing then.
HASTE = 2.0
STALL = 600.0


def message(name: str = "one", *, body: bytes = b"hello\r\n") -> Envelope:
    message_id = f"<{name}@mail.example.com>"
    return Envelope(
        sender="app@example.com",
        recipient=f"{name}@example.com",
        message_id=message_id,
        data=f"Message-ID: {message_id}\r\nSubject: test\r\n\r\n".encode() + body,
        subject="test",
    )


def plain(server: ScriptedSmtpServer) -> SmtpServer:
    return SmtpServer(
        host="127.0.0.1",
        port=server.port,
        tls="none",
        timeout_seconds=TIMEOUT,
        data_timeout_seconds=TIMEOUT,
        local_hostname="client.example.com",
    )


def hasty(server: SmtpServer) -> SmtpServer:
    """Return the same server for a client that does not wait for long."""
    return replace(server, timeout_seconds=HASTE, data_timeout_seconds=HASTE)


def signed_in(server: ScriptedSmtpServer, certificates: Certificates) -> SmtpServer:
    return replace(
        plain(server),
        tls="starttls",
        username="app",
        password="secret",
        ca_file=certificates.ca_file,
    )


@asynccontextmanager
async def pool_for(server: SmtpServer, limits: PoolLimits | None = None) -> AsyncIterator[SmtpPool]:
    pool = SmtpPool(server, limits=limits)
    try:
        yield pool
    finally:
        await pool.close()


def with_pool(
    server: SmtpServer, scenario: Callable[[SmtpPool], Awaitable[T]], *, limits: PoolLimits | None = None
) -> T:
    async def run() -> T:
        async with pool_for(server, limits) as pool:
            return await scenario(pool)

    return asyncio.run(run())


def send(server: SmtpServer, *messages: Envelope, limits: PoolLimits | None = None) -> list[Outcome]:
    """Send one message after the other."""

    async def scenario(pool: SmtpPool) -> list[Outcome]:
        return [await pool.send(each) for each in messages]

    return with_pool(server, scenario, limits=limits)


def probe(server: SmtpServer) -> list[ProbeStep]:
    return with_pool(server, lambda pool: pool.probe())
