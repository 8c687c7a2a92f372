"""The rows that record new emails, and their first events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailctl.delivery_log.storage import encryption
from mailctl.domain.catalog import can_unsubscribe
from mailctl.domain.mailbox import canonical_mailbox
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mailctl.domain.models import Draft
    from mailctl.security.keyring import Keyring


def email_row(draft: Draft, keyring: Keyring, *, due_at: datetime, now: datetime) -> dict[str, Any]:
    """Return the row of a pending email, with encrypted content.

    Args:
        keyring: encrypts the content.
        due_at: when a relay may publish the email, unless the email itself has to wait for longer.
    """
    request, user = draft.request, draft.content.user
    # In lower case, as the limits count: a different spelling of an address is the same address.
    recipient = user.email.lower()
    identity = encryption.RowIdentity(
        id=draft.id, kind=draft.kind, recipient=recipient, expires_at=draft.expires_at
    )
    return {
        "id": draft.id,
        "kind": draft.kind,
        "state": State.PENDING,
        "queue": draft.queue,
        "to_address": recipient,
        "mailbox": canonical_mailbox(user.email),
        "user_id": user.id,
        "source": request.source,
        "content": encryption.seal(draft.content, keyring, identity),
        "attempts": 0,
        "created_at": draft.created_at,
        "updated_at": now,
        "due_at": request.earliest_start(due_at),
        "not_before": request.not_before,
        "expires_at": draft.expires_at,
        "group_id": draft.group_id,
        "campaign": request.campaign,
        "tenant": draft.content.tenant or None,
        "is_forced": request.forced_by is not None,
        "is_own_task": draft.content.own_task is not None,
        "can_unsubscribe": can_unsubscribe(draft),
    }


def first_events(drafts: Sequence[Draft], *, now: datetime) -> list[dict[str, Any]]:
    """Return the rows of the first events of pending emails; all drafts come from one call."""
    forced_by = drafts[0].request.forced_by if drafts else None
    event: dict[str, Any] = {"at": now, "state": State.PENDING, "attempt": 0, "text": "recorded"}
    if forced_by is not None:
        text = "recorded; neither suppressions nor limits apply"
        event |= {"text": text, "actor": forced_by, "reason_code": ReasonCode.FORCED}
    return [{"email_id": draft.id, **event} for draft in drafts]
