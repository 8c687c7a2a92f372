"""Clients that send their requests slowly, or not at all, over real connections."""

from __future__ import annotations

import asyncio
import socket
from threading import Event
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import h11
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from mailctl.web import request_deadlines
from mailctl.web.request_deadlines import DeadlineProtocol
from tests.web_server import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

#: Longer than any test takes.
NEVER = 600.0
#: Set when nobody takes the endless response any more.
ENDED = Event()


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str | None, int | None]]:
    """The host and port of a server that answers with the length of a body."""
    app = FastAPI()

    @app.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 65_536
                    await asyncio.sleep(0)
            finally:
                ENDED.set()

        return StreamingResponse(chunks())

    with serving(app, http=DeadlineProtocol) as url:
        parts = urlsplit(url)
        yield parts.hostname, parts.port


def set_seconds(monkeypatch: pytest.MonkeyPatch, *, head: float, body: float) -> None:
    """Set the times for connections that are made from now on."""
    monkeypatch.setattr(request_deadlines, "_SECONDS", {h11.IDLE: head, h11.SEND_BODY: body})


HEAD = b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "body", "begin", "more"),
    [(0.2, NEVER, b"", b""), (0.2, NEVER, b"POST /length HT", b"x"), (NEVER, 0.2, HEAD, b"")],
    ids=["nothing", "a head, an octet at a time", "half a body"],
)
def test_a_request_that_does_not_arrive_is_not_waited_for(
    address: tuple[str, int],
    monkeypatch: pytest.MonkeyPatch,
    head: float,
    body: float,
    begin: bytes,
    more: bytes,
) -> None:
    """Whatever the client sends to keep the connection open."""
    set_seconds(monkeypatch, head=head, body=body)
    with socket.create_connection(address, timeout=0.05) as client:
        client.sendall(begin)
        for _ in range(1200):
            try:
                client.sendall(more)
                if not client.recv(1):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("the connection is still open")


def test_a_request_that_arrives_in_time_is_answered(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pieces, and after another one on the same connection, for which the time begins again."""
    set_seconds(monkeypatch, head=NEVER, body=NEVER)
    with socket.create_connection(address, timeout=60) as client:
        for pieces in ((HEAD + b"abcd",), (HEAD[:9], HEAD[9:], b"ab", b"cd")):
            for piece in pieces:
                client.sendall(piece)
                Event().wait(0.02)
            answer = b""
            while not answer.endswith(b"\r\n\r\n4"):
                octets = client.recv(4096)
                assert octets
                answer += octets
            assert answer.startswith(b"HTTP/1.1 200 ")


def test_a_body_that_does_not_follow_its_head_is_not_waited_for_behind_another_request(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing more arrives that could remind the server of it."""
    set_seconds(monkeypatch, head=NEVER, body=0.2)
    with socket.create_connection(address, timeout=60) as client:
        client.sendall(HEAD + b"abcd" + HEAD)
        answers = b""
        while octets := client.recv(4096):
            answers += octets
    assert answers.count(b"HTTP/1.1 200 ") == 1


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system cannot do that")
def test_a_client_that_does_not_read_its_response_is_given_up(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody needs what it would hold."""
    monkeypatch.setattr(request_deadlines, "_UNREAD_SECONDS", 0.5)
    with socket.create_connection(address) as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        assert ENDED.wait(60)
