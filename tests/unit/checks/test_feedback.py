"""Checks of feedback: what the settings say of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mailctl.checks.feedback import check_feedback
from mailctl.domain.catalog import BUILT_IN_CATALOG, WELCOME, Catalog
from mailctl.settings import Settings
from tests.unit.checks.samples import FAIL, OK, WARN

if TYPE_CHECKING:
    from pathlib import Path

    from mailctl.checks.finding import Finding

NEWS = Catalog(lambda: [replace(WELCOME, name="news", can_unsubscribe=True)])
URL = "https://shop.example/mail/unsubscribe"
SECRET = '{"postmark": "a-long-random-secret-of-yours"}'


def found(catalog: Catalog = BUILT_IN_CATALOG, **settings: str) -> dict[str, Finding]:
    """Return the findings by name."""
    return {each.name: each for each in check_feedback(Settings(**settings), catalog)}


def test_without_settings_there_is_nothing_to_say() -> None:
    """Feedback is optional."""
    assert found() == {}


def test_what_is_switched_on_is_named() -> None:
    """Without the secrets."""
    named = found(NEWS, MAILCTL_WEBHOOK_SECRETS=SECRET, MAILCTL_UNSUBSCRIBE_URL=URL)
    assert {each.status for each in named.values()} == {OK}
    assert named["webhooks"].detail == "switched on: postmark"
    assert named["unsubscribing"].detail == f"from campaigns, and from news, at {URL}"


def test_a_kind_without_an_endpoint_is_a_warning() -> None:
    """Its emails would have no link."""
    assert found(NEWS)["unsubscribing"].status is WARN


def test_values_that_are_not_valid_are_failures() -> None:
    """No finding contains a secret."""
    wrong = found(
        MAILCTL_WEBHOOK_SECRETS='{"postmark": "short-one"}', MAILCTL_UNSUBSCRIBE_URL="http://x.example"
    )
    assert {name: each.status for name, each in wrong.items()} == {
        "MAILCTL_WEBHOOK_SECRETS": FAIL,
        "MAILCTL_UNSUBSCRIBE_URL": FAIL,
    }
    assert "short-one" not in str(wrong)


def test_a_place_where_no_mail_can_arrive_is_a_failure(tmp_path: Path) -> None:
    """As `mailctl feedback watch` would say."""
    wrong = found(
        MAILCTL_FEEDBACK_MAILDIR=str(tmp_path),
        MAILCTL_FEEDBACK_IMAP="imaps://bounces@mail.example",
        MAILCTL_FEEDBACK_LMTP="mail.example:24",
    )
    assert {name: each.status for name, each in wrong.items()} == {
        "MAILCTL_FEEDBACK_MAILDIR": FAIL,
        "MAILCTL_FEEDBACK_IMAP": FAIL,
        "MAILCTL_FEEDBACK_LMTP": FAIL,
    }
    for name in ("new", "cur"):
        (tmp_path / name).mkdir()
    right = found(
        MAILCTL_FEEDBACK_MAILDIR=str(tmp_path),
        MAILCTL_FEEDBACK_IMAP="imaps://bounces@mail.example",
        MAILCTL_FEEDBACK_IMAP_PASSWORD="x",
        MAILCTL_FEEDBACK_LMTP="127.0.0.1:2424",
    )
    assert right == {}
