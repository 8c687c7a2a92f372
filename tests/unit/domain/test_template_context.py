"""Template variables: names and sizes; links and IP addresses in them are validated at any depth."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.domain.catalog import GENERIC, NEW_IP, RESET, WELCOME, Catalog, Kind, Link
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.template_context import MAX_CHARACTERS, MAX_DEPTH, validate_variables
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

OURS = "https://app.example.com/x?t=a-token"
ELSEWHERE = "https://pay.example.net/invoice/7"
USER = make_user(email="zoe@example.com")
DELETION = Kind(
    name="deletion",
    subject="Confirm",
    template="delete-account",
    lifetime=timedelta(hours=1),
    links=(Link(variable="confirm", path="/delete", purpose="delete", lifetime=timedelta(hours=1)),),
)
#: How deep a value may sit.
PLACES: dict[str, Callable[[str, Any], dict[str, Any]]] = {
    "at the top": lambda name, value: {name: value},
    "in an object": lambda name, value: {"page": {name: value}},
    "in a list of objects": lambda name, value: {"pages": [{"title": "x"}, {name: value}]},
    "deep": lambda name, value: {"a": [[{"b": {"c": [{name: value}]}}]]},
}


def passed(context: dict[str, Any], *, template: str = "invoice-mail") -> Any:
    """Return the variables as the gate lets them through, for a template of the service's own."""
    return make_content(
        GENERIC,
        USER,
        origins=frozenset({"https://app.example.com"}),
        catalog=Catalog(lambda: [DELETION]),
        subject="Hello",
        template=template,
        context=context,
    ).context


NAMES = ("invoice_url", "url", "logoUrl", "href", "link", "help_link", "helpLink", "uri")
NO_LINKS = (
    "javascript:alert(1)",
    " JaVaScRiPt:alert(1)",
    "vbscript:x",
    "data:text/html,<script>alert(1)</script>",
    "file:///etc/passwd",
    "java\tscript:alert(1)",
    "https://pay.example.net/\r\nBcc: eve@example.org",
    "https://pay.example.net/\x1b]52;c;x\x07",
    "https://pay.example.net/\u202egpj.exe",
)


@pytest.mark.parametrize("place", PLACES)
def test_a_link_cannot_be_a_script_or_have_a_line_break(place: str) -> None:
    """In any variable with the name of a link."""
    for name, value in product(NAMES, NO_LINKS):
        with pytest.raises(InvalidInput, match=f"{name} is not a link"):
            passed(PLACES[place](name, value))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "value", [ELSEWHERE, "http://intranet.example.net/", "mailto:help@example.net", "/orders/7", "", None, 7]
)
def test_a_service_s_own_template_may_link_anywhere(place: str, value: Any) -> None:
    """To pay, to read more, to write an email."""
    context = PLACES[place]("invoice_url", value)
    assert passed(context) == context


def test_similar_variable_names_are_text() -> None:
    """They may have line breaks."""
    context = {"curly": "javascript: a language", "blink": "data:\n1", "linked": "x:y", "urls_seen": "a:\nb"}
    assert passed(context) == context


def test_each_item_of_a_list_of_links_is_validated() -> None:
    """A plural name means several links."""
    assert passed({"links": [ELSEWHERE, {"shop": ELSEWHERE}]})
    for links in ([ELSEWHERE, "javascript:x"], [{"shop": "javascript:x"}], {"shop": ["javascript:x"]}):
        with pytest.raises(InvalidInput, match="is not a link"):
            passed({"links": links})


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "name", ["action_url", "reset_url", "verification_url", "whitelist_url", "blacklist_url"]
)
def test_links_of_built_in_templates_lead_to_the_service(place: str, name: str) -> None:
    """Whatever template uses them."""
    assert passed(PLACES[place](name, OURS)) == PLACES[place](name, OURS)
    for value in (ELSEWHERE, "http://app.example.com/", "", [OURS], {"x": OURS}, 7):
        with pytest.raises(InvalidInput, match=name):
            passed(PLACES[place](name, value))


@pytest.mark.parametrize("place", PLACES)
def test_an_ip_address_is_validated(place: str) -> None:
    """And normalized."""
    assert passed(PLACES[place]("ip_address", "2001:DB8::0:1")) == PLACES[place]("ip_address", "2001:db8::1")
    for value in ("<b>1.2.3.4</b>", "", "1.2.3", ["1.2.3.4"]):
        with pytest.raises(InvalidInput, match="ip_address is not an IP address"):
            passed(PLACES[place]("ip_address", value))


@pytest.mark.parametrize("name", ["support_url", "logo_link", "href"])
@pytest.mark.parametrize("template", ["reset", "verification", "new-ip"])
def test_all_links_of_a_security_email_lead_to_the_service(template: str, name: str) -> None:
    """Whatever they are called in a template of the service's own that takes its place."""
    assert passed({name: OURS}, template=template) == {name: OURS}
    with pytest.raises(InvalidInput, match=f"{name} leads to https://pay.example.net"):
        passed({"more": [{name: ELSEWHERE}]}, template=template)


