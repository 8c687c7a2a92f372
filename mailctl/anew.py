"""The command that sends another email like one whose content is forgotten."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailctl.message import Email

#: What `mailctl send` has to be told besides the user; kinds of a service have variables.
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "welcome": (),
    "reset": (),
    "verification": (),
    "new-ip": ("--ip", "ADDRESS"),
    "email": ("--subject", "SUBJECT", "--set", "body=TEXT"),
}
_OF_OWN_KINDS = ("--set", "NAME=VALUE")


def send_anew(email: Email) -> str:
    """Return a command to copy; what nobody knows any more is in capitals."""
    whom = ("--user-id", email.user_id) if email.user_id else ("--email", email.to)
    return f"mailctl {shlex.join(('send', email.kind, *whom, *_NEEDS.get(email.kind, _OF_OWN_KINDS)))}"
