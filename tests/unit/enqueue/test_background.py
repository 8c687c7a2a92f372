"""The dispatcher of a web process, with an outbox and a publisher that keep what they get."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from mailctl import runtime as process_runtime
from mailctl.delivery_log.outbox import RecordResult
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.catalog import RESET, WELCOME
from mailctl.domain.models import User
from mailctl.domain.request import EmailRequest
from mailctl.enqueue import background
from mailctl.enqueue.background import Dispatcher
from mailctl.errors import BrokerUnavailable, ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Engine

    from mailctl.domain.models import Draft
    from mailctl.runtime import Runtime
    from tests.unit.enqueue.conftest import MakeRuntime

ZOE = User(email="zoe@example.com", id="7")
WELCOME_ONE = EmailRequest(kind=WELCOME)


@dataclass
class Outbox:
    """An outbox that keeps drafts; every other one is publishable without asking the log."""

    drafts: list[Draft] = field(default_factory=list)
    durable: bool | None = None
    flushes: int = 0

    def add(self, drafts: Sequence[Draft], *, durable: bool, **_: Any) -> RecordResult:
        """Keep drafts of a new transaction."""
        self.drafts += drafts
        self.durable = durable
        return RecordResult(id=drafts[0].id, publishable=tuple(drafts[::2]))

    def add_all(self, calls: Sequence[Any], *, durable: bool) -> None:
        """Keep drafts of calls that came together."""
        for call in calls:
            call.end(self.add(call.argument.drafts, durable=durable))

    def add_in_transaction(self, connection: object, drafts: Sequence[Draft], **_: Any) -> RecordResult:
        """Keep drafts of the transaction of the caller."""
        self.drafts += drafts
        return RecordResult(id=drafts[0].id)

    def flush(self) -> None:
        """Count the flushes."""
        self.flushes += 1


@dataclass
class Publisher:
    """A publisher that keeps ids and may fail."""

    error: Exception | None = None
    published: list[str] = field(default_factory=list)
    is_done: threading.Event = field(default_factory=threading.Event)
    can_reach_worker: bool = True
    #: Whether many emails wait, so that all are left to relays.
    is_full: bool = False
    #: How many emails each call had.
    counts: list[int] = field(default_factory=list)

    def publish_all(self, emails: Sequence[Draft | str], **_: Any) -> int:
        """Keep ids, then fail if there is an error."""
        self.published += [email if isinstance(email, str) else email.id for email in emails]
        self.counts.append(len(emails))
        self.is_done.set()
        if self.error is not None:
            raise self.error
        return 0 if self.is_full else len(emails)


class Site:
    """A dispatcher with its outbox and its publisher."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.outbox, self.publisher = runtime, Outbox(), Publisher()
        runtime.outbox = self.outbox  # type: ignore[assignment]
        # The log has all that it is asked about.
        runtime.history.publishable = lambda ids, now: list(ids)  # type: ignore[method-assign]
        self.dispatcher = Dispatcher(runtime)
        self.dispatcher._enqueuer.__dict__["_publisher"] = self.publisher

    def record(self, *users: User, request: EmailRequest = WELCOME_ONE) -> str:
        """Record emails as a handler of the service does."""
        return asyncio.run(self.dispatcher.record(request, users))


@pytest.fixture
def site(make_runtime: MakeRuntime) -> Site:
    """A dispatcher whose broker reaches workers."""
    return Site(make_runtime(celery_broker_url="redis://localhost:1/0"))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """The database of a service."""
    engine = create_engine(f"sqlite:///{tmp_path / 'service.db'}")
    yield engine
    engine.dispose()


