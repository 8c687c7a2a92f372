"""`mailctl demo`: send demo emails without any set-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.cli.context import CliSession, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.shell_command import mailctl_command
from mailctl.errors import ConfigurationError, EmailFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.cli.terminal.output import Output
    from mailctl.domain.models import Email
    from mailctl.operations.demo import Demo
    from mailctl.settings import Settings


@uses_log(AccessMode.CREATE)
def demo(session: CliSession) -> None:
    """Send four demo emails through a real worker; no set-up needed.

    Starts a worker process, and writes the emails to files in a temporary folder instead of sending them.

    \b
    Examples:
      mailctl demo

    \b
    Exit codes:
      0  All four emails were written to files.
      1  At least one of them was not sent.

    \b
    See also:
      mailctl send, mailctl worker
    """
    from mailctl.operations.demo import Demo

    run = Demo()
    session.output.note(f"temporary folder: {run.home}")
    emails = _show_run(session.output, run)
    if not session.output.as_json:
        _show_files(session.output, emails)
        command = mailctl_command("status", arguments=[emails[0].id])
        environment = run.required_environment(_settings(session))
        session.output.line(f"\nSee what happened to one: {command.with_environment(**environment)}")
    if not all(email.is_sent_or_captured for email in emails):
        raise EmailFailed("Not every email was sent.", fix=f"See {run.home / 'worker.log'}.")


def _show_run(output: Output, run: Demo) -> list[Email]:
    """Print every change of an email; return the emails as they are at the end."""
    latest: dict[str, Email] = {}
    with output.spinner("a worker is sending"):
        for email in run.run():
            latest[email.id] = email
            if output.as_json:
                from mailctl.views.emails import EmailSummaryView

                output.record(EmailSummaryView.of(email))
            else:
                output.state(f"{email.state:<9}", f"{email.kind} to {email.to}  {email.id}")
    return list(latest.values())


def _show_files(output: Output, emails: Sequence[Email]) -> None:
    output.line("\nWritten to files, because EMAIL_ENABLED is False:")
    for email in emails:
        output.line(f"  {email.kind:<13} {email.captured_file}")


def _settings(session: CliSession) -> Settings | None:
    """Return the settings that are in force outside the demo; None if they are invalid."""
    try:
        return session.settings
    except ConfigurationError:
        return None
