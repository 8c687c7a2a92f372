"""The public API for web services: record emails without waiting for the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session

from mailctl import runtime
from mailctl.domain.address_block import address_block
from mailctl.domain.catalog import GENERIC, NEW_IP, RESET, VERIFICATION, WELCOME
from mailctl.domain.factory import parse_recipient, read_user
from mailctl.domain.json_values import to_json_value
from mailctl.domain.request import EmailRequest
from mailctl.enqueue import background
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.orm import Session

    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Json, User


class ServiceUser(Protocol):
    """A user of the service; `first_name` or `username`, if it has them, is used for the greeting."""

    id: Any
    email: str


@dataclass(frozen=True, kw_only=True)
class Recipient:
    """A recipient of a generic email."""

    email: str
    name: str = ""


class NamedAddress(Protocol):
    """An address with a name, such as FastAPI-Mail's `NameEmail`."""

    email: str
    name: str


#: The forms of a recipient that `EmailService.send_email` takes.
AnyRecipient: TypeAlias = "Recipient | NamedAddress | Mapping[str, str] | str"


@dataclass(frozen=True, kw_only=True)
class ServiceCall:
    """A call of `EmailService`, asynchronous or not, as a request and its recipients.

    Each class method takes the arguments of the call of its name.

    Raises (all class methods):
        InvalidInput: a recipient is not usable.
    """

    request: EmailRequest
    users: Sequence[User]

    def sent_by(self, sender: str | None, tenant: str | None) -> ServiceCall:
        """Return the call with a sender of MAILCTL_SENDERS and a tenant; None leaves them out."""
        return replace(self, request=replace(self.request, sender=sender, tenant=tenant))

    @classmethod
    def generic(
        cls,
        subject: str,
        recipients: Sequence[AnyRecipient],
        template_name: str,
        context: Mapping[str, Json] | None,
        *,
        key: str | None,
    ) -> ServiceCall:
        """Return a call of `send_email`."""
        request = EmailRequest(
            kind=GENERIC,
            subject=_as_text(subject, field="subject"),
            template=_as_text(template_name, field="template"),
            context={} if context is None else context,
            idempotency_key=key,
        )
        return cls(request=request, users=_to_users(recipients))

    @classmethod
    def welcome(cls, user: ServiceUser, *, key: str | None) -> ServiceCall:
        """Return a call of `send_welcome_email`."""
        return cls.of_kind(WELCOME, user, key=key)

    @classmethod
    def reset(cls, user: ServiceUser, token: str | None, *, key: str | None) -> ServiceCall:
        """Return a call of `send_password_reset_email`."""
        return cls.of_kind(RESET, user, tokens=_given(token=token), key=key)

    @classmethod
    def verification(cls, user: ServiceUser, token: str | None, *, key: str | None) -> ServiceCall:
        """Return a call of `send_verification_email`."""
        return cls.of_kind(VERIFICATION, user, tokens=_given(token=token), key=key)

    @classmethod
    def new_ip(
        cls,
        user: ServiceUser,
        ip_address: str,
        whitelist_token: str | None,
        blacklist_token: str | None,
        *,
        key: str | None,
    ) -> ServiceCall:
        """Return a call of `send_new_ip_notification`."""
        tokens = _given(whitelist_token=whitelist_token, blacklist_token=blacklist_token)
        return cls.of_kind(NEW_IP, user, {"ip_address": ip_address}, tokens, key=key)

    @classmethod
    def of_kind(
        cls,
        kind: Kind,
        user: ServiceUser,
        context: Mapping[str, Json] | None = None,
        tokens: Mapping[str, str] | None = None,
        *,
        key: str | None,
    ) -> ServiceCall:
        """Return a call of `send`."""
        request = EmailRequest(
            kind=kind,
            tokens=_given(**(tokens or {})),
            context={} if context is None else context,
            idempotency_key=key,
        )
        known = read_user(user)
        if known.id is None and any(link.token not in request.tokens for link in kind.links):
            raise InvalidInput(
                "user",
                "has no id yet, by which a link finds the user again.",
                fix="Flush the session, or save the user, before the call.",
            )
        return cls(request=request, users=[known])

    def from_source(self, source: str | None) -> ServiceCall:
        """Return the call with the IP address of the client that it is made for.

        Raises:
            InvalidInput: it is not an IP address.
        """
        if source is None:
            return self
        return replace(self, request=replace(self.request, source=address_block(source)))


