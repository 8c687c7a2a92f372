"""Tokens of claims: random, except that the main process of a worker knows which of its processes has one."""

from __future__ import annotations

import os
import secrets
from hashlib import blake2b

#: The parts of a token in bytes: what marks its worker, what marks its process, and what is random.
_MARK_BYTES, _RANDOM_BYTES = 5, 6
#: Characters of a token that mark its worker and its process.
PROCESS_MARK_LENGTH = 4 * _MARK_BYTES
#: The key of the marks. The processes of a pool inherit that of their worker when they are forked, so that no
#: other worker, which may have processes of the same ids on another host, takes them for its own.
_key = secrets.token_bytes(16)


def begin_worker() -> None:
    """Begin a worker, whose pool processes are forked after this call."""
    global _key
    _key = secrets.token_bytes(16)


def new_claim_token() -> str:
    """Return a token that only its holder knows, for claims of this process."""
    return process_mark(os.getpid()) + secrets.token_hex(_RANDOM_BYTES)


def worker_mark() -> str:
    """Return how the tokens of all processes of this worker begin."""
    return _mark("worker")


def process_mark(pid: int) -> str:
    """Return how the tokens of a process begin that has the key of this worker.

    Args:
        pid: the id of the process.
    """
    return worker_mark() + _mark(str(pid))


def _mark(text: str) -> str:
    return blake2b(text.encode(), key=_key, digest_size=_MARK_BYTES).hexdigest()
