"""Closes connections whose client does not send or read in time; uvicorn itself waits forever."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import h11
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

#: Seconds in which the next part of a request must arrive: the request line and the headers, then the body. A
#: webhook has a shorter limit for the body, because it answers a late body itself.
_SECONDS: Mapping[Any, float] = {h11.IDLE: 10.0, h11.SEND_BODY: 60.0}
#: Seconds for which a client may leave a response unread.
_UNREAD_SECONDS = 60.0


class DeadlineProtocol(H11Protocol):
    """An HTTP connection with deadlines for the parts of each request.

    On Linux, the connection is also closed if the client does not read its responses.
    """

    #: The part of a request that must arrive next, and its deadline.
    _expected: Any = None
    _deadline: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        _limit_unread(transport)
        self._set_deadline()

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._set_deadline()

    @override
    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: an upgrade is an offer, which a server may ignore (RFC 9110 section 7.8)."""

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        # Part of the next request has been received with this one; the rest may never arrive.
        if self.conn.their_state is h11.SEND_BODY:
            self._set_deadline()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        super().connection_lost(exc)

    def _set_deadline(self) -> None:
        """Start the deadline of the part that must arrive next, unless it is running."""
        if self.conn.their_state is self._expected:
            return
        self._cancel_deadline()
        self._expected = self.conn.their_state
        if (seconds := _SECONDS.get(self._expected)) is not None:
            self._deadline = self.loop.call_later(seconds, self.transport.close)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _limit_unread(transport: asyncio.Transport) -> None:
    """Let the system close a connection whose client has read nothing for a while (RFC 5482)."""
    connection = transport.get_extra_info("socket")
    if hasattr(socket, "TCP_USER_TIMEOUT") and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(_UNREAD_SECONDS * 1000))
