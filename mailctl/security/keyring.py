"""Encryption with keys derived from SECRET_KEY, one for each purpose, with key rotation.

The newest secret encrypts; every known secret decrypts. What is encrypted can be bound to its place, such as
a row of a table: moved elsewhere, it does not open. cryptography is imported by the first use of a key:
commands that only read the delivery log need none.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

#: The version of the format: it precedes nonce and ciphertext.
_VERSION = b"\x02"
#: The first version of the format, whose data is bound to a purpose alone.
UNBOUND_VERSION = b"\x01"
_NONCE_BYTES = 12
_LENGTH_BYTES = 4
_FINGERPRINT_PURPOSE = "fingerprint"
#: Characters of a fingerprint: enough to tell secrets apart.
_FINGERPRINT_LENGTH = 12


class Keyring:
    """Encrypts and authenticates data for a purpose (AES-256-GCM, NIST SP 800-38D; HKDF, RFC 5869).

    The random nonces suffice for 2**32 messages with one SECRET_KEY (section 8.3 there).

    Args:
        secrets: the value of SECRET_KEY, followed by its earlier values.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = tuple(secrets)
        self._ciphers: dict[bytes, list[AESGCM]] = {}

    def seal(self, plain: bytes, *, purpose: str, bound_to: Sequence[str] = ()) -> bytes:
        """Return data encrypted with the newest secret.

        Args:
            plain: the data.
            purpose: what the data is for; it opens for the same purpose only.
            bound_to: the values that identify the place of the data; it opens with the same values only.
        """
        nonce, data = os.urandom(_NONCE_BYTES), join_unambiguously(purpose, *bound_to)
        return _VERSION + nonce + self._ciphers_for(purpose)[0].encrypt(nonce, plain, data)

    def open(self, sealed: bytes, *, purpose: str, bound_to: Sequence[str] = ()) -> bytes | None:
        """Decrypt data; return None if it was altered or moved, or sealed by another secret."""
        data = join_unambiguously(purpose, *bound_to)
        return _decrypt_any(self._ciphers_for(purpose), sealed, data, version=_VERSION)

    def open_unbound(self, sealed: bytes, *, purpose: str) -> bytes | None:
        """Decrypt data of the first version of the format, which is bound to its purpose alone."""
        return _decrypt_any(self._unbound_ciphers_for(purpose), sealed, None, version=UNBOUND_VERSION)

    def is_newest(self, sealed: bytes, *, purpose: str, bound_to: Sequence[str] = ()) -> bool:
        """Whether the newest secret has sealed this data, in the current version of the format."""
        data, newest = join_unambiguously(purpose, *bound_to), self._ciphers_for(purpose)[:1]
        return _decrypt_any(newest, sealed, data, version=_VERSION) is not None

    def seal_text(self, plain: bytes, *, purpose: str, bound_to: Sequence[str] = ()) -> str:
        """Return data encrypted like `seal` does, as URL-safe base64 (RFC 4648 section 5)."""
        return base64.urlsafe_b64encode(self.seal(plain, purpose=purpose, bound_to=bound_to)).decode()

    def open_text(self, sealed: str, *, purpose: str, bound_to: Sequence[str] = ()) -> bytes | None:
        """Return what `seal_text` encrypted; None as for `open`, or if the base64 is not canonical."""
        raw = _decode_canonical(sealed)
        return None if raw is None else self.open(raw, purpose=purpose, bound_to=bound_to)

    def open_unbound_text(self, sealed: str, *, purpose: str) -> bytes | None:
        """Return what the first version of the format encrypted as base64; see `open_unbound`."""
        raw = _decode_canonical(sealed)
        return None if raw is None else self.open_unbound(raw, purpose=purpose)

    def digests(self, plain: bytes, *, purpose: str) -> list[str]:
        """Return keyed hashes of `plain` (HMAC-SHA256, RFC 2104).

        The first ones are made with each secret, the newest first; as many follow that earlier versions of
        mailctl made with them.
        """
        keys = [_derive(secret, _label(purpose, "hmac")) for secret in self._secrets]
        keys += [_derive(secret, _unbound_label(purpose)) for secret in self._secrets]
        return [hmac.new(key, plain, hashlib.sha256).hexdigest() for key in keys]

    def fingerprints(self) -> tuple[str, ...]:
        """Return a name for each secret, the newest first, from which the secret cannot be derived."""
        digests = self.digests(b"", purpose=_FINGERPRINT_PURPOSE)[: len(self._secrets)]
        return tuple(digest[:_FINGERPRINT_LENGTH] for digest in digests)

    def _ciphers_for(self, purpose: str) -> list[AESGCM]:
        return self._ciphers_with(_label(purpose, "aes"))

    def _unbound_ciphers_for(self, purpose: str) -> list[AESGCM]:
        return self._ciphers_with(_unbound_label(f"{purpose}/aes"))

    def _ciphers_with(self, label: bytes) -> list[AESGCM]:
        if label not in self._ciphers:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            self._ciphers[label] = [AESGCM(_derive(secret, label)) for secret in self._secrets]
        return self._ciphers[label]


def join_unambiguously(*parts: str) -> bytes:
    """Return texts as bytes that no other texts give: each is preceded by its length."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    return b"".join([len(part).to_bytes(_LENGTH_BYTES, "big") + part for part in encoded])


def is_unbound(sealed: bytes) -> bool:
    """Whether data has the first version of the format, which is not bound to its place."""
    return sealed.startswith(UNBOUND_VERSION)


@lru_cache(maxsize=64)
def _label(purpose: str, use: str) -> bytes:
    return join_unambiguously("mailctl", purpose, use, "v2")


def _unbound_label(purpose: str) -> bytes:
    return f"mailctl/{purpose}/v1".encode()


def _decrypt_any(
    ciphers: Sequence[AESGCM], sealed: bytes, data: bytes | None, *, version: bytes
) -> bytes | None:
    nonce, ciphertext = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    if not sealed.startswith(version) or len(nonce) < _NONCE_BYTES:
        return None
    from cryptography.exceptions import InvalidTag

    for cipher in ciphers:
        with suppress(InvalidTag):
            return cipher.decrypt(nonce, ciphertext, data)
    return None


def _decode_canonical(text: str) -> bytes | None:
    """Return what base64 text stands for; None if the text is not its one spelling."""
    try:
        raw = base64.urlsafe_b64decode(text)
    except ValueError:
        return None
    return raw if base64.urlsafe_b64encode(raw).decode() == text else None


def _derive(secret: str, label: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=32, salt=b"mailctl", info=label).derive(secret.encode())
