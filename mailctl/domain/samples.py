"""Sample content for emails of each kind, for checks and previews."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.domain.catalog import BUILT_IN_LINK_VARIABLES
from mailctl.domain.models import Content, User

if TYPE_CHECKING:
    from mailctl.domain.catalog import Kind

#: Replaces the token in the links of previews; it grants access to nothing.
SAMPLE_TOKEN = "SAMPLE-this-link-does-not-work"  # noqa: S105 - opens nothing
_IP_ADDRESS = "203.0.113.7"
_USER = User(id="42", email="ada.lovelace@example.com", username="ada", first_name="Ada")


def sample_content(kind: Kind, *, page: str = "") -> Content:
    """Return sample content for an email of a kind, without links.

    Args:
        kind: the kind of email.
        page: the URL for variables that must be links to the service.
    """
    is_generic = kind.template is None
    needed = dict.fromkeys(BUILT_IN_LINK_VARIABLES, page) | {"ip_address": _IP_ADDRESS}
    made_up = {name: needed.get(name) or f"[{name}]" for name in kind.variables}
    return Content(
        user=_USER,
        context={**made_up, **kind.samples},
        subject="Planned maintenance on Saturday" if is_generic else None,
        template="message" if is_generic else None,
    )
