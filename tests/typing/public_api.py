"""Uses of the public API that must type-check."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

from fastapi_mail import NameEmail

from mailctl import (
    BrokerUnavailable,
    ConfigurationError,
    EmailService,
    FeedbackEvent,
    IdempotencyConflict,
    InvalidInput,
    InvalidLink,
    Kind,
    Link,
    LinkUses,
    LogUnavailable,
    MailctlError,
    NotFound,
    Recipient,
    Refused,
    RenderError,
    ServiceUnavailable,
    UsedLink,
    alembic,
    links,
    on_feedback,
    record_tasks,
    redeem,
    sync,
)
from mailctl.celery_app import create_celery_app
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from celery import Celery
    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session, scoped_session

    from mailctl.links import LinkClaims


class User:
    """A user as any service has one."""

    id: int
    email: str
    username: str
    first_name: str


async def use_service(user: User, session: Session, async_session: AsyncSession) -> None:
    """Call every method."""
    assert_type(await EmailService.prepare(), None)
    assert_type(await EmailService.send_welcome_email(user), str)
    await EmailService.send_password_reset_email(user, "token", session=session)
    await EmailService.send_verification_email(user, "token", session=async_session, idempotency_key="k")
    await EmailService.send_new_ip_notification(user, "203.0.113.7", "allow", "block")
    await EmailService.send("invoice", user, {"amount": 30}, tokens={"token": "t"}, session=session)
    recipients: list[Recipient | Mapping[str, str] | str] = [
        "a@example.com",
        {"name": "B", "email": "b@example.com"},
        Recipient(email="c@example.com"),
    ]
    assert_type(await EmailService.send_email("Hi", recipients, "message"), str)
    of_fastapi_mail = [NameEmail(name="D", email="d@example.com")]
    await EmailService.send_email("Hi", of_fastapi_mail, "auth/welcome.html", {"user": {"roles": [1]}})
    await EmailService.send_password_reset_email(user)
    await EmailService.send_new_ip_notification(user, "203.0.113.7")
    assert_type(await EmailService.close(), None)


def use_sync_service(user: User, session: Session, scoped: scoped_session[Session]) -> None:
    """Call every method of the synchronous face."""
    sync.EmailService.prepare()
    assert_type(sync.EmailService.send_welcome_email(user), str)
    sync.EmailService.send_password_reset_email(user, "token", session=session)
    sync.EmailService.send_verification_email(user, "token", session=scoped, idempotency_key="k")
    sync.EmailService.send_new_ip_notification(user, "203.0.113.7", "allow", "block")
    sync.EmailService.send("invoice", user, {"amount": 30}, tokens={"token": "t"}, session=session)
    assert_type(sync.EmailService.send_email("Hi", [sync.Recipient(email="c@example.com")], "message"), str)
    sync.EmailService.close()


def verify_link(t: str) -> str:
    """Read a link."""
    assert_type(links.verify(t, purpose="reset-password"), "LinkClaims")
    return links.verify(t, purpose="reset-password").token


def redeem_link(t: str, session: Session) -> LinkClaims:
    """Use a link up in a transaction."""
    return assert_type(redeem(t, purpose="reset-password", session=session), "LinkClaims")


async def redeem_link_asynchronously(t: str, session: AsyncSession) -> str:
    """Use a link up in an asynchronous transaction."""
    redeeming = assert_type(
        redeem(t, purpose="reset-password", session=session), Coroutine[Any, Any, "LinkClaims"]
    )
    return (await redeeming).email


def redeem_link_elsewhere(t: str, bind: Session | Connection | Engine) -> str | None:
    """Use a link up in another database."""
    store = LinkUses(bind)
    store.create()
    assert_type(store.forget(), int)
    return links.redeem(t, purpose="verify-email", store=store).user_id


def mint(request: links.LinkRequest) -> str:
    """Make the token of a link."""
    assert_type(request.expires_at, datetime)
    return f"{request.kind}{request.purpose}{request.action}{request.ip_address}{request.user.anything}"


def register() -> Kind:
    """Describe a kind of one's own, with a link."""
    link = Link(
        variable="invoice_url", path="/invoices", purpose="invoice", lifetime=timedelta(days=3), action="pay"
    )
    return Kind(
        name="invoice", subject="Invoice", template="invoice", lifetime=timedelta(days=3), links=(link,)
    )


def describe(error: MailctlError) -> str:
    """Tell errors apart, and read what they carry."""
    if isinstance(error, InvalidInput):
        return assert_type(error.field, str) + assert_type(error.reason, str)
    if isinstance(error, UsedLink | InvalidLink | IdempotencyConflict | Refused | NotFound):
        return assert_type(error.message, str)
    if isinstance(error, BrokerUnavailable | LogUnavailable | ServiceUnavailable):
        return "later"
    return error.fix if isinstance(error, ConfigurationError | RenderError) else str(error)


def use_app() -> Celery:
    """Make an app from settings."""
    return create_celery_app(Settings.load(Path(".env")))


def configure_alembic(object: object, name: str | None, type_: str, reflected: bool) -> bool:
    """Add a condition of one's own to the hook."""
    return alembic.include_object(object, name, type_, reflected, None) and name != "spatial_ref_sys"


def record(app: Celery) -> None:
    """Record the emails of a service's own tasks."""
    record_tasks(app)


def links_are_a_module() -> ModuleType:
    """The exported module is one, also for type checkers."""
    return links


def hear(event: FeedbackEvent) -> None:
    """Hear of what became of an email."""
    if event.kind == "bounced" and event.is_hard:
        print(assert_type(event.email_id, str), assert_type(event.smtp_code, int | None))


def listen() -> None:
    """Register a function of one's own."""
    on_feedback(hear)
