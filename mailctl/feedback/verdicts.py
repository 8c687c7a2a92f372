"""The verdict of one received message on one email, before it is known which email that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from mailctl.feedback.models import FeedbackKind


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict of a message on one recipient.

    Args:
        kind: what is reported.
        recipient: the address reported about; None if the message does not tell.
        smtp_code: reply code of the remote server.
        enhanced_code: enhanced status code.
        diagnostic: the words of the remote server.
        remote_server: the server that said so.
        is_permanent: whether the message itself calls a bounce permanent; None if it does not tell.
        at: when it happened, aware; None if the message does not tell.
    """

    kind: FeedbackKind
    recipient: str | None = None
    smtp_code: int | None = None
    enhanced_code: str | None = None
    diagnostic: str = ""
    remote_server: str | None = None
    is_permanent: bool | None = None
    at: datetime | None = None
