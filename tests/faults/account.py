"""The account of a run: every email is at the mail server, or in a final state with a reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.domain.retry_policy import IN_DOUBT
from mailctl.domain.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.domain.models import Email, Event
    from tests.smtp_server import AcceptedMessage

#: The property of a test's report that carries its account, also from another process.
PROPERTY = "account"


@dataclass(frozen=True, kw_only=True)
class Account:
    """What became of the emails of one scenario."""

    scenario: str
    emails: int
    sent: int
    ended: int
    lost: tuple[str, ...]
    duplicates: int
    duplicates_explained: int
    seconds: float

    @property
    def row(self) -> tuple[str, ...]:
        """The account as a row of the table."""
        numbers = (
            self.emails,
            self.sent,
            self.ended,
            len(self.lost),
            self.duplicates,
            self.duplicates_explained,
        )
        return (self.scenario, *(str(number) for number in numbers), f"{self.seconds:.1f}")


COLUMNS = ("scenario", "emails", "sent", "ended", "lost", "duplicates", "explained", "recovered in s")


def account_for(
    scenario: str,
    emails: Sequence[Email],
    events: dict[str, list[Event]],
    messages: Sequence[AcceptedMessage],
    *,
    seconds: float,
) -> Account:
    """Compare the delivery log with what the mail server holds.

    Args:
        emails: every email that was recorded, as it is now.
        events: of those emails, by id.
        messages: what the mail server accepted.
        seconds: from the end of the fault to the end of the last email.
    """
    copies = Counter(message.message_id.strip("<>") for message in messages)
    known = {(email.message_id or "").strip("<>"): email for email in emails}
    lost = [email.id for email in emails if not _is_accounted(email, copies)]
    doubled = [message_id for message_id, count in copies.items() if count > 1]
    explained = [
        message_id
        for message_id in doubled
        if message_id in known and _is_explained(events[known[message_id].id])
    ]
    return Account(
        scenario=scenario,
        emails=len(emails),
        sent=sum(email.state is State.SENT for email in emails),
        ended=sum(email.is_final and email.state is not State.SENT for email in emails),
        lost=tuple(lost),
        duplicates=sum(copies[message_id] - 1 for message_id in doubled),
        duplicates_explained=sum(copies[message_id] - 1 for message_id in explained),
        seconds=seconds,
    )


def _is_accounted(email: Email, copies: Counter[str]) -> bool:
    if email.state is State.SENT:
        return copies[(email.message_id or "").strip("<>")] >= 1
    return email.is_final and bool(email.error)


def _is_explained(events: Sequence[Event]) -> bool:
    return any(event.reason_code in IN_DOUBT for event in events)
