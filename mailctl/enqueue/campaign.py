"""Recording campaigns: one email to many recipients, which workers send in batches."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from mailctl.domain.catalog import is_security_template
from mailctl.domain.email_ids import DAY_DIGITS, day_digits
from mailctl.domain.factory import make_drafts, make_recipient
from mailctl.domain.models import RowProblem, copy_with
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.errors import InvalidInput, MailctlError, ServiceUnavailable
from mailctl.settings import BULK_QUEUE
from mailctl.users import Screening

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime

    from mailctl.delivery_log.campaigns import CampaignBatch
    from mailctl.domain.models import Draft, Envelope, Json, User
    from mailctl.domain.recipient_list import RecipientRow
    from mailctl.domain.request import EmailRequest
    from mailctl.runtime import Runtime

#: Rows per transaction: few at first, so that workers can begin, then more, because every transaction costs
#: the disk about the same.
FIRST_CHUNK_ROWS = 500
MAX_CHUNK_ROWS = 4000
#: New objects after which garbage is collected meanwhile; a row needs about five.
_GC_THRESHOLD = 50_000
MAX_NAME_LENGTH = 100
#: How many digits all ids of a campaign begin with.
_ID_PREFIX_DIGITS = 8


@dataclass(frozen=True, kw_only=True)
class ChunkResult:
    """The result of recording some rows of a list."""

    #: The id and the address of each new email.
    emails: tuple[tuple[str, str], ...] = ()
    #: The number of emails that the campaign already had.
    already_recorded: int = 0
    #: The number of new emails that are not sent because their address is suppressed.
    suppressed: int = 0
    #: The rows that cannot be used.
    problems: tuple[RowProblem, ...] = ()

    @property
    def rows(self) -> int:
        """The number of these rows."""
        return len(self.emails) + self.already_recorded + len(self.problems)


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The result of validating the rows of a list without recording them."""

    #: The number of emails that would be new.
    new: int
    #: The number of rows whose address the campaign already has, or an earlier row of the list.
    already_recorded: int
    #: The rows that cannot be used.
    problems: tuple[RowProblem, ...]


