"""Bounce addresses: envelope senders with a signed token, by which a bounce proves which email it is about.

The form is VERP (variable envelope return path): `bounces+TOKEN@example.com`. The token is an email's id
and a keyed hash of it, in lower-case base32, which mail servers that change the case leave intact. It does
not expire: it can tell nothing but what became of this one email.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import uuid
from typing import TYPE_CHECKING

from mailctl.domain.address_validation import validate_address
from mailctl.errors import ConfigurationError, InvalidInput
from mailctl.security.keyring import Keyring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.settings import Settings

_PURPOSE = "bounce-address"
#: Octets of the keyed hash: a forger has to try 2**79 tokens on average.
_HASH_OCTETS = 10
#: Octets of an id that is no UUID, at most; emails with longer ones have no token.
_MAX_TEXT_OCTETS = 16
#: What a token begins with: its id is a UUID, or a text.
_UUID, _TEXT = b"\x01", b"\x02"
#: Characters of the longest token: base32 of its 27 octets.
_MAX_TOKEN_LENGTH = 44
#: Octets of a local part (RFC 5321 section 4.5.3.1.1).
_MAX_LOCAL_PART = 64
#: Octets of the local part of a bounce address without its token and the plus before it.
MAX_BASE_LENGTH = _MAX_LOCAL_PART - _MAX_TOKEN_LENGTH - 1
#: What may be a token in a text, from the shortest to the longest one.
_TOKEN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z2-7]{19,44}(?![A-Za-z0-9])")
#: Candidates that are looked at in one text: what real messages hold is far less.
_MAX_CANDIDATES = 200
SETTING = "MAILCTL_BOUNCE_ADDRESS"


class BounceAddress:
    """Makes and verifies envelope senders that tell which email they belong to.

    Args:
        address: the address without a token, such as bounces@example.com.
        keyring: signs the tokens.
    """

    def __init__(self, address: str, keyring: Keyring) -> None:
        self._local_part, _, self._domain = address.rpartition("@")
        self._keyring = keyring

    def token(self, email_id: str) -> str:
        """Return the token of an email; "" for an id that is too long for one."""
        packed = _pack(email_id)
        if packed is None:
            return ""
        signed = packed + self._hashes(packed)[0]
        return base64.b32encode(signed).decode().rstrip("=").lower()

    def sender(self, email_id: str) -> str:
        """Return the envelope sender of an email; without a token if its id is too long for one."""
        token = self.token(email_id)
        return f"{self._local_part}+{token}@{self._domain}" if token else f"{self._local_part}@{self._domain}"

    def email_id(self, token: str) -> str | None:
        """Return the id of the email that a token was made for; None if no key of ours has signed it."""
        signed = _decode(token)
        packed, given = signed[:-_HASH_OCTETS], signed[-_HASH_OCTETS:]
        if not packed or not any(hmac.compare_digest(given, each) for each in self._hashes(packed)):
            return None
        return _unpack(packed)

    def email_id_of_address(self, address: str) -> str | None:
        """Return the id of the email whose envelope sender this is; None if it is none of ours."""
        token = self._token_of_address(address)
        return self.email_id(token) if token else None

    def find(self, text: str) -> str | None:
        """Return the id of the email whose token is in a text; None if no valid token is."""
        found = (self.email_id(token) for token in _candidates(text))
        return next((email_id for email_id in found if email_id is not None), None)

    def has_forged_token(self, text: str) -> bool:
        """Whether a text has an address with the form of a bounce address, and none that we have signed."""
        form = re.compile(
            rf"(?<![\w.+-]){re.escape(self._local_part)}\+([^\s@<>]{{1,64}})@{re.escape(self._domain)}",
            re.IGNORECASE,
        )
        tokens = [found[1] for _, found in zip(range(_MAX_CANDIDATES), form.finditer(text), strict=False)]
        return bool(tokens) and not any(self.email_id(token) for token in tokens)

    def _token_of_address(self, address: str) -> str:
        local_part, _, domain = address.strip().strip("<>").rpartition("@")
        base, plus, token = local_part.partition("+")
        is_ours = plus and (base.lower(), domain.lower()) == (self._local_part.lower(), self._domain.lower())
        return token if is_ours else ""

    def _hashes(self, packed: bytes) -> list[bytes]:
        digests = self._keyring.digests(packed, purpose=_PURPOSE)
        return [bytes.fromhex(digest)[:_HASH_OCTETS] for digest in digests]


def bounce_address_from_settings(settings: Settings) -> BounceAddress | None:
    """Return the bounce address of the settings; None if there is none.

    Raises:
        ConfigurationError: MAILCTL_BOUNCE_ADDRESS is no address, or has no room for a token.
    """
    if not settings.mailctl_bounce_address:
        return None
    address = validate_bounce_address(settings.mailctl_bounce_address)
    return BounceAddress(address, Keyring(settings.secret_keys))


def validate_bounce_address(value: str) -> str:
    """Return an address that has room for a token.

    Raises:
        ConfigurationError: it is no address, or its local part is too long or has a plus.
    """
    try:
        address = validate_address(value)
    except InvalidInput as error:
        raise ConfigurationError(
            f"{SETTING} {value!r} {error.reason}", fix="Give one such as bounces@example.com."
        ) from None
    local_part = address.rpartition("@")[0]
    if len(local_part) > MAX_BASE_LENGTH or "+" in local_part:
        raise ConfigurationError(
            f"{SETTING} has no room for a token before its @.",
            fix=f"Give an address with at most {MAX_BASE_LENGTH} characters and no + before the @.",
        )
    return address


def _candidates(text: str) -> Iterator[str]:
    for _, found in zip(range(_MAX_CANDIDATES), _TOKEN.finditer(text), strict=False):
        yield found[0]


def _pack(email_id: str) -> bytes | None:
    try:
        given = uuid.UUID(email_id)
    except ValueError:
        given = None
    if given is not None and str(given) == email_id:
        return _UUID + given.bytes
    raw = email_id.encode()
    return _TEXT + raw if 0 < len(raw) <= _MAX_TEXT_OCTETS else None


def _unpack(packed: bytes) -> str | None:
    version, raw = packed[:1], packed[1:]
    if version == _UUID and len(raw) == 16:
        return str(uuid.UUID(bytes=raw))
    return raw.decode("utf-8", "replace") if version == _TEXT and raw else None


def _decode(token: str) -> bytes:
    """Return the octets of a token in base32; b"" if it is none, or another spelling of one."""
    if not 0 < len(token) <= _MAX_TOKEN_LENGTH or not token.isascii():
        return b""
    try:
        signed = base64.b32decode(token.upper() + "=" * (-len(token) % 8))
    except binascii.Error:
        return b""
    is_canonical = base64.b32encode(signed).decode().rstrip("=") == token.upper()
    return signed if is_canonical else b""
