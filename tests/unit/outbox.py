"""An outbox in memory, for tests of what is recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mailctl.delivery_log.outbox import RecordResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.delivery_log.outbox import NewEmails
    from mailctl.delivery_log.shared_transactions import SharedCall
    from mailctl.domain.models import Draft


@dataclass
class Outbox:
    """An outbox that keeps drafts."""

    drafts: list[Draft] = field(default_factory=list)

    def add(self, drafts: Sequence[Draft], **_: Any) -> RecordResult:
        """Keep drafts."""
        self.drafts += drafts
        return RecordResult(id=drafts[0].id)

    def add_all(self, calls: Sequence[SharedCall[NewEmails, RecordResult]], **_: Any) -> None:
        """Keep the drafts of calls that came together."""
        for call in calls:
            call.end(self.add(call.argument.drafts))

    def flush(self) -> None:
        """Do nothing."""
