"""Encryption at rest: the content of an email is JSON, encrypted with a key derived from SECRET_KEY.

A sealed content is bound to its row: to the id, the kind, the recipient and the time at which the email
expires. Who may write to the database, and has no key, can delete contents but not move them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mailctl.domain.models import Content, User
from mailctl.errors import ConfigurationError, InvalidInput
from mailctl.security.keyring import is_unbound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.security.keyring import Keyring

_CONTENT_PURPOSE = "log/content"
_FINGERPRINT_PURPOSE = "log/fingerprint"
_ENCODER = json.JSONEncoder(sort_keys=True, allow_nan=False)
_NEVER = b"never"
_EPOCH = datetime.fromtimestamp(0, tz=UTC)
#: The unit of times in all databases.
_EXPIRY_UNIT = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class RowIdentity:
    """The row to which a sealed content is bound: put into any other row, it does not open."""

    id: str
    kind: str
    #: The address in the row, in lower case.
    recipient: str
    #: When the email expires; it is inside the seal, so that what changes it has to reseal the content.
    expires_at: datetime | None

    @property
    def values(self) -> tuple[str, ...]:
        """The values that are authenticated with the content."""
        return (self.id, self.kind, self.recipient)


def seal(content: Content, keyring: Keyring, row: RowIdentity) -> bytes:
    """Return the content, encrypted with the newest key and bound to its row.

    Raises:
        InvalidInput: a template variable cannot be written as JSON.
    """
    return _seal(_encode(content), keyring, row)


def open_sealed(sealed: bytes, keyring: Keyring, row: RowIdentity) -> Content:
    """Return the decrypted content of a row.

    Raises:
        ConfigurationError: no key that this process knows decrypts it, it was sealed for another row, or by a
            version of mailctl that did not bind contents to rows.
    """
    plain = _open(sealed, keyring, row)
    if plain is None:
        raise _unreadable_error(sealed)
    return _decode(plain)


def reseal(sealed: bytes, keyring: Keyring, row: RowIdentity, *, changed: RowIdentity) -> bytes | None:
    """Return the content of a row, sealed for what the row becomes.

    Returns:
        The sealed content; None if it cannot be opened.
    """
    plain = _open(sealed, keyring, row)
    return None if plain is None else _seal(plain, keyring, changed)


def renew(sealed: bytes, keyring: Keyring, row: RowIdentity) -> bytes | None:
    """Return the content of a row, resealed unless the newest key sealed it for this row.

    This alone reads contents that earlier versions did not bind to their rows. They are taken only if they
    are for the recipient of the row.

    Returns:
        The sealed content; None if no known key decrypts it, or it belongs to another row.
    """
    plain = _open(sealed, keyring, row)
    if plain is None:
        unbound = keyring.open_unbound(sealed, purpose=_CONTENT_PURPOSE)
        # The task of a service may not have said its recipient; such a content has none.
        is_own = unbound is not None and _decode(unbound).user.email.lower() in ("", row.recipient)
        return _seal(unbound, keyring, row) if unbound is not None and is_own else None
    is_newest = keyring.is_newest(sealed, purpose=_CONTENT_PURPOSE, bound_to=row.values)
    return sealed if is_newest else _seal(plain, keyring, row)


def _seal(plain: bytes, keyring: Keyring, row: RowIdentity) -> bytes:
    inside = _expiry(row) + b"\n" + plain
    return keyring.seal(inside, purpose=_CONTENT_PURPOSE, bound_to=row.values)


def _open(sealed: bytes, keyring: Keyring, row: RowIdentity) -> bytes | None:
    inside = keyring.open(sealed, purpose=_CONTENT_PURPOSE, bound_to=row.values)
    expiry, _, plain = (inside or b"").partition(b"\n")
    return plain if expiry == _expiry(row) else None


def _expiry(row: RowIdentity) -> bytes:
    at = row.expires_at
    return _NEVER if at is None else str((at - _EPOCH) // _EXPIRY_UNIT).encode()


def _decode(plain: bytes) -> Content:
    fields = json.loads(plain)
    return Content(**{**fields, "user": User(**fields["user"])})


def _unreadable_error(sealed: bytes) -> ConfigurationError:
    if is_unbound(sealed):
        return ConfigurationError(
            "An earlier version of mailctl sealed the content of this email, and did not bind it to its row;"
            " `mailctl db rekey` reseals it.",
            fix="Run: mailctl db rekey",
        )
    return ConfigurationError(
        "The content of this email was sealed with another SECRET_KEY, or for another row of the log.",
        fix="Use the SECRET_KEY of the process that recorded it, or name it in MAILCTL_SECRET_KEYS_OLD."
        " If the keys are right, another program has changed the row: cancel the email.",
    )


def fingerprints(kind: str, contents: Sequence[Content], keyring: Keyring) -> list[str]:
    """Return keyed hashes of the content of a call; the first is the one to store.

    Calls with the same content have the same hashes, from which the content cannot be guessed.
    """
    # Two calls for the same email differ in their traces.
    untraced = (replace(content, trace={}) if content.trace else content for content in contents)
    plain = b"\0".join([kind.encode(), *(_encode(content) for content in untraced)])
    return keyring.digests(plain, purpose=_FINGERPRINT_PURPOSE)


def _encode(content: Content) -> bytes:
    # Not `asdict`, which copies all values and takes as long as the encryption.
    fields = {**vars(content), "user": vars(content.user)}
    for name in ("trace", "call", "unvalidated", "sender", "tenant"):
        # Without the key, as versions without it wrote the content: fingerprints of both must be equal.
        if not fields[name]:
            del fields[name]
    try:
        return _ENCODER.encode(fields).encode()
    except (TypeError, ValueError):
        raise InvalidInput(
            "context",
            "holds a value that JSON cannot carry.",
            fix="Use text, numbers, true, false, null, lists and objects.",
        ) from None