def test_a_declared_link_of_a_kind_leads_to_the_service() -> None:
    """In the template of the kind; in others it is an ordinary variable."""
    assert passed({"confirm": OURS}, template="delete-account") == {"confirm": OURS}
    with pytest.raises(InvalidInput, match="confirm leads to"):
        passed({"confirm": ELSEWHERE}, template="delete-account")
    assert passed({"confirm": "yes"}) == {"confirm": "yes"}


SECURITY = ("reset", "verification", "new-ip")
FOREIGN = (
    "1 h http://evil.example/W",
    "1 h\r\nhttp://evil.example/W",
    "evil.example",
    "//evil.example",
    "www.evil.example/W",
    "write to eve@evil.example",
    "<a href='x'>x</a>",
    "evil\u3002example",
    "1 hour\nCall us now",
)


@pytest.mark.parametrize("place", PLACES)
def test_no_text_of_a_security_email_becomes_a_link(place: str) -> None:
    """Whatever its variable is called; its times, and keys of objects, are among them."""
    for template, value in product(SECURITY, FOREIGN):
        for name in ("expires_in", "expires_at", "occurred_at", "title", "note"):
            with pytest.raises(InvalidInput, match=name):
                passed(PLACES[place](name, value), template=template)
        with pytest.raises(InvalidInput, match="facts"):
            passed({"facts": [{value: "x"}]}, template=template)
    assert passed(PLACES[place]("note", FOREIGN[0])) == PLACES[place]("note", FOREIGN[0])


@pytest.mark.parametrize("place", PLACES)
def test_a_link_in_what_a_stranger_chose_does_not_stop_a_security_email(place: str) -> None:
    """Else whoever signs in elsewhere could keep the alarm back; it is left empty."""
    for name, value in product(("username", "first_name", "user_agent", "location"), FOREIGN):
        assert passed(PLACES[place](name, value), template="new-ip") == PLACES[place](name, "")


def test_a_security_email_of_the_service_has_its_usual_variables() -> None:
    """In a template that takes the place of mailctl's."""
    usual = {
        "reset_url": OURS,
        "username": "zoe",
        "first_name": "Zoë",
        "email": "Zoe@example.com",
        "project_name": "Shop.example",
        "title": "Choose a new password",
        "expires_in": "1 hour",
        "expires_at": "1 March 2026, 13:00 UTC",
        "occurred_at": "2026-03-01T12:00:00+00:00",
        "client_ip": "203.0.113.7",
        "support_url": "https://app.example.com/help",
        "minutes": 60,
        "nothing": None,
    }
    assert passed(usual, template="reset") == usual


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("reset", "reset_url"),
        ("verification", "verification_url"),
        ("new-ip", "whitelist_url"),
        ("new-ip", "blacklist_url"),
        ("new-ip", "ip_address"),
        ("welcome", "action_url"),
        ("delete-account", "confirm"),
    ],
)
def test_a_link_that_a_template_needs_is_never_null(template: str, name: str) -> None:
    """Nor empty, nor a number: the email would lead to a page named None."""
    for value in (None, "", 7, False):
        with pytest.raises(InvalidInput, match=name):
            passed({name: value}, template=template)


def test_a_kind_requires_its_links_in_its_context() -> None:
    """However the email was requested."""
    for kind, name in ((RESET, "reset_url"), (NEW_IP, "ip_address"), (WELCOME, "action_url")):
        with pytest.raises(InvalidInput, match=name):
            make_content(kind, USER, origins=frozenset(), context={"ip_address": "203.0.113.7", name: None})


def test_a_link_among_the_variables_of_a_kind_is_validated() -> None:
    """It may lead anywhere."""
    kind = Kind(
        name="bill",
        subject="Bill",
        template="bill",
        lifetime=timedelta(hours=1),
        variables=("bill_url", "due"),
    )

    def taken(url: object) -> Any:
        return make_content(kind, USER, origins=frozenset(), context={"bill_url": url, "due": None}).context

    assert taken(ELSEWHERE) == {"bill_url": ELSEWHERE, "due": None}
    for value in (None, "", 7, True):
        with pytest.raises(InvalidInput, match="bill_url is not a link"):
            taken(value)


def test_an_optional_button_may_be_null() -> None:
    """The message template has none then."""
    assert passed({"action_url": None}, template="message") == {"action_url": None}


@pytest.mark.parametrize(
    "value",
    [
        {"a": float("nan")},
        {"a": [float("inf")]},
        {"a": 10**5000},
        {"a": "\ud800"},
        {"a": "x\0"},
        {"a": {"\ud800": 1}},
        {"a": {(1,): 2}},
        {"a": "x" * (MAX_CHARACTERS + 1)},
        {"a": [0] * 10_000},
        {"a": object()},
        {"a": b"x"},
        {"__class__": 1},
        {1: 2},
        [1],
        "text",
        7,
    ],
    ids=range(16),
)
def test_what_no_email_can_hold_is_refused(value: object) -> None:
    """At every door, before it is recorded."""
    with pytest.raises(InvalidInput):
        validate_variables(value)


def test_lists_in_lists_have_a_limit() -> None:
    """Taking them apart would end in Python's own limit."""
    value: Any = "x"
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    assert validate_variables({"a": value})
    with pytest.raises(InvalidInput, match="levels of nesting"):
        validate_variables({"a": [[value]]})
