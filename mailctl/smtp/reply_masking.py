"""Masks the password of a mail server in its replies, which may repeat it."""

from __future__ import annotations

import re
from base64 import b64encode

from mailctl.settings.credential_masking import MASK

#: Shorter passwords may occur within ordinary words.
_SHORTEST_PASSWORD = 4


def mask_password(text: str, password: str, *, user: str, also_plain: bool) -> str:
    """Return a reply of a mail server without the password that it was given (RFC 4616).

    Args:
        text: the reply.
        password: the password, which is masked in its base64 encodings.
        user: the user name that was sent with it.
        also_plain: whether to mask the password in clear as well; it may also be an ordinary word.
    """
    if len(password) < _SHORTEST_PASSWORD:
        return text
    # The longest first, because an encoding may contain another.
    for sent in (f"{user}\0{user}\0{password}", f"\0{user}\0{password}", password):
        encoded = b64encode(sent.encode("utf-8", "surrogateescape")).decode().rstrip("=")
        text = re.sub(re.escape(encoded) + "={0,2}", MASK, text)
    return text.replace(password, MASK) if also_plain else text
