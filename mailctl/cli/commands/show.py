"""`mailctl show`: what an email says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.completion import complete_id
from mailctl.cli.context import CliSession, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode

if TYPE_CHECKING:
    from mailctl.operations.message_viewer import MessageDetails


@uses_log(AccessMode.READ)
def show(
    session: CliSession,
    task_id: Annotated[
        str,
        typer.Argument(
            metavar="TASK_ID", help="The id, or a unique start of it.", autocompletion=complete_id
        ),
    ],
    html: Annotated[bool, typer.Option("--html", help="The HTML part as text, not the plain part.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="The source of the whole message (RFC 5322).")] = False,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show links and tokens as they are: who has them can use them.")
    ] = False,
) -> None:
    """Show what an email says: headers and text, links and tokens masked."""
    from mailctl.operations.message_viewer import MessageViewer

    exhibition = MessageViewer(session.runtime, reveals=reveal)
    if raw:
        exhibit, data = exhibition.raw(task_id)
        _show_notes(session, exhibit, reveal=reveal)
        if session.output.as_json:
            from mailctl.views.messages import RawMessageView

            session.output.record(RawMessageView.of_raw(exhibit, data))
        else:
            session.output.raw(data)
        return
    exhibit = exhibition.show(task_id)
    _show_notes(session, exhibit, reveal=reveal)
    if session.output.as_json:
        from mailctl.views.messages import MessageView

        session.output.record(MessageView.of(exhibit))
        return
    session.output.fields(exhibit.headers)
    if (body := exhibit.html_as_text if html else exhibit.text) is not None:
        session.output.line()
        session.output.line(body)


def _show_notes(session: CliSession, exhibit: MessageDetails, *, reveal: bool) -> None:
    session.output.note(exhibit.note)
    if reveal and exhibit.raw is not None:
        session.output.note("Links and tokens are shown as they are: who has them can use them.")
