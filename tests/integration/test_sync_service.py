"""The synchronous EmailService with a real delivery log: threads, forks, event loops, and transactions."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import textwrap
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import scoped_session, sessionmaker

import mailctl
from mailctl import runtime
from mailctl.domain.states import State
from mailctl.errors import ConfigurationError, IdempotencyConflict, InvalidInput
from mailctl.settings import Settings
from mailctl.sync import EmailService
from tests.accounts import ZOE, Account
from tests.integration.forked_script import run_script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailctl.domain.models import Email

TOKEN = "a-token-of-the-service"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The database of the service and of the delivery log."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'shop.db'}"


@pytest.fixture
def service(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A service in development, with a memory broker."""
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.setenv("MAILCTL_DATABASE_URL", url)
    monkeypatch.chdir(tmp_path)
    runtime.close()
    runtime.configure(Settings.load())
    yield
    EmailService.close()


@pytest.fixture
def scoped(url: str) -> Iterator[scoped_session[Any]]:
    """The sessions of the service, one for each thread, as Flask-SQLAlchemy has them."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    sessions = scoped_session(sessionmaker(engine))
    yield sessions
    sessions.remove()
    engine.dispose()


def emails() -> list[Email]:
    """Return all recorded emails, oldest first."""
    with runtime.current().engine.connect() as connection:
        ids = connection.exec_driver_sql("SELECT id FROM mailctl_emails ORDER BY seq").scalars().all()
    return [email for id_ in ids for email in runtime.current().history.find(id_)]


def test_it_has_the_calls_of_the_asynchronous_one() -> None:
    """With the same arguments and defaults."""

    def parameters(call: Any) -> list[tuple[str, object, object]]:
        found = inspect.signature(call).parameters.values()
        return [(each.name, each.kind, each.default) for each in found]

    def calls(face: type) -> dict[str, list[tuple[str, object, object]]]:
        return {name: parameters(call) for name, call in inspect.getmembers(face, inspect.isfunction)}

    assert calls(EmailService) == calls(mailctl.EmailService)
    assert not any(inspect.iscoroutinefunction(call) for call in vars(EmailService).values())


def test_each_method_records_its_kind(service: None) -> None:
    """And returns its id."""
    EmailService.prepare()
    ids = [
        EmailService.send_welcome_email(ZOE),
        EmailService.send_password_reset_email(ZOE, TOKEN),
        EmailService.send_verification_email(ZOE, TOKEN),
        EmailService.send_new_ip_notification(ZOE, "2001:DB8::1", TOKEN, TOKEN + "2"),
        EmailService.send_email("Hello", ["zoe@example.com"], "message", {"title": "Hello"}),
        EmailService.send("welcome", ZOE),
    ]
    found = emails()
    assert [email.id for email in found] == ids
    kinds = ["welcome", "reset", "verification", "new-ip", "email", "welcome"]
    assert [(email.kind, email.state) for email in found] == [(kind, State.PENDING) for kind in kinds]


def test_every_thread_may_call_it(service: None) -> None:
    """At once, from the first call on."""
    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(lambda _: EmailService.send_welcome_email(ZOE), range(40)))
    assert {email.id for email in emails()} == set(ids)
    assert len(set(ids)) == 40


def test_forked_workers_may_call_it(service: None) -> None:
    """After their parent, which goes on, as with `gunicorn --preload` and Celery's prefork pool."""
    EmailService.send_welcome_email(ZOE)
    for _ in range(2):
        child = os.fork()
        if not child:
            status = 1
            try:
                EmailService.send_welcome_email(ZOE)
                EmailService.close()
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    EmailService.send_welcome_email(ZOE)
    assert len(emails()) == 4


def test_it_works_on_the_thread_of_an_event_loop(service: None) -> None:
    """It blocks the loop for a moment, which its documentation says."""

    async def call() -> list[str]:
        return [EmailService.send_welcome_email(ZOE), await mailctl.EmailService.send_welcome_email(ZOE)]

    assert asyncio.run(call()) == [email.id for email in emails()]