class EmailService:
    """Sends emails of the service in the background.

    Each method records an email in the delivery log and returns its id, which is also its Celery task id. A
    worker sends the email. A broker that is down neither delays the call nor makes it fail.

    Args (all sending methods):
        session: a session of the service. The email joins its transaction: it is published after the commit,
            and a rollback removes it. None commits the email at once.
        idempotency_key: a second call with the same key and content returns the id of the first call and
            sends nothing.
        source: the IP address of the client of this request, whose block MAILCTL_LIMIT_PER_SOURCE counts;
            None if nobody outside asked for the email.
        sender: the name of a sender of MAILCTL_SENDERS; None for that of the kind or the tenant.
        tenant: the tenant of the service that the email belongs to, for senders and routes.

    Raises (all sending methods):
        InvalidInput: a value is missing or not usable; nothing was recorded.
        IdempotencyConflict: the idempotency key was used for different content.
        ConfigurationError: the settings are not usable, or `session` is connected to a database other than
            the delivery log.
        LogUnavailable: the delivery log cannot be written.
    """

    @staticmethod
    async def prepare() -> None:
        """Open the delivery log and load the custom kinds.

        Call this at the start of the service, so that the first request need not wait for it.
        """
        parts = (await asyncio.to_thread(background.current)).runtime
        await asyncio.to_thread(lambda: parts.catalog.custom_kinds)

    @staticmethod
    async def close() -> None:
        """Publish the emails that are not published yet, and close all connections; call this at shutdown."""
        await asyncio.to_thread(runtime.close)

    @staticmethod
    async def send_email(
        subject: str,
        recipients: Sequence[AnyRecipient],
        template_name: str,
        context: Mapping[str, Json] | None = None,
        *,
        session: Session | AsyncSession | None = None,
        idempotency_key: str | None = None,
        source: str | None = None,
        sender: str | None = None,
        tenant: str | None = None,
    ) -> str:
        """Send a generic email, with its own subject and template, to each recipient.

        With the template `reset`, `verification` or `new-ip` the email is recorded as that kind, with the
        rate limits and the lifetime of the kind, and all its links must lead to FRONTEND_URL or
        MAILCTL_LINK_ORIGINS. Links in other templates may lead anywhere, but a variable whose name ends in
        url, uri, href or link, at any depth, must not contain `javascript:`, `data:` or line breaks.

        Args:
            subject: the subject line.
            recipients: addresses, also as `Name <address>`, mappings with `email` and optionally `name`, or
                objects with these attributes: `Recipient`, or FastAPI-Mail's `NameEmail`.
            template_name: a template of mailctl or of the folder MAILCTL_TEMPLATES, also in a subfolder and
                with its ending: `message`, `auth/welcome.html`; or a name of MAILCTL_TEMPLATE_ALIASES.
            context: the variables of the template: JSON types, nested, and dates, UUIDs, decimal numbers,
                enumerations, dataclasses and pydantic models, which become JSON.

        Returns:
            The id of the email to the first recipient; it is also the group id of the others.
        """
        call = ServiceCall.generic(subject, recipients, template_name, context, key=idempotency_key)
        return await _record(call.sent_by(sender, tenant), session, source=source)

    @staticmethod
    async def send_welcome_email(
        user: ServiceUser,
        *,
        session: Session | AsyncSession | None = None,
        idempotency_key: str | None = None,
        source: str | None = None,
        sender: str | None = None,
        tenant: str | None = None,
    ) -> str:
        """Send a welcome email to a new user; return its id."""
        call = ServiceCall.welcome(user, key=idempotency_key)
        return await _record(call.sent_by(sender, tenant), session, source=source)

    @staticmethod
    async def send_password_reset_email(
        user: ServiceUser,
        token: str | None = None,
        *,
        session: Session | AsyncSession | None = None,
        idempotency_key: str | None = None,
        source: str | None = None,
        sender: str | None = None,
        tenant: str | None = None,
    ) -> str:
        """Send a password-reset link that carries `token`; return the id of the email.

        Without a token, mailctl makes the link when it sends the email (see `mailctl.links`).
        """
        call = ServiceCall.reset(user, token, key=idempotency_key)
        return await _record(call.sent_by(sender, tenant), session, source=source)

    @staticmethod
    async def send_verification_email(
        user: ServiceUser,
        token: str | None = None,
        *,
        session: Session | AsyncSession | None = None,
        idempotency_key: str | None = None,
        source: str | None = None,
        sender: str | None = None,
        tenant: str | None = None,
    ) -> str:
        """Send a link that carries `token` and confirms the email address; return the id of the email.

        Without a token, mailctl makes the link when it sends the email (see `mailctl.links`).
        """
        call = ServiceCall.verification(user, token, key=idempotency_key)
        return await _record(call.sent_by(sender, tenant), session, source=source)

    @staticmethod
    async def send_new_ip_notification(
        user: ServiceUser,
        ip_address: str,
        whitelist_token: str | None = None,
        blacklist_token: str | None = None,
        *,
        session: Session | AsyncSession | None = None,
        idempotency_key: str | None = None,
        source: str | None = None,
        sender: str | None = None,
        tenant: str | None = None,
    ) -> str:
        """Notify a user of a sign-in from `ip_address`, with links that allow and block it; return the id.

        Without a token, mailctl makes that link when it sends the email (see `mailctl.links`).
        """
        call = ServiceCall.new_ip(user, ip_address, whitelist_token, blacklist_token, key=idempotency_key)
        return await _record(call.sent_by(sender, tenant), session, source=source)

    @staticmethod
    async def send(
        kind: str,
        user: ServiceUser,
        context: Mapping[str, Json] | None = None,
        *,
        tokens: Mapping[str, str] | None = None,
        session: Session | AsyncSession | None = None,
        idempotency_key: str | None = None,
        source: str | None = None,
        sender: str | None = None,
        tenant: str | None = None,
    ) -> str:
        """Send an email of any kind, built-in or custom (MAILCTL_CATALOG); return its id.

        Args:
            kind: the name of the kind.
            context: the template variables; see `send_email`.
            tokens: tokens of the service for the links of the kind, by the `token` of each link; mailctl
                makes those that are missing.
        """
        catalog = (await asyncio.to_thread(background.current)).runtime.catalog
        call = ServiceCall.of_kind(catalog.get(kind), user, context, tokens, key=idempotency_key)
        return await _record(call.sent_by(sender, tenant), session, source=source)


