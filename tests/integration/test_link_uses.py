"""Links that work once: also when many use one at the same moment, and not when the use is rolled back."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy
from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from mailctl.delivery_log.retention import Retention
from mailctl.delivery_log.storage import tables
from mailctl.delivery_log.used_links import LinkUses, redeem
from mailctl.security import links
from mailctl.security.links import CLOCK_SKEW_SECONDS, InvalidLink, LinkClaims, Links, UsedLink
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETTINGS = Settings(secret_key="a secret of the service", frontend_url="https://shop.example")
LINKS = Links(SETTINGS)
PURPOSE = "reset-password"
MANY = 16


def sealed(*, token: str = "t" * 20, expires_in: float = 3600, by: Links = LINKS) -> str:
    at = datetime.now(UTC) + timedelta(seconds=expires_in)
    claims = LinkClaims(
        purpose=PURPOSE, user_id="42", email="u@example.com", action=None, expires_at=at, token=token
    )
    return by.seal(claims)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of the service's own database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'service.db'}"
    found: str = request.getfixturevalue("postgres_url")
    return (
        sqlalchemy.make_url(found).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    )


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The service's engine; the table is made in its database."""
    engine = create_engine(url)
    LinkUses(engine).create()
    yield engine
    engine.dispose()


def test_a_link_works_once(engine: Engine) -> None:
    """The second use is refused, and says why."""
    t, store = sealed(), LinkUses(engine)
    assert LINKS.redeem(t, purpose=PURPOSE, store=store).token == "t" * 20
    with pytest.raises(UsedLink, match="already used"):
        LINKS.redeem(t, purpose=PURPOSE, store=store)


def test_of_many_at_the_same_moment_one_wins(engine: Engine) -> None:
    """Whichever comes first; the others are refused, and none gets an error."""
    t, barrier = sealed(), threading.Barrier(MANY)
    results: list[str] = []

    def use() -> None:
        barrier.wait()
        try:
            LINKS.redeem(t, purpose=PURPOSE, store=LinkUses(engine))
            results.append("won")
        except UsedLink:
            results.append("refused")

    threads = [threading.Thread(target=use) for _ in range(MANY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["refused"] * (MANY - 1) + ["won"]


def test_two_emails_with_the_same_token_are_one_use(engine: Engine) -> None:
    """A retry mints another link for the same token of the service."""
    store = LinkUses(engine)
    LINKS.redeem(sealed(), purpose=PURPOSE, store=store)
    with pytest.raises(UsedLink):
        LINKS.redeem(sealed(), purpose=PURPOSE, store=store)
    LINKS.redeem(sealed(token="u" * 20), purpose=PURPOSE, store=store)


def test_a_use_that_is_rolled_back_was_none(engine: Engine) -> None:
    """Where the new password could not be stored, the link is as good as before."""
    t = sealed()
    with Session(engine) as session:
        LINKS.redeem(t, purpose=PURPOSE, store=LinkUses(session))
        session.rollback()
    with Session(engine) as session:
        LINKS.redeem(t, purpose=PURPOSE, store=LinkUses(session))
        session.commit()
    with engine.begin() as connection, pytest.raises(UsedLink):
        LINKS.redeem(t, purpose=PURPOSE, store=LinkUses(connection))


@pytest.fixture
def service_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Have this process read the settings that made the links."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET_KEY", "a secret of the service")
    monkeypatch.setenv("FRONTEND_URL", "https://shop.example")
    links._service_links.cache_clear()
    yield
    links._service_links.cache_clear()


@pytest.mark.usefixtures("service_settings")
def test_services_redeem_links_in_a_session(engine: Engine) -> None:
    """Used up with the commit of the session, and usable again after its rollback."""
    t = sealed()
    with Session(engine) as session:
        redeem(t, purpose=PURPOSE, session=session)
        session.rollback()
    with Session(engine) as session, session.begin():
        assert redeem(t, purpose=PURPOSE, session=session).token == "t" * 20
    with Session(engine) as session, pytest.raises(UsedLink):
        redeem(t, purpose=PURPOSE, session=session)


@pytest.mark.usefixtures("service_settings")
def test_services_redeem_links_in_an_asynchronous_session(engine: Engine, url: str) -> None:
    """In the transaction of their session, with the settings of the process."""
    driver = "sqlite+aiosqlite" if url.startswith("sqlite") else "postgresql+asyncpg"
    address = sqlalchemy.make_url(url).set(drivername=driver)

    async def use_twice(t: str) -> str:
        engine = create_async_engine(address)
        async with AsyncSession(engine) as session, session.begin():
            claims = await redeem(t, purpose=PURPOSE, session=session)
        async with AsyncSession(engine) as session, session.begin():
            with pytest.raises(UsedLink):
                await redeem(t, purpose=PURPOSE, session=session)
        await engine.dispose()
        return claims.token

    assert asyncio.run(use_twice(sealed())) == "t" * 20


def test_a_bad_link_is_no_use(engine: Engine) -> None:
    """One that expired, or is for something else, leaves nothing behind."""
    store = LinkUses(engine)
    for t, purpose in ((sealed(expires_in=-CLOCK_SKEW_SECONDS - 1), PURPOSE), (sealed(), "verify-email")):
        with pytest.raises(InvalidLink):
            LINKS.redeem(t, purpose=purpose, store=store)
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(tables.link_uses)).scalar() == 0


def test_clocks_may_differ_a_little(engine: Engine) -> None:
    """By as much as the skew that is allowed, and a used link stays used as long."""
    t, store = sealed(expires_in=-CLOCK_SKEW_SECONDS + 5), LinkUses(engine)
    LINKS.redeem(t, purpose=PURPOSE, store=store)
    assert store.forget() == 0
    with pytest.raises(UsedLink):
        LINKS.redeem(t, purpose=PURPOSE, store=store)


def test_a_change_of_the_key_forgets_no_use(engine: Engine) -> None:
    """A link of the old key opens with the new settings, and was used."""
    rotated = Links(
        Settings(
            secret_key="the next secret",
            mailctl_secret_keys_old="a secret of the service",
            frontend_url="https://shop.example",
        )
    )
    t, store = sealed(), LinkUses(engine)
    LINKS.redeem(t, purpose=PURPOSE, store=store)
    with pytest.raises(UsedLink):
        rotated.redeem(t, purpose=PURPOSE, store=store)


def test_old_uses_are_forgotten_when_their_links_are_dead(engine: Engine) -> None:
    """By the store itself, and by pruning the delivery log."""
    store, now = LinkUses(engine), datetime.now(UTC)
    for number, age in enumerate((-1, 1, 2)):
        store.use(str(number), purpose=PURPOSE, until=now - timedelta(hours=age))
    assert store.forget() == 2
    store.use("again", purpose=PURPOSE, until=now - timedelta(hours=1))
    tables.metadata.create_all(engine)
    retention = Retention(engine)
    assert retention.count(contents_before=now, emails_before=now).link_uses == 1
    assert list(retention.prune(contents_before=now, emails_before=now)) == []
    assert retention.count(contents_before=now, emails_before=now).link_uses == 0


def test_a_use_gives_nothing_away(engine: Engine) -> None:
    """The table holds neither token nor address."""
    LINKS.redeem(sealed(), purpose=PURPOSE, store=LinkUses(engine))
    with engine.connect() as connection:
        [row] = connection.execute(select(tables.link_uses)).all()
    assert "t" * 20 not in str(row)
    assert "example.com" not in str(row)