class TestInASession:
    """The transaction of the caller."""

    def test_the_email_comes_with_the_commit(self, service: None, scoped: scoped_session[Any]) -> None:
        """And not after a rollback."""
        EmailService.prepare()
        EmailService.send_welcome_email(ZOE, session=scoped)
        scoped.rollback()
        kept = EmailService.send_welcome_email(ZOE, session=scoped)
        scoped.commit()
        with scoped.session_factory() as other:  # nothing listens to other sessions of the registry
            other.connection()
            other.commit()
        assert [email.id for email in emails()] == [kept]

    def test_an_asynchronous_session_is_refused(self, service: None) -> None:
        """With a sentence that says what to use."""
        session: Any = AsyncSession()
        with pytest.raises(InvalidInput, match="not a synchronous session") as refused:
            EmailService.send_welcome_email(ZOE, session=session)
        assert "await" in refused.value.fix

    def test_another_database_is_refused(self, service: None) -> None:
        """Its transaction cannot have the email."""
        engine = create_engine("sqlite://")
        refused = pytest.raises(ConfigurationError, match="a different database")
        with sessionmaker(engine)() as session, refused:
            EmailService.send_welcome_email(ZOE, session=session)
        engine.dispose()


def test_a_key_sends_once(service: None) -> None:
    """A repeated key returns the first id, and refuses other content."""
    first = EmailService.send_welcome_email(ZOE, idempotency_key="signup-7")
    assert EmailService.send_welcome_email(ZOE, idempotency_key="signup-7") == first
    with pytest.raises(IdempotencyConflict):
        EmailService.send_welcome_email(Account(email="other@example.com"), idempotency_key="signup-7")


#: A Django project, with what a script does in its transactions, and what it has in the end.
_DJANGO = """
import json, os, sys
import django
from django.conf import settings
from django.db import connection, transaction
from types import SimpleNamespace
from mailctl import runtime
from mailctl.delivery_log.storage.engine import reading
from mailctl.errors import IdempotencyConflict, InvalidInput
from mailctl.sync import EmailService

database, more = json.loads(os.environ["SHOP_DATABASE"]), json.loads(os.environ["MORE"])
settings.configure(DATABASES={"default": database}, **more)
django.setup()
EmailService.prepare()
with connection.cursor() as cursor:
    cursor.execute("CREATE TABLE IF NOT EXISTS shop_users (email varchar(254))")
    cursor.execute("DELETE FROM shop_users")
zoe = SimpleNamespace(id=7, email="zoe@example.com", username="zoe")

def sign_up(email):
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_users VALUES (%s)", [email])

def users():
    with connection.cursor() as cursor:
        cursor.execute("SELECT email FROM shop_users ORDER BY email")
        return [email for (email,) in cursor.fetchall()]

def emails():
    with reading(runtime.current().engine) as log:
        return list(log.exec_driver_sql("SELECT id FROM mailctl_emails ORDER BY seq").scalars())

def send(**options):
    return EmailService.send_welcome_email(zoe, **options)
"""


class Django:
    """A Django project whose database may have the delivery log."""

    def __init__(self, folder: Path, url: str, *, log_url: str, **more: object) -> None:
        self._folder = folder
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": url.removeprefix("sqlite:///")}
        if url.startswith("postgresql"):
            host, _, rest = url.removeprefix("postgresql://postgres@").partition(":")
            port, _, name = rest.partition("/")
            database = {"ENGINE": "django.db.backends.postgresql", "NAME": name, "USER": "postgres"}
            database |= {"HOST": host, "PORT": port}
        environment = {key: value for key, value in os.environ.items() if key not in _SETTINGS}
        self._environment = environment | {
            "SHOP_DATABASE": json.dumps(database),
            "MORE": json.dumps({"USE_TZ": True, "TIME_ZONE": "Asia/Kolkata"} | more),
            "MAILCTL_DATABASE_URL": log_url,
        }

    def run(self, code: str) -> Any:
        """Run code in the project, and return what it prints as JSON."""
        source = _DJANGO + textwrap.dedent(code)
        return json.loads(run_script(source, folder=self._folder, environment=self._environment))


