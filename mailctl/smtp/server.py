"""The mail server, as the settings describe it: where it is, and how its connections are encrypted."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mailctl.errors import ConfigurationError
from mailctl.settings.hosts import server_address
from mailctl.smtp.oauth import TOKEN_SECONDS, token_source_from_settings
from mailctl.smtp.setting_names import DEFAULT_NAMES, SettingNames

if TYPE_CHECKING:
    from pathlib import Path

    from mailctl.settings import Settings
    from mailctl.smtp.oauth import TokenSource

_NO_KEY = "it needs a certificate, and a key without a password"

TlsMode = Literal["starttls", "implicit", "none"]
AuthMode = Literal["auto", "plain", "login", "cram-md5", "xoauth2"]


@dataclass(frozen=True, kw_only=True)
class SmtpServer:
    """The address of the mail server, and how to connect to it."""

    #: A host, or unix:/PATH, which has no port.
    host: str
    port: int
    #: Neither `starttls` nor `implicit` falls back to clear text.
    tls: TlsMode = "starttls"
    #: "" for a server that requires no authentication.
    username: str = ""
    password: str = field(default="", repr=False)
    #: A PEM file of certificate authorities to trust instead of the system's.
    ca_file: Path | None = None
    #: How to sign in; `auto` takes the first of plain, login and cram-md5 that the server offers.
    auth: AuthMode = "auto"
    #: Returns access tokens for xoauth2; None without it.
    tokens: TokenSource | None = field(default=None, compare=False, repr=False)
    #: Seconds for fetching a token.
    token_seconds: float = TOKEN_SECONDS
    #: The certificate of this host, and its key if that is in another file.
    client_cert: Path | None = None
    client_key: Path | None = None
    #: Seconds for connecting and for each command.
    timeout_seconds: float = 30.0
    #: Seconds for connecting, TLS and the first reply to a message; None for `timeout_seconds`.
    connect_timeout_seconds: float | None = None
    #: Seconds to wait for the reply to a body (RFC 5321 section 4.5.3.2.6 requires 600).
    data_timeout_seconds: float = 600.0
    #: The host name for EHLO; None for that of the system, or the address if that is no full name.
    local_hostname: str | None = None
    #: What messages call its settings.
    names: SettingNames = field(default=DEFAULT_NAMES, compare=False, repr=False)

    @property
    def address(self) -> str:
        """Its address in messages: host:port, or unix:/PATH."""
        return server_address(self.host, self.port)


def smtp_server_from_settings(settings: Settings) -> SmtpServer:
    """Return the mail server of the settings."""
    return SmtpServer(
        host=settings.email_host,
        port=settings.email_port,
        tls=settings.email_tls,
        username=settings.email_host_user,
        password=settings.email_host_password.get_secret_value(),
        ca_file=settings.email_ca_file,
        auth=settings.email_auth,
        tokens=token_source_from_settings(settings) if settings.email_auth == "xoauth2" else None,
        client_cert=settings.email_tls_client_cert,
        client_key=settings.email_tls_client_key,
        timeout_seconds=settings.mailctl_smtp_timeout_seconds,
        data_timeout_seconds=settings.mailctl_smtp_data_timeout_seconds,
        local_hostname=settings.email_helo_name or None,
    )


def is_full_host_name(name: str) -> bool:
    """Whether mail servers accept a name in EHLO: a host with its domain, or an address literal."""
    if name.startswith("["):
        return True
    host = name.rstrip(".").lower()
    return "." in host and not host.endswith(".localdomain")


def address_literal(address: object) -> str | None:
    """Return the address of a socket as EHLO takes it (RFC 5321 section 4.1.3); None if it has none."""
    if not isinstance(address, tuple) or not address:
        return None
    host = str(address[0]).partition("%")[0]
    return f"[IPv6:{host}]" if ":" in host else f"[{host}]"


def make_tls_context(server: SmtpServer) -> ssl.SSLContext:
    """Return a context that verifies certificate and host name and requires TLS 1.2 or later.

    Raises:
        ConfigurationError: the CA file cannot be read or contains no certificate.
    """
    cafile = None if server.ca_file is None else str(server.ca_file)
    try:
        context = ssl.create_default_context(cafile=cafile)
    except OSError as error:
        # Without the cause, an OSError that would be classified as a network failure.
        raise ConfigurationError(
            f"the CA file {cafile} cannot be used ({_reason(error, 'there is no certificate in it')})",
            fix="Set EMAIL_CA_FILE to a readable PEM file.",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if server.client_cert is not None:
        _load_client_certificate(context, server.client_cert, server.client_key)
    return context


def _load_client_certificate(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    try:
        # Without a password, a key that needs one would be asked for on the terminal.
        context.load_cert_chain(cert, key, password="")
    except OSError as error:
        raise ConfigurationError(
            f"the client certificate {cert} cannot be used ({_reason(error, _NO_KEY)})",
            fix="Set EMAIL_TLS_CLIENT_CERT and EMAIL_TLS_CLIENT_KEY to PEM files without a password.",
        ) from None


def _reason(error: OSError, otherwise: str) -> str:
    """Return why a file cannot be used: the error of the operating system, or what is wrong in the file."""
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return "the key does not match the certificate"
    if isinstance(error, ssl.SSLError) or error.strerror is None:
        return otherwise
    return error.strerror.lower()
