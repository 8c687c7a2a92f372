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

_REPLIES = {b"DATA": b"354 go ahead\r\n", b"QUIT": b"221 bye\r\n", b"EHLO": b"250 sink\r\n"}


def sink_name() -> str:
    """Return which sink is used."""
    return "smtp-sink" if _smtp_sink() else "asyncio sink"


@contextmanager
def sink() -> Iterator[int]:
    """Start a sink in a process of its own; yields its port."""
    port = free_port()
    postfix = _smtp_sink()
    command = (
        [postfix, "-u", "nobody", f"127.0.0.1:{port}", "512"]
        if postfix
        else [sys.executable, "-m", "tests.benchmarks.sink", str(port)]
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


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 sink\r\n")
    while line := await reader.readline():
        verb = line[:4].upper()
        writer.write(_REPLIES.get(verb, b"250 2.0.0 Ok\r\n"))
        if verb == b"DATA":
            await reader.readuntil(b"\r\n.\r\n")
            writer.write(b"250 2.0.0 Ok\r\n")
    writer.close()


async def _serve(port: int) -> None:
    server = await asyncio.start_server(_converse, "127.0.0.1", port, limit=1 << 22)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
