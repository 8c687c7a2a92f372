"""Serves the dashboard on a port of its own."""

from __future__ import annotations

import errno
import ipaddress
import logging
import signal
import socket
from typing import TYPE_CHECKING

import uvicorn
from typing_extensions import override

from mailctl import runtime
from mailctl.delivery_log.api_keys import NewApiKey, generate_api_key
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.choices import require_choice
from mailctl.errors import InvalidInput, LogMissing, Refused
from mailctl.feedback.listeners import import_listeners
from mailctl.feedback.webhooks import webhooks_from_settings
from mailctl.json_logging import LOG_FORMATS, configure_json_logging, escape_handlers
from mailctl.process.memory_protection import forbid_memory_dumps
from mailctl.web.app import create_app
from mailctl.web.auth import AccessControl
from mailctl.web.feedback import create_feedback_app
from mailctl.web.hosts import names_of_server
from mailctl.web.request_deadlines import DeadlineProtocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from fastapi import FastAPI

    from mailctl.settings import Settings

DEFAULT_HOST = "127.0.0.1"
#: Seconds for the requests that are being answered when the server is stopped.
_STOP_SECONDS = 20


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    on_ready: Callable[[str, NewApiKey | None], None],
    on_missing_log: Callable[[LogMissing], None] | None = None,
    log_format: str = "text",
) -> None:
    """Serve the dashboard until the process receives a signal.

    Args:
        settings: the settings of this process.
        host: the address to listen on.
        port: the port to listen on; 0 chooses a free port.
        on_ready: is called with the URL, and with a key for this process if the log has no valid key.
        on_missing_log: is called if the delivery log does not exist; the pages then report an error until it
            does. None serves only what needs no log.
        log_format: text or json.

    Raises:
        Refused: the address is not a loopback address, and the log has no valid key.
        InvalidInput: the address cannot be bound, or there is no such log format.
        LogUnavailable: the delivery log cannot be read.
    """
    forbid_memory_dumps()
    _configure_logging(log_format)
    runtime.configure(settings, access_mode=AccessMode.UPDATE if on_missing_log else AccessMode.ON_WRITE)
    missing, has_key = _look_for_key()
    process_key = None if has_key else make_process_key(host)
    listener = _listen(host, port)
    if missing is not None and on_missing_log is not None:
        on_missing_log(missing)
    app = create_app(access=AccessControl(process_key=process_key, own_hosts=names_of_server(host)))
    config = make_config(
        app,
        # A client could write any address into X-Forwarded-For, and so evade the limit on invalid keys.
        proxy_headers=False,
    )
    address = f"http://{_url_host(host)}:{listener.getsockname()[1]}/"
    with listener:
        _Server(config, on_ready=lambda: on_ready(address, process_key)).run(sockets=[listener])


def serve_feedback(
    settings: Settings, *, host: str, port: int, on_ready: Callable[[str], None], log_format: str = "text"
) -> None:
    """Serve the webhooks of providers and unsubscribing until the process receives a signal.

    Behind a proxy that ends TLS, `X-Forwarded-Proto` says what came over HTTPS. It is believed of the hosts
    in FORWARDED_ALLOW_IPS; of 127.0.0.1 alone if that is not set.

    Args:
        settings: the settings of this process.
        host: the address to listen on.
        port: the port to listen on; 0 chooses a free port.
        on_ready: is called with the URL.
        log_format: text or json.

    Raises:
        ConfigurationError: MAILCTL_WEBHOOK_SECRETS or the app of the service is not valid, or SECRET_KEY is
            not for production.
        InvalidInput: the address cannot be bound, or there is no such log format.
    """
    forbid_memory_dumps()
    _configure_logging(log_format)
    webhooks_from_settings(settings)
    runtime.configure(settings, access_mode=AccessMode.ON_WRITE)
    # Before anything is served: links for unsubscribing that anybody could forge are refused with the key.
    import_listeners(runtime.current())
    config = make_config(create_feedback_app(), proxy_headers=True)
    with _listen(host, port) as listener:
        address = f"http://{_url_host(host)}:{listener.getsockname()[1]}/"
        _Server(config, on_ready=lambda: on_ready(address)).run(sockets=[listener])


def make_config(app: FastAPI, *, proxy_headers: bool) -> uvicorn.Config:
    """Return the configuration of uvicorn for an application that strangers can reach.

    Slow clients are disconnected, and no request is logged, because links contain tokens.

    Args:
        app: the application.
        proxy_headers: whether the headers of a trusted proxy say where a request comes from.
    """
    return uvicorn.Config(
        app,
        http=DeadlineProtocol,
        # No WebSocket is accepted, and uvicorn would log the query of each attempt.
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        proxy_headers=proxy_headers,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


class _Server(uvicorn.Server):
    """A server that says when it answers requests and handles signals.

    Args:
        config: the configuration.
        on_ready: is called then.
    """

    def __init__(self, config: uvicorn.Config, *, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._on_ready()

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop in order, or at once on the second Ctrl-C; the signal does not end the command."""
        self.force_exit |= self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def serve_previews(
    settings: Settings, *, port: int, on_ready: Callable[[str, NewApiKey | None], None]
) -> None:
    """Serve the previews on the loopback address until the process receives a signal.

    The arguments and errors are those of `serve`.
    """

    def report_previews(url: str, process_key: NewApiKey | None) -> None:
        on_ready(f"{url}previews", process_key)

    serve(settings, host=DEFAULT_HOST, port=port, on_ready=report_previews)


def _configure_logging(log_format: str) -> None:
    require_choice(log_format, LOG_FORMATS, noun="log format")
    if log_format == "json":
        configure_json_logging(logging.INFO)
    else:
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        escape_handlers(logging.getLogger())


def _look_for_key() -> tuple[LogMissing | None, bool]:
    """Return the error if the log does not exist, and whether the log has a valid key."""
    try:
        return None, runtime.current().api_keys.has_valid()
    except LogMissing as missing:
        return missing, False


def make_process_key(host: str) -> NewApiKey:
    """Return a key that is valid in this process only.

    Args:
        host: the address that the dashboard listens on.

    Raises:
        Refused: the dashboard would listen on an address that other hosts can reach.
    """
    if not _is_loopback(host):
        raise Refused(
            f"Other hosts can reach {host}, and there is no key yet.",
            fix="Create one with `mailctl keys create NAME`, or listen on 127.0.0.1.",
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
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise InvalidInput("Port", f"{port} is already in use.", fix="Use another --port.") from None
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(
            "--host", f"{host}:{port} cannot be used ({reason}).", fix="Use another --port or --host."
        ) from None


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
