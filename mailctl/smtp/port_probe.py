"""Looks at what a port of a host speaks, for an operator whose EMAIL_PORT or EMAIL_TLS is wrong."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

from mailctl.smtp.known_replies import find_protocol

#: Seconds to wait for a connection or a handshake, and for what the server says first.
_CONNECT_SECONDS = 2.0
_GREETING_SECONDS = 1.0
#: Seconds after which it is known whether there is a connection.
LONGEST_LOOK_SECONDS = _CONNECT_SECONDS
_LONGEST_GREETING = 512
_SMTP_GREETING = "220"
#: What an HTTP server answers, and no other.
_HTTP_REQUEST = b"HEAD / HTTP/1.0\r\n\r\n"


@dataclass(frozen=True, kw_only=True)
class PortUse:
    """The protocol that a port speaks, as far as it shows."""

    #: SMTP or another protocol; None if the server did not say.
    protocol: str | None
    #: Whether TLS starts with the connection.
    is_tls_at_once: bool


async def look_at_port(host: str, port: int) -> PortUse | None:
    """Return what a port speaks; None if there is no connection.

    Nothing is authenticated, and no certificate is verified: nothing that is said is used for anything else.

    Args:
        host: the host name or address.
        port: the port number.
    """
    context = _unverified_context()
    # At the same time, because a silent port lets each of them wait.
    greeting, in_tls, http_in_tls, http = await asyncio.gather(
        _greeting(host, port, context=None),
        _greeting(host, port, context=context),
        _http(host, port, context=context),
        _http(host, port, context=None),
        return_exceptions=True,
    )
    for unexpected in (greeting, in_tls, http_in_tls, http):
        if isinstance(unexpected, BaseException) and not isinstance(unexpected, OSError):
            raise unexpected
    if isinstance(greeting, str) and greeting:
        return PortUse(protocol=_protocol_of(greeting), is_tls_at_once=False)
    if isinstance(in_tls, str):
        other = http_in_tls if isinstance(http_in_tls, str) else None
        return PortUse(protocol=_protocol_of(in_tls) or other, is_tls_at_once=True)
    if isinstance(greeting, str):
        return PortUse(protocol=http if isinstance(http, str) else None, is_tls_at_once=False)
    return None


async def _greeting(host: str, port: int, *, context: ssl.SSLContext | None) -> str:
    """Return the first line that the server says by itself; "" if it is silent."""
    return await _say(host, port, b"", context=context)


async def _http(host: str, port: int, *, context: ssl.SSLContext | None) -> str | None:
    return _protocol_of(await _say(host, port, _HTTP_REQUEST, context=context))


async def _say(host: str, port: int, request: bytes, *, context: ssl.SSLContext | None) -> str:
    reader, writer = await asyncio.wait_for(
        asyncio.open_connection(host, port, ssl=context), timeout=_CONNECT_SECONDS
    )
    try:
        writer.write(request)
        said = await asyncio.wait_for(reader.read(_LONGEST_GREETING), timeout=_GREETING_SECONDS)
    except TimeoutError:
        said = b""
    finally:
        writer.transport.abort()
    return said.decode("utf-8", "replace")


def _protocol_of(greeting: str) -> str | None:
    return "SMTP" if greeting[:3] == _SMTP_GREETING else find_protocol(greeting)


def _unverified_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
