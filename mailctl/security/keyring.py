"""Keys from SECRET_KEY, one per purpose, with rotation: the newest seals, every known one opens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What begins bytes that are sealed by AES-GCM; a Fernet token begins with a letter.
_AES_GCM_PREFIX = b"\x01"
_NONCE_BYTES = 12


class Keyring:
    """Seals and opens bytes, authenticated and bound to a purpose by keys of its own (HKDF, RFC 5869).

    Args:
        secrets: the value of SECRET_KEY, then its earlier values.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = tuple(secrets)
        self._fernets: dict[str, list[Fernet]] = {}
        self._ciphers: dict[str, list[AESGCM]] = {}

    def seal(self, plain: bytes, *, purpose: str) -> bytes:
        """Encrypt and sign `plain`, so that only `open` with the same purpose reads it; ASCII (Fernet)."""
        return self._fernets_for(purpose)[0].encrypt(plain)

    def seal_bytes(self, plain: bytes, *, purpose: str) -> bytes:
        """Do the same in a tenth of the time, for what need not be text (AES-256-GCM, NIST SP 800-38D).

        Its random nonces suffice for 2**32 messages by one SECRET_KEY (section 8.3 there).
        """
        nonce = os.urandom(_NONCE_BYTES)
        return _AES_GCM_PREFIX + nonce + self._ciphers_for(purpose)[0].encrypt(nonce, plain, None)

    def open(self, sealed: bytes, *, purpose: str) -> bytes | None:
        """Return what was sealed; None if altered, sealed for another purpose, or by an unknown key."""
        found = (self._open_with(number, sealed, purpose) for number in range(len(self._secrets)))
        return next((plain for plain in found if plain is not None), None)

    def reseal(self, sealed: bytes, *, purpose: str) -> bytes | None:
        """Return what was sealed, sealed by the newest key: the same bytes if it was; None as `open`."""
        if self._open_with(0, sealed, purpose) is not None:
            return sealed
        plain = self.open(sealed, purpose=purpose)
        return None if plain is None else self.seal_bytes(plain, purpose=purpose)

    def digests(self, plain: bytes, *, purpose: str) -> list[str]:
        """Return a keyed hash of `plain` under each known secret, newest first (HMAC-SHA256, RFC 2104)."""
        return [
            hmac.new(_derive(secret, purpose), plain, hashlib.sha256).hexdigest() for secret in self._secrets
        ]

    def _open_with(self, number: int, sealed: bytes, purpose: str) -> bytes | None:
        try:
            if not sealed.startswith(_AES_GCM_PREFIX):
                return self._fernets_for(purpose)[number].decrypt(sealed)
            nonce, body = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
            return self._ciphers_for(purpose)[number].decrypt(nonce, body, None)
        except (InvalidToken, InvalidTag, ValueError):  # too short for a nonce
            return None

    def _fernets_for(self, purpose: str) -> list[Fernet]:
        if purpose not in self._fernets:
            self._fernets[purpose] = [Fernet(_derive(secret, purpose)) for secret in self._secrets]
        return self._fernets[purpose]

    def _ciphers_for(self, purpose: str) -> list[AESGCM]:
        if purpose not in self._ciphers:
            keys = (base64.urlsafe_b64decode(_derive(secret, f"{purpose}/aes")) for secret in self._secrets)
            self._ciphers[purpose] = [AESGCM(key) for key in keys]
        return self._ciphers[purpose]


def _derive(secret: str, purpose: str) -> bytes:
    derivation = HKDF(algorithm=SHA256(), length=32, salt=b"mailctl", info=f"mailctl/{purpose}/v1".encode())
    return base64.urlsafe_b64encode(derivation.derive(secret.encode()))
