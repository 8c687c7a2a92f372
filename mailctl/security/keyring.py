"""Encryption with keys derived from SECRET_KEY, one for each purpose, with key rotation.

The newest secret encrypts; every known secret decrypts. cryptography is imported by the first use of a key:
commands that only read the delivery log need none.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

#: The version of the format: it precedes nonce and ciphertext.
_VERSION = b"\x01"
_NONCE_BYTES = 12


class Keyring:
    """Encrypts and authenticates data for a purpose (AES-256-GCM, NIST SP 800-38D; HKDF, RFC 5869).

    The random nonces suffice for 2**32 messages with one SECRET_KEY (section 8.3 there).

    Args:
        secrets: the value of SECRET_KEY, followed by its earlier values.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = tuple(secrets)
        self._ciphers: dict[str, list[AESGCM]] = {}

    def seal(self, plain: bytes, *, purpose: str) -> bytes:
        """Return data encrypted with the newest secret, which `open` decrypts for the same purpose."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._ciphers_for(purpose)[0].encrypt(nonce, plain, None)

    def open(self, sealed: bytes, *, purpose: str) -> bytes | None:
        """Decrypt data; return None if it was altered, or sealed for another purpose or by another secret."""
        found = (self._open_with(number, sealed, purpose) for number in range(len(self._secrets)))
        return next((plain for plain in found if plain is not None), None)

    def seal_text(self, plain: bytes, *, purpose: str) -> str:
        """Return data encrypted like `seal` does, as URL-safe base64 (RFC 4648 section 5)."""
        return base64.urlsafe_b64encode(self.seal(plain, purpose=purpose)).decode()

    def open_text(self, sealed: str, *, purpose: str) -> bytes | None:
        """Return what `seal_text` encrypted; None as for `open`, or if the base64 is not canonical."""
        try:
            raw = base64.urlsafe_b64decode(sealed)
        except ValueError:
            return None
        is_canonical = base64.urlsafe_b64encode(raw).decode() == sealed
        return self.open(raw, purpose=purpose) if is_canonical else None

    def reseal(self, sealed: bytes, *, purpose: str) -> bytes | None:
        """Return sealed data, resealed unless the newest secret sealed it; None as for `open`."""
        if self._open_with(0, sealed, purpose) is not None:
            return sealed
        plain = self.open(sealed, purpose=purpose)
        return None if plain is None else self.seal(plain, purpose=purpose)

    def digests(self, plain: bytes, *, purpose: str) -> list[str]:
        """Return a keyed hash of `plain` for each secret, the newest first (HMAC-SHA256, RFC 2104)."""
        return [
            hmac.new(_derive(secret, purpose), plain, hashlib.sha256).hexdigest() for secret in self._secrets
        ]

    def _open_with(self, number: int, sealed: bytes, purpose: str) -> bytes | None:
        nonce, ciphertext = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if not sealed.startswith(_VERSION) or len(nonce) < _NONCE_BYTES:
            return None
        from cryptography.exceptions import InvalidTag

        try:
            return self._ciphers_for(purpose)[number].decrypt(nonce, ciphertext, None)
        except InvalidTag:
            return None

    def _ciphers_for(self, purpose: str) -> list[AESGCM]:
        if purpose not in self._ciphers:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            keys = (_derive(secret, f"{purpose}/aes") for secret in self._secrets)
            self._ciphers[purpose] = [AESGCM(key) for key in keys]
        return self._ciphers[purpose]


def _derive(secret: str, purpose: str) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derivation = HKDF(algorithm=SHA256(), length=32, salt=b"mailctl", info=f"mailctl/{purpose}/v1".encode())
    return derivation.derive(secret.encode())