class CampaignRecorder:
    """Records the emails of one campaign in the delivery log.

    Args:
        runtime: the parts of this process.
        request: the request that all recipients share; it names the campaign.
        rate: emails per second that all workers together send; None for no limit.
        screening: which users, if rows name them by id, are refused.

    Raises:
        InvalidInput: the name of the campaign is not usable.
        ConfigurationError: the settings do not allow composing an email.
        LogUnavailable: the delivery log cannot be read.
    """

    def __init__(
        self,
        runtime: Runtime,
        request: EmailRequest,
        *,
        rate: float | None = None,
        screening: Screening = Screening.FULL,
    ) -> None:
        self._name = _validate_name(request.campaign)
        runtime.check_message_settings()
        self._runtime = runtime
        self._request = request
        self._rate = rate
        self._screening = screening
        self._enqueuer = Enqueuer(runtime)
        #: An email of this campaign without variables of its own, if the others are like it.
        self._example: Draft | None = None
        #: The number of rows given to `record` whose emails are in the delivery log.
        self.rows_in_log = 0
        self._name_hash = hashlib.sha256(f"{self._name}\0".encode())
        self._id_prefix = self._read_id_prefix()

    def check(self, rows: Iterable[RecipientRow | RowProblem]) -> CheckResult:
        """Validate rows and return what `record` would do with them."""
        problems: list[RowProblem] = []
        new, already_recorded = set[str](), 0
        for chunk in self._check_in_chunks(rows):
            problems += [row for row in chunk if isinstance(row, RowProblem)]
            ids = [row.id for row in chunk if not isinstance(row, RowProblem)]
            more = set(ids) - new
            more -= self._runtime.campaigns.known(list(more))
            new |= more
            already_recorded += len(ids) - len(more)
        return CheckResult(new=len(new), already_recorded=already_recorded, problems=tuple(problems))

    def record(self, rows: Iterable[RecipientRow | RowProblem]) -> Iterator[ChunkResult]:
        """Record the emails of rows, chunk by chunk; rows that cannot be used are reported and left out.

        Each chunk is committed. If the caller stops early, the current chunk is finished and counted in
        `rows_in_log`. Recording the same rows under the same name again continues the campaign.

        Raises:
            InvalidInput: the template needs a variable that the first row lacks.
            LogUnavailable: the delivery log cannot be written.
            UserDirectoryUnavailable: the users cannot be looked up.
        """
        begun: Future[ChunkResult] | None = None
        is_open = False
        # One chunk is written while the next one is validated and the previous one is flushed to disk.
        with ExitStack() as stack:
            executor = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="mailctl-campaign"))
            try:
                for number, checked in enumerate(self._check_in_chunks(rows)):
                    if number == 1:
                        stack.enter_context(_gc_seldom())
                    drafts = [draft for draft in checked if not isinstance(draft, RowProblem)]
                    if drafts and not is_open:
                        self._start_campaign(drafts[0])
                        drafts = self._with_ids_of_campaign(drafts)
                        is_open = True
                    batch = self._runtime.campaigns.prepare_batch(drafts)
                    recorded = begun.result() if begun else None
                    begun = executor.submit(self._record_batch, checked, batch)
                    if recorded:
                        self._runtime.outbox.flush()
                        yield recorded
            finally:
                last = begun.result() if begun else None
                self._runtime.outbox.flush()
            if last:
                yield last

    def preview(self, rows: Iterable[RecipientRow | RowProblem]) -> Envelope | None:
        """Return the message to the first usable row, with links that do not work; None if no row is usable.

        Raises:
            RenderError: the template cannot be rendered.
        """
        now = self._runtime.clock()
        checked = (self._check_row(row, now=now) for row in rows)
        first = next((each for each in checked if not isinstance(each, RowProblem)), None)
        if first is None:
            return None
        kind = self._request.kind
        content = replace(first.content, urls=self._runtime.links.sample_urls(kind))
        at = self._request.earliest_start(now)
        return asyncio.run(self._runtime.composer.preview(kind, content, at=at))

    def _start_campaign(self, first: Draft) -> None:
        self._enqueuer.refuse_unrenderable(self._request, [first.content])
        self._runtime.campaigns.create_or_update(self._name, kind=first.kind, rate=self._rate)

    def _with_ids_of_campaign(self, drafts: list[Draft]) -> list[Draft]:
        """Return drafts with the ids of the campaign, if another process has begun it on another day."""
        if (prefix := self._read_id_prefix()) == self._id_prefix:
            return drafts
        self._id_prefix = prefix
        return [replace(draft, id=self._id_for(draft.content.user.email.lower())) for draft in drafts]

    def _read_id_prefix(self) -> str:
        """Return how all ids of the campaign begin: with the day on which it began."""
        digits = self._name_hash.hexdigest()[:_ID_PREFIX_DIGITS]
        day = self._runtime.campaigns.find_id_day(self._name, now=self._runtime.clock())
        return digits if day is None else day_digits(day) + digits[:-DAY_DIGITS]

    def _check_in_chunks(
        self, rows: Iterable[RecipientRow | RowProblem]
    ) -> Iterator[list[Draft | RowProblem]]:
        remaining, size = iter(rows), FIRST_CHUNK_ROWS
        while chunk := list(islice(remaining, size)):
            now, size = self._runtime.clock(), min(2 * size, MAX_CHUNK_ROWS)
            yield [self._check_row(row, now=now) for row in chunk]

    def _record_batch(self, checked: Sequence[Draft | RowProblem], batch: CampaignBatch) -> ChunkResult:
        added = self._runtime.campaigns.add(batch)
        self.rows_in_log += batch.requested
        new = set(added.new)
        emails = {draft.id: draft.content.user.email for draft in batch.drafts if draft.id in new}
        return ChunkResult(
            emails=tuple(emails.items()),
            already_recorded=batch.requested - len(new),
            suppressed=len(added.suppressed),
            problems=tuple(problem for problem in checked if isinstance(problem, RowProblem)),
        )

    def _check_row(self, row: RecipientRow | RowProblem, *, now: datetime) -> Draft | RowProblem:
        if isinstance(row, RowProblem):
            return row
        try:
            user, example = self._user(row), self._example
            if row.variables or example is None or example.created_at != now:
                draft = self._draft(user, row.variables, now=now)
                # Without variables of the row, emails differ by the user only, so the rest is made once.
                if not row.variables and not self._depends_on_user(draft):
                    self._example = draft
                return draft
        except ServiceUnavailable:
            raise
        except MailctlError as error:
            return RowProblem(line=row.line, reason=error.message)
        content = copy_with(example.content, user=user)
        return copy_with(example, id=self._id_for(user.email.lower()), content=content)

    def _depends_on_user(self, draft: Draft) -> bool:
        """Whether what is allowed in an email depends on its recipient; so it is for security emails."""
        template = draft.content.template or self._request.kind.template
        return bool(self._request.context) and is_security_template(template)

    def _draft(self, user: User, variables: Mapping[str, Json], *, now: datetime) -> Draft:
        content = self._enqueuer.make_content(self._request, user, variables=variables)
        first_id = self._id_for(user.email.lower())
        [draft] = make_drafts(self._recorded_request, [content], queue=BULK_QUEUE, now=now, first_id=first_id)
        return draft

    @cached_property
    def _recorded_request(self) -> EmailRequest:
        return self._enqueuer.with_recorded_kind(self._request, self._request.template)

    def _id_for(self, address: str) -> str:
        """Return a UUID of version 8 (RFC 9562), derived from the campaign and the address.

        All ids of a campaign begin with the same digits, those of its first day and of its name, so that they
        are close together in database indices, and in one partition.
        """
        hashed = self._name_hash.copy()
        hashed.update(address.encode())
        digits = hashed.hexdigest()
        return f"{self._id_prefix}-{digits[:4]}-8{digits[4:7]}-a{digits[7:10]}-{digits[10:22]}"

    def _user(self, row: RecipientRow) -> User:
        if row.email is None:
            assert row.user_id is not None
            return self._runtime.directory.get(row.user_id, screening=self._screening)
        return make_recipient(email=row.email, id=row.user_id, name=row.name)


