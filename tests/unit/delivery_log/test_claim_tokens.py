"""A token is known to its holder alone, and tells the main process which of its processes has it."""

from __future__ import annotations

import os

from mailctl.delivery_log.claim_tokens import (
    PROCESS_MARK_LENGTH,
    begin_worker,
    new_claim_token,
    process_mark,
    worker_mark,
)
from mailctl.delivery_log.storage.tables import emails


def test_tokens_differ_and_begin_with_the_mark_of_their_process() -> None:
    """They fit the column."""
    tokens = {new_claim_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {token[:PROCESS_MARK_LENGTH] for token in tokens} == {process_mark(os.getpid())}
    assert process_mark(os.getpid()).startswith(worker_mark())
    assert {len(token) for token in tokens} == {emails.c.claim.type.length}  # type: ignore[attr-defined]


def test_a_forked_process_has_the_key_of_its_worker() -> None:
    """Another worker, which may have a process of the same id, has another one."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, new_claim_token().encode())
        os._exit(0)
    os.waitpid(child, 0)
    token = os.read(reader, 100).decode()
    assert token.startswith(process_mark(child))
    begin_worker()
    assert not token.startswith(worker_mark())
