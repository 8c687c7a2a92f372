"""Validates and normalizes every value from outside before it is recorded, wherever it comes from.

Each function returns the normalized value, or raises `InvalidInput` with the name of the field. Each checks
the length first, because normalizing and parsing can take more than linear time.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import lru_cache

from mailctl.domain import unicode_safety
from mailctl.errors import InvalidInput

MAX_DISPLAY_NAME = 128
#: The longest name in a greeting, whose reader may not have chosen it.
MAX_GREETING_NAME = 64
MAX_SUBJECT = 200
#: The longest text in a security email.
MAX_PLAIN_TEXT = 500
MAX_KEY = 200
MAX_USER_ID = 64
MAX_TEMPLATE_NAME = 120
#: The lengths of a token; a JWT that is signed with a key of 4096 bits has about 900 characters.
MIN_TOKEN = 8
MAX_TOKEN = 2048
MAX_EMAIL_ID = 155
MAX_FILE_NAME = 120
#: The longest header value, which leaves room for the name in a line (RFC 5322 section 2.1.1).
MAX_HEADER = 900
#: The longest IP address as text: an IPv6 address that ends with an IPv4 address (RFC 4291 section 2.2).
MAX_IP_ADDRESS = 45
#: Characters that NFC normalization may combine into one: a letter with three marks.
_MAX_DECOMPOSED_PER_CHARACTER = 4

#: A name of a template: the folders and the file below the folder of templates, without the extension.
_TEMPLATE_PART = r"[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*"
_TEMPLATE_NAME = re.compile(rf"(?=.{{1,{MAX_TEMPLATE_NAME}}}\Z){_TEMPLATE_PART}(?:/{_TEMPLATE_PART})*")
_TEMPLATE_ENDINGS = (".html", ".txt")
_KEY = re.compile(rf"[\x21-\x7e]{{1,{MAX_KEY}}}")
_TOKEN = re.compile(rf"[A-Za-z0-9._~=+/:-]{{{MIN_TOKEN},{MAX_TOKEN}}}")
# Not "-" alone, which means standard input to commands.
_EMAIL_ID = re.compile(rf"(?!-\Z)[\x21-\x7e]{{1,{MAX_EMAIL_ID}}}")
_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}")
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_HEADER_VALUE = re.compile(rf"[!-~](?:[ -~]{{0,{MAX_HEADER - 2}}}[!-~])?")
_ALLOWED_HEADERS = frozenset(
    {"list-unsubscribe", "list-unsubscribe-post", "list-id", "feedback-id", "organization"}
)
_RESERVED_HEADERS = frozenset({"x-auto-response-suppress", "x-entity-ref-id"})
#: Names that Windows reserves for devices, whatever their extension.
_DEVICE = re.compile(r"(?i)con|prn|aux|nul|com\d|lpt\d")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
#: Telephones offer to dial longer numbers.
_MAX_DIGITS_IN_NAME = 6
#: The beginning of an international telephone number.
_PHONE_PREFIX = re.compile(r"[+\uff0b]\s*\d")


def validate_display_name(value: object, *, field: str = "name") -> str:
    """Return a display name for an address in a header.

    Raises:
        InvalidInput: it is too long, or contains a control, bidirectional or invisible character, or an
            encoded word (RFC 2047).
    """
    return _validate_line(value, field=field, longest=MAX_DISPLAY_NAME)


def safe_greeting_name(value: object) -> str:
    """Return a name for the greeting; "" if it contains a link, an address or markup.

    A stranger may have chosen the name. A password reset must not fail because of it, so the email then
    greets without a name.
    """
    try:
        name = _validate_line(value, field="name", longest=MAX_GREETING_NAME)
    except InvalidInput:
        return ""
    return _name_without_link(name)


@lru_cache(maxsize=1024)
def _name_without_link(name: str) -> str:
    """Return a name; "" if it contains a link or a number to call. Many people have the same first name."""
    is_phone = sum(char.isdigit() for char in name) > _MAX_DIGITS_IN_NAME or _PHONE_PREFIX.search(name)
    if is_phone or unicode_safety.has_stacked_marks(name) or unicode_safety.is_link_like(name):
        return ""
    return name


def validate_plain_text(value: object, *, field: str) -> str:
    """Return a text for a security email: one line that no mail client turns into a link.

    Raises:
        InvalidInput: it is too long, has several lines, or could become a link, an address or markup.
    """
    line = _validate_line(value, field=field, longest=MAX_PLAIN_TEXT)
    if unicode_safety.is_link_like(line):
        raise InvalidInput(
            field,
            "contains a link, an address or markup, which is not allowed in a security email.",
            fix="Give plain text, or give the variable the name of a link (…_url).",
        )
    return line


def validate_subject(value: object) -> str:
    """Return a subject line.

    Raises:
        InvalidInput: it is empty, too long, or contains characters that are not allowed in a header.
    """
    line = _validate_line(value, field="subject", longest=MAX_SUBJECT)
    if not line:
        raise InvalidInput("subject", "is empty.", fix="Give a subject.")
    return line


def validate_ip_address(value: object, *, field: str = "ip_address") -> str:
    """Return an IPv4 or IPv6 client address in its canonical form (RFC 5952).

    Raises:
        InvalidInput: the value is not the address of a client.
    """
    try:
        if not isinstance(value, str) or len(value) > MAX_IP_ADDRESS or "%" in value:
            raise ValueError
        parsed = ipaddress.ip_address(value)
    except ValueError:
        raise InvalidInput(field, "is not an IP address.", fix="Give one like 203.0.113.7.") from None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    parsed = mapped or parsed
    # In IPv4, 0/8 is this network and 240/4 is reserved; in IPv6, "reserved" includes usable addresses.
    is_reserved = isinstance(parsed, ipaddress.IPv4Address) and (parsed.is_reserved or parsed.packed[0] == 0)
    if parsed.is_unspecified or parsed.is_multicast or is_reserved:
        raise InvalidInput(field, "is not the address of a client.")
    return str(parsed)


def validate_template_name(value: object) -> str:
    """Return the name of a template: its path below the folder of templates, without `.html` or `.txt`.

    Raises:
        InvalidInput: the value is too long, or a part of the path is empty or has other characters than
            letters, digits, -, _ and single dots.
    """
    name = value
    if isinstance(value, str) and value.endswith(_TEMPLATE_ENDINGS):
        name = value.rpartition(".")[0]
    return _validate_pattern(
        name,
        _TEMPLATE_NAME,
        "template",
        "is not a template name: give a file in the folder of templates, such as auth/reset.html.",
    )


def validate_file_name(value: object) -> str:
    """Return the name of a file: no path, and no character that a file system or a shell treats specially.

    Raises:
        InvalidInput: it contains such a character, starts or ends with a dot, is reserved, or is too long.
    """
    field = "file name"
    name = _validate_line(value, field=field, longest=MAX_FILE_NAME)
    if (
        not name
        or name != value
        or set('/\\:*?"<>|') & set(name)
        or name.startswith(".")
        or name.endswith(".")
    ):
        raise InvalidInput(field, "is not a file name: it must not be a path, nor start or end with a dot.")
    if _DEVICE.fullmatch(name.partition(".")[0]):
        raise InvalidInput(field, "is the reserved name of a device.")
    return name


def validate_locale(value: object) -> str:
    """Return a language tag (RFC 5646).

    Raises:
        InvalidInput: the value is not a language tag.
    """
    return _validate_pattern(value, _LOCALE, "locale", "is not a language tag such as en or pt-BR.")


def validate_header_name(value: object) -> str:
    """Return the name of a header that a service may add: X-…, or one of a short list.

    Raises:
        InvalidInput: the header is another one, such as From, To or Message-ID, which mailctl sets.
    """
    name = _validate_pattern(value, _HEADER_NAME, "header", "is not a header name.")
    if name.lower() in _RESERVED_HEADERS or not (
        name.lower().startswith("x-") or name.lower() in _ALLOWED_HEADERS
    ):
        raise InvalidInput("header", f"{name} cannot be set.", fix="Use X-… or List-Unsubscribe.")
    return name


def validate_header_value(value: object, *, field: str = "header") -> str:
    """Return the value of a header that a service may add: one line of printable ASCII.

    Raises:
        InvalidInput: it is empty, too long, or contains other characters or an encoded word.
    """
    text = _validate_pattern(
        value, _HEADER_VALUE, field, f"must be one line of 1 to {MAX_HEADER} printable ASCII characters."
    )
    if "=?" in text:
        raise InvalidInput(field, "looks like an encoded word (=?).")
    return text


def validate_email_id(value: object, *, field: str = "task id") -> str:
    """Return the id of an email, which is a Celery task id: printable ASCII without spaces.

    Raises:
        InvalidInput: it is empty, too long, "-", or contains other characters.
    """
    return _validate_pattern(
        value, _EMAIL_ID, field, f"must be 1 to {MAX_EMAIL_ID} printable characters without spaces."
    )


def validate_user_id(value: object) -> str:
    """Return the service's id of a user as text: of a number, a UUID, a string, or an id of its own type.

    Raises:
        InvalidInput: the value has no text of its own, or its text is empty, too long or not printable.
    """
    field = "user id"
    is_number = isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 128
    if isinstance(value, bool | float | list | dict | bytes) or (isinstance(value, int) and not is_number):
        raise InvalidInput(field, "must be a number, a UUID or a string.")
    # Its text would be its place in memory, another one for the same user each time.
    if type(value).__str__ is object.__str__ and type(value).__repr__ is object.__repr__:
        raise InvalidInput(field, "must be a number, a UUID or a string.")
    try:
        text = str(value)
    except Exception as error:  # of a type of the service
        raise InvalidInput(field, f"cannot be read ({type(error).__name__}).") from error
    if not 0 < len(text) <= MAX_USER_ID or not text.isprintable():
        raise InvalidInput(field, f"must be 1 to {MAX_USER_ID} printable characters.")
    return text


def validate_idempotency_key(value: object) -> str:
    """Return an idempotency key: printable ASCII without spaces.

    Raises:
        InvalidInput: it is empty, too long, or contains other characters.
    """
    return _validate_pattern(
        value, _KEY, "idempotency key", f"must be 1 to {MAX_KEY} printable ASCII characters without spaces."
    )


def validate_token(value: object, *, field: str = "token") -> str:
    """Return a service's own token for a link.

    Raises:
        InvalidInput: it is shorter than 8 or longer than 2,048 characters, or not safe in a URL.
    """
    reason = f"must be {MIN_TOKEN} to {MAX_TOKEN} characters from A-Z, a-z, 0-9 and . _ ~ = + / : -"
    return _validate_pattern(value, _TOKEN, field, reason)


def validate_variable_name(value: object) -> str:
    """Return the name of a template variable.

    Raises:
        InvalidInput: it is not a name, or starts with two underscores.
    """
    name = _validate_pattern(value, _VARIABLE, "variable", "is not a variable name.")
    if name.startswith("__"):
        raise InvalidInput("variable", f"{name} must not start with two underscores.")
    return name


def _validate_pattern(value: object, pattern: re.Pattern[str], field: str, reason: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InvalidInput(field, reason)
    return value


def _validate_line(value: object, *, field: str, longest: int) -> str:
    if not isinstance(value, str):
        raise InvalidInput(field, "is not text.")
    # The length comes first: normalizing many marks in a row takes quadratic time.
    text = (
        unicodedata.normalize("NFC", value)
        if len(value) <= _MAX_DECOMPOSED_PER_CHARACTER * longest
        else value
    )
    if len(text) > longest:
        raise InvalidInput(field, f"is longer than {longest} characters.")
    if char := unicode_safety.first_unprintable(text):
        raise InvalidInput(field, f"contains a control or invisible character (U+{ord(char):04X}).")
    if "=?" in text:
        raise InvalidInput(field, "looks like an encoded word (=?).")
    return text.strip()
