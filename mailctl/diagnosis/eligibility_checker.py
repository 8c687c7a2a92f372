"""What an email is fit for: the facts that decide it, gathered for the commands and for what is offered."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mailctl.domain.catalog import GENERIC, NEW_IP
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
from mailctl.domain.models import State
from mailctl.domain.reason_codes import ReasonCode
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.errors import ConfigurationError, InvalidInput, MailctlError, NotFound
from mailctl.shell_command import mailctl_command
from mailctl.smtp.classify import is_dead_mailbox
from mailctl.users import screening_for

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from mailctl.delivery_log.operator_actions import ActionFacts
    from mailctl.domain.catalog import Kind
    from mailctl.domain.eligibility import Action, AvailableAction, EligibilityResult
    from mailctl.domain.models import Content, Email
    from mailctl.runtime import Runtime
    from mailctl.shell_command import ShellCommand

#: What `mailctl send` has to be told besides the user; what nobody knows any more is in capitals.
_REQUIRED_OPTIONS: Mapping[str, Mapping[str, str]] = {
    NEW_IP.name: {"ip": "ADDRESS"},
    GENERIC.name: {"subject": "SUBJECT", "set": "body=TEXT"},
}


class EligibilityChecker:
    """Decides what may be done to emails.

    Args:
        runtime: the parts of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._enqueuer = Enqueuer(runtime)

    def check(
        self, action: Action, emails: Sequence[Email], *, include: Collection[Hazard] = ()
    ) -> list[tuple[Email, EligibilityResult]]:
        """Return the emails, each with whether the action can be done to it.

        Args:
            include: what speaks against an email and shall not count.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        now = datetime.now(UTC)
        known = self._runtime.actions.read_facts([email.id for email in emails])
        # Opened only where it matters: for what is made anew, or goes out although it is late.
        opens_late = action is RELEASE or Hazard.USELESS in include
        opened = [
            each.id for each in emails if action is RESEND or (opens_late and is_expired(each, now=now))
        ]
        contents = self._runtime.outbox.contents(opened) if opened else {}
        return [
            (email, check_eligibility(action, email, self._facts(email, known, contents, now=now), now=now))
            for email in emails
        ]

    def available_actions(self, email: Email) -> tuple[AvailableAction, ...]:
        """Return what an operator may do about an email, each with a command that is not refused.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        now = datetime.now(UTC)
        known, contents = (
            self._runtime.actions.read_facts([email.id]),
            self._runtime.outbox.contents([email.id]),
        )
        return available_actions(email, self._facts(email, known, contents, now=now), now=now)

    def _facts(
        self, email: Email, known: ActionFacts, contents: Mapping[str, Content | None], *, now: datetime
    ) -> EligibilityFacts:
        """Return what decides about an email.

        Args:
            contents: those that were opened, None for what cannot be read.
        """
        has_content = email.id in known.with_content
        kind, content = self._kind(email), contents.get(email.id)
        has_dead_links = content is not None and bool(content.urls) and is_expired(email, now=now)
        is_for_good = email.is_final and (not has_content or has_dead_links)
        return EligibilityFacts(
            has_content=has_content,
            may_have_been_sent=email.id in known.maybe_sent,
            has_been_resent=email.id in known.resent,
            is_mailbox_dead=email.reason_code is ReasonCode.REFUSED
            and is_dead_mailbox(email.reply, stage=""),
            has_known_kind=kind is not None,
            is_queued_for_custom_task=email.state is State.QUEUED
            and kind is not None
            and self._enqueuer.is_own_task(kind),
            has_ready_made_links=has_dead_links,
            can_be_decrypted=content is not None or email.id not in contents,
            is_address_suppressed=email.id in known.to_suppressed_address,
            send_another_command=self._send_another_command(email, kind)
            if is_for_good and kind is not None
            else None,
        )

    def _kind(self, email: Email) -> Kind | None:
        try:
            return self._runtime.catalog.find(email.kind)
        except ConfigurationError:
            return None  # a service's own that cannot be loaded here

    def _send_another_command(self, email: Email, kind: Kind) -> ShellCommand | None:
        """Return the command that sends another email like one that cannot go out any more."""
        whom = self._recipient_options(email, kind)
        if whom is None:
            return None
        needs = _REQUIRED_OPTIONS.get(kind.name, {"set": [f"{name}=VALUE" for name in kind.variables]})
        return mailctl_command("send", kind.name, is_complete=not any(needs.values()), **whom, **needs)

    def _recipient_options(self, email: Email, kind: Kind) -> Mapping[str, str] | None:
        """Return how `send` is told to whom an email went; None if it would not send there."""
        whom, address = {"email": email.to}, email.to
        try:
            if email.user_id:
                screening = screening_for(kind.name, include_inactive=False)
                address = self._runtime.directory.get(email.user_id, screening=screening).email
                whom = {"user_id": email.user_id}
        except (NotFound, InvalidInput):
            pass  # of another directory; the address is known
        except MailctlError:
            return None
        try:
            make_user(email=address)
        except InvalidInput:
            return None
        return None if self._runtime.suppressions.find(address) else whom
