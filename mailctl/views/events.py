"""Events of the delivery log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from mailctl.views.base import Timestamp, View

if TYPE_CHECKING:
    from mailctl.delivery_log.queries.event_feed import FeedEntry


class FeedEntryView(View):
    """An event with the email that it belongs to."""

    seq: int = Field(description="The number of the event; they are numbered in their order.")
    at: Timestamp
    task_id: str = Field(description="The id of the email.")
    kind: str
    to: str
    queue: str
    campaign: str | None
    state: State = Field(description="The state that the email changed to, or stayed in.")
    attempt: int
    worker: str | None
    code: int | None = Field(description="The SMTP reply code.")
    reason_code: ReasonCode | None
    stage: str | None = Field(description="The SMTP stage at which an attempt failed.")
    actor: str | None = Field(description="The operator who caused it; null if mailctl did.")
    text: str

    @classmethod
    def of(cls, entry: FeedEntry) -> FeedEntryView:
        """Return the view of an event."""
        event = entry.event
        return cls(
            seq=entry.seq,
            at=event.at,
            task_id=entry.email_id,
            kind=entry.kind,
            to=entry.to,
            queue=entry.queue,
            campaign=entry.campaign,
            state=event.state,
            attempt=event.attempt,
            worker=event.worker,
            code=event.code,
            reason_code=event.reason_code,
            stage=event.stage,
            actor=event.actor,
            text=event.text,
        )
