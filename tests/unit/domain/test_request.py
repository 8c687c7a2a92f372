"""Requests, and the drafts that are made of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mailctl.domain.catalog import GENERIC, RESET, WELCOME, Kind
from mailctl.domain.factory import make_drafts
from mailctl.domain.models import Content, User
from mailctl.domain.request import EmailRequest
from mailctl.errors import InvalidInput

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONTENT = Content(user=User(email="zoe@example.com"))


@pytest.mark.parametrize(
    ("not_before", "start"), [(None, NOW), (NOW - HOUR, NOW), (NOW + HOUR, NOW + HOUR)], ids=str
)
def test_emails_start_now_or_at_a_later_time(not_before: datetime | None, start: datetime) -> None:
    """A time in the past counts as now."""
    request = EmailRequest(kind=WELCOME, not_before=not_before)
    assert request.earliest_start(NOW) == start
    assert request.is_due_at_once is (not_before is None)


def test_emails_expire_a_lifetime_after_their_start() -> None:
    """The lifetime of the kind begins at the start."""
    request = EmailRequest(kind=RESET, not_before=NOW + HOUR)
    [draft] = make_drafts(request, [CONTENT], queue="celery", now=NOW)
    assert (draft.created_at, draft.expires_at) == (NOW, NOW + HOUR + RESET.lifetime)


@pytest.mark.parametrize(("kind", "template"), [(RESET, None), (GENERIC, "reset")])
def test_emails_with_a_security_template_live_no_longer_than_its_kind(
    kind: Kind, template: str | None
) -> None:
    """The shorter lifetime of the two kinds counts."""
    content = Content(user=CONTENT.user, template=template)
    [draft] = make_drafts(EmailRequest(kind=kind), [content], queue="celery", now=NOW)
    assert draft.expires_at == NOW + RESET.lifetime


@pytest.mark.parametrize(("given", "expected"), [(HOUR, HOUR), (timedelta(days=99), WELCOME.lifetime)])
def test_a_request_may_end_the_lifetime_earlier(given: timedelta, expected: timedelta) -> None:
    """`expires_at` shortens the lifetime of the kind and never prolongs it."""
    request = EmailRequest(kind=WELCOME, expires_at=NOW + given)
    [draft] = make_drafts(request, [CONTENT], queue="celery", now=NOW)
    assert draft.expires_at == NOW + expected


def test_emails_of_one_call_are_a_group() -> None:
    """The first id is the group id, and the other ids are derived from it."""
    request = EmailRequest(kind=WELCOME)
    first, second = make_drafts(request, [CONTENT] * 2, queue="celery", now=NOW, first_id="task-1")
    again = make_drafts(request, [CONTENT] * 2, queue="celery", now=NOW, first_id="task-1")
    [alone] = make_drafts(request, [CONTENT], queue="celery", now=NOW)
    assert (first.id, first.group_id, second.group_id) == ("task-1", "task-1", "task-1")
    assert [draft.id for draft in again] == [first.id, second.id]
    assert alone.group_id is None


def test_drafts_have_the_kind_and_the_queue_of_the_request() -> None:
    """A draft refers to its request instead of copying its fields."""
    request = EmailRequest(kind=WELCOME, campaign="spring", forced_by="ada")
    [draft] = make_drafts(request, [CONTENT], queue="celery", now=NOW)
    assert (draft.kind, draft.queue, draft.content) == ("welcome", "celery", CONTENT)
    assert draft.request is request


@pytest.mark.parametrize("key", ["", "two words", "k" * 300])
def test_unusable_idempotency_keys_are_refused(key: str) -> None:
    """An unusable key is refused before anything is recorded."""
    with pytest.raises(InvalidInput, match="idempotency key"):
        make_drafts(EmailRequest(kind=WELCOME, idempotency_key=key), [CONTENT], queue="celery", now=NOW)
