"""Sample emails, one for each kind, for checks and previews."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.catalog import GENERIC, NEW_IP
from mailctl.message import Content, User

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailctl.catalog import Kind
    from mailctl.message import Json

_USER = User(id="42", email="ada.lovelace@example.com", username="ada", first_name="Ada")
_CONTEXT: Mapping[str, Mapping[str, Json]] = {
    NEW_IP.name: {"ip_address": "203.0.113.7"},
    GENERIC.name: {
        "title": "We will be away for an hour",
        "body": (
            "On Saturday we move to faster machines. From 06:00 to 07:00 UTC you cannot sign in.\n\n"
            "You do not need to do anything: your data and your settings stay as they are."
        ),
    },
}


def sample_content(kind: Kind) -> Content:
    """Return what an email of this kind could be made of; its links are minted as for any other."""
    is_generic = kind.template is None
    return Content(
        user=_USER,
        context=_CONTEXT.get(kind.name, {}),
        subject="Planned maintenance on Saturday" if is_generic else None,
        template="message" if is_generic else None,
    )
