"""Messages that fail validation keep what they say, and are validated again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.broker.unvalidated import (
    ArgumentRules,
    parse_message,
    unvalidated_content,
    usable_email_id,
    validated_content,
)
from mailctl.domain.catalog import BUILT_IN_CATALOG, GENERIC, RESET, WELCOME
from mailctl.domain.models import Content, User
from mailctl.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from mailctl.domain.catalog import Kind

SHOP = "https://shop.example"
RULES = ArgumentRules(origins=frozenset({SHOP}), catalog=BUILT_IN_CATALOG)
NO_LINKS = ArgumentRules(origins=frozenset(), catalog=BUILT_IN_CATALOG, links_problem="FRONTEND_URL is http.")
USER = User(email="zoe@example.com", id="7")
ZOE = {"id": 7, "email": "Zoe@EXAMPLE.com", "username": "zoe"}
RESET_ZOE = {"user_data": ZOE, "reset_url": f"{SHOP}/reset?t=a-token-of-the-service"}
NEWS: dict[str, Any] = {
    "subject": "News",
    "template_name": "message",
    "context": {"title": "News", "body": "It is ready."},
}


def test_a_valid_message_is_parsed() -> None:
    """Nothing of it is kept unvalidated."""
    parsed = parse_message(RESET, RESET_ZOE, RULES)
    assert ([each.unvalidated for each in parsed.contents], parsed.invalid) == ([{}], [])


def test_an_invalid_recipient_does_not_stop_the_others() -> None:
    """It has its own arguments, and reason."""
    recipients: list[Any] = [{"email": "a@example.com"}, {"email": "no address"}, None]
    parsed = parse_message(GENERIC, {**NEWS, "recipients": recipients}, RULES)
    assert [each.user.email for each in parsed.contents] == ["a@example.com"]
    assert [each.content.user.email for each in parsed.invalid] == ["no address", ""]
    assert parsed.invalid[0].content.unvalidated == {**NEWS, "recipients": [{"email": "no address"}]}
    assert "address" in parsed.invalid[0].reason


@pytest.mark.parametrize("recipients", [None, [], "a@example.com", [{"email": "a@example.com"}] * 101])
def test_without_a_list_of_recipients_the_message_is_one(recipients: Any) -> None:
    """A row for each would not be wanted."""
    parsed = parse_message(GENERIC, {**NEWS, "recipients": recipients}, RULES)
    assert (parsed.contents, len(parsed.invalid)) == ([], 1)


def test_a_setting_that_allows_no_link_does_not_make_a_message_invalid() -> None:
    """It waits for the setting; without a link it needs none; other faults are its own."""
    parsed = parse_message(RESET, RESET_ZOE, NO_LINKS)
    [waiting] = parsed.contents
    assert (waiting.unvalidated, parsed.invalid) == (RESET_ZOE, [])
    with pytest.raises(ConfigurationError, match="FRONTEND_URL is http"):
        validated_content(RESET, waiting, NO_LINKS)
    assert validated_content(RESET, waiting, RULES).urls == {"reset_url": RESET_ZOE["reset_url"]}
    assert parse_message(WELCOME, {"user_data": ZOE}, NO_LINKS).contents[0].unvalidated == {}
    assert parse_message(RESET, {**RESET_ZOE, "reset_url": "no link"}, NO_LINKS).invalid


def test_validating_again_keeps_the_trace_and_the_template() -> None:
    """An email whose template makes it another kind came as a generic one."""
    arguments = {**NEWS, "template_name": "reset", "recipients": [{"email": "a@example.com"}]}
    content = unvalidated_content(GENERIC, arguments)
    assert content.template == "reset"
    again = validated_content(RESET, replace(content, trace={"traceparent": "00"}), RULES)
    assert (again.template, again.subject, again.trace) == ("reset", "News", {"traceparent": "00"})
    with pytest.raises(InvalidInput):
        validated_content(RESET, unvalidated_content(RESET, {"user_data": ZOE}), RULES)
    valid = Content(user=User(email="a@example.com"))
    assert validated_content(RESET, valid, RULES) is valid


@pytest.mark.parametrize(
    ("user_data", "user"),
    [
        (ZOE, User(email="Zoe@example.com", id="7")),
        ({**ZOE, "email": "zoe@@example.com"}, User(email="zoe@@example.com", id="7")),
        ({**ZOE, "email": "a\nb", "id": {}}, User(email="")),
        ({**ZOE, "email": "é" * 10}, User(email="", id="7")),
        ({**ZOE, "email": "x" * 255}, User(email="", id="7")),
        (42, User(email="")),
    ],
)
def test_the_recipient_is_kept_as_far_as_it_can_be_printed(user_data: Any, user: User) -> None:
    """So that `list --to` finds it."""
    assert unvalidated_content(WELCOME, {"user_data": user_data}).user == user


def test_what_cannot_be_stored_is_not_kept() -> None:
    """Not a number has no place in JSON; the recipient has."""
    content = unvalidated_content(WELCOME, {"user_data": {**ZOE, "age": float("nan")}})
    assert (content.user.email, content.unvalidated) == ("Zoe@example.com", {})


@pytest.mark.parametrize(
    ("kind", "content", "is_usable"),
    [
        (WELCOME, Content(user=USER), True),
        (RESET, Content(user=USER), False),
        (RESET, Content(user=USER, tokens={"token": "a-token-of-the-service"}), False),
        (RESET, Content(user=USER, urls={"reset_url": f"{SHOP}/reset"}), True),
        (RESET, Content(user=USER, urls={"reset_url": "http://localhost:3000/reset"}), False),
        (
            RESET,
            Content(user=USER, template="reset", urls={"reset_url": "http://localhost:3000/reset"}),
            False,
        ),
        (GENERIC, Content(user=USER, template="message"), True),
    ],
)
def test_an_email_waits_while_its_links_would_lead_nowhere(
    kind: Kind, content: Content, is_usable: bool
) -> None:
    """Those that mailctl makes, and those that it was given under other settings."""
    rules = replace(RULES, links_problem="FRONTEND_URL is that of development.")
    if is_usable:
        assert validated_content(kind, content, rules) is content
        return
    with pytest.raises(ConfigurationError, match="FRONTEND_URL is that"):
        validated_content(kind, content, rules)
    assert validated_content(kind, content, RULES) is content


def test_an_invalid_id_is_replaced_by_one_that_is_always_the_same() -> None:
    """So that a redelivered message is recorded once."""
    assert usable_email_id("an-id") == "an-id"
    assert usable_email_id("a\n") == usable_email_id("a\n") != usable_email_id("b\n")
