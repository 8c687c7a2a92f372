"""The gate: every value from outside passes one of these before it is recorded, whatever its door.

Each function returns the value in the form that mailctl uses, or raises `InvalidInput` naming the field.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import lru_cache
from urllib.parse import urlsplit

from email_validator import EmailNotValidError, validate_email

from mailctl.errors import InvalidInput

#: Longest forward-path that SMTP carries, in octets (RFC 5321 section 4.5.3.1.3, less the brackets).
MAX_ADDRESS = 254
MAX_DISPLAY_NAME = 128
#: A name that we greet with is printed to somebody who may not have written it.
MAX_GREETING_NAME = 64
MAX_SUBJECT = 200
MAX_URL = 2000
MAX_KEY = 200

_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: Joiners that real names and emoji need.
_JOINERS = frozenset("\u200c\u200d")
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp", "Co", "Cn"})
_EMOJI_TAGS = range(0xE0020, 0xE0080)

_ATEXT_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}")
_NOT_IN_ADDRESSES = re.compile(r"[\x00-\x20\x7f]")
#: A local part that needs no quotes (RFC 5322 section 3.2.3) and no more checking.
_DOT_ATOM = re.compile(r"(?=.{1,64}\Z)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_SLUG = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_KEY = re.compile(rf"[\x21-\x7e]{{1,{MAX_KEY}}}")
_TOKEN = re.compile(r"[A-Za-z0-9._~=+/:-]{8,512}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
#: Whatever a mail client could turn into a link, an address or markup.
_LINK_LIKE = re.compile(
    r"""(?ix) [a-z][a-z0-9+.-]{1,15}:[/\\]{1,2} | // | \bwww\. | \b(?:mailto|tel|sms|javascript):
        | [\w-]+\.(?:[^\W\d_]{2,18}|xn--[a-z0-9-]+)\b | \b\d{1,3}(?:\.\d{1,3}){3}\b
        | [@<>{}] | %[0-9a-f]{2} | &\# | \[[^\]]*\]\( """
)
#: A dot after a title or an initial; not one that joins it to more than another initial, as in t.co.
_ABBREVIATION = re.compile(r"(?i)\b(?:dr|mr|mrs|ms|jr|sr|st|prof|[^\W\d_])\.(?=\s|$|[^\W\d_]\.)")
_MAX_DIGITS_IN_NAME = 12
_MAX_STACKED_MARKS = 4


def address(value: object, *, field: str = "email") -> str:
    """Return one mailbox as SMTP takes it: ASCII, its domain as lower-case A-labels (RFC 5321, RFC 5891).

    Raises:
        InvalidInput: not exactly one address, or one with a non-ASCII or quoted local part or an IP literal.
    """
    if not isinstance(value, str) or _NOT_IN_ADDRESSES.search(value):
        raise InvalidInput(field, "is not an email address: it holds a space or a control character.")
    if not value or len(value) > MAX_ADDRESS:
        raise InvalidInput(field, f"is not an email address: give 1 to {MAX_ADDRESS} characters.")
    if "=?" in value or value.startswith("-"):
        raise InvalidInput(field, "is not an email address that can be used safely.")
    local_part, _, domain = value.partition("@")
    try:
        if _DOT_ATOM.fullmatch(local_part):
            checked = local_part + _ascii_address("x@" + domain)[1:]
        else:
            checked = _ascii_address(value)
    except EmailNotValidError as error:
        raise InvalidInput(field, f"is not a valid email address: {_first_line(error)}") from None
    if not _ATEXT_ADDRESS.fullmatch(checked) or len(checked) > MAX_ADDRESS:
        raise InvalidInput(field, "is not an email address that can be used safely.")
    return checked


@lru_cache(maxsize=4096)
def _ascii_address(value: str) -> str:
    """Check with email-validator; a domain, which is most of the work, is checked once for all its people."""
    checked = validate_email(
        value,
        check_deliverability=False,
        allow_smtputf8=False,
        allow_quoted_local=False,
        allow_domain_literal=False,
        test_environment=True,
    )
    return checked.ascii_email or ""


def display_name(value: object, *, field: str = "name") -> str:
    """Return the name that stands before an address in a header.

    Raises:
        InvalidInput: it holds control, bidirectional or invisible characters, or an encoded word (RFC 2047).
    """
    return _line(value, field=field, longest=MAX_DISPLAY_NAME)


def greeting_name(value: object) -> str:
    """Return the name to greet with, or "" where greeting by it would print a link, an address or markup.

    A stranger chose this name and we print it in a security email; a reset must not fail for it, so the
    email then simply greets without a name.
    """
    try:
        name = _line(value, field="name", longest=MAX_GREETING_NAME)
    except InvalidInput:
        return ""
    probe = unicodedata.normalize("NFKC", name).replace("\u3002", ".").replace("\u2024", ".")
    if _LINK_LIKE.search(_ABBREVIATION.sub(" ", probe)):
        return ""
    too_many_digits = sum(char.isdigit() for char in name) > _MAX_DIGITS_IN_NAME
    return "" if too_many_digits or _has_stacked_marks(name) else name


