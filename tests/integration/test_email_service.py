"""EmailService with a real delivery log, in transactions of the service and of its own."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from mailctl import EmailService, runtime, sync
from mailctl.broker.inspector import BrokerInspector
from mailctl.delivery_log.pauses import PauseScope
from mailctl.delivery_log.storage.clock import ServerClock
from mailctl.delivery_log.storage.engine_clock import clock_of
from mailctl.delivery_log.suppressions import SuppressionSource
from mailctl.domain.catalog import WELCOME
from mailctl.domain.states import State
from mailctl.errors import ConfigurationError, IdempotencyConflict, InvalidInput
from mailctl.settings import Settings
from tests.accounts import ZOE, Account

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from mailctl.domain.models import Email

TOKEN = "a-token-of-the-service"


class Service:
    """A web service in this process, whose database also holds the delivery log."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine: Engine = create_engine(url)

    def emails(self) -> list[Email]:
        """Return all recorded emails, oldest first."""
        with runtime.current().engine.connect() as connection:
            ids = connection.exec_driver_sql("SELECT id FROM mailctl_emails ORDER BY seq").scalars().all()
        return [email for id_ in ids for email in runtime.current().history.find(id_)]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The database of the service and of the delivery log."""
    return f"sqlite:///{tmp_path / 'service.db'}"


@pytest.fixture
def service(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service in development, with a memory broker."""
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.setenv("MAILCTL_DATABASE_URL", url)
    monkeypatch.chdir(tmp_path)
    # Commands that ran in this process before have said what to work with.
    runtime.configure(Settings.load())
    asyncio.run(EmailService.prepare())
    # The service knows the database by its own driver.
    service = Service(url.replace("postgresql://", "postgresql+psycopg://"))
    yield service
    service.engine.dispose()
    asyncio.run(EmailService.close())


def test_each_method_records_its_kind(service: Service) -> None:
    """Each method records an email of its kind and returns its id."""

    async def send_all() -> list[str]:
        return [
            await EmailService.send_welcome_email(ZOE),
            await EmailService.send_password_reset_email(ZOE, TOKEN),
            await EmailService.send_verification_email(ZOE, TOKEN),
            await EmailService.send_new_ip_notification(ZOE, "2001:DB8::1", TOKEN, TOKEN + "2"),
            await EmailService.send_email("Hello", ["zoe@example.com"], "message", {"title": "Hello"}),
        ]

    ids = asyncio.run(send_all())
    emails = service.emails()
    assert [email.id for email in emails] == ids
    assert [email.kind for email in emails] == ["welcome", "reset", "verification", "new-ip", "email"]
    assert {email.state for email in emails} == {State.PENDING}
    assert [email.user_id for email in emails] == ["7", "7", "7", "7", None]


