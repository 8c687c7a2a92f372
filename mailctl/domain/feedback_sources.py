"""The settings of where mail with feedback arrives: a Maildir, an IMAP mailbox, or an LMTP address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mailctl.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

MAILDIR, IMAP, LMTP = "MAILCTL_FEEDBACK_MAILDIR", "MAILCTL_FEEDBACK_IMAP", "MAILCTL_FEEDBACK_LMTP"
_PORTS = {"imaps": 993, "imap": 143}
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, kw_only=True)
class LmtpAddress:
    """The address where an LMTP server listens: the path of a Unix socket, or a port of this host."""

    path: str = ""
    host: str = ""
    port: int = 0


@dataclass(frozen=True, kw_only=True)
class MailboxAddress:
    """An IMAP mailbox.

    Args:
        host: the host name of the server, which its certificate must have.
        port: its port.
        user: the name to sign in with.
        folders: the folders to read.
        has_implicit_tls: whether TLS begins with the connection; otherwise STARTTLS is required.
    """

    host: str
    port: int
    user: str
    folders: tuple[str, ...]
    has_implicit_tls: bool


def parse_lmtp_address(address: str) -> LmtpAddress:
    """Return where to listen: HOST:PORT of a loopback address, or the path of a Unix socket.

    Raises:
        ConfigurationError: the address is neither.
    """
    if address.startswith("/"):
        return LmtpAddress(path=address)
    host, separator, port = address.rpartition(":")
    host = host.strip("[]")
    is_port = port.isascii() and port.isdigit() and int(port) < 65_536
    if not separator or not is_port or host not in _LOOPBACK:
        raise ConfigurationError(
            f"{LMTP} is neither a port of this host nor a socket.",
            fix="Give one such as 127.0.0.1:2424 or /run/mailctl/feedback.sock.",
        )
    return LmtpAddress(host=host, port=int(port))


def parse_mailbox_url(url: str, *, has_credentials: bool) -> MailboxAddress:
    """Return the mailbox of a URL such as `imaps://user@host:993/INBOX,Junk`.

    Args:
        url: the URL.
        has_credentials: whether there is a password or a source of tokens.

    Raises:
        ConfigurationError: it is not such a URL, or there are no credentials.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _invalid_url() from None
    if parts.scheme not in _PORTS or not parts.hostname or not parts.username or parts.password:
        raise _invalid_url()
    if not has_credentials:
        raise ConfigurationError(
            f"{IMAP} needs a password or access tokens.",
            fix=f"Set {IMAP}_PASSWORD or {IMAP}_TOKEN_COMMAND.",
        )
    return MailboxAddress(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        user=unquote(parts.username),
        folders=tuple(unquote(name) for name in parts.path.strip("/").split(",") if name) or ("INBOX",),
        has_implicit_tls=parts.scheme == "imaps",
    )


def require_maildir(folder: Path) -> None:
    """Require that a folder is a Maildir.

    Raises:
        ConfigurationError: it is not one, or cannot be read.
    """
    try:
        is_maildir = (folder / "new").is_dir() and (folder / "cur").is_dir()
    except OSError:
        is_maildir = False
    if not is_maildir:
        raise ConfigurationError(
            f"{MAILDIR} {folder} is not a Maildir.", fix="Give a folder that contains new and cur."
        )


def _invalid_url() -> ConfigurationError:
    return ConfigurationError(
        f"{IMAP} must be the URL of a mailbox, without a password.",
        fix="Give one such as imaps://bounces%40example.com@mail.example.com/INBOX,Junk.",
    )
