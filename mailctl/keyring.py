"""Keys from SECRET_KEY, one per purpose, with rotation: the newest seals, every known one opens."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from collections.abc import Sequence


class Keyring:
    """Seals and opens bytes, authenticated and bound to a purpose (Fernet keys derived by HKDF, RFC 5869).

    Args:
        secrets: the value of SECRET_KEY, then its earlier values.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = tuple(secrets)
        self._fernets: dict[str, MultiFernet] = {}

    def seal(self, plain: bytes, *, purpose: str) -> bytes:
        """Encrypt and sign `plain`, so that only `open` with the same purpose reads it; URL-safe ASCII."""
        return self._fernet(purpose).encrypt(plain)

    def open(self, sealed: bytes, *, purpose: str) -> bytes | None:
        """Return what was sealed; None if altered, sealed for another purpose, or by an unknown key."""
        try:
            return self._fernet(purpose).decrypt(sealed)
        except InvalidToken:
            return None

    def renew(self, sealed: bytes, *, purpose: str) -> bytes | None:
        """Return what was sealed, sealed by the newest key: the same bytes if it was; None as `open`."""
        fernet = self._fernet(purpose)
        newest = Fernet(_derive(self._secrets[0], purpose))
        try:
            newest.decrypt(sealed)
        except InvalidToken:
            try:
                return fernet.rotate(sealed)
            except InvalidToken:
                return None
        return sealed

    def digests(self, plain: bytes, *, purpose: str) -> list[str]:
        """Return a keyed hash of `plain` under each known secret, newest first (HMAC-SHA256, RFC 2104)."""
        return [
            hmac.new(_derive(secret, purpose), plain, hashlib.sha256).hexdigest() for secret in self._secrets
        ]

    def _fernet(self, purpose: str) -> MultiFernet:
        if purpose not in self._fernets:
            self._fernets[purpose] = MultiFernet(
                [Fernet(_derive(secret, purpose)) for secret in self._secrets]
            )
        return self._fernets[purpose]


def _derive(secret: str, purpose: str) -> bytes:
    derivation = HKDF(algorithm=SHA256(), length=32, salt=b"mailctl", info=f"mailctl/{purpose}/v1".encode())
    return base64.urlsafe_b64encode(derivation.derive(secret.encode()))
