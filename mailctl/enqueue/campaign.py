"""Campaigns: the same email to many, checked row by row, recorded in the log, sent in batches by workers."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from mailctl.domain.factory import make_content, make_drafts, make_recipient
from mailctl.domain.models import Content, RowProblem
from mailctl.domain.samples import with_dead_links
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.errors import InvalidInput, MailctlError, ServiceUnavailable
from mailctl.settings import BULK_QUEUE
from mailctl.users import Screening

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from mailctl.delivery_log.campaigns import CampaignBatch
    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Draft, Envelope, Json, User
    from mailctl.domain.recipient_list import RecipientRow
    from mailctl.runtime import Runtime

#: Rows that are recorded in one transaction: few at first, so that workers begin, then more, as each
#: transaction costs the disk about the same.
FIRST_CHUNK_ROWS = 500
MAX_CHUNK_ROWS = 4000
MAX_NAME_LENGTH = 100


@dataclass(frozen=True, kw_only=True)
class CampaignRequest:
    """What a campaign sends, to whomever."""

    kind: Kind
    #: The same name never sends to an address twice.
    campaign: str = ""
    context: Mapping[str, Json] = field(default_factory=dict)
    subject: str | None = None
    template: str | None = None
    not_before: datetime | None = None
    #: Emails a second, all workers together; None for as fast as it goes.
    rate: float | None = None
    #: The operator who says that suppressed addresses get it too.
    forced_by: str | None = None
    #: Which users, named by id, are refused.
    screening: Screening = Screening.FULL


@dataclass(frozen=True, kw_only=True)
class ChunkResult:
    """What became of some rows."""

    #: Id and address of each email that is new in the log.
    emails: tuple[tuple[str, str], ...] = ()
    #: How many the campaign had already.
    already_recorded: int = 0
    #: How many of the new ones are not sent: their address is suppressed.
    suppressed: int = 0
    problems: tuple[RowProblem, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows these were."""
        return len(self.emails) + self.already_recorded + len(self.problems)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What would become of rows."""

    #: How many emails would be new in the log.
    new: int
    #: How many rows the campaign has already, or are about an address of a row before.
    known: int
    problems: tuple[RowProblem, ...]


class CampaignRecorder:
    """Records the emails of one campaign; workers send them.

    Args:
        runtime: the parts of this process.
        mailing: what is sent.

    Raises:
        InvalidInput: the campaign's name is not usable.
        ConfigurationError: no email can be made with these settings.
    """

    def __init__(self, runtime: Runtime, mailing: CampaignRequest) -> None:
        name = mailing.campaign
        if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable() or name != name.strip():
            raise InvalidInput(
                "--campaign", f"is not usable: give 1 to {MAX_NAME_LENGTH} printable characters."
            )
        runtime.check_message_settings()
        self._runtime = runtime
        self._mailing = mailing
        self._enqueuer = Enqueuer(runtime)
        self._at = mailing.not_before or datetime.now(UTC)
        self._shared_fields: dict[str, Any] | None = None
        #: How many of the rows given to `record` are in the log.
        self.rows_in_log = 0
        named = hashlib.sha256(f"{name}\0".encode())
        self._name_hash = named
        self._id_prefix = named.hexdigest()[:8]

    def check(self, rows: Iterable[RecipientRow | RowProblem]) -> Checked:
        """Go through rows and return what `record` would do with them; nothing is recorded."""
        problems: list[RowProblem] = []
        new, known = set[str](), 0
        for chunk in self._check_in_chunks(rows):
            problems += [row for row in chunk if isinstance(row, RowProblem)]
            ids = [row.id for row in chunk if not isinstance(row, RowProblem)]
            more = set(ids) - new
            more -= self._runtime.campaigns.known(list(more))
            new |= more
            known += len(ids) - len(more)
        return Checked(new=len(new), known=known, problems=tuple(problems))

    def record(self, rows: Iterable[RecipientRow | RowProblem]) -> Iterator[ChunkResult]:
        """Record the emails of rows, some at a time; a row that cannot be used is told and left out.

        Each step is recorded for good: who stops in the middle goes on with the same rows and the same name.
        The step that was under way then is finished, and counted in `rows_in_log`.

        Raises:
            InvalidInput: the template lacks a variable that the first row does not give.
            LogUnavailable: the log cannot be written.
            DirectoryUnavailable: the users cannot be looked up.
        """
        begun: Future[ChunkResult] | None = None
        is_open = False
        # The database works on some rows while the next ones are checked, and while others get to disk.
        with _gc_frozen(), ThreadPoolExecutor(1, thread_name_prefix="mailctl-campaign") as recorder:
            try:
                for checked in self._check_in_chunks(rows):
                    drafts = [draft for draft in checked if not isinstance(draft, RowProblem)]
                    if drafts and not is_open:
                        self._start_campaign(drafts[0])
                        is_open = True
                    batch = self._runtime.campaigns.prepare_batch(drafts)
                    recorded = begun.result() if begun else None
                    begun = recorder.submit(self._record_batch, checked, batch)
                    if recorded:
                        self._runtime.outbox.flush()
                        yield recorded
            finally:
                last = begun.result() if begun else None
                self._runtime.outbox.flush()
            if last:
                yield last

    def _start_campaign(self, first: Draft) -> None:
        mailing = self._mailing
        self._enqueuer.refuse_unrenderable(mailing.kind, [first.content], at=self._at)
        self._runtime.campaigns.create_or_update(mailing.campaign, kind=first.kind, rate=mailing.rate)

    def _check_in_chunks(
        self, rows: Iterable[RecipientRow | RowProblem]
    ) -> Iterator[list[Draft | RowProblem]]:
        remaining, size = iter(rows), FIRST_CHUNK_ROWS
        while chunk := list(islice(remaining, size)):
            now, size = datetime.now(UTC), min(2 * size, MAX_CHUNK_ROWS)
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

    def preview(self, rows: Iterable[RecipientRow | RowProblem]) -> Envelope | None:
        """Return the first usable row's message, with links that open nothing; None if there is none.

        Raises:
            RenderError: the template cannot be rendered.
        """
        for row in rows:
            checked = self._check_row(row, now=datetime.now(UTC))
            if not isinstance(checked, RowProblem):
                kind, base = self._mailing.kind, self._runtime.settings.frontend_url
                content = with_dead_links(checked.content, kind, frontend_url=base)
                return asyncio.run(self._runtime.composer.preview(kind, content, at=self._at))
        return None

    def _check_row(self, row: RecipientRow | RowProblem, *, now: datetime) -> Draft | RowProblem:
        if isinstance(row, RowProblem):
            return row
        mailing = self._mailing
        try:
            content = self._content(self._user(row), row.variables)
        except ServiceUnavailable:
            raise
        except MailctlError as error:
            return RowProblem(line=row.line, reason=error.message)
        [draft] = make_drafts(
            self._recorded_kind,
            [content],
            queue=BULK_QUEUE,
            now=now,
            first_id=self._id_for(content.user.email.lower()),
            not_before=mailing.not_before,
            campaign=mailing.campaign,
            forced_by=mailing.forced_by,
        )
        return draft

    def _content(self, user: User, variables: Mapping[str, Json]) -> Content:
        if variables:
            return self._make_content(user, {**self._mailing.context, **variables})
        # Checked once: only the user differs. Not by `replace`, which takes twice as long.
        if self._shared_fields is None:
            self._shared_fields = vars(self._make_content(user, self._mailing.context))
        return Content(**{**self._shared_fields, "user": user})

    @cached_property
    def _recorded_kind(self) -> Kind:
        return self._enqueuer.resolve_kind(self._mailing.kind, self._mailing.template)

    def _make_content(self, user: User, context: Mapping[str, Json]) -> Content:
        mailing = self._mailing
        return make_content(
            mailing.kind,
            user,
            origins=self._runtime.link_origins,
            context=context,
            subject=mailing.subject,
            template=mailing.template,
            catalog=self._runtime.catalog,
        )

    def _id_for(self, address: str) -> str:
        """Return a UUID of version 8 (RFC 9562) that follows from the campaign and the address.

        All of a campaign begin alike, so that a database finds their places in its indices close together.
        """
        hashed = self._name_hash.copy()
        hashed.update(address.encode())
        digits = hashed.hexdigest()
        return f"{self._id_prefix}-{digits[:4]}-8{digits[4:7]}-a{digits[7:10]}-{digits[10:22]}"

    def _user(self, row: RecipientRow) -> User:
        if row.email is None:
            assert row.user_id is not None
            return self._runtime.directory.get(row.user_id, screening=self._mailing.screening)
        return make_recipient(email=row.email, id=row.user_id, name=row.name)


@contextmanager
def _gc_frozen() -> Iterator[None]:
    """Let searches for garbage pass over what was there before: many rows cause many, and find nothing."""
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def with_derived_name(mailing: CampaignRequest, data: bytes) -> CampaignRequest:
    """Return a mailing that nobody named with a name: the same list and words are the same campaign.

    Args:
        data: the list.
    """
    kind = mailing.kind.name
    words = json.dumps([kind, mailing.subject, mailing.template, dict(mailing.context)], sort_keys=True)
    digest = hashlib.sha256(words.encode() + bytes(1) + data).hexdigest()[:12]
    return replace(mailing, campaign=f"{kind}-{digest}")
