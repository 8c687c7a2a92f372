"""The send service, with an outbox that keeps drafts and a directory of two users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mailctl.domain.catalog import GENERIC, RESET, WELCOME
from mailctl.domain.models import User
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.send_service import Recipients, SendService
from mailctl.errors import BrokerUnavailable, InvalidInput, NotFound
from mailctl.users import Screening
from tests.unit.outbox import Outbox

if TYPE_CHECKING:
    from mailctl.runtime import Runtime
    from tests.unit.enqueue.conftest import MakeRuntime


class Directory:
    """A directory that has users 7 and 8."""

    def __init__(self) -> None:
        self.screenings = set[Screening]()

    def get(self, user_id: str, *, screening: Screening) -> User:
        """Return a user and note the screening."""
        self.screenings.add(screening)
        if user_id not in ("7", "8"):
            raise NotFound(f"There is no user {user_id}.")
        return User(id=user_id, email=f"user{user_id}@example.com")

    def close(self) -> None:
        """Close the directory."""


class DownPublisher:
    """A publisher whose broker is down."""

    can_reach_worker = True

    def publish_all(self, emails: object, **_: Any) -> None:
        """Raise the error of a broker that is down."""
        raise BrokerUnavailable("The broker does not answer.")


class Site:
    """A send service with its outbox and its directory."""

    def __init__(self, runtime: Runtime) -> None:
        self.outbox, self.directory = Outbox(), Directory()
        runtime.outbox = self.outbox  # type: ignore[assignment]
        runtime.__dict__["directory"] = self.directory
        self.service = SendService(runtime)


@pytest.fixture
def site(runtime: Runtime) -> Site:
    """A send service in development."""
    return Site(runtime)


class TestRecipients:
    """Recipients are either users or one address."""

    @pytest.mark.parametrize(
        ("recipients", "problem"),
        [
            (Recipients(), "is missing"),
            (Recipients(user_ids=["7"], email="zoe@example.com"), "is given twice"),
        ],
    )
    def test_one_of_both_is_needed(self, site: Site, recipients: Recipients, problem: str) -> None:
        """Neither and both are refused, and the error says which of the two it is."""
        with pytest.raises(InvalidInput, match=problem):
            site.service.send(EmailRequest(kind=WELCOME), recipients)
        assert site.outbox.drafts == []

    def test_each_user_gets_an_email_once(self, site: Site) -> None:
        """A user id that is given twice counts once."""
        site.service.send(EmailRequest(kind=WELCOME), Recipients(user_ids=["7", "8", "7"]))
        assert [draft.content.user.id for draft in site.outbox.drafts] == ["7", "8"]

    def test_an_address_may_have_a_name(self, site: Site) -> None:
        """An address is greeted by its name and has no user id."""
        site.service.send(EmailRequest(kind=WELCOME), Recipients(email="zoe@example.com", name="Zoe"))
        assert [draft.content.user for draft in site.outbox.drafts] == [
            User(email="zoe@example.com", first_name="Zoe")
        ]

    def test_users_are_screened_as_the_caller_wants(self, site: Site) -> None:
        """The directory gets the screening of the caller."""
        recipients = Recipients(user_ids=["7"], screening=Screening.NONE)
        site.service.send(EmailRequest(kind=WELCOME), recipients)
        assert site.directory.screenings == {Screening.NONE}

    def test_a_token_is_for_one_user(self, site: Site) -> None:
        """A token acts on one account, so several users are refused."""
        request = EmailRequest(kind=RESET, tokens={"token": "a-token-of-the-service"})
        with pytest.raises(InvalidInput, match="several users"):
            site.service.send(request, Recipients(user_ids=["7", "8"]))

    def test_all_are_checked_before_the_first_is_recorded(self, site: Site) -> None:
        """One unknown user prevents all emails."""
        with pytest.raises(NotFound):
            site.service.send(EmailRequest(kind=WELCOME), Recipients(user_ids=["7", "9"]))
        assert site.outbox.drafts == []


class TestIdempotencyKeys:
    """An idempotency key stands for one email."""

    def test_a_single_email_has_the_key_as_it_is(self, site: Site) -> None:
        """The key of a single email is not changed."""
        site.service.send(EmailRequest(kind=WELCOME, idempotency_key="k"), Recipients(user_ids=["7"]))
        assert [draft.request.idempotency_key for draft in site.outbox.drafts] == ["k"]

    def test_of_several_emails_each_has_a_key_of_its_own(self, site: Site) -> None:
        """Each user gets a key derived from the given one."""
        site.service.send(EmailRequest(kind=WELCOME, idempotency_key="k"), Recipients(user_ids=["7", "8"]))
        assert [draft.request.idempotency_key for draft in site.outbox.drafts] == ["k/7", "k/8"]

    def test_without_a_key_all_share_the_request(self, site: Site) -> None:
        """Without a key the request is not copied."""
        request = EmailRequest(kind=WELCOME)
        site.service.send(request, Recipients(user_ids=["7", "8"]))
        assert all(draft.request is request for draft in site.outbox.drafts)


def test_a_broker_that_is_down_does_not_undo_the_recording(make_runtime: MakeRuntime) -> None:
    """The emails are recorded and the result says why they wait."""
    site = Site(make_runtime(celery_broker_url="redis://localhost:1/0"))
    site.service._enqueuer.__dict__["_publisher"] = DownPublisher()
    site.service._runtime.history.publishable = lambda ids, now: list(ids)  # type: ignore[method-assign]
    result = site.service.send(EmailRequest(kind=WELCOME), Recipients(email="zoe@example.com"))
    assert len(site.outbox.drafts) == 1
    assert result.broker_error == "The broker does not answer."


def test_a_preview_records_nothing(site: Site) -> None:
    """A preview composes every message and records none."""
    envelopes = site.service.preview(EmailRequest(kind=RESET), Recipients(user_ids=["7", "8"]))
    assert [envelope.recipient for envelope in envelopes] == ["user7@example.com", "user8@example.com"]
    assert site.outbox.drafts == []


def test_a_template_that_cannot_be_rendered_is_refused(site: Site) -> None:
    """A missing template is found before the first email is recorded."""
    request = EmailRequest(kind=GENERIC, subject="Hi", template="no-such-template")
    with pytest.raises(InvalidInput, match="template"):
        site.service.send(request, Recipients(email="zoe@example.com"))
    assert site.outbox.drafts == []
