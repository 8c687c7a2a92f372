"""Seals as the first version of the format had them: bound to a purpose, and to no row."""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def seal_unbound(plain: bytes, *, secret: str, purpose: str) -> bytes:
    """Return data sealed for a purpose, as an earlier version did it."""
    nonce = os.urandom(12)
    return b"\x01" + nonce + AESGCM(derive_unbound(secret, f"{purpose}/aes")).encrypt(nonce, plain, None)


def derive_unbound(secret: str, purpose: str) -> bytes:
    """Return the key of a purpose, as an earlier version derived it."""
    info = f"mailctl/{purpose}/v1".encode()
    return HKDF(algorithm=SHA256(), length=32, salt=b"mailctl", info=info).derive(secret.encode())
