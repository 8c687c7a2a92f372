"""The campaign recorder, with rows that are validated but not recorded."""

from __future__ import annotations

import gc
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.domain.catalog import GENERIC, RESET, WELCOME
from mailctl.domain.email_ids import day_digits, day_of
from mailctl.domain.models import Draft, RowProblem, User
from mailctl.domain.recipient_list import RecipientRow
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.campaign import (
    _GC_THRESHOLD,
    FIRST_CHUNK_ROWS,
    MAX_CHUNK_ROWS,
    CampaignRecorder,
    ChunkResult,
    _gc_seldom,
    with_derived_name,
)
from mailctl.errors import InvalidInput, NotFound, UserDirectoryUnavailable
from mailctl.settings import BULK_QUEUE
from mailctl.users import Screening

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailctl.runtime import Runtime

WELCOME_ALL = EmailRequest(kind=WELCOME, campaign="spring")
MESSAGE_ALL = EmailRequest(
    kind=GENERIC,
    campaign="spring",
    subject="News",
    template="message",
    context={"title": "News", "body": "Hello"},
)


def row(address: str, line: int = 1, **more: Any) -> RecipientRow:
    return RecipientRow(line=line, email=address, name="", **more)


def drafts(runtime: Runtime, rows: Iterable[Any], request: EmailRequest = WELCOME_ALL) -> list[Draft]:
    """Return the emails that these rows become."""
    chunks = CampaignRecorder(runtime, request)._check_in_chunks(rows)
    return [draft for chunk in chunks for draft in chunk if isinstance(draft, Draft)]


class Directory:
    """A directory that has user 7 and cannot be reached for user `down`."""

    def close(self) -> None:
        """Close the directory."""

    def get(self, user_id: str, *, screening: Screening) -> User:
        """Return user 7."""
        if user_id == "down":
            raise UserDirectoryUnavailable("The database of users does not answer.")
        if user_id != "7":
            raise NotFound(f"There is no user {user_id}.")
        return User(id="7", email=f"{screening.name}@example.com")


class TestTheNameOfACampaign:
    """A campaign has a name that an operator can type and find."""

    @pytest.mark.parametrize("name", [None, "", " spring", "spring ", "a\nb", "x" * 101])
    def test_unusable_names_are_refused(self, runtime: Runtime, name: str | None) -> None:
        """Names must be short, printable and without spaces around them."""
        with pytest.raises(InvalidInput, match="--campaign"):
            CampaignRecorder(runtime, EmailRequest(kind=WELCOME, campaign=name))

    def test_the_same_list_and_words_have_the_same_name(self) -> None:
        """Repeating a command finds the same campaign again."""
        assert with_derived_name(MESSAGE_ALL, b"a@example.com") == with_derived_name(
            MESSAGE_ALL, b"a@example.com"
        )

    @pytest.mark.parametrize(
        ("request_", "data"),
        [
            (MESSAGE_ALL, b"b@example.com"),
            (EmailRequest(kind=GENERIC, subject="Other", template="message"), b"a@example.com"),
            (WELCOME_ALL, b"a@example.com"),
        ],
    )
    def test_another_list_or_other_words_have_another_name(self, request_: EmailRequest, data: bytes) -> None:
        """Derived names differ with the kind, the content and the list."""
        named = with_derived_name(request_, data)
        assert named.campaign != with_derived_name(MESSAGE_ALL, b"a@example.com").campaign
        assert str(named.campaign).startswith(f"{request_.kind.name}-")


class TestEmails:
    """Each usable row becomes an email."""

    def test_all_share_the_request_and_the_bulk_queue(self, runtime: Runtime) -> None:
        """Drafts refer to one request without copying it, and go to the bulk queue."""
        found = drafts(runtime, [row("a@example.com"), row("b@example.com")])
        assert [draft.request is WELCOME_ALL for draft in found] == [True, True]
        assert {draft.queue for draft in found} == {BULK_QUEUE}

    def test_an_address_has_the_same_id_in_any_spelling(self, runtime: Runtime) -> None:
        """Ids are derived from the campaign and the address in lower case."""
        one, same = drafts(runtime, [row("zoe@example.com"), row("Zoe@Example.com")])
        [other] = drafts(runtime, [row("zoe@example.com")], EmailRequest(kind=WELCOME, campaign="autumn"))
        assert one.id == same.id
        assert one.id != other.id
        assert uuid.UUID(one.id).version == 8
        assert one.id.startswith(day_digits(day_of(runtime.clock())))

    def test_ids_of_a_campaign_begin_alike(self, runtime: Runtime) -> None:
        """Ids with a common prefix are close together in database indices."""
        found = drafts(runtime, [row(f"{n}@example.com") for n in range(9)])
        assert len({draft.id[:8] for draft in found}) == 1

    def test_variables_of_a_row_win(self, runtime: Runtime) -> None:
        """Variables of one row override those of the request for this row alone."""
        rows = [row("a@example.com", variables={"title": "For you"}), row("b@example.com")]
        found = drafts(runtime, rows, MESSAGE_ALL)
        assert [draft.content.context["title"] for draft in found] == ["For you", "News"]

    def test_a_generic_email_is_recorded_as_the_kind_of_its_template(self, runtime: Runtime) -> None:
        """A campaign with the template `reset` has the rate limits of password resets."""
        request = EmailRequest(
            kind=GENERIC,
            campaign="spring",
            subject="Reset",
            template="reset",
            context={"reset_url": "http://localhost:3000/reset-password?t=abc"},
        )
        [draft] = drafts(runtime, [row("a@example.com")], request)
        assert draft.kind == RESET.name

    def test_users_are_looked_up_by_id(self, runtime: Runtime) -> None:
        """The directory gets the screening of the campaign."""
        runtime.__dict__["directory"] = Directory()
        recorder = CampaignRecorder(runtime, WELCOME_ALL, screening=Screening.NONE)
        [[draft]] = recorder._check_in_chunks([RecipientRow(line=1, email=None, user_id="7", name="")])
        assert isinstance(draft, Draft)
        assert draft.content.user.email == "NONE@example.com"