class TestTransactionsOfItsOwn:
    """Without a session the dispatcher commits."""

    def test_the_id_is_that_of_the_first_email(self, site: Site) -> None:
        """Each user gets an email, and the id of the first is returned."""
        assert site.record(ZOE, User(email="ada@example.com")) == site.outbox.drafts[0].id
        assert [draft.content.user.email for draft in site.outbox.drafts] == [
            "zoe@example.com",
            "ada@example.com",
        ]

    def test_all_emails_are_published(self, site: Site) -> None:
        """Publishable emails and emails that the log allows are published before the runtime closes."""
        site.record(ZOE, ZOE, ZOE)
        site.runtime.close()
        assert sorted(site.publisher.published) == sorted(draft.id for draft in site.outbox.drafts)

    def test_while_many_wait_emails_are_left_to_relays_together(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each statement for that takes time from the calls that follow."""
        are_recorded = threading.Event()
        monkeypatch.setattr(background.time, "sleep", lambda _: are_recorded.wait(60))
        site.publisher.is_full = True
        site.record(ZOE)
        site.publisher.is_done.wait(60)
        for _ in range(10):
            site.record(ZOE)
        are_recorded.set()
        site.runtime.close()
        assert site.publisher.counts == [1, 10]

    def test_the_disk_is_waited_for(self, site: Site) -> None:
        """What a call has returned is on disk."""
        site.record(ZOE)
        assert site.outbox.durable is True
        site.runtime.close()
        assert not site.outbox.flushes

    def test_relaxed_durability_does_not_wait_for_the_disk(self, make_runtime: MakeRuntime) -> None:
        """Recording does not flush, and closing does."""
        site = Site(make_runtime(celery_broker_url="redis://localhost:1/0", mailctl_durability="relaxed"))
        site.record(ZOE)
        assert site.outbox.durable is False
        site.runtime.close()
        assert site.outbox.flushes

    def test_what_cannot_be_used_is_refused_before_anything_is_recorded(self, site: Site) -> None:
        """An unusable token is refused before anything is recorded."""
        with pytest.raises(InvalidInput):
            site.record(ZOE, request=EmailRequest(kind=RESET, tokens={"other": "t" * 20}))
        assert site.outbox.drafts == []

    @pytest.mark.parametrize(
        "error", [BrokerUnavailable("The broker does not answer."), RuntimeError("a defect")], ids=repr
    )
    def test_failing_to_publish_does_not_fail_the_call(
        self, site: Site, caplog: pytest.LogCaptureFixture, error: Exception
    ) -> None:
        """The failure is logged with the id of the email, which a relay will publish."""
        site.publisher.error = error
        email_id = site.record(ZOE)
        assert site.publisher.is_done.wait(60)
        site.runtime.close()
        assert email_id in caplog.text


class TestTransactionsOfTheCaller:
    """With a session, publishing waits for the end of its transaction."""

    def with_log_in(self, site: Site, engine: Engine) -> Site:
        """Put the delivery log into the database of the service."""
        site.runtime.engine.dispose()
        site.runtime.engine = engine
        return site

    def test_emails_are_published_after_the_commit(self, site: Site, engine: Engine) -> None:
        """Before the commit, a worker would find no row."""
        self.with_log_in(site, engine)
        with Session(engine) as session:
            email_id = site.dispatcher.record_in(session, WELCOME_ONE, [ZOE])
            assert site.publisher.published == []
            session.commit()
        site.runtime.close()
        assert site.publisher.published == [email_id]

    def test_a_session_can_be_used_again(self, site: Site, engine: Engine) -> None:
        """Each transaction of a session publishes its own emails once."""
        self.with_log_in(site, engine)
        with Session(engine) as session:
            ids = []
            for _ in range(2):
                ids.append(site.dispatcher.record_in(session, WELCOME_ONE, [ZOE]))
                session.commit()
            session.commit()
        site.runtime.close()
        assert site.publisher.published == ids

    def test_another_database_is_refused(self, site: Site, engine: Engine) -> None:
        """A session of another database is refused before anything is recorded."""
        with Session(engine) as session, pytest.raises(ConfigurationError, match="a different database"):
            site.dispatcher.record_in(session, WELCOME_ONE, [ZOE])
        assert site.outbox.drafts == []


class TestTheDispatcherOfThisProcess:
    """The dispatcher of the process is made on first use."""

    @pytest.fixture(autouse=True)
    def process(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Give the process a runtime without files."""
        process_runtime.close()
        for name in ("_settings", "_app", "_access_mode"):
            monkeypatch.setattr(process_runtime, name, getattr(process_runtime, name))
        process_runtime.configure(site.runtime.settings, access_mode=AccessMode.OPTIONAL)
        yield
        process_runtime.close()

    def test_it_is_made_once(self) -> None:
        """The first call makes the dispatcher, and later calls return it."""
        assert not background.is_open()
        first = background.current()
        assert background.current() is first
        assert background.is_open()

    def test_a_new_runtime_gets_a_new_one(self) -> None:
        """A dispatcher is not used after its runtime was closed."""
        first = background.current()
        process_runtime.close()
        assert not background.is_open()
        second = background.current()
        assert second is not first
        assert second.runtime is process_runtime.current()
