"""The named mail servers of MAILCTL_SERVERS and MAILCTL_SERVER_<NAME>_*, and which emails go by which."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from mailctl.delivery_log.circuits import Circuits
from mailctl.domain.routing import DEFAULT_SERVER, Route, Routing
from mailctl.domain.send_rates import parse_rate, send_rates_from_settings
from mailctl.errors import ConfigurationError
from mailctl.settings.fields import validate_helo_name
from mailctl.settings.hosts import server_address, socket_path, validate_mail_host
from mailctl.settings.toml_tables import TomlTable, read_toml_file
from mailctl.settings.variable_tables import variable_tables
from mailctl.smtp.oauth import make_token_source
from mailctl.smtp.server import SmtpServer, smtp_server_from_settings
from mailctl.smtp.setting_names import DEFAULT_NAMES, VALUES_BY_SETTING, SettingNames

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Engine

    from mailctl.settings import Settings
    from mailctl.smtp.server import AuthMode, TlsMode

SETTING = "MAILCTL_SERVERS"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_DOMAIN = re.compile(r"(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*")
_CONDITIONS = ("kinds", "queues", "campaigns", "tenants", "domains")
#: Seconds for a connection to a server that others follow: an email must not wait long for one that is gone.
_CONNECT_SECONDS = 3.0
_LONGEST_SECONDS = 86_400.0
_MOST_CONNECTIONS = 64
_SOCKET_FIX = "Set EMAIL_TLS=none: what goes over a Unix socket does not leave this host."
_TLS_PORTS = {"starttls": 587, "implicit": 465, "none": 25}


@dataclass(frozen=True, kw_only=True)
class NamedServer:
    """A mail server with the limits of its own."""

    name: str
    host: str
    port: int
    connections: int
    #: Messages a second that all workers together may send by it; None for no limit.
    rate: float | None = None
    #: Seconds to wait for the reply to a message.
    data_timeout_seconds: float = 600.0
    #: What describes it, for messages; "" for the EMAIL_* settings.
    described_by: str = ""
    #: What messages call its settings.
    names: SettingNames = field(default=DEFAULT_NAMES, compare=False, repr=False)
    #: Builds the rest, which may load code of the service.
    make_server: Callable[[], SmtpServer] = field(repr=False, compare=False)

    @property
    def label(self) -> str:
        """Its label in the log and in messages: its address, after the name unless it is the default."""
        address = server_address(self.host, self.port)
        return address if self.name == DEFAULT_SERVER else f"{self.name} ({address})"

    @property
    def dns_host(self) -> str:
        """The host whose DNS records say what it sends for; a Unix socket leads to this one."""
        return "localhost" if socket_path(self.host) is not None else self.host


@dataclass(frozen=True, kw_only=True)
class MailServers:
    """The mail servers of a process by name, and the routes to them."""

    by_name: Mapping[str, NamedServer]
    routing: Routing

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the servers, the default first."""
        return tuple(server.label for server in self.by_name.values())

    def circuits(self, engine: Engine) -> dict[str, Circuits]:
        """Return the circuits to the servers in a delivery log, by name."""
        has_several = len(self.by_name) > 1
        return {
            name: Circuits(engine, server.label, routes=self.routing.routes_over(name) if has_several else ())
            for name, server in self.by_name.items()
        }

    def smtp_server(self, name: str) -> SmtpServer:
        """Return how to connect to a server."""
        server = self.by_name[name].make_server()
        if server.connect_timeout_seconds is None and self.routing.has_alternative(name):
            seconds = min(_CONNECT_SECONDS, server.timeout_seconds)
            return replace(server, connect_timeout_seconds=seconds)
        return server


