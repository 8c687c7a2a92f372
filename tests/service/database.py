"""The service's own database: its users."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The tables of the service."""


class User(Base):
    """Somebody with an account."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    username: Mapped[str]
    first_name: Mapped[str] = mapped_column(default="")
    is_verified: Mapped[bool] = mapped_column(default=False)
    last_ip: Mapped[str] = mapped_column(default="")


engine = create_async_engine(os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///service.db"))
new_session = async_sessionmaker(engine, expire_on_commit=False)


async def make_tables() -> None:
    """Make the tables that are missing."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)


async def session() -> AsyncIterator[AsyncSession]:
    """One session for each request."""
    async with new_session() as opened:
        yield opened