class TestRowsThatCannotBeUsed:
    """Rows that cannot be used are reported and do not stop the others."""

    def test_they_keep_their_line_and_get_a_reason(self, runtime: Runtime) -> None:
        """Problems of the list and unknown users are reported alike."""
        runtime.__dict__["directory"] = Directory()
        rows = [
            RowProblem(line=1, reason="is no row."),
            RecipientRow(line=2, email=None, user_id="8", name=""),
            row("a@example.com", line=3),
        ]
        result = CampaignRecorder(runtime, WELCOME_ALL).check(rows)
        assert [(problem.line, problem.reason) for problem in result.problems] == [
            (1, "is no row."),
            (2, "There is no user 8."),
        ]
        assert result.new == 1

    def test_users_that_cannot_be_looked_up_end_it(self, runtime: Runtime) -> None:
        """A directory that cannot be reached ends the campaign, as all other rows would fail too."""
        runtime.__dict__["directory"] = Directory()
        with pytest.raises(UserDirectoryUnavailable):
            drafts(runtime, [RecipientRow(line=1, email=None, user_id="down", name="")])


def test_a_check_counts_each_address_once(runtime: Runtime) -> None:
    """An address that appears twice is one new email."""
    rows = [row("a@example.com"), row("A@example.com"), row("b@example.com")]
    result = CampaignRecorder(runtime, WELCOME_ALL).check(rows)
    assert (result.new, result.already_recorded) == (2, 1)


def test_chunks_grow_to_a_limit(runtime: Runtime) -> None:
    """Chunks begin small, so that workers can start early, and double up to the maximum."""
    rows = [RowProblem(line=n, reason="") for n in range(FIRST_CHUNK_ROWS + 4 * MAX_CHUNK_ROWS)]
    sizes = [len(chunk) for chunk in CampaignRecorder(runtime, WELCOME_ALL)._check_in_chunks(rows)]
    assert sizes[:3] == [FIRST_CHUNK_ROWS, 2 * FIRST_CHUNK_ROWS, 4 * FIRST_CHUNK_ROWS]
    assert max(sizes) == MAX_CHUNK_ROWS
    assert sum(sizes) == len(rows)


def test_a_preview_shows_the_first_usable_row(runtime: Runtime) -> None:
    """The preview skips bad rows, and there is none without a usable row."""
    recorder = CampaignRecorder(runtime, WELCOME_ALL)
    problem = RowProblem(line=1, reason="is no row.")
    shown = recorder.preview([problem, row("a@example.com"), row("b@example.com")])
    assert shown is not None
    assert shown.recipient == "a@example.com"
    assert recorder.preview([problem]) is None


def test_the_rows_of_a_chunk_are_new_known_or_bad() -> None:
    """The number of rows includes known and bad ones."""
    chunk = ChunkResult(
        emails=(("id", "a@example.com"),),
        already_recorded=2,
        suppressed=1,
        problems=(RowProblem(line=4, reason=""),),
    )
    assert chunk.rows == 4


def test_rows_without_variables_differ_by_their_user_alone(runtime: Runtime) -> None:
    """However many are made from one: each is what it would be alone, also between rows with variables."""
    rows = [
        row("a@example.com"),
        row("b@example.com", variables={"title": "Special"}),
        row("c@example.com", user_id="7"),
        row("d@example.com"),
    ]
    together = drafts(runtime, rows, MESSAGE_ALL)
    alone = [draft for each in rows for draft in drafts(runtime, [each], MESSAGE_ALL)]
    for draft, other in zip(together, alone, strict=True):
        lifetime = draft.expires_at and draft.expires_at - draft.created_at
        assert draft == replace(
            other, created_at=draft.created_at, expires_at=lifetime and draft.created_at + lifetime
        )
        assert lifetime == (other.expires_at and other.expires_at - other.created_at)
    assert [draft.content.context["title"] for draft in together] == ["News", "Special", "News", "News"]


def test_a_security_email_carries_no_address_but_that_of_its_recipient(runtime: Runtime) -> None:
    """Whatever recipient comes first in the list."""
    request = EmailRequest(
        kind=GENERIC,
        campaign="spring",
        subject="Hi",
        template="reset",
        context={"reset_url": "http://localhost:3000/r/1", "note": "a@x.example.com"},
    )
    for names in ("ab", "ba"):
        found = drafts(runtime, [row(f"{name}@x.example.com") for name in names], request)
        assert [draft.content.user.email for draft in found] == ["a@x.example.com"]


@pytest.mark.parametrize("youngest", [0, 700, 10 * _GC_THRESHOLD])
def test_garbage_is_collected_as_before_after_a_campaign(youngest: int) -> None:
    """Meanwhile seldom; a service that collects less often, or by itself, is not overruled."""
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
    gc.set_threshold(youngest, *thresholds[1:])
    try:
        with _gc_seldom(), _gc_seldom():
            meanwhile = gc.get_threshold()
            assert gc.get_freeze_count() > 0
        assert (gc.get_threshold()[0], gc.get_freeze_count()) == (youngest, frozen)
    finally:
        gc.set_threshold(*thresholds)
    assert meanwhile == (max(youngest, _GC_THRESHOLD) if youngest else 0, *thresholds[1:])
