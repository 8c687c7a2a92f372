"""The service's own database: who its users are, and where they sign in from."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sqlalchemy import ForeignKey
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from mailctl import LinkUses
from mailctl.settings import Settings

_ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


class Base(DeclarativeBase):
    """The tables of the service."""


class User(Base):
    """Somebody with an account."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    username: Mapped[str]
    first_name: Mapped[str] = mapped_column(default="")
    #: Empty until a password is chosen.
    password: Mapped[str] = mapped_column(default="")
    is_verified: Mapped[bool] = mapped_column(default=False)


class KnownAddress(Base):
    """Where a user has signed in from, and what the user says about it."""

    __tablename__ = "known_addresses"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    ip: Mapped[str] = mapped_column(primary_key=True)
    token_digest: Mapped[str] = mapped_column(unique=True)
    #: None until the user has answered.
    is_allowed: Mapped[bool | None]


def _database_url() -> str:
    """Return DATABASE_URL; without it, the database of the delivery log, so that `session=` works."""
    settings = Settings.load()
    own = settings.database_url.get_secret_value() if settings.database_url else settings.log_url
    url = make_url(own)
    drivername = _ASYNC_DRIVERS.get(url.drivername, url.drivername)
    return url.set(drivername=drivername).render_as_string(hide_password=False)


engine = create_async_engine(_database_url())
new_session = async_sessionmaker(engine, expire_on_commit=False)


async def make_tables() -> None:
    """Make the tables that are missing."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        # There already where the delivery log is in the same database.
        await connection.run_sync(lambda sync: LinkUses(sync).create())


async def session() -> AsyncIterator[AsyncSession]:
    """One session for each request."""
    async with new_session() as opened:
        yield opened
