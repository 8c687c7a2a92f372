"""The headers by which an email is recognised again, and by which its recipient unsubscribes."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.domain.catalog import RESET, WELCOME
from mailctl.domain.samples import sample_content
from mailctl.rendering.composer import Composer
from mailctl.security.keyring import Keyring
from mailctl.security.links import Links
from mailctl.security.unsubscribe_links import UnsubscribeLinks
from mailctl.settings import Settings
from tests import webhooks
from tests.emails import HEADERS
from tests.unit.rendering.composing import CREATED, NOW, read

if TYPE_CHECKING:
    from email.message import EmailMessage
    from pathlib import Path

    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Envelope

URL = "https://shop.example/mail/unsubscribe"
LINKS = UnsubscribeLinks(Keyring(["a-secret-key-for-tests"]), url=URL)
ID = "2f1d6c1e-5d0c-4c9f-9a35-0d7a8b1c2d3e"


def composed(
    kind: Kind = WELCOME,
    *,
    can_unsubscribe: bool = True,
    links: UnsubscribeLinks | None = LINKS,
    id: str = ID,
    **settings: Any,
) -> Envelope:
    """Return an email."""
    made = Settings(PROJECT_NAME="Acme", FRONTEND_URL="https://app.example.com", **settings)
    composer = Composer(made, Links(made), unsubscribe_links=links)
    composing = composer.compose(
        id=id,
        kind=kind.name,
        content=sample_content(kind),
        created_at=CREATED,
        now=NOW,
        can_unsubscribe=can_unsubscribe,
    )
    return asyncio.run(composing)


def message(**how: Any) -> EmailMessage:
    """Return the message of an email, as a mail program reads it."""
    return read(composed(**how)).message


def test_a_recipient_unsubscribes_by_one_click() -> None:
    """Both headers of RFC 8058, and a link that is for this recipient, kind and email."""
    mail = message()

    link = mail["List-Unsubscribe"].strip("<>")
    assert link.startswith(f"{URL}?t=")
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    subscription = LINKS.open(link.partition("t=")[2])
    assert (subscription.address, subscription.kind, subscription.email_id) == (
        "ada.lovelace@example.com",
        "welcome",
        ID,
    )


@pytest.mark.parametrize(
    "how",
    [
        {"can_unsubscribe": False},
        {"links": None},
        {"links": UnsubscribeLinks(Keyring(["k"]), url="")},
        {"kind": RESET, "can_unsubscribe": False},
    ],
)
def test_other_emails_have_no_such_headers(how: dict[str, Any]) -> None:
    """Nobody unsubscribes from a password reset, or at an endpoint that does not exist."""
    assert message(**how).keys() == HEADERS


def test_a_template_may_show_the_link(tmp_path: Path) -> None:
    """`unsubscribe_url` is empty in emails without one; the viewer of messages masks it."""
    (tmp_path / "welcome.html").write_text("{{ greeting_name }} [{{ unsubscribe_url }}]")

    with_link = composed(MAILCTL_TEMPLATES=tmp_path)
    without = composed(MAILCTL_TEMPLATES=tmp_path, can_unsubscribe=False)

    url = with_link.links["unsubscribe_url"]
    assert f"[{url}]" in with_link.text
    assert "[]" in without.text
    assert "unsubscribe_url" not in without.links


def test_the_link_of_the_email_takes_the_place_of_one_for_all() -> None:
    """MAILCTL_HEADERS may name an address for all emails; a link for this one takes its place."""
    headers = '{"List-Unsubscribe": "<mailto:off@shop.example>", "X-Tenant": "shop"}'

    ours, theirs = message(MAILCTL_HEADERS=headers), message(MAILCTL_HEADERS=headers, can_unsubscribe=False)

    assert [each.partition("?")[0] for each in ours.get_all("List-Unsubscribe", [])] == [f"<{URL}"]
    assert theirs.get_all("List-Unsubscribe") == ["<mailto:off@shop.example>"]
    assert ours["X-Tenant"] == theirs["X-Tenant"] == "shop"


@pytest.mark.parametrize(
    ("provider", "header", "value"),
    [
        ("brevo", "X-Mailin-custom", json.dumps({"mailctl-id": ID})),
        ("mailgun", "X-Mailgun-Variables", json.dumps({"mailctl-id": ID})),
        ("mailjet", "X-MJ-CustomID", ID),
        ("postmark", "X-PM-Metadata-mailctl-id", ID),
        ("resend", "X-Mailctl-Id", ID),
        ("sendgrid", "X-SMTPAPI", json.dumps({"unique_args": {"mailctl-id": ID}})),
        ("ses", "X-Mailctl-Id", ID),
        ("sparkpost", "X-MSYS-API", json.dumps({"metadata": {"mailctl-id": ID}})),
    ],
)
def test_a_provider_gets_the_id_that_it_returns(provider: str, header: str, value: str) -> None:
    """In its own header, once its webhook is switched on; never twice, and no id that it cannot take."""
    secrets = json.dumps({provider: webhooks.secret_of(provider)})

    assert message(MAILCTL_WEBHOOK_SECRETS=secrets)[header] == value
    assert header not in message()
    assert header not in message(MAILCTL_WEBHOOK_SECRETS=secrets, id='a"b')
    own = message(MAILCTL_WEBHOOK_SECRETS=secrets, MAILCTL_HEADERS=json.dumps({header.upper(): "mine"}))
    assert own.get_all(header) == ["mine"]
