"""The public methods of EmailService, with an outbox that keeps drafts."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from django.utils.functional import lazystr

from mailctl import EmailService, InvalidInput, Recipient, runtime
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.models import User
from mailctl.errors import NotFound
from mailctl.settings import Settings
from tests.tokens import hs256
from tests.unit.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

    from mailctl.domain.models import Draft

TOKEN = "a-token-of-the-service"
OTHER = "another-token-of-the-service"
#: As the code of a service knows a user: without a first name.
ZOE: Any = SimpleNamespace(id=7, email="zoe@example.com", username="zoe")


@pytest.fixture
def outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outbox]:
    """The outbox of this process, whose broker and delivery log are in memory."""
    runtime.close()
    for name in ("_settings", "_app", "_access_mode"):
        monkeypatch.setattr(runtime, name, getattr(runtime, name))
    runtime.configure(Settings(mailctl_home=tmp_path / "none"), access_mode=AccessMode.OPTIONAL)
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
    """Each method makes a request of its kind."""

    def test_welcome(self, outbox: Outbox) -> None:
        """A welcome email needs nothing but the user."""
        found = draft(outbox, EmailService.send_welcome_email(ZOE))
        assert found.kind == "welcome"
        assert found.content.user == User(id="7", email="zoe@example.com", username="zoe")

    def test_password_reset(self, outbox: Outbox) -> None:
        """A password reset carries the token of the service."""
        found = draft(outbox, EmailService.send_password_reset_email(ZOE, TOKEN))
        assert (found.kind, found.content.tokens) == ("reset", {"token": TOKEN})

    def test_a_token_may_be_left_to_mailctl(self, outbox: Outbox) -> None:
        """Then `links.verify` reads the link."""
        asyncio.run(EmailService.send_password_reset_email(ZOE))
        asyncio.run(EmailService.send_verification_email(ZOE))
        asyncio.run(EmailService.send_new_ip_notification(ZOE, "203.0.113.7"))
        assert [(draft.kind, draft.content.tokens) for draft in outbox.drafts] == [
            ("reset", {}),
            ("verification", {}),
            ("new-ip", {}),
        ]

    def test_a_token_that_has_expired_is_refused(self, outbox: Outbox) -> None:
        """Its reader could do nothing with the link."""
        token = hs256({"sub": "7"}, exp=datetime.now(UTC) - timedelta(hours=1))
        with pytest.raises(InvalidInput, match="expires too early"):
            asyncio.run(EmailService.send_password_reset_email(ZOE, token))
        assert outbox.drafts == []

    def test_verification(self, outbox: Outbox) -> None:
        """A verification carries the token of the service."""
        found = draft(outbox, EmailService.send_verification_email(ZOE, TOKEN))
        assert (found.kind, found.content.tokens) == ("verification", {"token": TOKEN})

    def test_new_ip(self, outbox: Outbox) -> None:
        """A notification carries both tokens and the normalized IP address."""
        found = draft(outbox, EmailService.send_new_ip_notification(ZOE, "2001:DB8::1", TOKEN, OTHER))
        assert found.kind == "new-ip"
        assert found.content.tokens == {"whitelist_token": TOKEN, "blacklist_token": OTHER}
        assert found.content.context == {"ip_address": "2001:db8::1"}

    def test_any_kind_by_its_name(self, outbox: Outbox) -> None:
        """`send` takes the name of any kind, also of a built-in one."""
        found = draft(outbox, EmailService.send("reset", ZOE, tokens={"token": TOKEN}))
        assert (found.kind, found.content.tokens) == ("reset", {"token": TOKEN})

    def test_unknown_kinds_are_refused(self, outbox: Outbox) -> None:
        """A misspelt name is refused."""
        with pytest.raises((InvalidInput, NotFound), match="welcom"):
            asyncio.run(EmailService.send("welcom", ZOE))

    def test_a_first_name_is_preferred(self, outbox: Outbox) -> None:
        """The optional attribute `first_name` is used."""
        user: Any = SimpleNamespace(**vars(ZOE), first_name="Zoe")
        assert draft(outbox, EmailService.send_welcome_email(user)).content.user.first_name == "Zoe"


class Detached:
    """A user whose attributes cannot be read any more, as those of an object of a closed session."""

    def __init__(self, *broken: str) -> None:
        self._broken = broken

    def __getattr__(self, name: str) -> object:
        if name in self._broken:
            raise RuntimeError("cannot refresh: postgresql://shop:hunter2@db/shop")
        return {"id": 7, "email": "zoe@example.com"}.get(name, "zoe")


class TestUsers:
    """A user is whatever the service has; what is wrong with one is said in one sentence."""

    def test_names_are_optional(self, outbox: Outbox) -> None:
        """The email then greets nobody by name."""
        user: Any = SimpleNamespace(id=7, email="zoe@example.com")
        assert draft(outbox, EmailService.send_welcome_email(user)).content.user == User(
            id="7", email="zoe@example.com"
        )

    @pytest.mark.parametrize(
        ("user", "problem"),
        [
            (SimpleNamespace(email="zoe@example.com", username="zoe"), "user has no id"),
            (SimpleNamespace(id=7, username="zoe"), "user has no email"),
            (SimpleNamespace(id=7, email=None), "email"),
            (None, "user has no email"),
            ({"id": 7, "email": "zoe@example.com"}, "user has no email"),
            (Detached("id"), "user cannot be read: its id raised RuntimeError"),
            (Detached("email"), "user cannot be read: its email raised RuntimeError"),
            (Detached("first_name"), "user cannot be read: its first_name raised RuntimeError"),
        ],
    )
    def test_a_user_that_cannot_be_read_is_refused(self, outbox: Outbox, user: Any, problem: str) -> None:
        """By an error of mailctl, without what the service's own error says."""
        for send in (
            EmailService.send_welcome_email,
            partial(EmailService.send_password_reset_email, token=TOKEN),
        ):
            with pytest.raises(InvalidInput, match=problem) as refused:
                asyncio.run(send(user))
            assert "hunter2" not in str(refused.value)
        assert outbox.drafts == []

    def test_a_link_that_mailctl_makes_needs_the_id(self, outbox: Outbox) -> None:
        """A user who is not stored yet has none, and the link could not find the user again."""
        new: Any = SimpleNamespace(id=None, email="zoe@example.com", username="zoe")
        with pytest.raises(InvalidInput, match="user has no id yet"):
            asyncio.run(EmailService.send_password_reset_email(new))
        with pytest.raises(InvalidInput, match="user has no id yet"):
            asyncio.run(EmailService.send_new_ip_notification(new, "203.0.113.7", TOKEN))
        asyncio.run(EmailService.send_password_reset_email(new, TOKEN))
        assert draft_ids(outbox) == [None]

    def test_a_recipient_that_cannot_be_read_is_refused(self, outbox: Outbox) -> None:
        """As a user is."""
        call = EmailService.send_email(
            "News", [cast("Any", Detached("name"))], "message", {"title": "", "body": ""}
        )
        with pytest.raises(InvalidInput, match="recipients cannot be read: its name raised RuntimeError"):
            asyncio.run(call)
        assert outbox.drafts == []