_SETTINGS = {name.upper() for name in Settings.model_fields}


@pytest.fixture(params=["joined", "own log", "without time zones"])
def django(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> Django:
    """With the delivery log in the database of the project, or elsewhere."""
    if request.param == "own log":
        return Django(tmp_path, url, log_url=f"sqlite:///{tmp_path / 'mail.db'}")
    if request.param == "without time zones" and url.startswith("sqlite"):
        pytest.skip("SQLite has one writer: the log has to be elsewhere, or in the same transaction")
    return Django(tmp_path, url, log_url=url, USE_TZ=request.param == "joined")


class TestInATransactionOfDjango:
    """`transaction.atomic`, with the delivery log in the same database and elsewhere."""

    def test_the_email_comes_with_the_commit(self, django: Django) -> None:
        """Under the id that the call has returned."""
        found = django.run(
            """
            with transaction.atomic():
                sign_up("zoe@example.com")
                sent = send()
                before = emails()
            print(json.dumps({"sent": sent, "before": before, "after": emails(), "users": users()}))
            """
        )
        assert (found["before"], found["after"]) == ([], [found["sent"]])
        assert found["users"] == ["zoe@example.com"]

    def test_after_a_rollback_there_is_neither(self, django: Django) -> None:
        """Of the whole transaction, or of a savepoint in it."""
        found = django.run(
            """
            def fail(commit):
                try:
                    with transaction.atomic():
                        sign_up("lost@example.com")
                        send()
                        raise KeyError
                except KeyError:
                    pass
            fail(False)
            with transaction.atomic():
                sign_up("zoe@example.com")
                fail(True)
                kept = send()
            print(json.dumps({"kept": kept, "after": emails(), "users": users()}))
            """
        )
        assert (found["after"], found["users"]) == ([found["kept"]], ["zoe@example.com"])

    def test_a_refused_call_leaves_the_transaction_usable(self, django: Django) -> None:
        """A key with other content, and an address that is none; the service may go on."""
        found = django.run(
            """
            first = send(idempotency_key="a")
            with transaction.atomic():
                again = send(idempotency_key="a")
                for refused in ("other@example.com", "no address"):
                    zoe.email = refused
                    try:
                        send(idempotency_key="a")
                    except (IdempotencyConflict, InvalidInput):
                        sign_up(refused)
            print(json.dumps({"first": first, "again": again, "after": emails(), "users": users()}))
            """
        )
        assert found["first"] == found["again"]
        assert found["after"] == [found["first"]]
        assert found["users"] == ["no address", "other@example.com"]

    def test_limits_apply(self, django: Django, monkeypatch: pytest.MonkeyPatch) -> None:
        """They read times, which Django's connection returns in its own way."""
        django._environment["MAILCTL_LIMIT_GLOBAL"] = "1/h"
        found = django.run(
            """
            with transaction.atomic():
                send()
                send()
            found = [runtime.current().history.find(email_id)[0] for email_id in emails()]
            minutes = [(email.due_at - email.created_at).total_seconds() // 60 for email in found]
            print(json.dumps({"codes": [email.reason_code for email in found], "minutes": minutes}))
            """
        )
        assert found["codes"] == [None, "over_global_limit"]
        assert 59 <= found["minutes"][1] <= 60


def test_without_a_transaction_of_django_it_is_recorded_at_once(url: str, tmp_path: Path) -> None:
    """In autocommit mode, Django's default."""
    django = Django(tmp_path, url, log_url=url)
    assert len(django.run("send(); sign_up('x'); print(json.dumps(emails()))")) == 1
