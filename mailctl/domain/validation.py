"""The gate: every value from outside passes one of these before it is recorded, whatever its door.

Each function returns the value in the form that mailctl uses, or raises `InvalidInput` naming the field. Each
looks at the length first, and at nothing else of what is longer than any good value: normalizing and parsing
can take more than linear time.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import lru_cache
from urllib.parse import urlsplit

from email_validator import EmailNotValidError, validate_email

from mailctl import unicode_safety
from mailctl.errors import InvalidInput

#: Longest forward-path that SMTP carries, in octets (RFC 5321 section 4.5.3.1.3, less the brackets).
MAX_ADDRESS = 254
MAX_DISPLAY_NAME = 128
#: A name that we greet with is printed to somebody who may not have written it.
MAX_GREETING_NAME = 64
MAX_SUBJECT = 200
#: A text in a security email that is no link.
MAX_PLAIN_TEXT = 500
MAX_URL = 2000
MAX_KEY = 200
MAX_USER_ID = 64
MAX_EMAIL_ID = 155
MAX_FILE_NAME = 120
#: Leaves room for a name in a line (RFC 5322 section 2.1.1).
MAX_HEADER = 900
#: The longest IP address in text: of IPv6, with an IPv4 address at its end (RFC 4291 section 2.2).
MAX_IP_ADDRESS = 45
#: Characters that normalization (NFC) may make one of: a letter with three marks.
_MAX_DECOMPOSED_PER_CHARACTER = 4
#: What a link of a service's own template may open; mail programs show others as text.
_LINK_SCHEMES = frozenset({"https", "http", "mailto", "tel", "sms"})
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+-]*):")

_ATEXT_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}")
_NOT_IN_ADDRESSES = re.compile(r"[\x00-\x20\x7f]")
#: A local part that needs no quotes (RFC 5322 section 3.2.3) and no more checking.
_DOT_ATOM = re.compile(r"(?=.{1,64}\Z)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_SLUG = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_KEY = re.compile(rf"[\x21-\x7e]{{1,{MAX_KEY}}}")
_TOKEN = re.compile(r"[A-Za-z0-9._~=+/:-]{8,512}")
# Not "-" alone, by which commands mean their standard input.
_EMAIL_ID = re.compile(rf"(?!-\Z)[\x21-\x7e]{{1,{MAX_EMAIL_ID}}}")
_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}")
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_HEADER_VALUE = re.compile(rf"[!-~](?:[ -~]{{0,{MAX_HEADER - 2}}}[!-~])?")
_ALLOWED_HEADERS = frozenset(
    {"list-unsubscribe", "list-unsubscribe-post", "list-id", "feedback-id", "organization"}
)
_RESERVED_HEADERS = frozenset({"x-auto-response-suppress", "x-entity-ref-id"})
#: Windows keeps these names for devices, whatever their ending.
_DEVICE = re.compile(r"(?i)con|prn|aux|nul|com\d|lpt\d")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
#: One more, and a telephone offers to dial it.
_MAX_DIGITS_IN_NAME = 6


def validate_address(value: object, *, field: str = "email") -> str:
    """Return one mailbox as SMTP takes it: ASCII, its domain as lower-case A-labels (RFC 5321, RFC 5891).

    Raises:
        InvalidInput: not exactly one address, or one with a non-ASCII or quoted local part or an IP literal.
    """
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ADDRESS:
        raise InvalidInput(field, f"is not an email address: give 1 to {MAX_ADDRESS} characters.")
    if _NOT_IN_ADDRESSES.search(value):
        raise InvalidInput(field, "is not an email address: it holds a space or a control character.")
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
    if any(unicode_safety.mixes_scripts(label) for label in checked.domain.split(".")):
        raise EmailNotValidError("Its domain mixes letters of scripts that look alike.")
    return checked.ascii_email or ""


def validate_display_name(value: object, *, field: str = "name") -> str:
    """Return the name that stands before an address in a header.

    Raises:
        InvalidInput: it holds control, bidirectional or invisible characters, or an encoded word (RFC 2047).
    """
    return _validate_line(value, field=field, longest=MAX_DISPLAY_NAME)


def safe_greeting_name(value: object) -> str:
    """Return the name to greet with, or "" where greeting by it would print a link, an address or markup.

    A stranger chose this name and we print it in a security email; a reset must not fail for it, so the
    email then simply greets without a name.
    """
    try:
        name = _validate_line(value, field="name", longest=MAX_GREETING_NAME)
    except InvalidInput:
        return ""
    too_many_digits = sum(char.isdigit() for char in name) > _MAX_DIGITS_IN_NAME
    if too_many_digits or unicode_safety.has_stacked_marks(name) or unicode_safety.is_link_like(name):
        return ""
    return name


def validate_plain_text(value: object, *, field: str) -> str:
    """Return a text for a security email: one line in which no mail client finds a link.

    Raises:
        InvalidInput: it is longer, or could become a link, an address or markup.
    """
    line = _validate_line(value, field=field, longest=MAX_PLAIN_TEXT)
    if unicode_safety.is_link_like(line):
        raise InvalidInput(
            field,
            "holds a link, an address or markup, which a security email must not.",
            fix="Give plain text, or name the variable as a link (…_url) to one of the service's origins.",
        )
    return line


def validate_subject(value: object) -> str:
    """Return a subject line.

    Raises:
        InvalidInput: it is empty, too long, or holds what a header must not hold.
    """
    line = _validate_line(value, field="subject", longest=MAX_SUBJECT)
    if not line:
        raise InvalidInput("subject", "is empty.", fix="Give a subject.")
    return line


def validate_ip_address(value: object, *, field: str = "ip_address") -> str:
    """Return an IPv4 or IPv6 client address in its canonical form (RFC 5952).

    Raises:
        InvalidInput: not an address of a client.
    """
    try:
        if not isinstance(value, str) or len(value) > MAX_IP_ADDRESS or "%" in value:
            raise ValueError
        parsed = ipaddress.ip_address(value)
    except ValueError:
        raise InvalidInput(field, "is not an IP address.", fix="Give one like 203.0.113.7.") from None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    parsed = mapped or parsed
    # Of IPv4, 0/8 names this network and 240/4 nobody; of IPv6, "reserved" says little.
    is_nobodys = isinstance(parsed, ipaddress.IPv4Address) and (parsed.is_reserved or parsed.packed[0] == 0)
    if parsed.is_unspecified or parsed.is_multicast or is_nobodys:
        raise InvalidInput(field, "is not the address of a client.")
    return str(parsed)


def validate_action_url(value: object, *, origins: frozenset[str], field: str = "url") -> str:
    """Return a link that somebody else made, if it leads to one of `origins` (scheme://host[:port]).

    Raises:
        InvalidInput: it leads elsewhere, or parsers could disagree about where it leads.
    """
    if not isinstance(value, str) or len(value) > MAX_URL:
        raise InvalidInput(field, f"is not a link: give one of at most {MAX_URL} characters.")
    if not value.isascii() or any(ord(char) < 33 for char in value):
        raise InvalidInput(field, "is not a link: it holds a space, a control or a non-ASCII character.")
    if set('\\"<>\x7f') & set(value):
        raise InvalidInput(field, "is not a usable link: no backslash, quote or bracket.")
    try:
        parts = urlsplit(value)
        has_dot_segments = {"..", "."} & set(re.sub("(?i)%2e", ".", parts.path).split("/"))
        origin = url_origin(value)
    except ValueError:
        raise InvalidInput(field, "is not a link: host or port is wrong.") from None
    if parts.username is not None or parts.password is not None or has_dot_segments:
        raise InvalidInput(field, "is not a usable link: no user name and no dot segments in it.")
    if origin not in origins and origin.startswith("http:"):
        raise InvalidInput(field, "is http: only https is sent, and in development http to localhost.")
    if origin not in origins:
        raise InvalidInput(
            field,
            f"leads to {origin}, which is not one of {', '.join(sorted(origins))}.",
            fix="Correct FRONTEND_URL, or add the origin to MAILCTL_LINK_ORIGINS.",
        )
    return value


def validate_link(value: str, *, field: str) -> str:
    """Return a link of a service's own template, wherever it leads.

    Raises:
        InvalidInput: it holds a line break or a control character, or is a script or data instead of a link.
    """
    if unicode_safety.has_controls(value):
        raise InvalidInput(field, "is not a link: it holds a line break or a control character.")
    scheme = _SCHEME.match(value)
    if scheme and scheme[1].lower() not in _LINK_SCHEMES:
        raise InvalidInput(
            field,
            "is not a link that an email can open.",
            fix=f"Give one that begins with {', '.join(sorted(_LINK_SCHEMES))}.",
        )
    return value


def url_origin(url: str) -> str:
    """Return scheme://host[:port] of a URL, lower-cased, without a default port (RFC 6454).

    Raises:
        ValueError: it is too long, has no host, or its port is not a number.
    """
    if len(url) > MAX_URL:
        raise ValueError
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(url)
    default = {"http": 80, "https": 443}[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in (None, default) else "")


def is_local_host(host: str) -> bool:
    """Whether a host is the computer of whoever asks it, so that nobody reads along."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def validate_template_name(value: object) -> str:
    """Return the name of a template: a slug, never a path.

    Raises:
        InvalidInput: anything but a-z, digits, - and _, starting with a letter.
    """
    return _validate_pattern(
        value, _SLUG, "template", "is not a template name: use a-z, digits, - and _ (no path, no ending)."
    )


def validate_file_name(value: object, *, field: str = "file name") -> str:
    """Return the name of a file: no path, and nothing that a file system or a shell of a reader treats apart.

    Raises:
        InvalidInput: it holds a separator or a control character, begins with a dot, is reserved, or is long.
    """
    name = _validate_line(value, field=field, longest=MAX_FILE_NAME)
    if (
        not name
        or name != value
        or set('/\\:*?"<>|') & set(name)
        or name.startswith(".")
        or name.endswith(".")
    ):
        raise InvalidInput(field, "is not the name of a file: no path, no dot at its begin or end.")
    if _DEVICE.fullmatch(name.partition(".")[0]):
        raise InvalidInput(field, "is the name of a device.")
    return name


def validate_locale(value: object, *, field: str = "locale") -> str:
    """Return a language tag (RFC 5646).

    Raises:
        InvalidInput: anything else.
    """
    return _validate_pattern(value, _LOCALE, field, "is not a language tag: give one like en or pt-BR.")


def validate_header_name(value: object) -> str:
    """Return the name of a header that a service may add: X-…, or one of a short list.

    Raises:
        InvalidInput: it is not one; From, To, Message-ID and the like are decided here alone.
    """
    name = _validate_pattern(value, _HEADER_NAME, "header", "is not the name of a header.")
    if name.lower() in _RESERVED_HEADERS or not (
        name.lower().startswith("x-") or name.lower() in _ALLOWED_HEADERS
    ):
        raise InvalidInput("header", f"{name} cannot be set.", fix="Use X-… or List-Unsubscribe.")
    return name


def validate_header_value(value: object, *, field: str = "header") -> str:
    """Return the value of a header that a service may add: one line of printable ASCII.

    Raises:
        InvalidInput: it is empty, too long, or anything else.
    """
    text = _validate_pattern(
        value, _HEADER_VALUE, field, f"has no usable value: 1 to {MAX_HEADER} of ASCII, a line."
    )
    if "=?" in text:
        raise InvalidInput(field, "looks like an encoded word (=?).")
    return text


def validate_email_id(value: object, *, field: str = "task id") -> str:
    """Return the id of an email, which is a Celery task id: printable ASCII without spaces.

    Raises:
        InvalidInput: anything else; it would be no key of a table.
    """
    return _validate_pattern(
        value, _EMAIL_ID, field, f"is not usable: 1 to {MAX_EMAIL_ID} printable characters."
    )


def validate_user_id(value: object, *, field: str = "user id") -> str:
    """Return the id of a user, as a service knows one: a number, a UUID, a text.

    Raises:
        InvalidInput: it is none, or its text is empty, long or not printable.
    """
    is_number = isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 128
    if isinstance(value, bool | float | list | dict | bytes) or (isinstance(value, int) and not is_number):
        raise InvalidInput(field, "is not a number, a UUID or a text.")
    text = str(value)
    if not 0 < len(text) <= MAX_USER_ID or not text.isprintable():
        raise InvalidInput(field, f"is not usable: give 1 to {MAX_USER_ID} printable characters.")
    return text


def validate_idempotency_key(value: object) -> str:
    """Return an idempotency key: printable ASCII without spaces.

    Raises:
        InvalidInput: anything else.
    """
    return _validate_pattern(
        value, _KEY, "idempotency key", f"is not usable: 1 to {MAX_KEY} printable characters, no spaces."
    )


def validate_token(value: object, *, field: str = "token") -> str:
    """Return a token that a service made; it will travel inside a link.

    Raises:
        InvalidInput: it is shorter than 8 or longer than 512 characters, or would break out of a URL.
    """
    return _validate_pattern(
        value, _TOKEN, field, "is not usable: 8 to 512 of A-Z, a-z, 0-9 and . _ ~ = + / : -"
    )


def validate_variable_name(value: object) -> str:
    """Return the name of a template variable.

    Raises:
        InvalidInput: not a name, or one that starts with an underscore pair.
    """
    name = _validate_pattern(value, _VARIABLE, "variable", "is not a variable name.")
    if name.startswith("__"):
        raise InvalidInput("variable", f"{name}: names that start with __ are not for templates.")
    return name


def _validate_pattern(value: object, pattern: re.Pattern[str], field: str, reason: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InvalidInput(field, reason)
    return value


def _validate_line(value: object, *, field: str, longest: int) -> str:
    if not isinstance(value, str):
        raise InvalidInput(field, "is not text.")
    # Before anything else: on many marks in a row, normalization takes quadratic time.
    text = (
        unicodedata.normalize("NFC", value)
        if len(value) <= _MAX_DECOMPOSED_PER_CHARACTER * longest
        else value
    )
    if len(text) > longest:
        raise InvalidInput(field, f"is longer than {longest} characters.")
    if char := unicode_safety.first_unprintable(text):
        raise InvalidInput(field, f"holds a control or invisible character (U+{ord(char):04X}).")
    if "=?" in text:
        raise InvalidInput(field, "looks like an encoded word (=?).")
    return text.strip()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
