"""Attempts to send emails: each is composed, and handed over to a mail server, or to the next one."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from mailctl import tracing
from mailctl.broker.unvalidated import validated_content
from mailctl.domain.models import copy_with
from mailctl.errors import MailctlError, RenderError
from mailctl.process.boot_clock import boottime
from mailctl.worker.outcome_recorder import SENT_STATE_BY_KIND, interrupted, without_links

if TYPE_CHECKING:
    from mailctl.domain.models import Claim, Envelope
    from mailctl.domain.outcomes import Outcome
    from mailctl.runtime import Runtime
    from mailctl.smtp.sender import Sender
    from mailctl.worker.outcome_recorder import AttemptResult
    from mailctl.worker.server_choice import ServerChoice


class Attempts:
    """Attempts to send emails that were claimed; only one event loop uses it.

    Args:
        runtime: the parts of this process.
        sender: sends the messages.
        servers: chooses the mail servers.
    """

    def __init__(self, runtime: Runtime, sender: Sender, servers: ServerChoice) -> None:
        self._clock = runtime.clock
        self._composer = runtime.composer
        self._rules = runtime.argument_rules
        self._catalog = runtime.catalog
        self._sender = sender
        self._servers = servers

    async def make(
        self, claim: Claim, *, is_campaign: bool = False, seconds: float | None = None
    ) -> AttemptResult:
        """Attempt to send an email; return the result, also if the attempt was interrupted.

        Args:
            claim: the email.
            is_campaign: whether it belongs to a campaign.
            seconds: seconds after which the attempt is interrupted; None if it ends by itself.
        """
        async with nullcontext() if seconds is None else asyncio.timeout(seconds):
            try:
                return await self._attempt(claim, is_campaign=is_campaign)
            except (Exception, asyncio.CancelledError) as error:
                return error

    async def _attempt(self, claim: Claim, *, is_campaign: bool) -> tuple[Envelope, Outcome]:
        with tracing.span("mailctl.deliver", parent=claim.content.trace) as span:
            span.set_attributes(email_id=claim.id, kind=claim.kind, attempt=claim.attempts)
            envelope = await self._compose(claim)
            # First all messages of a group are composed, and then all are sent: by turns, both take longer.
            await asyncio.sleep(0)
            with tracing.span("mailctl.smtp", is_client=True) as smtp_span:
                outcome = without_links(
                    await self._hand_over(claim, envelope, is_campaign=is_campaign), envelope, claim.content
                )
                smtp_span.set_attributes(
                    email_id=claim.id, outcome=outcome.kind, smtp_code=outcome.reply.code
                )
                if outcome.kind not in SENT_STATE_BY_KIND:
                    smtp_span.fail(outcome.kind)
        return envelope, replace(outcome, ended_at=boottime())

    async def _hand_over(self, claim: Claim, envelope: Envelope, *, is_campaign: bool) -> Outcome:
        """Offer a message to its mail server, and to the next ones of its route until one works."""
        server, tried = claim.plan.server, []
        while True:
            tried.append(server)
            addressed = copy_with(envelope, server=server, is_of_campaign=is_campaign)
            try:
                outcome = await self._sender.send(addressed, fence=claim.lease.require)
            except asyncio.CancelledError:
                return replace(interrupted(has_begun=addressed.handover.has_begun), server=server)
            if not self._servers.may_move_on(claim, outcome, tried):
                return outcome
            following = await asyncio.to_thread(self._servers.move_on, claim, outcome, tried)
            if following is None:
                return outcome
            server = following

    async def _compose(self, claim: Claim) -> Envelope:
        try:
            return await self._composer.compose(
                id=claim.id,
                kind=claim.kind,
                content=validated_content(self._catalog.get_recorded(claim.kind), claim.content, self._rules),
                created_at=claim.created_at,
                now=self._clock(),
                can_unsubscribe=claim.can_unsubscribe,
            )
        except (MailctlError, OSError):
            raise
        except Exception as error:
            # A retry would fail again. The text of the error may quote the content of the email.
            raise RenderError(f"The email cannot be rendered because of {type(error).__name__}.") from None
