"""Accepts connections for servers of tests on asyncio, and closes each of them when it stops.

`asyncio.start_server` loses track of a connection between its acceptance and its first turn: one that comes
while a server stops stays open, until a later test is blamed for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]

#: Connections that may wait to be accepted.
_BACKLOG = 512
#: Turns of the loop in which a transport that was aborted closes.
_TURNS_TO_CLOSE = 5


def abort(transport: asyncio.WriteTransport) -> None:
    """Close a transport at once; one with TLS that has closed has no protocol any more in Python 3.11.2."""
    with contextlib.suppress(AttributeError):
        transport.abort()


class StreamListener:
    """Listens from `open` to `close`, in the running loop.

    Args:
        converse: called with the streams of each connection, in a task of its own.
        ssl_context: for TLS from the start.
        limit: of a line, in bytes.
    """

    def __init__(
        self, converse: Converse, *, ssl_context: ssl.SSLContext | None = None, limit: int = 2**16
    ) -> None:
        self._converse = converse
        self._ssl_context = ssl_context
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._clients: WeakSet[socket.socket] = WeakSet()
        self._transports: WeakSet[asyncio.WriteTransport] = WeakSet()
        self._listener: socket.socket | None = None

    def open(self, address: tuple[str, int] | Path) -> Self:
        """Listen at a host and port, or at the path of a Unix socket."""
        if isinstance(address, tuple):
            self._listener = socket.create_server(address, backlog=_BACKLOG)
        else:
            address.unlink(missing_ok=True)
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(address))
            self._listener.listen(_BACKLOG)
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener, self._accept, self._listener)
        return self

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._listener is not None
        return int(self._listener.getsockname()[1])

    async def close(self) -> None:
        """Stop listening, and hang up on everybody."""
        assert self._listener is not None
        self._loop.remove_reader(self._listener)
        self._listener.close()
        while self._tasks:  # one that has connected just now begins another one
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        # Also those of conversations that ended before, with something left to say.
        for transport in list(self._transports):
            abort(transport)
        for _ in range(_TURNS_TO_CLOSE):
            await asyncio.sleep(0)
        for client in list(self._clients):
            client.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while True:
                client, _ = listener.accept()
                client.setblocking(False)
                if client.family != socket.AF_UNIX:
                    # asyncio does so only for sockets that name their protocol, which accepted ones do not.
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._clients.add(client)
                self._begin(self._connect(client))

    async def _connect(self, client: socket.socket) -> None:
        reader = asyncio.StreamReader(limit=self._limit, loop=self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, self._connected, loop=self._loop)
        with contextlib.suppress(OSError):  # one that does not like the certificate
            await self._loop.connect_accepted_socket(lambda: protocol, client, ssl=self._ssl_context)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._transports.add(writer.transport)
        self._begin(self._converse(reader, writer))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
