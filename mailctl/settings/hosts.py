"""Where a mail server is: at a TCP port of a host, or at a Unix socket, which is written as unix:/PATH."""

from __future__ import annotations

import os
import re

_UNIX = "unix:"
#: Bytes of a path that every system takes as the address of a socket.
_LONGEST_PATH = 103
#: A name, an IPv4 address, or an IPv6 address with or without its zone.
_HOST = re.compile(r"[\w-]+(?:\.[\w-]+)*\.?|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?")


def validate_host(value: str) -> str:
    """Return the name or the address of a host; raise ValueError if it is none."""
    if not _HOST.fullmatch(value):
        raise ValueError(
            "must be the name or the IP address of a host, without scheme, port, path or password"
        )
    return value


def validate_mail_host(value: str) -> str:
    """Return a host or unix:/PATH; raise ValueError if it is neither."""
    path = socket_path(value)
    if path is None:
        return validate_host(value)
    if not path.startswith("/") or not path.isprintable() or len(os.fsencode(path)) > _LONGEST_PATH:
        raise ValueError(f"must be unix: and an absolute path of at most {_LONGEST_PATH} bytes")
    return value


def socket_path(host: str) -> str | None:
    """Return the path of a Unix socket; None for a host."""
    return host.removeprefix(_UNIX) if host.startswith(_UNIX) else None


def server_address(host: str, port: int) -> str:
    """Return what a mail server is called: host:port, or unix:/PATH, which has no port."""
    return f"{host}:{port}" if socket_path(host) is None else host
