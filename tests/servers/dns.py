"""A small DNS server on a loopback port, which answers from a dictionary, or never."""

from __future__ import annotations

import socket
import threading
from typing import Self

import dns.message
import dns.rcode
import dns.rrset

Records = dict[tuple[str, str], list[str]]


class DnsServer:
    """Answers over UDP; a context manager.

    Args:
        records: the data of each name and type, in the format of zone files.
        is_silent: whether it reads questions and never answers.
    """

    def __init__(self, records: Records | None = None, *, is_silent: bool = False) -> None:
        self.records = records or {}
        self.is_silent = is_silent
        self.questions: list[tuple[str, str]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def address(self) -> str:
        """Its address with the port."""
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self._socket.getsockname())
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            data, client = self._socket.recvfrom(4096)
            if not data:
                return
            if not self.is_silent:
                self._socket.sendto(self._answer(data), client)

    def _answer(self, data: bytes) -> bytes:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text().rstrip(".").lower(), dns.rdatatype.to_text(question.rdtype)
        self.questions.append((name, kind))
        reply = dns.message.make_response(query)
        found = self.records.get((name, kind))
        if found == ["SERVFAIL"]:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif found:
            reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *found))
        elif not any(known == name or known.endswith(f".{name}") for known, _ in self.records):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire()
