"""The identity of the operator, as the events of the delivery log record it."""

from __future__ import annotations

import getpass
import os
import socket

_MAX_LENGTH = 128


def current_actor() -> str:
    """Return the name of the operator who runs this process: MAILCTL_ACTOR, or else user@host."""
    given = os.environ.get("MAILCTL_ACTOR", "").strip()
    return (given or f"{_user()}@{socket.gethostname()}")[:_MAX_LENGTH]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # many containers run as a user id without a name
        return str(os.getuid())
