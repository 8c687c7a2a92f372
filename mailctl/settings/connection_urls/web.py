"""URLs of web sites in settings: what programs could read in two ways is refused."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from mailctl.settings.connection_urls.parts import InvalidUrl

_DEFAULT_PORTS = {"http": 80, "https": 443}
#: The longest URL in characters: with the longest token, a link still has room.
MAX_WEB_URL = 2000
_FIX = "Write it as https://HOST, with :PORT and /PATH if needed."
#: Characters that an operator may have typed or pasted by mistake.
_ODD = frozenset(" \\\"'<>`{}|^")
_ODD_REASON = "contains a space, a control character, a quote, a brace, a backslash or a non-ASCII letter."
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?P<rest>.*)"
)
_AUTHORITY = re.compile(
    r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>\d{1,5}))?"
)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
#: Unreserved characters, those that separate parts of a path, and bytes of letters outside ASCII (RFC 3986).
_PATH = re.compile(r"(?:/(?:[A-Za-z0-9._~$&+,;=:@-]|%[89A-Fa-f][0-9A-Fa-f])*)*")


@dataclass(frozen=True, kw_only=True)
class WebUrl:
    """The URL of a web site, or of a part of one."""

    scheme: str
    #: In lower case; an IPv6 address has no brackets.
    host: str
    #: None for the default port of the scheme.
    port: int | None
    #: Without a slash at its end; "" for the whole site.
    path: str

    @property
    def origin(self) -> str:
        """The origin (RFC 6454): scheme://host[:port]."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port is not None else "")


def parse_web_url(text: str) -> WebUrl:
    """Return the parts of the URL of a web site.

    Raises:
        InvalidUrl: it is not an http or https URL, or has a part that links must not have: a user name, a
            query, a fragment, dot segments, or a character that programs read in different ways.
    """
    if len(text) > MAX_WEB_URL:
        raise InvalidUrl(f"is longer than {MAX_WEB_URL} characters.", fix=_FIX)
    try:
        return _parse(text)
    except InvalidUrl:
        # No part takes such characters; which part it is says less.
        if not text.isascii() or not text.isprintable() or _ODD & set(text):
            raise InvalidUrl(_ODD_REASON, fix=_FIX) from None
        raise


def _parse(text: str) -> WebUrl:
    found = _URL.fullmatch(text)
    if found is None or found["scheme"].lower() not in _DEFAULT_PORTS:
        raise InvalidUrl("is not an http or https URL.", fix=_FIX)
    if found["rest"]:
        raise InvalidUrl("contains a query or a fragment.", fix=_FIX)
    scheme = found["scheme"].lower()
    host, port = _parse_authority(found["authority"])
    return WebUrl(
        scheme=scheme,
        host=host,
        port=None if port == _DEFAULT_PORTS[scheme] else port,
        path=_parse_path(found["path"] or ""),
    )


def _parse_authority(text: str) -> tuple[str, int | None]:
    found = _AUTHORITY.fullmatch(text)
    port = int(found["port"]) if found and found["port"] else None
    if found is None or (port is not None and not 1 <= port <= 65535):
        reason = "contains a user name or a password." if "@" in text else "has no valid host and port."
        raise InvalidUrl(reason, fix=_FIX)
    return _checked_address(found["address"]) if found["address"] else _checked_name(found["name"]), port


def _checked_address(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise InvalidUrl("has no valid IPv6 address.", fix=_FIX) from None


def _checked_name(text: str) -> str:
    labels = text.lower().split(".")
    if not all(map(_LABEL.fullmatch, labels)) or len(text) > 253:
        raise InvalidUrl("has no valid host name.", fix=_FIX)
    if labels[-1].isdigit() or labels[-1].startswith("0x"):
        # Browsers read 127.1, 2130706433 and 0x7f.1 as IPv4 addresses, Python as names.
        try:
            return str(ipaddress.IPv4Address(text))
        except ValueError:
            raise InvalidUrl("has a host that some programs read as another address.", fix=_FIX) from None
    return ".".join(labels)


def _parse_path(path: str) -> str:
    segments = path.removesuffix("/").split("/")
    if not _PATH.fullmatch(path) or {".", ".."} & set(segments) or "" in segments[1:]:
        raise InvalidUrl(
            "has a path with dot segments, empty segments, or characters that are not plain.", fix=_FIX
        )
    return "/".join(segments)
