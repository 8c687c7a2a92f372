"""`mailctl preview`, and showing finished messages that are not sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.arguments import read_variables
from mailctl.cli.context import CliSession, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import InvalidInput, MailctlError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailctl.delivery_log.api_keys import NewApiKey
    from mailctl.domain.models import Envelope
    from mailctl.operations.preview import Preview


@uses_log(AccessMode.OPTIONAL)
def preview(
    session: CliSession,
    kind: Annotated[
        str | None, typer.Argument(metavar="[KIND]", help="Such as reset; with --serve all are shown.")
    ] = None,
    user_id: Annotated[
        str | None, typer.Option("--user-id", metavar="ID", help="A user of the service; else a sample.")
    ] = None,
    email: Annotated[
        str | None, typer.Option("--email", metavar="ADDRESS", help="An address instead of a user.")
    ] = None,
    variables: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A variable of the template; repeatable."),
    ] = None,
    template: Annotated[
        str | None, typer.Option("--template", metavar="NAME", help="Kind email only: the template.")
    ] = None,
    in_browser: Annotated[bool, typer.Option("--open", help="Show the HTML in a browser.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the HTML there; - for stdout.")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="Print the plain text only.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Print the whole message as it would go out.")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Show every kind in a browser, anew when a template changes.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="With --serve; 0: any that is free.")
    ] = 8025,
) -> None:
    """Show an email without sending it: sample data, or a user's. Its links lead nowhere."""
    from mailctl.operations.preview import PreviewRequest, make_preview

    if serve:
        _serve(session, kind, port=port)
        return
    if kind is None:
        raise InvalidInput("KIND", "is missing.", fix="Name one, such as reset, or give --serve.")
    if sum((in_browser, html is not None, text, raw, session.output.as_json)) > 1:
        raise InvalidInput("--open", "only one of --open, --html, --text, --raw and --json can be given.")
    wish = PreviewRequest(
        kind=session.catalog.get(kind),
        user_id=user_id,
        email=email,
        variables=read_variables(variables or []),
        template=template,
    )
    found = make_preview(session.runtime, wish)
    if html is not None:
        _write(session, found.html, html)
    elif in_browser:
        _open(session, found.html)
    elif raw:
        session.output.raw(found.envelope.data)
    elif text:
        session.output.line(found.envelope.text)
    else:
        _show(session, found)


def show_preview(session: CliSession, envelopes: Iterable[Envelope]) -> None:
    """Print messages: one object each, or headers and text."""
    from mailctl.views.messages import EnvelopeView

    for envelope in envelopes:
        view = EnvelopeView.of(envelope)
        if session.output.as_json:
            session.output.record(view)
        else:
            fields = view.as_json()
            text = fields.pop("text")
            session.output.fields([(name.replace("_", " "), str(value)) for name, value in fields.items()])
            session.output.line()
            session.output.line(text)


def _serve(session: CliSession, kind: str | None, *, port: int) -> None:
    from mailctl.web.server import serve_previews

    if kind is not None:
        session.catalog.get(kind)

    def say(address: str, guest: NewApiKey | None) -> None:
        session.output.note(f"previews: {address}{f'/{kind}' if kind else ''}")
        if guest is not None:
            session.output.note(f"key, until this process ends: {guest.plaintext}")

    serve_previews(session.settings, port=port, on_ready=say)


def _show(session: CliSession, found: Preview) -> None:
    if session.output.as_json:
        from mailctl.views.messages import PreviewView

        session.output.record(PreviewView.of_preview(found))
    else:
        show_preview(session, [found.envelope])


def _write(session: CliSession, html: str, file: Path) -> None:
    if str(file) == "-":
        session.output.raw(html.encode())
        return
    try:
        file.write_text(html, encoding="utf-8")
    except OSError as error:
        raise InvalidInput("--html", f"{file} cannot be written: {error.strerror}.") from error
    session.output.note(f"Written to {file}.")


def _open(session: CliSession, html: str) -> None:
    import tempfile
    import webbrowser

    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", prefix="mailctl-preview-", suffix=".html", delete=False
    ) as stream:
        stream.write(html)
    if not webbrowser.open(Path(stream.name).as_uri()):
        raise MailctlError("There is no browser that could be started.", fix=f"Open {stream.name} yourself.")
    session.output.note(f"Opened {stream.name}.")
