"""Servers that only accept connections: one that hangs up, and ones that stand before another server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from typing import Self

from tests.servers.process import PATIENCE
from tests.servers.streams import StreamListener, abort

#: Connections that a client makes at most for one question if it fails fast.
FEW_ATTEMPTS = 2


class _Listener:
    """Listens on a free port; a subclass says what becomes of each client."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._take(client)

    def _take(self, client: socket.socket) -> None:
        raise NotImplementedError


class HangUpServer(_Listener):
    """Takes connections, hangs up at once, and counts how often somebody tried.

    Like a refused connection to a client, except that its attempts can be counted instead of timed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.connections = 0
        self._changed = threading.Condition()

    def wait_for(self, connections: int) -> None:
        """Wait until somebody has tried so many times."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.connections >= connections, PATIENCE)

    def _take(self, client: socket.socket) -> None:
        with self._changed:
            self.connections += 1
            self._changed.notify_all()
        client.close()


class LineServer(_Listener):
    """Says one line when somebody connects, and another one after each line of theirs, then hangs up.

    Args:
        greeting: the first line; "" to be silent.
        answer: the line after theirs; "" for none.
    """

    def __init__(self, greeting: str, *, answer: str = "") -> None:
        super().__init__()
        self._greeting, self._answer = greeting, answer

    def _take(self, client: socket.socket) -> None:
        threading.Thread(target=self._converse, args=[client], daemon=True).start()

    def _converse(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            if self._greeting:
                client.sendall(f"{self._greeting}\r\n".encode())
            while client.recv(4096):
                if self._answer:
                    client.sendall(f"{self._answer}\r\n".encode())
                    return


class Proxy:
    """Passes on what clients and a server on loopback say to each other.

    Args:
        port: the server's.
        context: holds the certificate that clients are shown; None for clear text.
    """

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self._server_port = port
        self._context = context
        self._passes = asyncio.Event()
        self._passes.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._listener.close(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    async def _listen(self) -> None:
        self._listener = StreamListener(self._serve, ssl_context=self._context).open(("127.0.0.1", 0))
        self.port = self._listener.port

    def silence(self) -> None:
        """Keep connections open, accept new ones, and pass on nothing."""
        self._loop.call_soon_threadsafe(self._passes.clear)

    def resume(self) -> None:
        """Pass on what has been held back, and what follows."""
        self._loop.call_soon_threadsafe(self._passes.set)

    def reset(self) -> None:
        """Drop the connections that there are, with what they had not passed on; new ones work."""
        self._loop.call_soon_threadsafe(self._reset)

    def _reset(self) -> None:
        for writer in self._open:
            abort(writer.transport)
        self._passes.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        ends = {writer, upstream_writer}
        self._open |= ends
        try:
            await asyncio.gather(self._pump(reader, upstream_writer), self._pump(upstream_reader, writer))
        finally:
            self._open -= ends
            for end in ends:
                abort(end.transport)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(65536):
                await self._passes.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


class TlsProxy(Proxy):
    """Speaks TLS with clients, and with a server on loopback in clear text.

    Args:
        context: holds the certificate that clients are shown.
        port: the server's.
    """

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        super().__init__(port, context)