def draft_ids(outbox: Outbox) -> list[str | None]:
    """Return the ids of the users of the recorded emails."""
    return [draft.content.user.id for draft in outbox.drafts]


class TestTexts:
    """A subject, a template and a token may be texts of other types, as Celery's JSON passed them."""

    def test_lazy_texts_and_uuids_are_texts(self, outbox: Outbox) -> None:
        """Their text is what an f-string made of them."""
        lazy, token = cast("Any", lazystr("Hello")), cast("Any", uuid.uuid4())
        asyncio.run(
            EmailService.send_email(
                lazy, [ZOE.email], cast("Any", lazystr("message")), {"title": "", "body": ""}
            )
        )
        asyncio.run(EmailService.send_password_reset_email(ZOE, token))
        generic, reset = outbox.drafts
        assert (generic.content.subject, generic.content.template) == ("Hello", "message")
        assert reset.content.tokens == {"token": str(token)}

    @pytest.mark.parametrize("recipients", [None, 7, "zoe@example.com", object()])
    def test_recipients_that_are_no_list_are_refused(self, outbox: Outbox, recipients: Any) -> None:
        """The type is named."""
        call = EmailService.send_email("News", recipients, "message", {"title": "", "body": ""})
        with pytest.raises(InvalidInput, match=f"type {type(recipients).__name__}"):
            asyncio.run(call)

    def test_an_id_needs_a_text_of_its_own(self, outbox: Outbox) -> None:
        """That of an object is its place in memory."""
        user: Any = SimpleNamespace(id=object(), email="zoe@example.com")
        with pytest.raises(InvalidInput, match="must be a number, a UUID or a string"):
            asyncio.run(EmailService.send_welcome_email(user))


class TestGenericEmails:
    """A generic email goes to several recipients."""

    def test_each_recipient_gets_an_email(self, outbox: Outbox) -> None:
        """Recipients are strings, objects or mappings, and the first id is the group id."""
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
            (["a@example.com", "no address", "c@example.com"], r"^recipients\[1\]: email is not an email"),
        ],
    )
    def test_unusable_recipients_are_refused(self, outbox: Outbox, recipients: Any, message: str) -> None:
        """Recipients that cannot be used are refused before anything is recorded."""
        with pytest.raises(InvalidInput, match=message):
            asyncio.run(EmailService.send_email("News", recipients, "message"))
        assert outbox.drafts == []

    @pytest.mark.parametrize("context", [[], "", 7])
    def test_variables_have_names(self, outbox: Outbox, context: Any) -> None:
        """Variables must be a mapping, also if they are empty."""
        with pytest.raises(InvalidInput):
            asyncio.run(EmailService.send_email("News", ["zoe@example.com"], "message", context))


def test_the_idempotency_key_is_that_of_the_request(outbox: Outbox) -> None:
    """The key of a call is part of its request."""
    found = draft(outbox, EmailService.send_welcome_email(ZOE, idempotency_key="signup-7"))
    assert found.request.idempotency_key == "signup-7"
