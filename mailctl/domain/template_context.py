"""Validates template variables: their types, size, links and IP addresses."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from mailctl.domain import link_validation, validation
from mailctl.domain.json_values import to_json_name, to_json_value
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from mailctl.domain.models import Json

MAX_DEPTH = 16
#: The number of values, nested ones included.
MAX_VALUES = 5_000
#: Characters of all values together: more than twice what mail clients show of an email.
MAX_CHARACTERS = 200_000
_MAX_BITS = 128
_IP_ADDRESS = "ip_address"
#: The end of variable names that hold links: reset_url, logoUrl, hrefs, link, help_links.
_LINK_NAME = re.compile(r"(?:(?i:url|uri|href)|(?:^|[^A-Za-z])(?i:link)|Link)s?_?\d*\Z")
_LONGEST_ENDING = 16
#: The end of variable names that hold an IP address in a security email.
_IP_NAME = re.compile(r"(?:^|_)(?:ip|ip_address)\Z")
#: The end of variable names whose values strangers choose: a link there must not stop a security email.
_PERSON_NAME = re.compile(r"(?i:name)\Z")
_UNTRUSTED_NAME = re.compile(r"(?i:agent|device|browser|location|city|country|platform)\Z")
#: The field that errors name.
_FIELD = "context"
#: Variables that the context of an email cannot override.
_RESERVED_VARIABLES = frozenset({"project_name", "subject", "greeting_name", "recipient_email"})


def validate_variables(value: object) -> dict[str, Json]:
    """Return validated template variables by name.

    Args:
        value: a mapping of names to values of the types that `to_json_value` takes, or a dataclass or model
            of pydantic; None for no variables.

    Raises:
        InvalidInput: the value is not an object, a name is invalid, or a value is of another type or too
            large.
    """
    if value is None:
        return {}
    value = to_json_value(value, field=_FIELD)
    if not isinstance(value, Mapping):
        raise InvalidInput(_FIELD, "must be an object with named fields.")
    if len(value) > MAX_VALUES:
        raise InvalidInput(_FIELD, f"has more than {MAX_VALUES} values.")
    found = {validation.validate_variable_name(name): each for name, each in value.items()}
    copied: dict[str, Json] = _JsonCopier().copy(found, depth=0)
    return copied


@dataclass(frozen=True, kw_only=True)
class LinkRules:
    """Rules for the links, IP addresses and texts in the variables of one email, at any depth.

    Variables of the built-in templates, such as reset_url, must lead to the origins of the service. Other
    links may lead anywhere, but must be one line and open a page, an email or a call: no `javascript:`, no
    `data:`.

    In a security email, every text must be one line that no mail client turns into a link. Names and other
    values that strangers choose are replaced by "" if they are not; other texts are refused.
    """

    #: The origins of the service (scheme://host[:port]).
    origins: frozenset[str]
    #: Variables whose links must lead to these origins.
    restricted: frozenset[str]
    #: Whether all links must lead to these origins.
    is_security_email: bool = False
    #: Variables that must not be null.
    required: frozenset[str] = frozenset()
    #: The address of the recipient, which a text may equal.
    recipient: str = ""

    def apply(self, given: Mapping[str, Json]) -> dict[str, Json]:
        """Return the variables of an email, validated and normalized.

        Raises:
            InvalidInput: a link is invalid or leads to another origin, or an IP address is invalid.
        """
        return {
            name: value if name in _RESERVED_VARIABLES else self._checked(value, name, is_link=False)
            for name, value in given.items()
        }

    def _checked(self, value: Json, name: str, *, is_link: bool) -> Json:
        is_required = name in self.required
        if value is None and not is_required:
            return None
        if name in self.restricted:
            return link_validation.validate_action_url(value, origins=self.origins, field=name)
        if name == _IP_ADDRESS or (self.is_security_email and _IP_NAME.search(name)):
            return validation.validate_ip_address(value, field=name)
        is_link = is_link or _is_link_name(name[-_LONGEST_ENDING:])
        if is_link and is_required and not (value and isinstance(value, str | list | tuple | Mapping)):
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
            return link_validation.validate_action_url(value, origins=self.origins, field=name)
        return link_validation.validate_link(value, field=name)


@lru_cache(maxsize=1024)
def _is_link_name(ending: str) -> bool:
    return _LINK_NAME.search(ending) is not None


class _JsonCopier:
    """Copies a value as JSON values, and refuses it if it is too large or cannot be one."""

    def __init__(self) -> None:
        self._values = 0
        self._characters = 0

    def copy(self, value: object, *, depth: int) -> Json:
        """Return a copy of a value at a depth of nesting."""
        self._values += 1
        if depth > MAX_DEPTH or self._values > MAX_VALUES:
            self._refuse(f"has more than {MAX_VALUES} values or {MAX_DEPTH} levels of nesting.")
        value = to_json_value(value, field=_FIELD)
        if isinstance(value, str):
            return self._checked_text(value)
        if isinstance(value, Mapping):
            return {
                self._checked_text(to_json_name(name, field=_FIELD)): self.copy(each, depth=depth + 1)
                for name, each in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.copy(each, depth=depth + 1) for each in value]
        if not _is_number_or_none(value):
            self._refuse("contains a number that is not finite or has too many digits.")
        return value

    def _checked_text(self, text: str) -> str:
        self._characters += len(text)
        if self._characters > MAX_CHARACTERS:
            self._refuse(f"has more than {MAX_CHARACTERS} characters.")
        if "\0" in text or not _has_no_surrogates(text):
            self._refuse("contains a NUL or a lone surrogate.")
        return text

    def _refuse(self, reason: str) -> None:
        raise InvalidInput(_FIELD, reason)


def _is_number_or_none(value: object) -> bool:
    if isinstance(value, int):
        return value.bit_length() <= _MAX_BITS
    return value is None or (isinstance(value, float) and math.isfinite(value))


def _has_no_surrogates(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)
