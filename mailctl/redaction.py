"""What may be shown of secrets, and of an address: enough to recognise it, not enough to write to it."""

from __future__ import annotations

import re

#: Stands for a secret.
MASK = "***"
_LOCAL = r"[\w.!#$%&'*+/=?^`{|}~-]"
# It begins where a word does: a search from each letter of a long one would take quadratic time.
_ADDRESS = re.compile(rf"(?<!{_LOCAL}){_LOCAL}+@[\w-]+(?:\.[\w-]+)*")


def masked_address(address: str) -> str:
    """Return as much of an address as tells an operator whose it is, and nobody else: z…@example.com."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}…{at}{domain}"


def without_addresses(text: str) -> str:
    """Return a text in which every email address is masked."""
    return _ADDRESS.sub(lambda found: masked_address(found[0]), text)
