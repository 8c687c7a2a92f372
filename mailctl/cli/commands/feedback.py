"""`mailctl feedback`: what became of emails after a mail server accepted them."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.arguments import read_message
from mailctl.cli.commands.feedback_serve import serve
from mailctl.cli.commands.feedback_tail import describe_receipt, tail_log
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.lazy_commands import CommandGroup
from mailctl.cli.option_groups import LogFormatOption
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ExitCode, MailctlError
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from mailctl.delivery_log.reports import FeedbackResult
    from mailctl.feedback.recording import FeedbackReceipt
    from mailctl.feedback.watching import FeedbackWatch

#: Why a message has no report, by the result that `mailctl metrics` counts.
_REJECTIONS = {
    "ignored": "the message is neither a bounce nor a complaint",
    "forged": "its token was signed neither with SECRET_KEY nor with a key in MAILCTL_SECRET_KEYS_OLD",
    "malformed": "the message cannot be read",
    "oversized": "the message is larger than any report",
}

app = CommandGroup("feedback", "Process bounces and complaints, and record what happened to emails.")


@uses_log(AccessMode.UPDATE)
def ingest(
    session: CliSession,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A file with the message; - reads standard input.")
    ] = Path("-"),
    recipient: Annotated[
        str,
        typer.Option(
            "--recipient", metavar="ADDRESS", help="The envelope recipient of the message, with its token."
        ),
    ] = "",
) -> None:
    """Process one message, such as a bounce that a mail server pipes into this command.

    Postfix and Exim try again later if it cannot be recorded now.

    \b
    Examples:
      mailctl feedback ingest bounce.eml
      mailctl feedback ingest - --recipient "bounces+TOKEN@example.com"

    \b
    Exit codes:
      0  The message was read; what it says is recorded.
      2  The message is too large, or an argument is wrong.
      75  The delivery log cannot be written now: hand it over again later.

    \b
    See also:
      mailctl feedback watch, mailctl why, mailctl suppress list
    """
    from mailctl.delivery_log.reports import FeedbackResult
    from mailctl.feedback.ingest import MailIngester
    from mailctl.feedback.received_mail import MAX_OCTETS

    data = read_message(file, field="FILE", limit=MAX_OCTETS)
    try:
        result = MailIngester(session.runtime).take(data, recipient=recipient)
    except MailctlError as error:
        # A mail server returns a bounce for good that it is not told to keep.
        error.exit_code = ExitCode.TRY_AGAIN
        raise
    if session.output.as_json:
        from mailctl.views.feedback import IngestView

        session.output.record(IngestView.of(result))
    else:
        session.output.prose(_describe(result), hang=0)
    if result == FeedbackResult.OVERSIZED:
        raise typer.Exit(ExitCode.USAGE)


def _describe(result: FeedbackReceipt | FeedbackResult) -> str:
    if isinstance(result, str):
        return f"{result}: {_REJECTIONS[result]}"
    return describe_receipt(result)


@uses_log(AccessMode.UPDATE)
def watch(
    session: CliSession,
    once: Annotated[bool, typer.Option("--once", help="Process what is there now, and exit.")] = False,
    log_format: LogFormatOption = "text",
) -> None:
    """Process bounces and complaints from a Maildir, an IMAP mailbox or LMTP, as they arrive.

    The settings name the sources: MAILCTL_FEEDBACK_MAILDIR, MAILCTL_FEEDBACK_IMAP, MAILCTL_FEEDBACK_LMTP. A
    source that fails is retried. Ctrl-C or SIGTERM stops the command.

    \b
    Examples:
      mailctl feedback watch
      mailctl feedback watch --once

    \b
    Exit codes:
      0  The command was stopped; with --once, what was there has been processed.
      2  A setting is missing or wrong.
      3  There is no delivery log.
      5  The delivery log, or with --once a source, cannot be reached.

    \b
    See also:
      mailctl feedback ingest, mailctl suppress list
    """
    from mailctl.feedback.watching import FeedbackWatch, require_sources
    from mailctl.json_logging import configure_logging

    if not once:
        session.refuse_json("mailctl feedback watch")
    configure_logging(log_format)
    watching = FeedbackWatch(session.runtime, require_sources(session.runtime))
    if once:
        _show_taken(session, watching.run_once())
    else:
        _run_until_signal(watching)


def _show_taken(session: CliSession, count: int) -> None:
    from mailctl.views.feedback import WatchView

    session.output.result(lambda: WatchView(taken=count), f"{pluralize(count, 'message')} processed")


def _run_until_signal(watching: FeedbackWatch) -> None:
    from mailctl.process.memory_protection import forbid_memory_dumps

    forbid_memory_dumps()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: watching.stop())
    watching.run()


app.add("ingest", ingest)
app.add("watch", watch)
app.add("serve", serve)
app.add("tail-log", tail_log)
