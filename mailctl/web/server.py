"""Serving the dashboard on a port of its own."""

from __future__ import annotations

import ipaddress
import logging
import socket
from typing import TYPE_CHECKING

import uvicorn

from mailctl import runtime
from mailctl.delivery_log.api_keys import NewApiKey, generate_api_key
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import InvalidInput, LogMissing, Refused
from mailctl.json_logging import LOG_FORMATS, configure_json_logging, escape_handlers
from mailctl.web.app import create_app
from mailctl.web.auth import AccessControl

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.settings import Settings

DEFAULT_HOST = "127.0.0.1"


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    on_ready: Callable[[str, NewApiKey | None], None],
    on_missing_log: Callable[[LogMissing], None] | None = None,
    log_format: str = "text",
) -> None:
    """Serve the dashboard until a signal.

    Args:
        host: the address to listen on.
        port: 0 takes any that is free.
        on_ready: is told the address, and the key of this process alone if the log has no key.
        on_missing_log: is told that there is no delivery log yet: the pages say so until there is one. None
            serves what needs none.
        log_format: text, or json: one object a line.

    Raises:
        Refused: others could reach it, and there is no key.
        InvalidInput: the address cannot be listened on.
        LogUnavailable: the delivery log cannot be read.
    """
    _configure_logging(log_format)
    runtime.configure(settings, access_mode=AccessMode.UPDATE if on_missing_log else AccessMode.OPTIONAL)
    missing, has_key = _look_for_key()
    guest = None if has_key else _make_process_key(host)
    listening = _listen(host, port)
    if missing is not None and on_missing_log is not None:
        on_missing_log(missing)
    app = create_app(access=AccessControl(process_key=guest))
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, lifespan="on")
    bound = listening.getsockname()
    on_ready(f"http://{_url_host(host)}:{bound[1]}/", guest)
    with listening:
        uvicorn.Server(config).run(sockets=[listening])


def serve_previews(
    settings: Settings, *, port: int, on_ready: Callable[[str, NewApiKey | None], None]
) -> None:
    """Serve the previews to this computer until a signal; arguments and errors are those of `serve`."""

    def say(address: str, guest: NewApiKey | None) -> None:
        on_ready(f"{address}previews", guest)

    serve(settings, host=DEFAULT_HOST, port=port, on_ready=say)


def _configure_logging(log_format: str) -> None:
    if log_format not in LOG_FORMATS:
        raise InvalidInput("--log-format", f"{log_format!r} is none.", fix=f"Use {', '.join(LOG_FORMATS)}.")
    if log_format == "json":
        configure_json_logging(logging.INFO)
    else:
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        escape_handlers(logging.getLogger())


def _look_for_key() -> tuple[LogMissing | None, bool]:
    """Return why there is no log to look into, and whether there is a valid key."""
    try:
        return None, runtime.current().api_keys.has_valid()
    except LogMissing as missing:
        return missing, False


def _make_process_key(host: str) -> NewApiKey:
    """Return a key for this process alone, where only this host can ask.

    Raises:
        Refused: others can ask.
    """
    if not _is_loopback(host):
        raise Refused(
            f"{host} can be reached by others, and there is no key yet.",
            fix="Make one with `mailctl keys create NAME`, or listen on 127.0.0.1.",
        )
    return generate_api_key("this process alone")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    try:
        [family, *_] = next(iter(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(
            "--host", f"{host}:{port} cannot be listened on ({reason}).", fix="Take another --port or --host."
        ) from None


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
