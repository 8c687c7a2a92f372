"""What an operator orders to be sent: to whom, what, when; checked as a whole before anything is recorded."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mailctl.domain.factory import make_content, make_recipient
from mailctl.domain.samples import with_dead_links
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.errors import BrokerUnavailable, InvalidInput
from mailctl.users import Screening

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Content, Email, Envelope, Json, User
    from mailctl.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class SendRequest:
    """One wish of an operator's: the same kind of email to each of some people."""

    kind: Kind
    user_ids: Sequence[str] = ()
    #: An address instead of a user.
    email: str | None = None
    name: str = ""
    tokens: Mapping[str, str] = field(default_factory=dict)
    context: Mapping[str, Json] = field(default_factory=dict)
    subject: str | None = None
    template: str | None = None
    not_before: datetime | None = None
    idempotency_key: str | None = None
    #: The operator who says that neither suppression nor limits keep it back.
    forced_by: str | None = None
    #: Which users are refused.
    screening: Screening = Screening.FULL


@dataclass(frozen=True, kw_only=True)
class SendResult:
    """What became of an order."""

    emails: tuple[Email, ...]
    #: Why the broker has not got them yet; "" if it has, or need not.
    broker_error: str = ""


class SendService:
    """Carries out orders.

    Args:
        runtime: the parts of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._enqueuer = Enqueuer(runtime)

    def send(self, order: SendRequest) -> SendResult:
        """Record the emails of an order and publish them.

        Raises:
            ConfigurationError: no email can be made with these settings; nothing was recorded.
            InvalidInput: something in it cannot be used; nothing was recorded.
            NotFound: there is no such user; nothing was recorded.
            Refused: a user is deactivated, deleted or the like; nothing was recorded.
            IdempotencyConflict: its key was used for other content.
            LogUnavailable: the log cannot be written.
            DirectoryUnavailable: the users cannot be looked up.
        """
        self._runtime.check_message_settings()
        contents = self._contents(order)
        at = order.not_before or datetime.now(UTC)
        self._enqueuer.refuse_unrenderable(order.kind, contents, at=at)
        ids = [
            email_id
            for content in contents
            for email_id in self._enqueuer.record(
                order.kind,
                [content],
                idempotency_key=_idempotency_key(order, content, is_one_of_many=len(contents) > 1),
                not_before=order.not_before,
                forced_by=order.forced_by,
            ).ids
        ]
        trouble = ""
        try:
            self._enqueuer.publish(ids)
        except BrokerUnavailable as error:
            trouble = error.message
        emails = self._runtime.history.emails(ids)
        return SendResult(emails=tuple(emails), broker_error=trouble)

    def preview(self, order: SendRequest) -> list[Envelope]:
        """Return the finished messages of an order, with links that open nothing, and record nothing.

        Raises:
            InvalidInput, NotFound: as `send`.
            RenderError: a template cannot be rendered.
        """
        self._runtime.check_message_settings()
        at = order.not_before or datetime.now(UTC)
        composer = self._runtime.composer

        base = self._runtime.settings.frontend_url
        contents = [with_dead_links(each, order.kind, frontend_url=base) for each in self._contents(order)]

        async def compose_all() -> list[Envelope]:
            return [await composer.preview(order.kind, content, at=at) for content in contents]

        return asyncio.run(compose_all())

    def _contents(self, order: SendRequest) -> list[Content]:
        return [
            make_content(
                order.kind,
                user,
                origins=self._runtime.link_origins,
                tokens=order.tokens,
                context=order.context,
                subject=order.subject,
                template=order.template,
                catalog=self._runtime.catalog,
            )
            for user in self._users(order)
        ]

    def _users(self, order: SendRequest) -> list[User]:
        if bool(order.user_ids) == (order.email is not None):
            raise InvalidInput("recipient", "is missing or given twice.", fix="Give --user-id, or --email.")
        if order.tokens and len(order.user_ids) > 1:
            raise InvalidInput("token", "belongs to one user.", fix="Give one --user-id with a token.")
        if order.email is not None:
            return [make_recipient(email=order.email, name=order.name)]
        directory = self._runtime.directory
        return [
            directory.get(user_id, screening=order.screening) for user_id in dict.fromkeys(order.user_ids)
        ]


def _idempotency_key(order: SendRequest, content: Content, *, is_one_of_many: bool) -> str | None:
    if order.idempotency_key is None or not is_one_of_many:
        return order.idempotency_key
    return f"{order.idempotency_key}/{content.user.id}"
