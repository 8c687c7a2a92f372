"""`mailctl show`: show the content of an email."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.completion import complete_id
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import REFERENCE_HELP
from mailctl.delivery_log.storage.access_mode import AccessMode

if TYPE_CHECKING:
    from mailctl.cli.terminal.output import Output
    from mailctl.operations.message_viewer import MessageDetails


@uses_log(AccessMode.READ)
def show(
    session: CliSession,
    task_id: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help=REFERENCE_HELP,
            autocompletion=complete_id,
        ),
    ],
    html: Annotated[
        bool, typer.Option("--html", help="Show the text of the HTML part instead of the plain text part.")
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Show the source of the message (RFC 5322).")] = False,
    reveal: Annotated[
        bool,
        typer.Option("--reveal", help="Do not mask links and tokens; anybody who sees them can use them."),
    ] = False,
) -> None:
    """Show the headers and text of an email.

    Links and tokens are masked. The content of an email is deleted once it has been sent.

    \b
    Examples:
      mailctl show 3f2a
      mailctl show 3f2a --raw > message.eml

    \b
    Exit codes:
      0  The message was printed.
      1  Its content was deleted, or cannot be rendered or decrypted.
      3  There is no such email.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl status, mailctl preview
    """
    from mailctl.operations.message_viewer import MessageViewer

    viewer = MessageViewer(session.runtime, reveals=reveal)
    if raw:
        details, source = viewer.raw(task_id)
        _show_notes(session.output, details, reveal=reveal)
        _show_source(session.output, details, source)
    else:
        details = viewer.show(task_id)
        _show_notes(session.output, details, reveal=reveal)
        _show_content(session.output, details, as_html=html)


def _show_source(output: Output, details: MessageDetails, source: bytes) -> None:
    if output.as_json:
        from mailctl.views.messages import RawMessageView

        output.record(RawMessageView.of_raw(details, source))
    else:
        output.raw(source)


def _show_content(output: Output, details: MessageDetails, *, as_html: bool) -> None:
    if output.as_json:
        from mailctl.views.messages import MessageView

        output.record(MessageView.of(details))
        return
    output.fields(details.headers)
    if (body := details.html_as_text if as_html else details.text) is not None:
        output.line()
        output.line(body)


def _show_notes(output: Output, details: MessageDetails, *, reveal: bool) -> None:
    output.note(details.note)
    if reveal and details.raw is not None:
        output.note("Links and tokens are not masked. Anybody who sees them can use them.")
