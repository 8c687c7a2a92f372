"""The public API for services without an event loop: Flask, Django, scripts and Celery tasks.

    from mailctl.sync import EmailService

It has the calls of `mailctl.EmailService`, without `await`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.orm import Session, scoped_session

from mailctl import runtime
from mailctl.enqueue import background
from mailctl.errors import InvalidInput
from mailctl.service import AnyRecipient, Recipient, ServiceCall, ServiceUser

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mailctl.domain.models import Json

__all__ = ["EmailService", "Recipient", "ServiceUser"]


class EmailService:
    """Sends emails of the service in the background, from code without an event loop.

    Each method records an email in the delivery log and returns its id, which is also its Celery task id. A
    worker sends the email. A broker that is down neither delays the call nor makes it fail. Every thread and
    every forked process may call it. The call waits for the delivery log, for milliseconds: on an event loop,
    use `mailctl.EmailService`.

    Inside `transaction.atomic` of Django, the email is recorded only if the transaction commits. If the
    delivery log is in the same database, the email is part of that transaction. Otherwise it is recorded
    right after the commit (`transaction.on_commit`), and an error of the log is raised at that point.

    Args (all sending methods):
        session: a session of SQLAlchemy, such as `db.session` of Flask-SQLAlchemy. The email joins its
            transaction: it is published after the commit, and a rollback removes it. None commits the email
            at once, except in a transaction of Django.
        idempotency_key: a second call with the same key and content returns the id of the first call and
            sends nothing.
        source: the IP address of the client of this request, whose block MAILCTL_LIMIT_PER_SOURCE counts;
            None if nobody outside asked for the email.
        sender: the name of a sender of MAILCTL_SENDERS; None for that of the kind or the tenant.
        tenant: the tenant of the service that the email belongs to, for senders and routes.

    Raises (all sending methods):
        InvalidInput: a value is missing or invalid; nothing was recorded.
        IdempotencyConflict: the idempotency key was used for different content.
        ConfigurationError: the settings are not usable, or `session` is connected to a database other than
            the delivery log.
        LogUnavailable: the delivery log cannot be written.
    """

    @staticmethod
    def prepare() -> None:
        """Open the delivery log and load the custom kinds.

        Call this when the service starts, so that the first request need not wait for it. Processes that are
        forked later open the log for themselves.
        """
        _ = background.current().runtime.catalog.custom_kinds

    @staticmethod
    def close() -> None:
        """Publish the emails that are not published yet, and close all connections; call this at shutdown."""
        runtime.close()

    @staticmethod
    def send_email(
        subject: str,
        recipients: Sequence[AnyRecipient],
        template_name: str,
        context: Mapping[str, Json] | None = None,
        *,
        session: Session | scoped_session[Session] | None = None,
        idempotency_key: str | None = None,
        source: str | None = None,
        sender: str | None = None,
        tenant: str | None = None,
    ) -> str:
        """Send a generic email to each recipient; see `mailctl.EmailService.send_email`.

        Returns:
            The id of the email to the first recipient; it is also the group id of the others.
        """
        call = ServiceCall.generic(subject, recipients, template_name, context, key=idempotency_key)
        return _record(call.sent_by(sender, tenant), session, source=source)

    @staticmethod
    def send_welcome_email(
        user: ServiceUser,
        *,
        session: Session | scoped_session[Session] | None = None,
        idempotency_key: str | None = None,
        source: str | None = None,
        sender: str | None = None,
        tenant: str | None = None,
    ) -> str:
        """Send a welcome email to a new user; return its id."""
        call = ServiceCall.welcome(user, key=idempotency_key)
        return _record(call.sent_by(sender, tenant), session, source=source)

    @staticmethod
    def send_password_reset_email(
        user: ServiceUser,
        token: str | None = None,
        *,
        session: Session | scoped_session[Session] | None = None,
        idempotency_key: str | None = None,
        source: str | None = None,
        sender: str | None = None,
        tenant: str | None = None,
    ) -> str:
        """Send a password-reset link that carries `token`; return the id of the email."""
        call = ServiceCall.reset(user, token, key=idempotency_key)
        return _record(call.sent_by(sender, tenant), session, source=source)

    @staticmethod
    def send_verification_email(
        user: ServiceUser,
        token: str | None = None,
        *,
        session: Session | scoped_session[Session] | None = None,
        idempotency_key: str | None = None,
        source: str | None = None,
        sender: str | None = None,
        tenant: str | None = None,
    ) -> str:
        """Send a link that carries `token` and confirms the email address; return the id of the email."""
        call = ServiceCall.verification(user, token, key=idempotency_key)
        return _record(call.sent_by(sender, tenant), session, source=source)

    @staticmethod
    def send_new_ip_notification(
        user: ServiceUser,
        ip_address: str,
        whitelist_token: str | None = None,
        blacklist_token: str | None = None,
        *,
        session: Session | scoped_session[Session] | None = None,
        idempotency_key: str | None = None,
        source: str | None = None,
        sender: str | None = None,
        tenant: str | None = None,
    ) -> str:
        """Notify a user of a sign-in from `ip_address`, with links that allow and block it; return the id."""
        call = ServiceCall.new_ip(user, ip_address, whitelist_token, blacklist_token, key=idempotency_key)
        return _record(call.sent_by(sender, tenant), session, source=source)

    @staticmethod
    def send(
        kind: str,
        user: ServiceUser,
        context: Mapping[str, Json] | None = None,
        *,
        tokens: Mapping[str, str] | None = None,
        session: Session | scoped_session[Session] | None = None,
        idempotency_key: str | None = None,
        source: str | None = None,
        sender: str | None = None,
        tenant: str | None = None,
    ) -> str:
        """Send an email of any kind, built-in or custom (MAILCTL_CATALOG); return its id.

        Args:
            kind: the name of the kind.
            context: the template variables, as JSON types.
            tokens: tokens of the service for the links of the kind, by the `token` of each link; mailctl
                makes those that are missing.
        """
        catalog = background.current().runtime.catalog
        call = ServiceCall.of_kind(catalog.get(kind), user, context, tokens, key=idempotency_key)
        return _record(call.sent_by(sender, tenant), session, source=source)


def _record(
    call: ServiceCall, session: Session | scoped_session[Session] | None, *, source: str | None
) -> str:
    call = call.from_source(source)
    dispatcher = background.current()
    if session is None:
        return dispatcher.record_now(call.request, call.users)
    if not isinstance(session, Session | scoped_session):
        raise InvalidInput(
            "session",
            "is not a synchronous session of SQLAlchemy.",
            fix="With an AsyncSession, await the call of mailctl.EmailService.",
        )
    return dispatcher.record_in(session, call.request, call.users)