def subject(value: object) -> str:
    """Return a subject line.

    Raises:
        InvalidInput: it is empty, too long, or holds what a header must not hold.
    """
    line = _line(value, field="subject", longest=MAX_SUBJECT)
    if not line:
        raise InvalidInput("subject", "is empty.", fix="Give a subject.")
    return line


def ip_address(value: object, *, field: str = "ip_address") -> str:
    """Return an IPv4 or IPv6 client address in its canonical form (RFC 5952).

    Raises:
        InvalidInput: not an address of a client.
    """
    try:
        if not isinstance(value, str) or "%" in value:
            raise ValueError
        parsed = ipaddress.ip_address(value)
    except ValueError:
        raise InvalidInput(field, "is not an IP address.", fix="Give one like 203.0.113.7.") from None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    parsed = mapped or parsed
    if parsed.is_unspecified or parsed.is_multicast:
        raise InvalidInput(field, "is not the address of a client.")
    return str(parsed)


def action_url(value: object, *, origins: frozenset[str], field: str = "url") -> str:
    """Return a link that somebody else made, if it leads to one of `origins` (scheme://host[:port]).

    Raises:
        InvalidInput: it leads elsewhere, or parsers could disagree about where it leads.
    """
    if not isinstance(value, str) or not value.isascii() or any(ord(char) < 33 for char in value):
        raise InvalidInput(field, "is not a link: it holds a space, a control or a non-ASCII character.")
    if set('\\"<>\x7f') & set(value) or len(value) > MAX_URL:
        reason = f"is not a usable link: no backslash, quote or bracket, at most {MAX_URL} characters."
        raise InvalidInput(field, reason)
    try:
        parts = urlsplit(value)
        has_dot_segments = {"..", "."} & set(re.sub("(?i)%2e", ".", parts.path).split("/"))
        origin = url_origin(value)
    except ValueError:
        raise InvalidInput(field, "is not a link: host or port is wrong.") from None
    if parts.username is not None or parts.password is not None or has_dot_segments:
        raise InvalidInput(field, "is not a usable link: no user name and no dot segments in it.")
    if origin not in origins:
        raise InvalidInput(
            field,
            f"leads to {origin}, which is not one of {', '.join(sorted(origins))}.",
            fix="Correct FRONTEND_URL, or add the origin to MAILCTL_LINK_ORIGINS.",
        )
    return value


def url_origin(url: str) -> str:
    """Return scheme://host[:port] of a URL, lower-cased, without a default port (RFC 6454).

    Raises:
        ValueError: it has no host, or its port is not a number.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(url)
    default = {"http": 80, "https": 443}[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in (None, default) else "")


def template_name(value: object) -> str:
    """Return the name of a template: a slug, never a path.

    Raises:
        InvalidInput: anything but a-z, digits, - and _, starting with a letter.
    """
    return _matching(
        value, _SLUG, "template", "is not a template name: use a-z, digits, - and _ (no path, no ending)."
    )


def idempotency_key(value: object) -> str:
    """Return an idempotency key: printable ASCII without spaces.

    Raises:
        InvalidInput: anything else.
    """
    return _matching(
        value, _KEY, "idempotency key", f"is not usable: 1 to {MAX_KEY} printable characters, no spaces."
    )


def token(value: object, *, field: str = "token") -> str:
    """Return a token that a service made; it will travel inside a link.

    Raises:
        InvalidInput: it is shorter than 8 or longer than 512 characters, or would break out of a URL.
    """
    return _matching(value, _TOKEN, field, "is not usable: 8 to 512 of A-Z, a-z, 0-9 and . _ ~ = + / : -")


def variable_name(value: object) -> str:
    """Return the name of a template variable.

    Raises:
        InvalidInput: not a name, or one that starts with an underscore pair.
    """
    name = _matching(value, _VARIABLE, "variable", "is not a variable name.")
    if name.startswith("__"):
        raise InvalidInput("variable", f"{name}: names that start with __ are not for templates.")
    return name


def _matching(value: object, pattern: re.Pattern[str], field: str, reason: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InvalidInput(field, reason)
    return value


def _line(value: object, *, field: str, longest: int) -> str:
    if not isinstance(value, str):
        raise InvalidInput(field, "is not text.")
    text = unicodedata.normalize("NFC", value)
    if not (text.isascii() and text.isprintable()):  # most are
        for char in text:
            if not _is_printable(char):
                raise InvalidInput(field, f"holds a control or invisible character (U+{ord(char):04X}).")
    if len(text) > longest:
        raise InvalidInput(field, f"is longer than {longest} characters.")
    if "=?" in text:
        raise InvalidInput(field, "looks like an encoded word (=?).")
    return text.strip()


def _is_printable(char: str) -> bool:
    category = unicodedata.category(char)
    if char in _BIDI_CONTROLS or category in _FORBIDDEN_CATEGORIES:
        return False
    return category != "Cf" or char in _JOINERS or ord(char) in _EMOJI_TAGS


def _has_stacked_marks(name: str) -> bool:
    run = 0
    for char in unicodedata.normalize("NFD", name):
        run = run + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        if run > _MAX_STACKED_MARKS:
            return True
    return False


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
