"""What a log line may show of an address: enough to recognise it, not enough to write to it."""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"([\w!#$%&'*+/=?^`{|}~-])[\w.!#$%&'*+/=?^`{|}~-]*@([\w-]+(?:\.[\w-]+)*)")


def without_addresses(text: str) -> str:
    """Return a text in which every email address is masked, as z…@example.com."""
    return _ADDRESS.sub(r"\1…@\2", text)
