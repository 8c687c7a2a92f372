"""The causes of refusals that concern every email, by what the mail server's reply is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.diagnosis.models import Cause
from mailctl.domain.outcomes import ReplyCategory
from mailctl.domain.shell_command import mailctl_command

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The name of the cause, and a clause that says what is wrong and which setting it is about.
_CAUSES: Mapping[ReplyCategory, tuple[str, str]] = {
    ReplyCategory.SENDER: (
        "sender_refused",
        "the mail server does not allow EMAIL_FROM_ADDRESS as the sender",
    ),
    ReplyCategory.CREDENTIALS: (
        "smtp_auth",
        "the mail server rejects EMAIL_HOST_USER or EMAIL_HOST_PASSWORD, or requires them",
    ),
    ReplyCategory.ENCRYPTION: ("smtp_tls", "the mail server requires TLS (EMAIL_TLS)"),
    ReplyCategory.CLIENT_CERTIFICATE: (
        "smtp_tls",
        "the mail server requires a client certificate that it trusts (EMAIL_TLS_CLIENT_CERT)",
    ),
    ReplyCategory.HELO: (
        "helo_refused",
        "the mail server does not accept the name by which this host introduces itself (EMAIL_HELO_NAME)",
    ),
    ReplyCategory.RELAY: (
        "relay_denied",
        "the mail server does not relay email for this host or account (EMAIL_HOST, EMAIL_HOST_USER)",
    ),
    ReplyCategory.ACCOUNT: (
        "account_restricted",
        "our account at the mail server is suspended, restricted or in a sandbox",
    ),
    ReplyCategory.REPUTATION: (
        "reputation",
        "the mail server distrusts this host or the sender's domain"
        " (block list, reverse name, SPF, DKIM or DMARC)",
    ),
    ReplyCategory.QUOTA: (
        "quota_used_up",
        "our account at the mail server has used up its hourly or daily quota",
    ),
    ReplyCategory.CONNECTIONS: (
        "too_many_connections",
        "the mail server allows fewer sessions at a time",
    ),
}


def find_our_fault(category: ReplyCategory | None) -> Cause | None:
    """Return the cause of a refusal that concerns every email; None if it may concern only one."""
    found = None if category is None else _CAUSES.get(category)
    if found is None:
        return None
    name, sentence = found
    return Cause(name=name, sentence=sentence, next_step=mailctl_command("check-config"))
