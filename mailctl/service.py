"""What the web service calls: record the email, then let it be published; never wait for the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from mailctl import runtime
from mailctl.domain.catalog import GENERIC, NEW_IP, RESET, VERIFICATION, WELCOME, Kind
from mailctl.domain.factory import make_content, make_recipient, make_user
from mailctl.enqueue import background
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from mailctl.domain.models import Content, Json, User
    from mailctl.runtime import Runtime

_ContentMaker = Callable[["Runtime"], list["Content"]]


class ServiceUser(Protocol):
    """A user of the service, as its own code knows one; `first_name` is used where there is one."""

    id: Any
    email: str
    username: str


@dataclass(frozen=True, kw_only=True)
class Recipient:
    """Somebody whom the generic email goes to."""

    email: str
    name: str = ""


class EmailService:
    """Sends the service's emails in the background.

    Each method records the email in the delivery log and returns its id, the Celery task id. A worker
    sends it; a broker that is down neither fails nor delays the call. With `session`, the record joins the
    caller's transaction: it is published after the commit, and gone after a rollback. With
    `idempotency_key`, a second call with the same key and content returns the first id and sends nothing.

    Raises (all methods):
        InvalidInput: a value cannot be used; nothing was recorded.
        IdempotencyConflict: the key was used for other content.
        ConfigurationError: the settings are not usable, or `session` is of another database than the log.
        LogUnavailable: the delivery log cannot be written.
    """

    @staticmethod
    async def prepare() -> None:
        """Open the delivery log and load the kinds: at the start of the service, so no request waits."""
        parts = (await asyncio.to_thread(background.current)).runtime
        await asyncio.to_thread(lambda: parts.catalog.custom_kinds)

    @staticmethod
    async def close() -> None:
        """Finish what is being published and close all connections: at the end of the service."""
        await asyncio.to_thread(runtime.close)

    @staticmethod
    async def send_email(
        subject: str,
        recipients: Sequence[Recipient | Mapping[str, str] | str],
        template_name: str,
        context: Mapping[str, Json] | None = None,
        *,
        session: Session | AsyncSession | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Send an email of the service's own: one message to each recipient.

        With the template `reset`, `verification` or `new-ip` it is recorded as an email of that kind, with
        its limits and lifetime, and all its links must lead to FRONTEND_URL or MAILCTL_LINK_ORIGINS. Links in
        other templates may lead anywhere, but `javascript:`, `data:` and line breaks are refused in every
        variable whose name ends in url, uri, href or link, at any depth.

        Args:
            subject: its subject line.
            recipients: addresses, or names with addresses.
            template_name: a template of mailctl's or of the folder MAILCTL_TEMPLATES.
            context: the template's variables, of JSON types.

        Returns:
            The id of the email to the first recipient; the others share it as their group.
        """
        if isinstance(recipients, str):
            raise InvalidInput("recipients", "is one text, not a list.", fix="Give a list of addresses.")
        people = [_to_user(recipient) for recipient in recipients]
        if not people:
            raise InvalidInput("recipients", "are missing.", fix="Give at least one.")

        def make(parts: Runtime) -> list[Content]:
            return [
                make_content(
                    GENERIC,
                    person,
                    origins=parts.link_origins,
                    context=context,
                    subject=subject,
                    template=template_name,
                    catalog=parts.catalog,
                )
                for person in people
            ]

        return await _record(GENERIC, make, session=session, idempotency_key=idempotency_key)

    @staticmethod
    async def send_welcome_email(
        user: ServiceUser,
        *,
        session: Session | AsyncSession | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Greet a new user; returns the id."""
        return await _record_for(user, WELCOME, {}, session=session, idempotency_key=idempotency_key)

    @staticmethod
    async def send_password_reset_email(
        user: ServiceUser,
        token: str,
        *,
        session: Session | AsyncSession | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Send a link to choose a new password, which carries `token`, sealed; returns the id."""
        tokens = {"token": token}
        return await _record_for(user, RESET, tokens, session=session, idempotency_key=idempotency_key)

    @staticmethod
    async def send_verification_email(
        user: ServiceUser,
        token: str,
        *,
        session: Session | AsyncSession | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Send a link to confirm the address, which carries `token`, sealed; returns the id."""
        tokens = {"token": token}
        return await _record_for(user, VERIFICATION, tokens, session=session, idempotency_key=idempotency_key)

    @staticmethod
    async def send_new_ip_notification(
        user: ServiceUser,
        ip_address: str,
        whitelist_token: str,
        blacklist_token: str,
        *,
        session: Session | AsyncSession | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Tell of a sign-in from `ip_address`, with links to allow and to block it; returns the id."""
        tokens = {"whitelist_token": whitelist_token, "blacklist_token": blacklist_token}
        return await _record_for(
            user,
            NEW_IP,
            tokens,
            context={"ip_address": ip_address},
            session=session,
            idempotency_key=idempotency_key,
        )

    @staticmethod
    async def send(
        kind: str,
        user: ServiceUser,
        context: Mapping[str, Json] | None = None,
        *,
        tokens: Mapping[str, str] | None = None,
        session: Session | AsyncSession | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Send an email of any kind, also of the service's own (MAILCTL_CATALOG); returns the id.

        Args:
            kind: its name.
            context: its variables, of JSON types.
            tokens: the service's own for its links, by the `token` of each; else they are made.
        """
        dispatcher = await asyncio.to_thread(background.current)
        return await _record_for(
            user,
            dispatcher.runtime.catalog.get(kind),
            tokens or {},
            context=context,
            session=session,
            idempotency_key=idempotency_key,
        )


async def _record_for(
    user: ServiceUser,
    kind: Kind,
    tokens: Mapping[str, str],
    *,
    context: Mapping[str, Json] | None = None,
    session: Session | AsyncSession | None,
    idempotency_key: str | None,
) -> str:
    person = make_user(
        email=user.email, id=user.id, username=user.username, first_name=getattr(user, "first_name", "")
    )

    def make(parts: Runtime) -> list[Content]:
        return [make_content(kind, person, origins=parts.link_origins, tokens=tokens, context=context)]

    return await _record(kind, make, session=session, idempotency_key=idempotency_key)


async def _record(
    kind: Kind,
    make: _ContentMaker,
    *,
    session: Session | AsyncSession | None,
    idempotency_key: str | None,
) -> str:
    # In another thread only while it is still to be opened: each change of threads costs time.
    dispatcher = background.current() if background.is_open() else await asyncio.to_thread(background.current)
    contents = make(dispatcher.runtime)
    if session is None:
        return await dispatcher.record(kind, contents, idempotency_key=idempotency_key)
    if isinstance(session, AsyncSession):
        return await session.run_sync(
            lambda sync: dispatcher.record_in(sync, kind, contents, idempotency_key=idempotency_key)
        )
    return dispatcher.record_in(session, kind, contents, idempotency_key=idempotency_key)


def _to_user(value: Recipient | Mapping[str, str] | str) -> User:
    if isinstance(value, str):
        return make_recipient(email=value)
    if isinstance(value, Recipient):
        return make_recipient(email=value.email, name=value.name)
    if not isinstance(value, Mapping):
        raise InvalidInput("recipients", "are not addresses.", fix="Give texts, Recipients or objects.")
    return make_recipient(email=value.get("email"), name=value.get("name"))