def mail_servers_from_settings(settings: Settings) -> MailServers:
    """Return the default mail server, those of MAILCTL_SERVERS and those of MAILCTL_SERVER_<NAME>_*.

    Raises:
        ConfigurationError: the file cannot be read, or something in it or in a variable is wrong.
    """
    if socket_path(settings.email_host) is not None and settings.email_tls != "none":
        raise ConfigurationError(
            f"EMAIL_HOST is a Unix socket, and EMAIL_TLS is {settings.email_tls}.", fix=_SOCKET_FIX
        )
    _require_token_settings(settings)
    default = NamedServer(
        name=DEFAULT_SERVER,
        host=settings.email_host,
        port=settings.email_port,
        connections=settings.mailctl_smtp_connections,
        rate=send_rates_from_settings(settings).default_server,
        data_timeout_seconds=settings.mailctl_smtp_data_timeout_seconds,
        make_server=lambda: smtp_server_from_settings(settings),
    )
    file, given = _file(settings), variable_tables(settings.server_variables)
    in_file = dict(file.table("servers").entries())
    _refuse_twice(in_file, given)
    servers = [default, *(_server(name, table, settings) for name, table in (in_file | given).items())]
    by_name = {server.name: server for server in servers}
    routes = tuple(_route(table, by_name) for table in file.tables("routes"))
    file.finish()
    if given and not in_file and not routes:
        routes = (Route(servers=tuple(by_name)),)  # each is tried when those before it do not work
    _refuse_unused(file, in_file | given, routes)
    return MailServers(by_name=by_name, routing=Routing(routes=routes))


def _require_token_settings(settings: Settings) -> None:
    if settings.email_auth != "xoauth2":
        return
    has_command = bool(settings.email_oauth_token_command.get_secret_value())
    if not settings.email_host_user or bool(settings.email_oauth_token) == has_command:
        raise ConfigurationError(
            "EMAIL_AUTH=xoauth2 needs EMAIL_HOST_USER and either EMAIL_OAUTH_TOKEN or"
            " EMAIL_OAUTH_TOKEN_COMMAND.",
            fix="Set these two, or another EMAIL_AUTH.",
        )


def _file(settings: Settings) -> TomlTable:
    """Return the content of the file of MAILCTL_SERVERS; an empty table without it."""
    if settings.mailctl_servers is None:
        return TomlTable({}, source=SETTING)
    return read_toml_file(settings.mailctl_servers, setting=SETTING, runs_code=lambda text: "oauth" in text)


def _refuse_twice(in_file: Mapping[str, TomlTable], given: Mapping[str, TomlTable]) -> None:
    for name in in_file.keys() & given.keys():
        raise ConfigurationError(
            f"The mail server {name} is described twice: by {in_file[name].title} and by "
            f"{given[name].title}.",
            fix="Describe it in one of the two places, or give one of them another name.",
        )


def _server(name: str, table: TomlTable, settings: Settings) -> NamedServer:
    if name == DEFAULT_SERVER:
        raise table.error("host", "cannot be given: the EMAIL_* settings describe the server `default`")
    if not _NAME.fullmatch(name):
        raise table.error("host", "cannot be used: a name has 1 to 32 letters a-z, digits and hyphens")
    server = _smtp_server(table, settings)
    connections = table.number("connections", 4, least=1, most=_MOST_CONNECTIONS, is_whole=True)
    rate = parse_rate(text) if (text := table.text("rate")) else None
    if text and rate is None:
        raise table.error("rate", "must be a rate such as 100/s, 600/m or 5000/h")
    make_server = _with_sign_in(server, table)
    table.finish()
    return NamedServer(
        name=name,
        host=server.host,
        port=server.port,
        connections=int(connections),
        rate=rate,
        data_timeout_seconds=server.data_timeout_seconds,
        described_by=table.title,
        names=server.names,
        make_server=make_server,
    )


