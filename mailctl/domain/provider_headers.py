"""The headers by which providers return the id of an email with its feedback.

A provider takes the Message-ID for its own, or leaves it out of its webhooks; its metadata it returns as they
are. Most remove the header before the email goes out.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

#: The name of the metadata that hold the id; Postmark takes 20 characters.
ID_KEY = "mailctl-id"
#: The header with the id, for providers that return the headers of emails.
ID_HEADER = "X-Mailctl-Id"
#: What every provider takes as a value; Postmark takes 80 characters.
_ID = re.compile(r"[A-Za-z0-9._:-]{1,80}")


def id_headers(providers: Collection[str], email_id: str) -> dict[str, str]:
    """Return the headers, by name, that make providers return the id of an email.

    Args:
        providers: the names of the providers whose webhooks are switched on.
        email_id: the id. An id of another program that providers may not take gets no header; its email is
            then matched by the Message-ID, where the provider returns that.
    """
    if not providers or not _ID.fullmatch(email_id):
        return {}
    metadata = json.dumps({ID_KEY: email_id})
    headers = {
        "brevo": ("X-Mailin-custom", metadata),
        "mailgun": ("X-Mailgun-Variables", metadata),
        "mailjet": ("X-MJ-CustomID", email_id),
        "postmark": (f"X-PM-Metadata-{ID_KEY}", email_id),
        "resend": (ID_HEADER, email_id),
        "sendgrid": ("X-SMTPAPI", json.dumps({"unique_args": {ID_KEY: email_id}})),
        "ses": (ID_HEADER, email_id),
        "sparkpost": ("X-MSYS-API", json.dumps({"metadata": {ID_KEY: email_id}})),
    }
    return dict(headers[name] for name in providers)
