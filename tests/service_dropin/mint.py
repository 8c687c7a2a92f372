"""The function of MAILCTL_LINK_MINT of the service: it makes the tokens that its endpoints read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailctl import links

_PURPOSES = {"reset-password": "reset", "verify-email": "verification"}


def mint(request: links.LinkRequest) -> str:
    """Return a token as the service makes it."""
    from shop import tokens  # type: ignore[import-not-found]  # where the tests install the service

    answer: dict[str, Any] = {"ip": request.ip_address, "action": request.action} if request.action else {}
    purpose = _PURPOSES.get(request.purpose, "ip-access")
    return str(tokens.make(purpose, subject=request.user.id, seconds=3600, **answer))
