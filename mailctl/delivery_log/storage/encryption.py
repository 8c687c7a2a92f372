"""Encryption at rest: the content of an email is JSON, encrypted with a key derived from SECRET_KEY."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from mailctl.domain.models import Content, User
from mailctl.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.security.keyring import Keyring

#: The purpose of the key that encrypts content.
CONTENT_PURPOSE = "log/content"
_FINGERPRINT_PURPOSE = "log/fingerprint"
_ENCODER = json.JSONEncoder(sort_keys=True, allow_nan=False)


def seal(content: Content, keyring: Keyring) -> bytes:
    """Return the content, encrypted with the newest key.

    Raises:
        InvalidInput: a template variable cannot be written as JSON.
    """
    return keyring.seal(_encode(content), purpose=CONTENT_PURPOSE)


def open_sealed(sealed: bytes, keyring: Keyring) -> Content:
    """Return the decrypted content.

    Raises:
        ConfigurationError: no key that this process knows decrypts it.
    """
    plain = keyring.open(sealed, purpose=CONTENT_PURPOSE)
    if plain is None:
        raise ConfigurationError(
            "The content of this email was sealed with another SECRET_KEY.",
            fix="Use the SECRET_KEY of the process that recorded it, or name it in MAILCTL_SECRET_KEYS_OLD.",
        )
    fields = json.loads(plain)
    return Content(**{**fields, "user": User(**fields["user"])})


def fingerprints(kind: str, contents: Sequence[Content], keyring: Keyring) -> list[str]:
    """Return keyed hashes of the content of a call, one for each known key, newest first.

    Calls with the same content have the same hashes, from which the content cannot be guessed.
    """
    # Two calls for the same email differ in their traces.
    untraced = (replace(content, trace={}) if content.trace else content for content in contents)
    plain = b"\0".join([kind.encode(), *(_encode(content) for content in untraced)])
    return keyring.digests(plain, purpose=_FINGERPRINT_PURPOSE)


def _encode(content: Content) -> bytes:
    # Not `asdict`, which copies all values and takes as long as the encryption.
    fields = {**vars(content), "user": vars(content.user)}
    for name in ("trace", "call", "unvalidated"):
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