def _validate_name(name: str | None) -> str:
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable() or name != name.strip():
        raise InvalidInput("--campaign", f"must be 1 to {MAX_NAME_LENGTH} printable characters.")
    return name


@contextmanager
def _gc_seldom() -> Iterator[None]:
    """Collect garbage seldom, and not among the objects that exist already: many rows trigger it in vain.

    What another thread has set already, for its own campaign, is left to that thread.
    """
    youngest, *older = gc.get_threshold()
    is_often, is_frozen = 0 < youngest < _GC_THRESHOLD, bool(gc.get_freeze_count())
    if is_often:
        gc.set_threshold(_GC_THRESHOLD, *older)
    if not is_frozen:
        gc.freeze()
    try:
        yield
    finally:
        if is_often:
            gc.set_threshold(youngest, *older)
        if not is_frozen:
            gc.unfreeze()


def with_derived_name(request: EmailRequest, data: bytes) -> EmailRequest:
    """Return a request whose campaign is named after its content and its list.

    The same list and the same content give the same name, so that repeating a command sends nothing twice.

    Args:
        data: the file that holds the list.
    """
    kind = request.kind.name
    words = json.dumps([kind, request.subject, request.template, dict(request.context)], sort_keys=True)
    digest = hashlib.sha256(words.encode() + bytes(1) + data).hexdigest()[:12]
    return replace(request, campaign=f"{kind}-{digest}")
