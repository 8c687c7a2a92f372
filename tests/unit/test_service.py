"""What the web service calls, and the requests that it makes of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from mailctl import EmailService, InvalidInput, Recipient, runtime
from mailctl.delivery_log.outbox import RecordResult
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.models import User
from mailctl.errors import NotFound
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence
    from pathlib import Path

    from mailctl.domain.models import Draft

TOKEN = "a-token-of-the-service"
OTHER = "another-token-of-the-service"
#: As the code of a service knows a user: without a first name.
ZOE: Any = SimpleNamespace(id=7, email="zoe@example.com", username="zoe")


@dataclass
class Outbox:
    """Takes what is recorded."""

    drafts: list[Draft] = field(default_factory=list)

    def add(self, drafts: Sequence[Draft], **_: Any) -> RecordResult:
        """Record."""
        self.drafts += drafts
        return RecordResult(id=drafts[0].id)

    def flush(self) -> None:
        """Flush nothing."""


@pytest.fixture
def outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outbox]:
    """The outbox of this process, whose broker and log are in memory."""
    runtime.close()
    for name in ("_settings", "_app", "_log_mode"):
        monkeypatch.setattr(runtime, name, getattr(runtime, name))
    runtime.configure(Settings(mailctl_home=tmp_path / "none"), log_mode=AccessMode.OPTIONAL)
    outbox = Outbox()
    runtime.current().outbox = outbox  # type: ignore[assignment]
    yield outbox
    runtime.close()


def draft(outbox: Outbox, call: Coroutine[Any, Any, str]) -> Draft:
    """Return the one email that a call records, whose id it returns."""
    email_id = asyncio.run(call)
    [found] = outbox.drafts
    assert found.id == email_id
    return found


class TestTheKindsOfEmail:
    """One method each; tokens go into links, addresses and names into the greeting."""

    def test_welcome(self, outbox: Outbox) -> None:
        """It needs the user alone."""
        found = draft(outbox, EmailService.send_welcome_email(ZOE))
        assert found.kind == "welcome"
        assert found.content.user == User(id="7", email="zoe@example.com", username="zoe")

    def test_password_reset(self, outbox: Outbox) -> None:
        """With the token of the service."""
        found = draft(outbox, EmailService.send_password_reset_email(ZOE, TOKEN))
        assert (found.kind, found.content.tokens) == ("reset", {"token": TOKEN})

    def test_verification(self, outbox: Outbox) -> None:
        """With the token of the service."""
        found = draft(outbox, EmailService.send_verification_email(ZOE, TOKEN))
        assert (found.kind, found.content.tokens) == ("verification", {"token": TOKEN})

    def test_new_ip(self, outbox: Outbox) -> None:
        """With a token for each answer; the address is normalized."""
        found = draft(outbox, EmailService.send_new_ip_notification(ZOE, "2001:DB8::1", TOKEN, OTHER))
        assert found.kind == "new-ip"
        assert found.content.tokens == {"whitelist_token": TOKEN, "blacklist_token": OTHER}
        assert found.content.context == {"ip_address": "2001:db8::1"}

    def test_any_kind_by_its_name(self, outbox: Outbox) -> None:
        """Built-in ones too."""
        found = draft(outbox, EmailService.send("reset", ZOE, tokens={"token": TOKEN}))
        assert (found.kind, found.content.tokens) == ("reset", {"token": TOKEN})

    def test_unknown_kinds_are_refused(self, outbox: Outbox) -> None:
        """A slip of the pen is no new kind."""
        with pytest.raises((InvalidInput, NotFound), match="welcom"):
            asyncio.run(EmailService.send("welcom", ZOE))

    def test_a_first_name_is_preferred(self, outbox: Outbox) -> None:
        """If the user has one."""
        user: Any = SimpleNamespace(**vars(ZOE), first_name="Zoe")
        assert draft(outbox, EmailService.send_welcome_email(user)).content.user.first_name == "Zoe"


class TestGenericEmails:
    """Any subject, any template, several recipients."""

    def test_each_recipient_gets_an_email(self, outbox: Outbox) -> None:
        """Given as an address, an object or a mapping; the id is that of the first."""
        call = EmailService.send_email(
            "News",
            ["a@example.com", Recipient(email="b@example.com", name="B"), {"email": "c@example.com"}],
            "message",
            {"title": "News", "body": "Hello"},
        )
        email_id = asyncio.run(call)
        assert [draft.content.user.email for draft in outbox.drafts] == [
            "a@example.com",
            "b@example.com",
            "c@example.com",
        ]
        assert {draft.group_id for draft in outbox.drafts} == {email_id}
        assert {draft.content.subject for draft in outbox.drafts} == {"News"}

    @pytest.mark.parametrize(
        ("recipients", "message"),
        [
            ("zoe@example.com", "must be a list"),
            ([], "must not be empty"),
            (iter([]), "must not be empty"),
            ([7], "must be addresses"),
            ([{"name": "Zoe"}], "email|address"),
        ],
    )
    def test_unusable_recipients_are_refused(self, outbox: Outbox, recipients: Any, message: str) -> None:
        """All of them are checked before anything is recorded."""
        with pytest.raises(InvalidInput, match=message):
            asyncio.run(EmailService.send_email("News", recipients, "message"))
        assert outbox.drafts == []

    @pytest.mark.parametrize("context", [[], "", 7])
    def test_variables_have_names(self, outbox: Outbox, context: Any) -> None:
        """An empty list is no empty object."""
        with pytest.raises(InvalidInput):
            asyncio.run(EmailService.send_email("News", ["zoe@example.com"], "message", context))


def test_the_idempotency_key_is_that_of_the_request(outbox: Outbox) -> None:
    """The log compares it."""
    found = draft(outbox, EmailService.send_welcome_email(ZOE, idempotency_key="signup-7"))
    assert found.request.idempotency_key == "signup-7"
