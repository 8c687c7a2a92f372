"""Who acts: the name that events give to an operator."""

from __future__ import annotations

import getpass
import os
import socket

_MAX_LENGTH = 128


def current_actor() -> str:
    """Return the operator who runs this process: MAILCTL_ACTOR, else user@host."""
    given = os.environ.get("MAILCTL_ACTOR", "").strip()
    return (given or f"{_user()}@{socket.gethostname()}")[:_MAX_LENGTH]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in many containers
        return str(os.getuid())
