"""The variables of an email: which there are, and which of them its context may override."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mailctl.domain.catalog import GENERIC, RESET, WELCOME, Kind
from mailctl.domain.models import Content, User
from mailctl.errors import InvalidInput
from mailctl.rendering.variables import COMMON_VARIABLES, EmailVariables, user_variables
from tests.emails import NOW

USER = User(email="zoe@example.com", id="7", username="zoe", first_name="Zoe")
VARIABLES = EmailVariables("Acme", frontend_url="https://app.example.com", seals_tokens=False)
LINKS = {"reset_url": "https://app.example.com/reset-password?t=x"}


def of_email(kind: Kind, links: dict[str, str] | None = None, **content: Any) -> dict[str, Any]:
    """Return the variables of an email to Zoe, sent ten minutes after it was requested."""
    created_at = NOW - timedelta(minutes=10)
    return VARIABLES.of_email(
        kind, Content(user=USER, **content), links or {}, created_at=created_at, now=NOW
    )


@pytest.mark.parametrize(
    ("kind", "more"),
    [(WELCOME, {}), (GENERIC, {"subject": "News", "template": "news"})],
    ids=["built-in", "own template"],
)
def test_every_email_has_the_common_variables(kind: Kind, more: dict[str, Any]) -> None:
    """Together with those of its user; only an own template needs its subject as a title."""
    found = of_email(kind, **more).keys() | user_variables(USER).keys()
    assert COMMON_VARIABLES - found <= {"title"}


def test_no_context_overrides_what_mailctl_knows() -> None:
    """Otherwise a value could forge the recipient, the project or a link."""
    forged = dict.fromkeys((*COMMON_VARIABLES, "reset_url", "expires_in"), "forged")
    found = of_email(RESET, LINKS, context={**forged, "note": "hello"})
    assert found["note"] == "hello"
    assert (found["project_name"], found["recipient_email"]) == ("Acme", "zoe@example.com")
    assert found["reset_url"] == LINKS["reset_url"]
    assert "forged" not in (found["expires_in"], found["subject"], found["locale"])


def test_links_of_an_own_template_are_those_of_its_context() -> None:
    """mailctl makes none for it."""
    found = of_email(GENERIC, subject="News", template="news", context={"action_url": "https://x.example/"})
    assert (found["action_url"], found["title"]) == ("https://x.example/", "News")
    assert "expires_in" not in found


@pytest.mark.parametrize(
    ("given", "locale"), [("pt-BR", "pt-BR"), (None, "en"), ("<b>", "en"), (["en"], "en")]
)
def test_a_locale_is_a_language_tag(given: object, locale: str) -> None:
    """Anything else is not printed."""
    assert of_email(WELCOME, context={"locale": given})["locale"] == locale


def test_a_program_of_the_service_adds_its_own_variables() -> None:
    """It gets those of the kind, with the links."""
    at = NOW - timedelta(minutes=10)
    content = Content(user=USER, context={"note": "hello"})
    found = VARIABLES.for_another_program(RESET, content, LINKS, created_at=at, now=NOW)
    assert found.keys() >= {"note", "reset_url", "expires_in", "expires_at", "occurred_at"}
    assert not found.keys() & {"subject", "project_name", "recipient_email", "greeting_name"}


def test_a_subject_is_that_of_the_kind_unless_the_email_has_one() -> None:
    """A kind without a subject needs one."""
    assert VARIABLES.subject(WELCOME, Content(user=USER)) == "Welcome to Acme"
    assert VARIABLES.subject(GENERIC, Content(user=USER, subject="News")) == "News"
    with pytest.raises(InvalidInput):
        VARIABLES.subject(GENERIC, Content(user=USER))


def test_a_name_that_reads_like_a_link_is_empty() -> None:
    """A stranger may have chosen it."""
    found = user_variables(User(email="zoe@example.com", id="7", username="evil.com", first_name="Zoe"))
    assert (found["username"], found["first_name"], found["user"]["id"]) == ("", "Zoe", "7")
