"""A mail server that takes everything: Postfix' smtp-sink where it is installed, else a small one of ours."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

_REPLIES = {
    b"DATA": b"354 go ahead\r\n",
    b"QUIT": b"221 bye\r\n",
    b"EHLO": b"250-sink\r\n250 PIPELINING\r\n",
}
_OK = b"250 2.0.0 Ok\r\n"
_END_OF_BODY = b"\r\n.\r\n"


def sink_name() -> str:
    """Return which sink is used."""
    return "smtp-sink" if _smtp_sink() else "asyncio sink"


@contextmanager
def sink(*, delay_seconds: float = 0.0) -> Iterator[int]:
    """Start a sink in a process of its own; yields its port.

    Args:
        delay_seconds: how long each reply takes, as over a network with this round trip; only the small sink
            has it.
    """
    port = free_port()
    postfix = None if delay_seconds else _smtp_sink()
    command = (
        [postfix, "-u", "nobody", f"127.0.0.1:{port}", "512"]
        if postfix
        else [sys.executable, "-m", "tests.benchmarks.sink", str(port), str(delay_seconds)]
    )
    process = subprocess.Popen(command)
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def _smtp_sink() -> str | None:
    return shutil.which("smtp-sink") or shutil.which("smtp-sink", path="/usr/sbin")


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError("the sink does not answer")


class _Conversation(asyncio.Protocol):
    """One session; whatever the client sends together is answered together, after the delay."""

    def __init__(self, delay_seconds: float) -> None:
        self._delay_seconds = delay_seconds
        self._received = b""
        self._is_body = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._reply(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self._received += data
        if replies := b"".join(self._read()):
            self._reply(replies)

    def _read(self) -> Iterator[bytes]:
        """Yield the reply to each command, and to each body, that has come completely."""
        while True:
            end = _END_OF_BODY if self._is_body else b"\r\n"
            part, found, rest = self._received.partition(end)
            if not found:
                return
            self._received = rest
            verb = b"" if self._is_body else part[:4].upper()
            self._is_body = verb == b"DATA"
            yield _REPLIES.get(verb, _OK)

    def _reply(self, replies: bytes) -> None:
        if self._delay_seconds:
            asyncio.get_running_loop().call_later(self._delay_seconds, self._transport.write, replies)
        else:
            self._transport.write(replies)


async def _serve(port: int, delay_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Conversation(delay_seconds), "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
