"""The gate for template variables: JSON types, a size that an email can hold, links that may be sent."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from mailctl.domain import validation
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from mailctl.domain.models import Json

MAX_DEPTH = 16
#: Values, those inside of others included.
MAX_VALUES = 5_000
#: Characters, all together: more than twice what mail programs show of an email.
MAX_CHARACTERS = 200_000
_MAX_BITS = 128
_IP_ADDRESS = "ip_address"
#: How names of variables end that carry a link, or several: reset_url, logoUrl, hrefs, link, help_links.
_LINK_NAME = re.compile(r"(?:(?i:url|uri|href)|(?:^|[^A-Za-z])(?i:link)|Link)s?_?\d*\Z")
_LONGEST_ENDING = 16
#: How names of variables end, in a security email, that carry an IP address under another name.
_IP_NAME = re.compile(r"(?:^|_)(?:ip|ip_address)\Z")
#: How names of variables end that carry what a stranger chose: a link there must not stop a security email.
_PERSON_NAME = re.compile(r"(?i:name)\Z")
_UNTRUSTED_NAME = re.compile(r"(?i:agent|device|browser|location|city|country|platform)\Z")
#: What no context of an email overrides.
_RESERVED_VARIABLES = frozenset({"project_name", "subject", "greeting_name", "recipient_email"})


def validate_variables(value: object, *, field: str = "context") -> dict[str, Json]:
    """Return template variables by name; None gives none.

    Args:
        field: what the giver knows them by.

    Raises:
        InvalidInput: they are not an object, one has an odd name, or holds what JSON cannot carry or no
            email can hold.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInput(field, "is not an object with named fields.")
    if len(value) > MAX_VALUES:
        raise InvalidInput(field, f"holds more than {MAX_VALUES} values.")
    found = {validation.validate_variable_name(name): each for name, each in value.items()}
    _SizeChecker(field).check(found, depth=0)
    return found


@dataclass(frozen=True, kw_only=True)
class LinkRules:
    """What links and IP addresses in the variables of one email may be, by the variable's name, at any depth.

    Variables of mailctl's own templates, such as reset_url, must lead to the origins of the service. Other
    links may lead anywhere, but must be one line and open a page, an email or a call: no `javascript:`, no
    `data:`.

    In a security email every other text is one line that no mail client turns into a link. Names, and what
    else strangers choose, are left empty where they are not; other texts are refused.
    """

    #: Origins of the service (scheme://host[:port]).
    origins: frozenset[str]
    #: Variables whose links must lead there.
    restricted: frozenset[str]
    #: Whether all links must lead there, as in a template for security emails.
    is_security_email: bool = False
    #: Variables that the email cannot do without: null is none.
    required: frozenset[str] = frozenset()
    #: Who gets the email; a text may be this address.
    recipient: str = ""

    def apply(self, given: Mapping[str, Json]) -> dict[str, Json]:
        """Return the variables of an email, each in the form that mailctl uses.

        Raises:
            InvalidInput: a link is none, or leads where it must not; an IP address is none.
        """
        return {
            name: value if name in _RESERVED_VARIABLES else self._checked(value, name, is_link=False)
            for name, value in given.items()
        }

    def _checked(self, value: Json, name: str, *, is_link: bool) -> Json:
        is_needed = name in self.required
        if value is None and not is_needed:  # there is none
            return None
        if name in self.restricted:
            return validation.validate_action_url(value, origins=self.origins, field=name)
        if name == _IP_ADDRESS or (self.is_security_email and _IP_NAME.search(name)):
            return validation.validate_ip_address(value, field=name)
        is_link = is_link or _is_link_name(name[-_LONGEST_ENDING:])
        if is_link and is_needed and not (value and isinstance(value, str | list | tuple | Mapping)):
            raise InvalidInput(name, "is not a link.")
        if isinstance(value, Mapping):
            return {
                self._checked_key(key, name): self._checked(each, key, is_link=is_link)
                for key, each in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._checked(each, name, is_link=is_link) for each in value]
        if not isinstance(value, str):
            return value
        return self._checked_link(value, name) if is_link else self._checked_text(value, name)

    def _checked_key(self, key: str, name: str) -> str:
        return validation.validate_plain_text(key, field=name) if self.is_security_email else key

    def _checked_text(self, value: str, name: str) -> str:
        if not self.is_security_email or value.lower() == self.recipient.lower():
            return value
        if _PERSON_NAME.search(name):
            return validation.safe_greeting_name(value)
        try:
            return validation.validate_plain_text(value, field=name)
        except InvalidInput:
            if _UNTRUSTED_NAME.search(name):
                return ""
            raise

    def _checked_link(self, value: str, name: str) -> str:
        if self.is_security_email:
            return validation.validate_action_url(value, origins=self.origins, field=name)
        return validation.validate_link(value, field=name)


@lru_cache(maxsize=1024)
def _is_link_name(ending: str) -> bool:
    return _LINK_NAME.search(ending) is not None


class _SizeChecker:
    """Goes through a value and counts."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._values = 0
        self._characters = 0

    def check(self, value: Json, *, depth: int) -> None:
        self._values += 1
        if depth > MAX_DEPTH or self._values > MAX_VALUES:
            self._refuse(f"holds more than {MAX_VALUES} values, or lists inside of lists {MAX_DEPTH} deep.")
        if isinstance(value, str):
            self._check_text(value)
        elif isinstance(value, Mapping):
            for name, each in value.items():
                if not isinstance(name, str):
                    self._refuse_type()
                self._check_text(name)
                self.check(each, depth=depth + 1)
        elif isinstance(value, list | tuple):
            for each in value:
                self.check(each, depth=depth + 1)
        elif not _is_number_or_none(value):
            self._refuse_type()

    def _check_text(self, text: str) -> None:
        self._characters += len(text)
        if self._characters > MAX_CHARACTERS:
            self._refuse(f"holds more than {MAX_CHARACTERS} characters.")
        if "\0" in text or not _has_no_surrogates(text):
            self._refuse("holds a NUL, or half of a character (a lone surrogate).")

    def _refuse_type(self) -> None:
        raise InvalidInput(
            self._field,
            "holds a value that JSON cannot carry.",
            fix="Use text, numbers, true, false, null, lists and objects.",
        )

    def _refuse(self, reason: str) -> None:
        raise InvalidInput(self._field, reason)


def _is_number_or_none(value: object) -> bool:
    if isinstance(value, int):
        return value.bit_length() <= _MAX_BITS
    return value is None or (isinstance(value, float) and math.isfinite(value))


def _has_no_surrogates(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)
