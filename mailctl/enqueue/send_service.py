"""The service behind `mailctl send`: validates a whole request, records its emails, and publishes them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mailctl.delivery_log.storage.time_limit import time_limit
from mailctl.domain.factory import make_recipient
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.errors import BrokerUnavailable, InvalidInput, Refused
from mailctl.users import Screening

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Content, Email, Envelope, User
    from mailctl.domain.request import EmailRequest
    from mailctl.runtime import Runtime

#: Seconds that the delivery log may take to record one email: nobody but the operator waits for it.
_RECORD_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Recipients:
    """The recipients of a request: either users of the service, or one address."""

    user_ids: Sequence[str] = ()
    email: str | None = None
    #: The name that goes with `email`.
    name: str = ""
    #: Which users are refused.
    screening: Screening = Screening.FULL


@dataclass(frozen=True, kw_only=True)
class SendResult:
    """The emails that a request recorded."""

    emails: tuple[Email, ...]
    #: Why the emails are not on the broker yet; "" if they are, or need not be.
    broker_error: str = ""


class SendService:
    """Sends emails that an operator requests.

    Args:
        runtime: the parts of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._enqueuer = Enqueuer(runtime, prefers_relays=True)

    def send(self, request: EmailRequest, recipients: Recipients) -> SendResult:
        """Record an email to each recipient and publish them.

        All emails are validated before the first one is recorded.

        Raises:
            ConfigurationError: the settings do not allow composing an email.
            InvalidInput: a value of the request is missing or not usable.
            NotFound: there is no such user.
            Refused: a user is deactivated, deleted or otherwise not to be mailed.
            IdempotencyConflict: the idempotency key was used for different content.
            LogUnavailable: the delivery log cannot be written.
            UserDirectoryUnavailable: the users cannot be looked up.
        """
        self._runtime.check_message_settings()
        contents = self._contents(request, recipients)
        self._enqueuer.refuse_unrenderable(request, contents)
        ids = [
            email_id
            for content in contents
            for email_id in self._record(
                request if len(contents) == 1 else _with_own_key(request, content), content
            )
        ]
        broker_error = self._publish(ids, request.kind)
        return SendResult(emails=tuple(self._runtime.history.emails(ids)), broker_error=broker_error)

    def _record(self, request: EmailRequest, content: Content) -> tuple[str, ...]:
        with time_limit(_RECORD_SECONDS):
            return self._enqueuer.record(request, [content]).ids

    def preview(self, request: EmailRequest, recipients: Recipients) -> list[Envelope]:
        """Return the composed messages of a request without recording them; their links do not work.

        Raises:
            InvalidInput: a value of the request is missing or not usable.
            NotFound: there is no such user.
            Refused: a task of the service composes the email.
            RenderError: a template cannot be rendered.
        """
        self._runtime.check_message_settings()
        if self._enqueuer.is_own_task(request.kind):
            raise Refused(
                f"The service's own task {request.kind.full_task} composes it; mailctl cannot show it.",
                fix="Leave out --dry-run.",
            )
        kind, at = request.kind, request.earliest_start(self._runtime.clock())
        urls = self._runtime.links.sample_urls(kind)
        contents = [replace(content, urls=urls) for content in self._contents(request, recipients)]

        async def compose_all() -> list[Envelope]:
            return [await self._runtime.composer.preview(kind, content, at=at) for content in contents]

        return asyncio.run(compose_all())

    def _publish(self, ids: Sequence[str], kind: Kind) -> str:
        """Publish emails, or leave them to relays; return why the broker has not taken them, "" if it may."""
        try:
            if self._enqueuer.leaves_to_relays(kind):
                self._runtime.publications.wake_relays()
            else:
                self._enqueuer.publish(ids)
        except BrokerUnavailable as error:
            return error.message
        return ""

    def _contents(self, request: EmailRequest, recipients: Recipients) -> list[Content]:
        if request.tokens and len(recipients.user_ids) > 1:
            raise InvalidInput(
                "token", "cannot be given for several users.", fix="Give one --user-id with a token."
            )
        return [self._enqueuer.make_content(request, user) for user in self._users(recipients)]

    def _users(self, recipients: Recipients) -> list[User]:
        if not recipients.user_ids and recipients.email is None:
            fix = "Give --user-id or --email; for many recipients, --users-file or --all-users."
            raise InvalidInput("recipient", "is missing.", fix=fix)
        if recipients.user_ids and recipients.email is not None:
            raise InvalidInput("recipient", "is given twice.", fix="Give either --user-id or --email.")
        if recipients.email is not None:
            return [make_recipient(email=recipients.email, name=recipients.name)]
        directory, screening = self._runtime.directory, recipients.screening
        return [directory.get(user_id, screening=screening) for user_id in dict.fromkeys(recipients.user_ids)]


def _with_own_key(request: EmailRequest, content: Content) -> EmailRequest:
    """Return a request whose idempotency key, if it has one, stands for this recipient alone."""
    if request.idempotency_key is None:
        return request
    return replace(request, idempotency_key=f"{request.idempotency_key}/{content.user.id}")
