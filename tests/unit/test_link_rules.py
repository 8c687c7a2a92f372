"""Links and addresses in template variables: the gate goes by what they are, at any depth."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.catalog import GENERIC, Catalog, Kind, Link
from mailctl.errors import InvalidInput
from mailctl.intake import make_content, make_user

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
def test_no_link_runs_a_script_or_breaks_a_line(place: str) -> None:
    """In any variable that is named like one."""
    for name, value in product(NAMES, NO_LINKS):
        with pytest.raises(InvalidInput, match=f"{name}: is not a link"):
            passed(PLACES[place](name, value))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "value", [ELSEWHERE, "http://intranet.example.net/", "mailto:help@example.net", "/orders/7", "", None, 7]
)
def test_a_template_of_the_service_links_anywhere(place: str, value: Any) -> None:
    """Its emails lead to other sites: to pay, to read on, to write back."""
    context = PLACES[place]("invoice_url", value)
    assert passed(context) == context


def test_what_only_looks_like_a_name_of_a_link_is_text() -> None:
    """Prose is no link, and lines of it may break."""
    context = {"curly": "javascript: a language", "blink": "data:\n1", "linked": "x:y", "urls_seen": "a:\nb"}
    assert passed(context) == context


def test_every_entry_of_a_list_of_links_is_one() -> None:
    """A plural names several."""
    assert passed({"links": [ELSEWHERE, {"shop": ELSEWHERE}]})
    for links in ([ELSEWHERE, "javascript:x"], [{"shop": "javascript:x"}], {"shop": ["javascript:x"]}):
        with pytest.raises(InvalidInput, match="is not a link"):
            passed({"links": links})


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "name", ["action_url", "reset_url", "verification_url", "whitelist_url", "blacklist_url"]
)
def test_links_of_our_templates_lead_to_the_service(place: str, name: str) -> None:
    """Whatever the template."""
    assert passed(PLACES[place](name, OURS)) == PLACES[place](name, OURS)
    for value in (ELSEWHERE, "http://app.example.com/", "", [OURS], {"x": OURS}, 7):
        with pytest.raises(InvalidInput, match=name):
            passed(PLACES[place](name, value))


@pytest.mark.parametrize("place", PLACES)
def test_an_ip_address_is_one(place: str) -> None:
    """In its one spelling."""
    assert passed(PLACES[place]("ip_address", "2001:DB8::0:1")) == PLACES[place]("ip_address", "2001:db8::1")
    for value in ("<b>1.2.3.4</b>", "", "1.2.3", ["1.2.3.4"]):
        with pytest.raises(InvalidInput, match="ip_address: is not an IP address"):
            passed(PLACES[place]("ip_address", value))


@pytest.mark.parametrize("name", ["support_url", "logo_link", "href"])
@pytest.mark.parametrize("template", ["reset", "verification", "new-ip"])
def test_all_links_of_a_security_email_lead_to_the_service(template: str, name: str) -> None:
    """Whatever they are called in a template of the service's own that takes its place."""
    assert passed({name: OURS}, template=template) == {name: OURS}
    with pytest.raises(InvalidInput, match=f"{name}: leads to https://pay.example.net"):
        passed({"more": [{name: ELSEWHERE}]}, template=template)


def test_a_link_that_a_kind_declares_leads_to_the_service() -> None:
    """In the template of that kind, whatever its name; in others it is a variable like any."""
    assert passed({"confirm": OURS}, template="delete-account") == {"confirm": OURS}
    with pytest.raises(InvalidInput, match="confirm: leads to"):
        passed({"confirm": ELSEWHERE}, template="delete-account")
    assert passed({"confirm": "yes"}) == {"confirm": "yes"}
