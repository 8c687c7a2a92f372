"""`mailctl feedback tail-log`: follow the log of Postfix or Exim."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.terminal.interrupts import watching
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.choices import require_choice

if TYPE_CHECKING:
    from mailctl.feedback.recording import FeedbackReceipt


@uses_log(AccessMode.UPDATE)
def tail_log(
    session: CliSession,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The log, such as /var/log/mail.log.")],
    format: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="FORMAT", help="Format of the log: postfix or exim; detected by default."
        ),
    ] = None,
    from_start: Annotated[
        bool,
        typer.Option("--from-start", help="Begin at the start of the file on the first run."),
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Stop at the current end of the log.")] = False,
) -> None:
    """Follow the log of Postfix or Exim, and record what happened to the emails that it accepted.

    For services that send through an MTA of their own, which delivers to the recipients' servers itself. An
    email is found by its Message-ID, and by the queue id in the reply with which the MTA accepted it.
    Rotation is followed, and a later run continues where this one ended.

    \b
    Examples:
      mailctl feedback tail-log /var/log/mail.log
      mailctl feedback tail-log /var/log/exim4/mainlog --from-start --once

    \b
    Exit codes:
      0  The log was read to its end, or Ctrl-C or SIGTERM stopped the command.
      2  The file cannot be read.
      3  There is no delivery log.
      5  The delivery log cannot be written.

    \b
    See also:
      mailctl feedback watch, mailctl feedback serve
    """
    from mailctl.feedback.followed_file import FollowedFile, state_file
    from mailctl.feedback.log_tail import LogTail, follow
    from mailctl.feedback.mta_logs import LOGS
    from mailctl.feedback.recording import FeedbackReceipt

    if not once:
        session.refuse_json("mailctl feedback tail-log")
        # SIGTERM then ends the command like Ctrl-C: functions registered with on_feedback can return.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    chosen = None if format is None else require_choice(format, list(LOGS), noun="format")
    tail = LogTail(session.runtime, format=chosen)
    state = state_file(session.settings.mailctl_home, file)
    total = FeedbackReceipt()
    with closing(FollowedFile(file, state=state, from_start=from_start)) as followed, watching():
        for receipt in follow(tail, followed, is_once=once):
            total += receipt
    if once:
        _show(session, total)


def describe_receipt(receipt: FeedbackReceipt) -> str:
    """Return in one line what became of reports."""
    counts = (
        (receipt.recorded, "recorded"),
        (receipt.repeated, "repeated"),
        (receipt.unmatched, "about no email in this delivery log"),
        (receipt.likely, "only noted, because nothing proves it"),
    )
    return ", ".join(f"{count} {what}" for count, what in counts if count) or "no report"


def _show(session: CliSession, receipt: FeedbackReceipt) -> None:
    if session.output.as_json:
        from mailctl.views.feedback import IngestView

        session.output.record(IngestView.of(receipt))
    else:
        session.output.line(describe_receipt(receipt))