@pytest.fixture
def senders(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service with two more senders."""
    path = tmp_path / "senders.toml"
    path.write_text(
        '[senders.press]\naddress = "press@shop.example"\n'
        '[senders.acme]\naddress = "post@acme.example"\ntenants = ["acme"]\n'
    )
    monkeypatch.setenv("MAILCTL_SENDERS", str(path))
    runtime.close()
    runtime.configure(Settings.load())


@pytest.mark.usefixtures("senders")
def test_a_call_chooses_the_sender_and_the_tenant(service: Service) -> None:
    """They are recorded, and the message is composed by them; another tenant is another content."""

    async def send(**options: str) -> str:
        return await EmailService.send_welcome_email(ZOE, **options)

    asyncio.run(send(sender="press"))
    asyncio.run(send(tenant="acme", idempotency_key="k"))
    with pytest.raises(IdempotencyConflict):
        asyncio.run(send(tenant="other", idempotency_key="k"))
    assert [email.tenant for email in service.emails()] == [None, "acme"]
    parts = runtime.current()
    found = []
    for email in service.emails():
        content = parts.outbox.content(email.id)
        assert content is not None
        envelope = asyncio.run(parts.composer.preview(WELCOME, content, at=email.created_at))
        found.append(envelope.sender)
    assert found == ["press@shop.example", "post@acme.example"]


@pytest.mark.usefixtures("senders")
@pytest.mark.parametrize("options", [{"sender": "ceo@shop.example"}, {"sender": ""}, {"tenant": "a b"}])
def test_a_sender_that_is_not_listed_is_refused(service: Service, options: dict[str, str]) -> None:
    """Before anything is recorded."""
    with pytest.raises(InvalidInput):
        asyncio.run(EmailService.send_welcome_email(ZOE, **options))
    assert service.emails() == []


class TestPublishing:
    """Publishing to a real broker, without a worker."""

    @pytest.fixture(autouse=True)
    def on_redis(self, service: Service, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DEBUG", "False")
        monkeypatch.setenv("REDIS_URL", redis_url)
        monkeypatch.setenv("SECRET_KEY", "a-secret-key-of-the-service-that-is-long")
        monkeypatch.setenv("FRONTEND_URL", "https://shop.example")
        runtime.close()
        runtime.configure(Settings.load())

    def test_what_was_sent_just_before_the_end_is_published(self, service: Service) -> None:
        """Closing publishes what was recorded just before."""

        async def send_and_close() -> None:
            await EmailService.prepare()
            await EmailService.send_welcome_email(ZOE)
            await EmailService.close()

        for _ in range(20):
            asyncio.run(send_and_close())
        runtime.configure(Settings.load())
        assert [email.state for email in service.emails()] == [State.QUEUED] * 20

    def test_what_is_paused_or_suppressed_is_not_published(self, service: Service) -> None:
        """Emails that are paused or suppressed are recorded and not published."""
        parts = runtime.current()
        parts.suppressions.add(
            {"max@example.com": "he asked"}, source=SuppressionSource.OPERATOR, actor="zoe"
        )
        parts.pauses.pause(PauseScope.KIND, "reset", actor="zoe", reason="")

        async def send_all() -> None:
            await EmailService.send_welcome_email(Account(email="max@example.com"))
            await EmailService.send_password_reset_email(ZOE, TOKEN)
            await EmailService.send_welcome_email(ZOE)
            await EmailService.close()

        asyncio.run(send_all())
        runtime.configure(Settings.load())
        states = [State.SUPPRESSED, State.PENDING, State.QUEUED]
        assert [email.state for email in service.emails()] == states
        assert BrokerInspector(runtime.current().app).depth("celery").ready == 1

    def test_a_request_that_was_given_up_is_published_too(self, service: Service) -> None:
        """An email is published even if the request that recorded it was cancelled."""

        async def give_up() -> None:
            await EmailService.prepare()
            with closing(
                sqlite3.connect(make_url(service.url).database or "", isolation_level=None)
            ) as other:
                other.execute("BEGIN IMMEDIATE")
                request = asyncio.create_task(EmailService.send_welcome_email(ZOE))
                await asyncio.sleep(0.2)  # it waits for the lock by now
                request.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await request
            for _ in range(6000):
                if [email.state for email in service.emails()] == [State.QUEUED]:
                    break
                await asyncio.sleep(0.02)
            await EmailService.close()

        asyncio.run(give_up())
        runtime.configure(Settings.load())
        assert [email.state for email in service.emails()] == [State.QUEUED]


def test_each_recipient_gets_an_email_of_its_own(service: Service) -> None:
    """Recipients get separate emails, which form a group."""
    people = ["a@example.com", {"name": "Bo", "email": "b@example.com"}]
    first = asyncio.run(EmailService.send_email("Hello", people, "message", {"title": "Hello"}))
    emails = service.emails()
    assert [email.to for email in emails] == ["a@example.com", "b@example.com"]
    assert {email.group_id for email in emails} == {first}


@pytest.mark.parametrize(
    ("account", "field"),
    [(Account(email="zoe@example.com\r\nBcc: x@example.com"), "address"), (Account(email=""), "address")],
)
def test_what_cannot_be_mailed_is_refused(service: Service, account: Account, field: str) -> None:
    """Users that cannot be mailed are refused before anything is recorded."""
    with pytest.raises(InvalidInput, match=field):
        asyncio.run(EmailService.send_welcome_email(account))
    assert service.emails() == []


def test_the_address_of_the_client_counts_for_a_limit(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each method takes it, with and without `await`; what is no address is refused."""
    monkeypatch.setenv("MAILCTL_LIMIT_PER_SOURCE", "*=7/h")
    runtime.close()
    runtime.configure(Settings.load())
    client = {"source": "203.0.113.7"}

    async def send_all() -> None:
        await EmailService.send_welcome_email(ZOE, **client)
        await EmailService.send_password_reset_email(ZOE, TOKEN, **client)
        await EmailService.send_verification_email(ZOE, TOKEN, **client)
        await EmailService.send_new_ip_notification(ZOE, "2001:DB8::1", TOKEN, TOKEN + "2", **client)
        await EmailService.send_email("Hello", ["zoe@example.com"], "message", {"title": "Hi"}, **client)
        await EmailService.send("welcome", ZOE, **client)
        with pytest.raises(InvalidInput, match="source is not an IP address"):
            await EmailService.send_welcome_email(ZOE, source="testclient")

    asyncio.run(send_all())
    for user in (ZOE, Account(email="max@example.com")):
        sync.EmailService.send_welcome_email(user, source="203.0.113.99")
    states = [email.state for email in service.emails()]
    assert states == [State.PENDING] * 7 + [State.SUPPRESSED]


def test_a_key_sends_once(service: Service) -> None:
    """A repeated key returns the first id, and refuses other content."""

    async def send(account: Account) -> str:
        return await EmailService.send_welcome_email(account, idempotency_key="signup-7")

    assert asyncio.run(send(ZOE)) == asyncio.run(send(ZOE))
    with pytest.raises(IdempotencyConflict):
        asyncio.run(send(Account(email="other@example.com")))
    assert len(service.emails()) == 1


class TestInASession:
    def test_it_is_there_after_the_commit(self, service: Service) -> None:
        """The email exists after the commit and not before."""
        with Session(service.engine) as session:
            email_id = asyncio.run(EmailService.send_welcome_email(ZOE, session=session))
            session.commit()
        assert [email.id for email in service.emails()] == [email_id]

    def test_a_rollback_takes_it_back(self, service: Service) -> None:
        """A rollback also frees the idempotency key."""
        with Session(service.engine) as session:
            asyncio.run(EmailService.send_welcome_email(ZOE, session=session, idempotency_key="k"))
            session.rollback()
        assert service.emails() == []
        asyncio.run(EmailService.send_welcome_email(Account(id=8), idempotency_key="k"))
        assert len(service.emails()) == 1

    def test_a_savepoint_takes_back_its_own(self, service: Service) -> None:
        """Rolling back a savepoint keeps the emails recorded outside it."""
        with Session(service.engine) as session:
            kept = asyncio.run(EmailService.send_welcome_email(ZOE, session=session))
            savepoint = session.begin_nested()
            asyncio.run(EmailService.send_welcome_email(ZOE, session=session))
            savepoint.rollback()
            session.commit()
        assert [email.id for email in service.emails()] == [kept]

    def test_a_session_may_be_used_again(self, service: Service) -> None:
        """Each transaction of a session publishes its own emails."""
        with Session(service.engine) as session:
            for is_kept in (True, False, True):
                asyncio.run(EmailService.send_welcome_email(ZOE, session=session))
                if is_kept:
                    session.commit()
                else:
                    session.rollback()
        assert len(service.emails()) == 2

    def test_asynchronous_ones_work_as_well(self, service: Service) -> None:
        """An AsyncSession is accepted as well."""

        async def send(*, commits: bool) -> None:
            engine = create_async_engine(service.url.replace("sqlite", "sqlite+aiosqlite"))
            async with AsyncSession(engine) as session:
                await EmailService.send_welcome_email(ZOE, session=session)
                if commits:
                    await session.commit()
                else:
                    await session.rollback()
            await engine.dispose()

        asyncio.run(send(commits=True))
        asyncio.run(send(commits=False))
        assert len(service.emails()) == 1

    def test_another_database_is_refused(self, service: Service, tmp_path: Path) -> None:
        """A session of another database cannot hold the row of the email."""
        engine = create_engine(f"sqlite:///{tmp_path / 'other.db'}")
        with Session(engine) as session, pytest.raises(ConfigurationError, match="a different database"):
            asyncio.run(EmailService.send_welcome_email(ZOE, session=session))
        engine.dispose()
        assert service.emails() == []


class TestAsynchronousSessions:
    """The session of a service may use another driver than the delivery log."""

    @pytest.fixture(params=["sqlite+aiosqlite", "postgresql+asyncpg", "postgresql+psycopg"])
    def driver(self, request: pytest.FixtureRequest) -> str:
        """The SQLAlchemy driver of the session."""
        return str(request.param)

    @pytest.fixture
    def url(self, driver: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        """A new database for the driver."""
        if driver.startswith("sqlite"):
            return f"sqlite:///{tmp_path / 'service.db'}"
        return str(request.getfixturevalue("postgres_url"))

    @pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg"])
    def test_many_requests_at_once_do_not_wait_for_each_other(
        self, service: Service, url: str, driver: str
    ) -> None:
        """Neither in a new process, nor when its clock is compared with that of the database again."""

        async def sign_up(engine: AsyncEngine, number: int) -> None:
            async with AsyncSession(engine) as session, session.begin():
                user = Account(id=number, email=f"user{number}@example.com", username="")
                await EmailService.send_welcome_email(user, session=session)

        async def sign_up_all(numbers: range) -> None:
            engine = create_async_engine(make_url(url).set(drivername=driver), pool_size=10)
            await asyncio.gather(*(sign_up(engine, number) for number in numbers))
            await engine.dispose()

        def serve() -> None:
            asyncio.run(sign_up_all(range(10)))
            if isinstance(clock := clock_of(runtime.current().engine), ServerClock):
                clock._compare_at = 0.0
            asyncio.run(sign_up_all(range(10, 20)))

        # Of an event loop that stands still, no timer ends the test.
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        thread.join(60)
        assert not thread.is_alive()
        assert len(service.emails()) == 20

    def test_they_record_for_one_and_for_several(self, service: Service, url: str, driver: str) -> None:
        """Emails are recorded in the transaction of the session, and rules apply as usual."""
        reasons = {"dead@example.com": "asked for it"}
        runtime.current().suppressions.add(reasons, source=SuppressionSource.OPERATOR, actor="ada@desk")

        async def send() -> None:
            engine = create_async_engine(make_url(url).set(drivername=driver))
            async with AsyncSession(engine) as session, session.begin():
                await EmailService.send_welcome_email(ZOE, session=session)
                await EmailService.send_email(
                    "The meeting",
                    ["ada@example.com", "dead@example.com", "grace@example.com"],
                    "message",
                    {"body": "See you there."},
                    session=session,
                )
            await engine.dispose()

        asyncio.run(send())
        found = {email.to: email.state for email in service.emails()}
        assert found.pop("dead@example.com") is State.SUPPRESSED
        assert set(found) == {"zoe@example.com", "ada@example.com", "grace@example.com"}
        assert State.SUPPRESSED not in found.values()
