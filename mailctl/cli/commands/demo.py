"""`mailctl demo`: see it work, with nothing set up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.cli.context import CliSession, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ConfigurationError, EmailFailed
from mailctl.shell_command import mailctl_command

if TYPE_CHECKING:
    from mailctl.settings import Settings


@uses_log(AccessMode.CREATE)
def demo(session: CliSession) -> None:
    """Send four emails to a demo user through a real worker, without any server or set-up."""
    from mailctl.cli.demo_tour import DemoTour

    tour = DemoTour()
    session.output.note(f"scratch home: {tour.home}")
    latest = {}
    with session.output.spinner("starting a worker"):
        for email in tour.run():
            latest[email.id] = email
            if session.output.as_json:
                from mailctl.views.emails import EmailSummaryView

                session.output.record(EmailSummaryView.of(email))
            else:
                session.output.state(f"{email.state:<9}", f"{email.kind} to {email.to}  {email.id}")
    if not session.output.as_json:
        session.output.line()
        session.output.line("Captured, because EMAIL_ENABLED is False:")
        for email in latest.values():
            session.output.line(f"  {email.kind:<13} {email.captured_file}")
        session.output.line()
        again = mailctl_command("status", arguments=[next(iter(latest))])
        variables = tour.required_environment(_settings(session))
        session.output.line(f"Look again: {again.with_environment(**variables)}")
    if not all(email.is_delivered for email in latest.values()):
        raise EmailFailed("Not every email arrived.", fix=f"See {tour.home / 'worker.log'}.")


def _settings(session: CliSession) -> Settings | None:
    """Return the settings in force, which the tour does without; None if they are not usable."""
    try:
        return session.settings
    except ConfigurationError:
        return None
