"""Uses of the public interface that must type-check."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, assert_type

from mailctl import EmailService, Kind, links
from mailctl.celery_app import create_celery_app
from mailctl.settings import Settings

if TYPE_CHECKING:
    from celery import Celery
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session


class User:
    """A user as any service has one."""

    id: int
    email: str
    username: str
    first_name: str


async def use_service(user: User, session: Session, async_session: AsyncSession) -> None:
    """Call every method."""
    assert_type(await EmailService.send_welcome_email(user), str)
    await EmailService.send_password_reset_email(user, "token", session=session)
    await EmailService.send_verification_email(user, "token", session=async_session, idempotency_key="k")
    await EmailService.send_new_ip_notification(user, "203.0.113.7", "allow", "block")
    await EmailService.send("invoice", user, {"amount": 30}, tokens={"token": "t"}, session=session)
    await EmailService.send_email("Hi", ["a@example.com", {"name": "B", "email": "b@example.com"}], "message")


def use_links(t: str) -> str:
    """Read a link."""
    return links.verify(t, purpose="reset-password").token


def register() -> Kind:
    """Describe a kind of one's own."""
    return Kind(name="invoice", subject="Invoice", template="invoice", lifetime=timedelta(days=3))


def use_app() -> Celery:
    """Make an app from settings."""
    return create_celery_app(Settings.load(Path(".env")))