async def _record(call: ServiceCall, session: Session | AsyncSession | None, *, source: str | None) -> str:
    call = call.from_source(source)
    # Only opening it needs another thread: each change of threads takes time.
    dispatcher = background.current() if background.is_open() else await asyncio.to_thread(background.current)
    if session is None:
        return await dispatcher.record(call.request, call.users)
    if isinstance(session, async_scoped_session):
        session = session()
    if isinstance(session, AsyncSession):
        return await session.run_sync(lambda sync: dispatcher.record_in(sync, call.request, call.users))
    return dispatcher.record_in(session, call.request, call.users)


def _given(**tokens: str | None) -> dict[str, str]:
    return {name: _as_text(token, field=name) for name, token in tokens.items() if token is not None}


def _as_text(value: Any, *, field: str) -> Any:
    """Return the text of a lazy text of Django or of a UUID; other values are validated later."""
    return value if value is None else to_json_value(value, field=field)


def _to_users(recipients: Sequence[AnyRecipient]) -> list[User]:
    if isinstance(recipients, str) or not isinstance(recipients, Iterable):
        reason = f"must be a list, not a value of type {type(recipients).__name__}."
        raise InvalidInput("recipients", reason, fix="Give a list of addresses.")
    given = list(recipients)
    if not given:
        raise InvalidInput("recipients", "must not be empty.", fix="Give at least one recipient.")
    if len(given) == 1:
        return [parse_recipient(given[0])]
    return [_to_user(recipient, place=place) for place, recipient in enumerate(given)]


def _to_user(recipient: AnyRecipient, *, place: int) -> User:
    """Return one of several recipients; an error names its position, because then no email is sent at all."""
    try:
        return parse_recipient(recipient)
    except InvalidInput as error:
        raise InvalidInput(
            error.field, error.reason, fix=error.fix, subject=f"recipients[{place}]: {error.field}"
        ) from error
