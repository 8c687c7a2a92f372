"""`mailctl.sync.EmailService`: recorded at once, or in the transaction of a session."""

from __future__ import annotations

from contextlib import ExitStack, closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from mailctl import runtime
from mailctl.domain.states import State
from mailctl.errors import ConfigurationError, InvalidInput
from mailctl.settings import Settings
from mailctl.sync import EmailService

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ZOE: Any = SimpleNamespace(id=7, email="zoe@example.com", username="zoe")


@pytest.fixture(autouse=True)
def service(tmp_path: Path) -> Iterator[None]:
    """A service whose delivery log is a file."""
    runtime.close()
    runtime.configure(Settings(mailctl_home=tmp_path))
    EmailService.prepare()
    yield
    EmailService.close()


def recorded(email_id: str) -> list[State]:
    """Return the state of an email; nothing if there is none."""
    return [email.state for email in runtime.current().history.emails([email_id])]


def test_without_a_session_the_email_is_recorded_at_once() -> None:
    """A relay publishes it, because the broker is in memory."""
    assert recorded(EmailService.send_welcome_email(ZOE)) == [State.PENDING]


@pytest.mark.parametrize("is_scoped", [False, True])
@pytest.mark.parametrize("is_committed", [False, True])
def test_with_a_session_the_email_is_part_of_its_transaction(is_committed: bool, is_scoped: bool) -> None:
    """Of a plain session, or of the registry that web frameworks use."""
    make = sessionmaker(runtime.current().engine)
    made: Any = scoped_session(make) if is_scoped else make()
    with closing(made) as session:
        email_id = EmailService.send("welcome", ZOE, session=session)
        if is_committed:
            session.commit()
        else:
            session.rollback()
    assert recorded(email_id) == ([State.PENDING] if is_committed else [])


def test_an_asynchronous_session_is_refused() -> None:
    """The error names the call that takes one."""
    session: Any = AsyncSession()
    with (
        closing(session.sync_session),
        pytest.raises(InvalidInput, match="not a synchronous session") as caught,
    ):
        EmailService.send_welcome_email(ZOE, session=session)
    assert "mailctl.EmailService" in caught.value.fix


def test_a_session_on_another_database_is_refused(tmp_path: Path) -> None:
    """Its commit would not record the email."""
    engine = create_engine(f"sqlite:///{tmp_path}/other.db")
    with ExitStack() as opened:
        opened.callback(engine.dispose)
        session = opened.enter_context(Session(engine))
        with pytest.raises(ConfigurationError, match="a different database"):
            EmailService.send_welcome_email(ZOE, session=session)
