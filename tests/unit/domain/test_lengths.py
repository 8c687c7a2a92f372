"""The length of a text is checked first, before anything spends time on it.

Normalization takes quadratic time on marks in a row, and many a search does: 400,000 characters take 20 s.
"""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.broker.messages import read_message, read_unacked
from mailctl.broker.task_arguments import from_arguments
from mailctl.delivery_log.queries.search import EmailFilter
from mailctl.domain import link_validation, validation
from mailctl.domain.address_validation import validate_address
from mailctl.domain.catalog import GENERIC, NEW_IP, RESET, WELCOME, Kind
from mailctl.domain.factory import make_content, make_drafts, make_recipient, make_user
from mailctl.domain.models import RowProblem
from mailctl.domain.recipient_list import read_recipients
from mailctl.domain.request import EmailRequest
from mailctl.domain.template_context import validate_variables
from mailctl.errors import InvalidInput
from mailctl.security.address_masking import mask_addresses_in_text
from mailctl.security.links import InvalidLink, Links
from mailctl.settings import Settings
from mailctl.timefmt import parse_duration, parse_future_time, parse_past_time, parse_rate, parse_share
from mailctl.users.service_database import ServiceUserDirectory

if TYPE_CHECKING:
    from collections.abc import Callable

ORIGINS = frozenset({"https://app.example.com"})
NOW = datetime(2026, 11, 25, tzinfo=UTC)
USER = make_user(email="zoe@example.com")
#: Marks of two classes by turns, which normalization sorts.
MARKS = "\u0301\u0316" * 2_500_000
LONG = {
    "marks in a row": "e" + MARKS,
    "digits": "7" * 5_000_000,
    "letters": "a" * 5_000_000,
    "an address": "zoe@" + MARKS + ".com",
    "a link": "https://app.example.com/" + "x" * 5_000_000,
    "a link to marks": "https://e" + MARKS + "/",
    "units": "1s" * 2_500_000,
}
INVOICE = Kind(
    name="invoice",
    subject="Invoice {number}",
    template="invoice",
    lifetime=timedelta(days=3),
    variables=("number",),
)


def make(kind: Kind, **more: Any) -> Any:
    return make_content(kind, USER, origins=ORIGINS, **more)


def wire(kind: Kind, **arguments: Any) -> Any:
    given = {"user_data": {"email": "zoe@example.com"}}
    if kind is GENERIC:
        given = {"subject": "Hi", "recipients": [{"email": "zoe@example.com"}], "template_name": "message"}
    return from_arguments(kind, {**given, **arguments}, origins=ORIGINS)


def generic(**more: Any) -> Any:
    return make(GENERIC, **{"subject": "Hi", "template": "message", **more})


#: What takes a text from outside and refuses one that is too long.
GATES: dict[str, Callable[[str], Any]] = {
    "address": validate_address,
    "display name": validation.validate_display_name,
    "subject": validation.validate_subject,
    "IP address": validation.validate_ip_address,
    "link": lambda text: link_validation.validate_action_url(text, origins=ORIGINS),
    "template": validation.validate_template_name,
    "file name": validation.validate_file_name,
    "locale": validation.validate_locale,
    "name of a header": validation.validate_header_name,
    "value of a header": validation.validate_header_value,
    "id of an email": validation.validate_email_id,
    "id of a user": validation.validate_user_id,
    "idempotency key": validation.validate_idempotency_key,
    "token": validation.validate_token,
    "name of a variable": validation.validate_variable_name,
    "recipient's name": lambda text: make_recipient(email="zoe@example.com", name=text),
    "user's id": lambda text: make_user(email="zoe@example.com", id=text),
    "user to look up": lambda text: ServiceUserDirectory("sqlite://").get(text),
    "variable": lambda text: validate_variables({"body": text}),
    "name in a variable": lambda text: validate_variables({"body": {text: 1}}),
    "variable of a subject": lambda text: make(INVOICE, context={"number": text}),
    "generic subject": lambda text: generic(subject=text),
    "generic template": lambda text: generic(template=text),
    "action_url": lambda text: generic(context={"action_url": text}),
    "reset_url of the generic kind": lambda text: generic(template="reset", context={"reset_url": text}),
    "ip_address of the generic kind": lambda text: generic(context={"a": [{"ip_address": text}]}),
    "token of a link": lambda text: make(RESET, tokens={"token": text}),
    "wire: address": lambda text: wire(WELCOME, user_data={"email": text}),
    "wire: user's id": lambda text: wire(WELCOME, user_data={"email": "zoe@example.com", "id": text}),
    "wire: reset_url": lambda text: wire(RESET, reset_url=text),
    "wire: ip_address": lambda text: wire(NEW_IP, ip_address=text, whitelist_url="x", blacklist_url="x"),
    "wire: subject": lambda text: wire(GENERIC, subject=text),
    "wire: recipient": lambda text: wire(GENERIC, recipients=[{"email": text}]),
    "wire: recipient's name": lambda text: wire(
        GENERIC, recipients=[{"email": "zoe@example.com", "name": text}]
    ),
    "key of a draft": lambda text: make_drafts(
        EmailRequest(kind=WELCOME, idempotency_key=text), [make(WELCOME)], queue="celery", now=NOW
    ),
    "duration": lambda text: parse_duration(text, field="--in"),
    "moment": lambda text: parse_future_time(text, field="--at", now=NOW),
    "past": lambda text: parse_past_time(text, field="--since", now=NOW),
    "rate": lambda text: parse_rate(text, field="--rate"),
    "share": lambda text: parse_share(text, field="--max-failures"),
    "filter": lambda text: EmailFilter(to=text),
}


