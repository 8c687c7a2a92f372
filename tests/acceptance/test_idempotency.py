"""One idempotency key, one email, however many ask at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.terminal import Result, Terminal
    from tests.smtp_server import ScriptedSmtpServer

KEY = ("--idempotency-key", "order-42")


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_sixteen_at_once_send_one_email(
    production: Terminal, smtp_server: ScriptedSmtpServer, database: str, request: pytest.FixtureRequest
) -> None:
    """Each process gets the same task id, and the mail server one message."""
    if database == "postgresql":
        production.set(MAILCTL_DATABASE_URL=request.getfixturevalue("postgres_url"))

    def send(_: int) -> Result:
        return production.run("send", "welcome", "--email", "zoe@example.com", *KEY, "--json")

    with ThreadPoolExecutor(16) as callers:
        results = list(callers.map(send, range(16)))
    assert [result.code for result in results] == [0] * 16, [result.err for result in results]
    assert all(result.out for result in results), results
    assert len({result.data["task_id"] for result in results}) == 1
    assert production.run("worker", "--drain").code == 0
    assert len(smtp_server.messages) == 1


def test_a_key_with_other_content_is_refused(terminal: Terminal) -> None:
    """Exit code 4 and one sentence; the first email stands."""
    first = terminal.send("welcome", "--email", "zoe@example.com", *KEY)
    other = terminal.run("send", "welcome", "--email", "max@example.com", *KEY)
    assert (other.code, other.err.count("\n")) == (4, 1), other
    assert terminal.status(first)["to"] == "zoe@example.com"
