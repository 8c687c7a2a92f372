"""`mailctl send` to single recipients: record, publish, and wait if asked to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mailctl.cli.arguments import check_address
from mailctl.cli.commands.preview import show_preview
from mailctl.enqueue.send_service import Recipients, SendService
from mailctl.timefmt import TimeStyle, format_time, pluralize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.cli.context import CliSession
    from mailctl.cli.send_options import SendOptions
    from mailctl.diagnosis.status import StatusService
    from mailctl.domain.models import Email
    from mailctl.domain.request import EmailRequest


def send_single(session: CliSession, request: EmailRequest, options: SendOptions) -> None:
    """Send an email to each recipient and print them; with --dry-run, print the messages.

    Raises:
        EmailFailed, StillPending, EmailUnconfirmed: --wait is given, and an email is not known to be sent.
        MailctlError: see `SendService.send`.
    """
    service = SendService(session.runtime)
    recipients = Recipients(
        user_ids=options.user_id or (),
        email=check_address(options.email, name="--email"),
        name=options.name,
        screening=options.screening_for(request.kind),
    )
    request = options.apply_to(request)
    if options.dry_run:
        show_preview(session.output, service.preview(request, recipients))
        return
    result = service.send(request, recipients)
    ids = " ".join(email.id for email in result.emails)
    session.output.already_done = f"{pluralize(len(result.emails), 'email')} recorded before that: {ids}"
    if result.broker_error:
        session.output.note(
            f"{result.broker_error} The email is recorded. A worker sends it when the broker is available "
            "again."
        )
    if options.wait:
        _wait(session, result.emails, timeout=options.timeout)
    else:
        for email in result.emails:
            _show(session, email)


def _wait(session: CliSession, emails: Sequence[Email], *, timeout: float) -> None:
    """Wait until emails are finished, for so many seconds, and print each of them.

    Raises:
        EmailFailed, StillPending, EmailUnconfirmed: an email is not known to be sent.
    """
    # Not needed without --wait, and slow to import.
    from mailctl.diagnosis.status import StatusService, raise_for_unsent

    service = StatusService(session.runtime)
    deadline = time.monotonic() + timeout
    for email in emails:
        # First of all: without its id, an email cannot be found again after a failure.
        session.output.note(f"waiting for {email.id}  {email.kind} to {email.to}")
    waiting = dict.fromkeys(email.id for email in emails)
    try:
        for email in emails:
            left = max(0.0, deadline - time.monotonic())
            _show(session, _follow(session, service, email, timeout=left))
            del waiting[email.id]
    except KeyboardInterrupt:
        # Programs get an object for each email, whatever happens.
        for email in session.runtime.history.emails(list(waiting)):
            _show(session, email)
        raise
    raise_for_unsent([service.status(email.id) for email in emails])


def _follow(session: CliSession, service: StatusService, email: Email, *, timeout: float) -> Email:
    """Show the state of an email until it is finished, held, or the time is up; return it as it is then."""
    latest = email
    with session.output.spinner(email.state) as update:
        for latest in service.follow(email.id, timeout=timeout, stops_when_held=True):
            update(f"{latest.state}" + (f": {latest.error}" if latest.error else ""))
    return latest


def _show(session: CliSession, email: Email) -> None:
    if session.output.as_json:
        from mailctl.views.emails import EmailSummaryView

        session.output.record(EmailSummaryView.of(email))
    else:
        at = email.scheduled_for
        when = f", scheduled for {format_time(at, TimeStyle.SENTENCE)}" if at else ""
        session.output.state(email.state, f"{email.id}  {email.kind} to {email.to}{when}")
    if email.state == "suppressed":
        session.output.note(f"{email.error}; use --force to send it anyway.")