def _smtp_server(table: TomlTable, settings: Settings) -> SmtpServer:
    host = _checked(table, "host", validate_mail_host)
    is_socket = socket_path(host) is not None
    tls = table.choice("tls", tuple(_TLS_PORTS), "none" if is_socket else "starttls")
    if is_socket and tls != "none":
        raise table.error("tls", "must be none for a Unix socket, over which nothing leaves this host")
    seconds = settings.mailctl_smtp_timeout_seconds
    data_seconds = settings.mailctl_smtp_data_timeout_seconds
    return SmtpServer(
        host=host,
        port=int(table.number("port", _TLS_PORTS[tls], least=1, most=65535, is_whole=True)),
        tls=cast("TlsMode", tls),
        username=table.text("user"),
        password=table.secret("password").get_secret_value(),
        ca_file=table.file("ca_file"),
        client_cert=table.file("client_cert"),
        client_key=table.file("client_key"),
        timeout_seconds=table.number("timeout_seconds", seconds, least=0.1, most=_LONGEST_SECONDS),
        data_timeout_seconds=table.number(
            "data_timeout_seconds", data_seconds, least=0.1, most=_LONGEST_SECONDS
        ),
        connect_timeout_seconds=_optional_seconds(table, "connect_seconds"),
        local_hostname=_checked(table, "helo_name", validate_helo_name) or settings.email_helo_name or None,
        names=SettingNames({name: table.name_of(value) for name, value in VALUES_BY_SETTING.items()}),
    )


def _with_sign_in(server: SmtpServer, table: TomlTable) -> Callable[[], SmtpServer]:
    auth = cast("AuthMode", table.choice("auth", ("auto", "plain", "login", "cram-md5", "xoauth2"), "auto"))
    function, command = table.text("oauth_token"), table.secret("oauth_token_command").get_secret_value()
    if auth == "xoauth2" and bool(function) == bool(command):
        raise table.error("auth", "xoauth2 needs either oauth_token or oauth_token_command")
    if auth != "xoauth2" and (function or command):
        raise table.error("auth", "must be xoauth2 to sign in with an access token")
    if auth == "xoauth2" and not server.username:
        raise table.error("user", "is missing; the access token belongs to it")
    if server.password and not server.username:
        raise table.error("user", "is missing; the password belongs to it")
    signed_in = replace(server, auth=auth)
    if auth != "xoauth2":
        return lambda: signed_in
    make_tokens = partial(
        make_token_source,
        function=function,
        command=command,
        function_setting=table.place("oauth_token"),
        command_setting=table.place("oauth_token_command"),
    )
    return lambda: replace(signed_in, tokens=make_tokens())


def _route(table: TomlTable, known: Mapping[str, Any]) -> Route:
    servers = table.names("servers")
    conditions = {name: table.names(name) for name in _CONDITIONS}
    table.finish()
    if not servers:
        raise table.error("servers", "must name at least one server")
    for name in servers:
        if name not in known:
            raise table.error("servers", f"names the unknown server {name!r}; use one of: {', '.join(known)}")
    domains = frozenset(domain.lower().removeprefix("@") for domain in conditions["domains"])
    if not all(_DOMAIN.fullmatch(domain) for domain in domains):
        raise table.error("domains", 'must be domains such as "example.com" or "*.example.com"')
    more = {name: frozenset(conditions[name]) for name in _CONDITIONS if name != "domains"}
    return Route(servers=servers, domains=domains, **more)


def _refuse_unused(file: TomlTable, tables: Mapping[str, TomlTable], routes: tuple[Route, ...]) -> None:
    used = {name for route in routes for name in route.servers}
    for name, table in tables.items():
        if name not in used:
            raise ConfigurationError(
                f"{table.title} is in no route, so no email would use it.",
                fix="Name it in a route of MAILCTL_SERVERS, or remove it.",
            )
    for route in routes[:-1]:
        if not any(getattr(route, condition) for condition in _CONDITIONS):
            raise file.error(
                "routes", "has a route without conditions before other routes, which are then never used"
            )


def _optional_seconds(table: TomlTable, name: str) -> float | None:
    return table.number(name, 0.0, least=0.0, most=_LONGEST_SECONDS) or None


def _checked(table: TomlTable, name: str, check: Callable[[str], str]) -> str:
    try:
        return check(table.text(name))
    except ValueError as error:
        raise table.error(name, str(error)) from None
