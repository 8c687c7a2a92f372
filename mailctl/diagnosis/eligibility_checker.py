"""The eligibility checker: looks up the facts that decide which actions an email is eligible for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.domain.catalog import GENERIC, NEW_IP, effective_kind
from mailctl.domain.eligibility import (
    RELEASE,
    RESEND,
    EligibilityFacts,
    Hazard,
    available_actions,
    check_eligibility,
    is_expired,
)
from mailctl.domain.factory import make_user
from mailctl.domain.link_expiry import given_links_expiry
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.shell_command import mailctl_command
from mailctl.domain.states import State
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.errors import ConfigurationError, InvalidInput, MailctlError, NotFound
from mailctl.smtp.classify import is_dead_mailbox
from mailctl.users import screening_for

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from mailctl.delivery_log.operator_actions import ActionFacts
    from mailctl.domain.catalog import Kind
    from mailctl.domain.eligibility import Action, AvailableAction, EligibilityResult
    from mailctl.domain.models import Content, Email
    from mailctl.domain.shell_command import ShellCommand
    from mailctl.runtime import Runtime

#: The options that `mailctl send` requires besides the recipient; placeholders are in capitals.
_REQUIRED_OPTIONS: Mapping[str, Mapping[str, str]] = {
    NEW_IP.name: {"ip": "ADDRESS"},
    GENERIC.name: {"subject": "SUBJECT", "set": "body=TEXT"},
}


class EligibilityChecker:
    """Decides which actions may be applied to emails.

    Args:
        runtime: the components of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._enqueuer = Enqueuer(runtime)

    def check(
        self, action: Action, emails: Sequence[Email], *, include: Collection[Hazard] = ()
    ) -> list[tuple[Email, EligibilityResult]]:
        """Return each email with its eligibility for an action.

        Args:
            action: the action.
            emails: the emails.
            include: the hazards that do not exclude an email.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        now = self._runtime.clock()
        # Whether an email can be stopped, its state alone says; what to do instead may need more.
        recorded = self._runtime.actions.read_facts(
            [each.id for each in emails if not action.is_stop or each.state not in action.allowed_states]
        )
        # Decrypt only contents that matter: of emails to be copied, or to be sent although they expired.
        decrypts_expired = action is RELEASE or Hazard.EXPIRED in include
        ids = [
            each.id for each in emails if action is RESEND or (decrypts_expired and is_expired(each, now=now))
        ]
        contents = self._runtime.outbox.contents(ids) if ids else {}
        return [
            (
                email,
                check_eligibility(action, email, self._facts(email, recorded, contents, now=now), now=now),
            )
            for email in emails
        ]

    def available_actions(self, email: Email) -> tuple[AvailableAction, ...]:
        """Return the actions that an operator may take, each with a command that will be accepted.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        now = self._runtime.clock()
        recorded = self._runtime.actions.read_facts([email.id])
        contents = self._runtime.outbox.contents([email.id])
        return available_actions(email, self._facts(email, recorded, contents, now=now), now=now)

    def _facts(
        self, email: Email, recorded: ActionFacts, contents: Mapping[str, Content | None], *, now: datetime
    ) -> EligibilityFacts:
        """Return the facts that decide about an email.

        Args:
            email: the email.
            recorded: what the delivery log says about it.
            contents: the decrypted contents by id; None for a content that cannot be decrypted.
            now: the current time.
        """
        has_content = email.id in recorded.with_content
        kind, content = self._kind(email), contents.get(email.id)
        has_dead_links = is_expired(email, now=now) and self._has_given_links(email, kind, content)
        cannot_be_sent = email.is_final and (not has_content or has_dead_links)
        return EligibilityFacts(
            has_content=has_content,
            may_have_been_sent=email.id in recorded.maybe_sent,
            has_been_resent=email.id in recorded.resent,
            is_mailbox_dead=email.reason_code is ReasonCode.REFUSED
            and is_dead_mailbox(email.reply, stage=""),
            has_known_kind=kind is not None,
            is_queued_for_own_task=email.state is State.QUEUED
            and (email.is_own_task or (kind is not None and self._enqueuer.is_own_task(kind)))
            and not self._enqueuer.asks_log_before_own_tasks,
            has_ready_made_links=has_dead_links,
            can_be_decrypted=content is not None or email.id not in contents,
            is_address_suppressed=email.id in recorded.to_suppressed_address,
            has_unsubscribed=email.id in recorded.to_unsubscribed,
            send_another_command=self._send_another_command(email, kind)
            if cannot_be_sent and kind is not None
            else None,
        )

    def _has_given_links(self, email: Email, kind: Kind | None, content: Content | None) -> bool:
        """Whether links came with an email that expire, because mailctl cannot make new ones."""
        if content is None or kind is None:
            return content is not None and bool(content.urls)
        if content.unvalidated:
            return bool(kind.links)
        expiry = given_links_expiry(
            effective_kind(kind, content.template),
            content,
            given_at=email.created_at,
            are_sealed=self._runtime.settings.seals_link_tokens,
        )
        return expiry is not None

    def _kind(self, email: Email) -> Kind | None:
        try:
            return self._runtime.catalog.find(email.kind)
        except ConfigurationError:
            return None  # a custom kind that cannot be loaded in this process

    def _send_another_command(self, email: Email, kind: Kind) -> ShellCommand | None:
        """Return the command that sends another email like one that cannot be sent; None if none can."""
        if kind.name not in self._runtime.catalog.kinds:
            return None  # only the service's own tasks send it
        recipient = self._recipient_options(email, kind)
        if recipient is None:
            return None
        required = _REQUIRED_OPTIONS.get(kind.name, {"set": [f"{name}=VALUE" for name in kind.variables]})
        is_complete = not any(required.values())
        return mailctl_command("send", kind.name, is_complete=is_complete, **recipient, **required)

    def _recipient_options(self, email: Email, kind: Kind) -> Mapping[str, str] | None:
        """Return the options of `send` for the recipient of an email; None if `send` would refuse them."""
        options, address = {"email": email.to}, email.to
        try:
            if email.user_id:
                screening = screening_for(kind.name, include_inactive=False)
                address = self._runtime.directory.get(email.user_id, screening=screening).email
                options = {"user_id": email.user_id}
        except (NotFound, InvalidInput):
            pass  # the user is in another directory, but the address is known
        except MailctlError:
            return None
        try:
            make_user(email=address)
        except InvalidInput:
            return None
        return None if self._runtime.suppressions.find(address) else options
