"""Taking connection URLs apart, in the one way in which every driver does it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, unquote_plus

_ENCODING_HINT = (
    "Percent-encode user name and password: @ is %40, / is %2F, # is %23, ? is %3F, ; is %3B, % is %25."
)
_REDIS_PARTS_HINT = (
    "Or give REDIS_HOST, REDIS_PORT, REDIS_DB and REDIS_PASSWORD, which takes a password as it is."
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9.+-]*")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SERVER = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[\w.-]*)(?::(?P<port>\d{1,5}))?")
_OPTION = re.compile(r"(?P<name>[A-Za-z_][\w.-]*)=(?P<value>[^=]*(?:=.*)?)", re.DOTALL)
_LARGEST_PORT = 65535


class InvalidUrl(ValueError):
    """A connection URL cannot be used.

    Args:
        reason: what is wrong, without any part of the URL.
        fix: what to do about it.
    """

    def __init__(self, reason: str, *, fix: str) -> None:
        super().__init__(reason)
        self.fix = fix


@dataclass(frozen=True, kw_only=True)
class UrlParts:
    """What a connection URL consists of."""

    scheme: str
    username: str
    password: str = field(repr=False)
    host: str
    port: int | None
    #: As it was written, without the slash before it; None where there is none.
    path: str | None
    #: The text between `?` and the end, and what it says.
    query: str = field(repr=False)
    options: tuple[tuple[str, str], ...] = field(repr=False)

    def __str__(self) -> str:
        """The URL, in which every driver finds the same parts."""
        credentials = quote(self.username, safe="")
        if self.password:
            credentials += f":{quote(self.password, safe='')}"
        server = self.host if self.port is None else f"{self.host}:{self.port}"
        path = "" if self.path is None else f"/{self.path}"
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{credentials}{'@' if credentials else ''}{server}{path}{query}"


def parse_scheme(text: str, *, example: str) -> str:
    """Return what stands before `://`.

    Raises:
        InvalidUrl: there is no such thing.
    """
    scheme, separator, _ = text.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        raise InvalidUrl(
            "is not a URL, or a special character in it is not encoded.",
            fix=f"Give one like {example}. {_ENCODING_HINT}",
        )
    return scheme


def split_url(text: str) -> UrlParts:
    """Return the parts of a URL that no reader could take apart in another way (RFC 3986).

    Raises:
        InvalidUrl: a reader could.
    """
    scheme, _, rest = text.partition("://")
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    credentials, _, server = authority.rpartition("@")
    if "#" in text or "@" in credentials + path + query or _LONE_PERCENT.search(credentials + path):
        raise InvalidUrl(
            "holds a character that must be percent-encoded in a password, such as @ / ? # or %.",
            fix=_encoding_hint(scheme),
        )
    found = _SERVER.fullmatch(server)
    if found is None or int(found["port"] or 1) not in range(1, _LARGEST_PORT + 1):
        raise InvalidUrl(
            "has no usable host and port, or a special character in it is not encoded.",
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
        raise InvalidUrl("holds percent-encoded bytes that are not UTF-8.", fix=_ENCODING_HINT) from None


def parse_options(query: str) -> tuple[tuple[str, str], ...]:
    """Return the names and values that follow a `?`.

    Raises:
        InvalidUrl: one of them is not NAME=VALUE.
    """
    found = [_OPTION.fullmatch(each) for each in query.split("&") if query]
    if not all(found):
        raise InvalidUrl(
            "has an option that is not NAME=VALUE.", fix=f"Correct what follows the `?`. {_ENCODING_HINT}"
        )
    return tuple((each["name"], unquote_plus(each["value"])) for each in found if each is not None)
