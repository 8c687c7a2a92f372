"""Finds emails by the Message-ID and the reply with which a mail server accepted them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from mailctl.delivery_log.storage.batches import batches
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.mailbox import canonical_mailbox

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Engine


@dataclass(frozen=True, kw_only=True)
class AcceptedEmail:
    """An email, and what the mail server said when it accepted it."""

    id: str
    #: Without the code; it names the queue id of an MTA.
    reply_text: str


def find_accepted(
    engine: Engine, keys: Collection[tuple[str, str]]
) -> Mapping[tuple[str, str], AcceptedEmail]:
    """Return emails by their Message-ID and recipient.

    Args:
        engine: of the delivery log's database.
        keys: Message-ID without angle brackets, and recipient.

    Returns:
        The emails, by the key; without those that are not in the log, or whose outcome is not recorded yet.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    wanted = {
        (f"<{message_id}>", canonical_mailbox(address)): (message_id, address) for message_id, address in keys
    }
    found: dict[tuple[str, str], AcceptedEmail] = {}
    columns = (emails.c.id, emails.c.message_id, emails.c.mailbox, emails.c.smtp_text)
    with reading(engine) as connection:
        for some in batches(sorted({mailbox for _, mailbox in wanted})):
            query = select(*columns).where(
                emails.c.mailbox.in_(some), emails.c.message_id.in_([message_id for message_id, _ in wanted])
            )
            for row in connection.execute(query):
                if key := wanted.get((row.message_id, row.mailbox)):
                    found[key] = AcceptedEmail(id=row.id, reply_text=row.smtp_text or "")
    return found
