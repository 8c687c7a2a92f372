"""Validates and normalizes email addresses before anything is done with them, whichever way they came."""

from __future__ import annotations

import re
from functools import lru_cache

from email_validator import EmailNotValidError, validate_email

from mailctl.domain import unicode_safety
from mailctl.errors import InvalidInput

#: The longest address that SMTP allows, in octets (RFC 5321 section 4.5.3.1.3, without the brackets).
MAX_ADDRESS = 254

_ATEXT_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}")
_NOT_IN_ADDRESSES = re.compile(r"[\x00-\x20\x7f]")
#: What relays read as a route to another host: the percent hack and bang paths (RFC 5321 appendix F.2).
#: A local part such as x!y or a%b names no host, and is a mailbox like any other.
_ROUTE = re.compile(r"%(?:[\w-]+\.)+[\w-]+\Z|(?:\A|!)(?:[\w-]+\.)+[\w-]+!(?!\Z)")
#: A local part that needs no quotes and no further validation (RFC 5322 section 3.2.3).
_DOT_ATOM = re.compile(r"(?=.{1,64}\Z)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")


def validate_address(value: object, *, field: str = "email") -> str:
    """Return a mailbox as SMTP expects it: ASCII, its domain in lower-case A-labels (RFC 5321, RFC 5891).

    Raises:
        InvalidInput: the value is not one address, or has a non-ASCII or quoted local part or an IP literal.
    """
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ADDRESS:
        raise InvalidInput(field, f"is not an email address: it must have 1 to {MAX_ADDRESS} characters.")
    if _NOT_IN_ADDRESSES.search(value):
        raise InvalidInput(field, "is not an email address: it contains a space or a control character.")
    if "@" not in value:
        raise InvalidInput(field, "is not a valid email address: it has no @-sign.")
    if "=?" in value or value.startswith("-"):
        raise InvalidInput(field, "is not an email address that can be used safely.")
    local_part, _, domain = value.partition("@")
    if _ROUTE.search(local_part[:MAX_ADDRESS]):
        raise InvalidInput(
            field, "is not an email address that can be used safely: % and ! route it to another host."
        )
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
    """Return the ASCII form of an address; the cache saves most of the work for addresses of one domain."""
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


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
