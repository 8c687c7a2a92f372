"""Calls of own tasks: the emails that they ask for, and the copies of their arguments."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.broker.task_arguments import recorded_arguments
from mailctl.domain.catalog import GENERIC, RESET
from mailctl.domain.task_mapping import OwnTask
from mailctl.recorder.calls import MAX_RECIPIENTS, OwnCall, drafts_of, make_call
from tests.emails import NOW

if TYPE_CHECKING:
    from mailctl.domain.models import Draft

TASK = OwnTask(name="shop.send", kind="email", addresses=("to",), user_id="user", links=("url",))


def call_of(*args: Any, task_id: object = "id-1", **kwargs: Any) -> OwnCall:
    """Return a call of the task."""
    call = make_call(TASK, task_id, args, kwargs, parameters=("to", "user"), queue="shop")
    assert call is not None
    return call


def drafts(*args: Any, **kwargs: Any) -> list[Draft]:
    """Return the emails of a call."""
    return drafts_of(call_of(*args, **kwargs), GENERIC, now=NOW)


def test_an_email_has_the_id_of_its_task() -> None:
    """So that `status` finds it by what the service got from `delay`."""
    [draft] = drafts("Zoe <zoe@example.com>", 7, url="https://shop.example/?t=token")
    assert (draft.id, draft.queue, draft.kind, draft.group_id) == ("id-1", "shop", "email", None)
    assert (draft.content.user.email, draft.content.user.id) == ("zoe@example.com", "7")
    assert draft.content.urls == {"url": "https://shop.example/?t=token"}
    assert draft.content.own_task == "shop.send"


def test_each_recipient_has_an_email_that_can_be_repeated_alone() -> None:
    """The first has the id of the task, and all its group."""
    found = drafts(["zoe@example.com", "Bob <bob@example.com>"])
    assert [draft.content.user.email for draft in found] == ["zoe@example.com", "bob@example.com"]
    assert {draft.group_id for draft in found} == {"id-1"}
    assert recorded_arguments(found[1].content) == ([["Bob <bob@example.com>"]], {})


def test_a_call_without_a_usable_address_is_one_email() -> None:
    """The mail server may tell its recipient."""
    [draft] = drafts("not an address")
    assert draft.content.user.email == ""
    assert recorded_arguments(draft.content) == (["not an address"], {})


def test_a_long_list_is_cut() -> None:
    """Each email takes a row."""
    assert len(drafts([f"u{number}@example.com" for number in range(MAX_RECIPIENTS + 5)])) == MAX_RECIPIENTS


def test_arguments_are_copied_with_their_types() -> None:
    """The caller may change them after the call, and a retry passes what the service passed."""
    given = {"at": NOW, "id": uuid.UUID(int=1), "items": [1]}
    call = call_of("zoe@example.com", extra=given)
    given["items"].append(2)  # type: ignore[attr-defined]
    [draft] = drafts_of(call, GENERIC, now=NOW)
    args, kwargs = recorded_arguments(draft.content)
    assert args == ["zoe@example.com"]
    assert kwargs == {"extra": {"at": NOW, "id": uuid.UUID(int=1), "items": [1]}}


@pytest.mark.parametrize("value", [object(), float("nan"), "x" * 300_000])
def test_arguments_that_cannot_be_kept_are_left_out(value: object) -> None:
    """The email is recorded all the same."""
    [draft] = drafts("zoe@example.com", value=value)
    assert (draft.content.user.email, dict(draft.content.call)) == ("zoe@example.com", {})


@pytest.mark.parametrize("task_id", [None, "", "a b", 5, "x" * 500])
def test_a_task_without_a_usable_id_is_not_recorded(task_id: object) -> None:
    """Nobody could name the row."""
    assert make_call(TASK, task_id, (), {}, parameters=(), queue="shop") is None


def test_an_email_expires_with_its_kind_or_its_message() -> None:
    """Whichever is earlier; a scheduled one lives from its ETA on."""
    call = make_call(
        TASK,
        "id-1",
        (),
        {},
        parameters=(),
        queue="shop",
        not_before=NOW + timedelta(hours=2),
        expires_at=None,
    )
    assert call is not None
    [draft] = drafts_of(call, RESET, now=NOW)
    assert (draft.request.not_before, draft.expires_at) == (
        NOW + timedelta(hours=2),
        NOW + timedelta(hours=3),
    )
    early = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)
    call = make_call(TASK, "id-1", (), {}, parameters=(), queue="shop", expires_at=early)
    assert call is not None
    assert drafts_of(call, RESET, now=NOW)[0].expires_at == early
