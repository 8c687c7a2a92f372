"""Sealed links for the endpoints of a service: verify one, or redeem it so that it works once.

from mailctl import links

claims = links.verify(t, purpose="reset-password")
"""

from __future__ import annotations

from mailctl.security.links import (
    InvalidLink,
    LinkClaims,
    LinkRequest,
    LinkUser,
    UsedLink,
    UseStore,
    redeem,
    verify,
)

__all__ = [
    "InvalidLink",
    "LinkClaims",
    "LinkRequest",
    "LinkUser",
    "UseStore",
    "UsedLink",
    "redeem",
    "verify",
]
