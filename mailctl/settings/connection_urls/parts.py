"""Splits connection URLs that every driver splits in the same way."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, unquote_plus

_ENCODING_HINT = (
    "Percent-encode user name and password: @ is %40, / is %2F, # is %23, ? is %3F, ; is %3B, % is %25."
)
_REDIS_PARTS_HINT = (
    "Or set REDIS_HOST, REDIS_PORT, REDIS_DB and REDIS_PASSWORD, whose value needs no encoding."
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9.+-]*")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SERVER = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[\w.-]*)(?::(?P<port>\d{1,5}))?")
_OPTION = re.compile(r"(?P<name>[A-Za-z_][\w.-]*)=(?P<value>[^=]*(?:=.*)?)", re.DOTALL)
_LARGEST_PORT = 65535


class InvalidUrl(ValueError):
    """A connection URL is invalid.

    Args:
        reason: what is wrong, without a part of the URL.
        fix: what to do about it.
    """

    def __init__(self, reason: str, *, fix: str) -> None:
        super().__init__(reason)
        self.fix = fix


@dataclass(frozen=True, kw_only=True)
class UrlParts:
    """The parts of a connection URL."""

    scheme: str
    username: str
    password: str = field(repr=False)
    host: str
    port: int | None
    #: The path as it was written, without its first slash; None if there is no slash.
    path: str | None
    #: The text after `?`, and the options in it.
    query: str = field(repr=False)
    options: tuple[tuple[str, str], ...] = field(repr=False)

    def __str__(self) -> str:
        """The URL, normalized so that every driver splits it in the same way."""
        credentials = quote(self.username, safe="")
        if self.password:
            credentials += f":{quote(self.password, safe='')}"
        server = self.host if self.port is None else f"{self.host}:{self.port}"
        path = "" if self.path is None else f"/{self.path}"
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{credentials}{'@' if credentials else ''}{server}{path}{query}"


def parse_scheme(text: str, *, example: str) -> str:
    """Return the part of a URL before `://`.

    Args:
        text: the URL.
        example: a valid URL for the error message.

    Raises:
        InvalidUrl: the text has no scheme.
    """
    scheme, separator, _ = text.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        raise InvalidUrl(
            "is not a URL, or contains a special character that is not encoded.",
            fix=f"Give a URL such as {example}. {_ENCODING_HINT}",
        )
    return scheme


def split_url(text: str) -> UrlParts:
    """Return the parts of a URL (RFC 3986).

    Raises:
        InvalidUrl: a driver could split the URL in another way.
    """
    scheme, _, rest = text.partition("://")
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    credentials, _, server = authority.rpartition("@")
    if "#" in text or "@" in credentials + path + query or _LONE_PERCENT.search(credentials + path):
        raise InvalidUrl(
            "contains a character that must be percent-encoded in a password, such as @ / ? # or %.",
            fix=_encoding_hint(scheme),
        )
    found = _SERVER.fullmatch(server)
    if found is None or int(found["port"] or 1) not in range(1, _LARGEST_PORT + 1):
        raise InvalidUrl(
            "has no valid host and port, or contains a special character that is not encoded.",
            fix=f"Write them as host:port. {_encoding_hint(scheme)}",
        )
    username, _, password = credentials.partition(":")
    return UrlParts(
        scheme=scheme,
        username=_percent_decode(username),
        password=_percent_decode(password),
        host=found["host"],
        port=int(found["port"]) if found["port"] else None,
        path=path if slash else None,
        query=query,
        options=parse_options(query),
    )


def _encoding_hint(scheme: str) -> str:
    return f"{_ENCODING_HINT} {_REDIS_PARTS_HINT}" if scheme in ("redis", "rediss") else _ENCODING_HINT


def _percent_decode(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise InvalidUrl("contains percent-encoded bytes that are not UTF-8.", fix=_ENCODING_HINT) from None


def parse_options(query: str) -> tuple[tuple[str, str], ...]:
    """Return the names and values of options.

    Args:
        query: the text after `?`.

    Raises:
        InvalidUrl: an option is not NAME=VALUE.
    """
    found = [_OPTION.fullmatch(each) for each in query.split("&") if query]
    if not all(found):
        raise InvalidUrl(
            "has an option that is not NAME=VALUE.", fix=f"Correct the text after `?`. {_ENCODING_HINT}"
        )
    return tuple((each["name"], unquote_plus(each["value"])) for each in found if each is not None)
