"""Masks email addresses, passwords and other credentials in texts."""

from __future__ import annotations

import logging
import re
from base64 import b64encode

from typing_extensions import override

#: Replaces a secret.
MASK = "***"
#: Shorter passwords may occur within ordinary words.
_SHORTEST_PASSWORD = 4
_LOCAL = r"[\w.!#$%&'*+/=?^`{|}~-]"
# It starts at the start of a word: searching from each letter of a long word would take quadratic time.
_ADDRESS = re.compile(rf"(?<!{_LOCAL}){_LOCAL}+@[\w-]+(?:\.[\w-]+)*")
_URL = re.compile(r"(?P<scheme>[\w+.-]+)://(?:(?P<credentials>.*)@)?(?P<rest>.*)", re.DOTALL)
_USER = re.compile(r"[\w.%+-]*")
_SECRET_OPTION = re.compile(r"([?&;][^=&;]*(?:pass|pwd|secret|token|key)[^=&;]*)=[^&;]*", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(?P<before>[\w+.-]+://(?:[\w.%+-]*:)?)\S*@")
#: A password as programs print it, such as in a connection string of libpq.
_ASSIGNED = re.compile(
    r"(?P<name>\w*(?:passw(?:or)?d|pwd|secret)\w*(?:\s*=\s*|[\"']\s*:\s*))(?:'[^']*'|\"[^\"]*\"|[^\s,;&)]+)",
    re.IGNORECASE,
)
#: A JSON Web Token (RFC 7519): its header, an object in base64url, starts with these letters.
JWT_PATTERN = re.compile(r"\beyJ[\w-]*\.[\w-]+\.[\w-]*", re.ASCII)
#: A text that parsers quote as an invalid port or host, and that may be part of a password.
_QUOTED = re.compile(
    r"(?P<before>to integer value as |with base 10: |invalid port number: |invalid integer value )"
    r"(?:'[^']*'|\"[^\"]*\")"
    r"|(?:'[^']*'|\"[^\"]*\")(?P<after> does not appear to be an IPv)"
)


def mask_address(address: str) -> str:
    """Return a masked address that an operator can recognise, such as z…@example.com."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}…{at}{domain}"


def mask_addresses_in_text(text: str) -> str:
    """Return a text in which every email address is masked; the user names of URLs stay."""
    return _ADDRESS.sub(lambda found: _masked_unless_of_url(found[0]), text)


def _masked_unless_of_url(address: str) -> str:
    local = address.rpartition("@")[0]
    return address if local == MASK or local.startswith("//") else mask_address(address)


class AddressFilter(logging.Filter):
    """Masks every email address in the records of a logger, and in the tracebacks of their exceptions."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the addresses of a record; return True, so that it is logged."""
        message = record.getMessage()
        if (masked := mask_addresses_in_text(message)) != message:
            record.msg, record.args = masked, ()
        if record.exc_info and record.exc_info[0] is not None:
            # Formatters print this text instead of the exception.
            record.exc_text = mask_addresses_in_text(logging.Formatter().formatException(record.exc_info))
        return True


def masking_logger(name: str) -> logging.Logger:
    """Return the logger of a name, all of whose records are masked by an `AddressFilter`.

    For the parts that run in processes of the service, where no handler is mailctl's.
    """
    logger = logging.getLogger(name)
    if not any(isinstance(each, AddressFilter) for each in logger.filters):
        logger.addFilter(AddressFilter())
    return logger


def mask_url(value: object) -> str:
    """Return a value as one printable line, and a URL without its password.

    Everything up to the last @ counts as credentials, because a password may contain any character.
    """
    text = "".join(char if char.isprintable() else " " for char in str(value))
    found = _URL.fullmatch(text)
    if not found:
        return text
    rest = _SECRET_OPTION.sub(rf"\1={MASK}", found["rest"])
    if found["credentials"] is None:
        return f"{found['scheme']}://{rest}"
    user, _, password = found["credentials"].partition(":")
    shown = (user if _USER.fullmatch(user) else MASK) + (f":{MASK}" if password else "")
    return f"{found['scheme']}://{shown}{'@' if shown else ''}{rest}"


def mask_credentials(text: str) -> str:
    """Return a message of another program, with its JWTs and the passwords in its URLs and options masked."""
    text = _CREDENTIALS.sub(rf"\g<before>{MASK}@", text)
    text = JWT_PATTERN.sub(MASK, _ASSIGNED.sub(rf"\g<name>{MASK}", text))
    return _QUOTED.sub(lambda found: f"{found['before'] or ''}{MASK}{found['after'] or ''}", text)


def mask_password(text: str, password: str, *, user: str, also_plain: bool) -> str:
    """Return a reply of a mail server without the password that it was given (RFC 4616).

    Args:
        text: the reply.
        password: the password, which is masked in its base64 encodings.
        user: the user name that was sent with it.
        also_plain: whether to mask the password in clear as well; it may also be an ordinary word.
    """
    if len(password) < _SHORTEST_PASSWORD:
        return text
    # The longest first, because an encoding may contain another.
    for sent in (f"{user}\0{user}\0{password}", f"\0{user}\0{password}", password):
        encoded = b64encode(sent.encode("utf-8", "surrogateescape")).decode().rstrip("=")
        text = re.sub(re.escape(encoded) + "={0,2}", MASK, text)
    return text.replace(password, MASK) if also_plain else text