@pytest.fixture(autouse=True)
def normalization(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own, which cannot be interrupted: on a long text it fails instead of beginning."""
    normalize = unicodedata.normalize

    def guarded(form: Any, text: str) -> str:
        assert len(text) < 2_000, "a long text is normalized"
        return normalize(form, text)

    monkeypatch.setattr(unicodedata, "normalize", guarded)


@pytest.mark.parametrize("gate", GATES)
def test_a_text_of_millions_of_characters_is_refused(gate: str) -> None:
    """At once, and the error does not repeat it."""
    for text in LONG.values():
        with pytest.raises(InvalidInput) as caught:
            GATES[gate](text)
        assert len(caught.value.message) < 500


@pytest.mark.parametrize("what", LONG)
def test_a_long_name_is_dropped(what: str) -> None:
    """A password reset must neither fail nor take long because of the name of a user."""
    assert validation.safe_greeting_name(LONG[what]) == ""
    user = make_user(email="zoe@example.com", username=LONG[what], first_name=LONG[what])
    assert (user.username, user.first_name) == ("", "")


def test_the_length_of_a_line_counts_after_normalization() -> None:
    """Names with separate combining marks are as long as they look."""
    name = "é" * validation.MAX_DISPLAY_NAME
    assert validation.validate_display_name(unicodedata.normalize("NFD", name)) == name
    with pytest.raises(InvalidInput, match="is longer than 128 characters"):
        validation.validate_display_name(unicodedata.normalize("NFD", name + "é"))


@pytest.mark.parametrize("what", LONG)
def test_a_long_link_is_invalid(what: str) -> None:
    """It is not even decoded."""
    links = Links(Settings(secret_key="a-secret-key-of-more-than-32-characters"))
    with pytest.raises(InvalidLink):
        links.verify(LONG[what], purpose="reset-password")


@pytest.mark.parametrize("what", LONG)
def test_a_long_row_of_a_list_is_a_bad_row(what: str) -> None:
    """The other rows are read."""
    text = "\n".join(
        [json.dumps({"email": "a@example.com", "name": LONG[what]}), '{"email": "b@example.com"}']
    )
    bad, good = read_recipients(text.encode())
    assert isinstance(bad, RowProblem)
    assert "is longer than" in bad.reason
    assert not isinstance(good, RowProblem)


def test_a_huge_or_deeply_nested_message_is_not_parsed() -> None:
    """Looking into a queue continues with the next message."""
    for raw in (json.dumps({"headers": {"id": "x" * 5_000_000}}), "[" * 100_000, '{"a":' * 100_000):
        assert read_message(raw, queue="celery").task_id == ""
        assert read_unacked(raw).task_id == ""


def test_addresses_are_masked_in_linear_time() -> None:
    """In any text of a mail server or a message."""
    assert mask_addresses_in_text("a" * 1_000_000 + " b@example.com") == "a" * 1_000_000 + " b…@example.com"
    assert mask_addresses_in_text("a." * 500_000) == "a." * 500_000
