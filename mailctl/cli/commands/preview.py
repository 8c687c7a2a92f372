"""`mailctl preview`: show emails without sending them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.arguments import check_address, read_variables
from mailctl.cli.completion import complete_kind
from mailctl.cli.completion_scripts import complete_file
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import OptionGroup, VariablesOption, with_options
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import InvalidInput, MailctlError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailctl.cli.terminal.output import Output
    from mailctl.delivery_log.api_keys import NewApiKey
    from mailctl.domain.models import Envelope
    from mailctl.operations.preview import Preview

_FORMAT_PANEL = "Output (one of these)"


@dataclass(frozen=True, kw_only=True)
class FormatOptions(OptionGroup):
    """The form in which the preview is shown."""

    in_browser: Annotated[
        bool, typer.Option("--open", help="Open the HTML part in a browser.", rich_help_panel=_FORMAT_PANEL)
    ] = False
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            autocompletion=complete_file,
            help="Write the HTML part to this file; - for stdout.",
            rich_help_panel=_FORMAT_PANEL,
        ),
    ] = None
    text: Annotated[
        bool, typer.Option("--text", help="Print only the plain text part.", rich_help_panel=_FORMAT_PANEL)
    ] = False
    raw: Annotated[
        bool,
        typer.Option(
            "--raw", help="Print the source of the message (RFC 5322).", rich_help_panel=_FORMAT_PANEL
        ),
    ] = False

    def refuse_several(self, *, as_json: bool) -> None:
        """Refuse more than one form.

        Raises:
            InvalidInput: several forms are given.
        """
        if sum((self.in_browser, self.html is not None, self.text, self.raw, as_json)) > 1:
            raise InvalidInput(
                "--open", "cannot be combined with --html, --text, --raw or --json.", fix="Give one of them."
            )


@uses_log(AccessMode.OPTIONAL)
@with_options
def preview(
    session: CliSession,
    form: FormatOptions,
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help="The kind of email, such as reset; optional with --serve.",
            autocompletion=complete_kind,
        ),
    ] = None,
    user_id: Annotated[
        str | None,
        typer.Option(
            "--user-id", metavar="ID", help="Address it to this user of the service; default: a sample user."
        ),
    ] = None,
    email: Annotated[
        str | None,
        typer.Option(
            "--email", metavar="ADDRESS", help="Address it to this email address instead of a user."
        ),
    ] = None,
    variables: VariablesOption = None,
    template: Annotated[
        str | None,
        typer.Option("--template", metavar="NAME", help="Use this template; only for the kind `email`."),
    ] = None,
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Serve previews of all kinds, and reload them when templates change."),
    ] = False,
    port: Annotated[
        int,
        typer.Option(
            "--port", min=0, max=65535, metavar="PORT", help="Port for --serve; 0 for any free port."
        ),
    ] = 8025,
) -> None:
    """Preview an email without sending it.

    The email is rendered with sample data unless a user, an address or variables are given. Its links do not
    work.

    \b
    Examples:
      mailctl preview reset --open
      mailctl preview email --template message --set title=Hello
      mailctl preview --serve

    \b
    Exit codes:
      0  The preview was printed, written or served.
      1  The template cannot be rendered.
      2  There is no such kind.
      3  There is no such user, or no delivery log with users.
      5  The delivery log, or the database of users, cannot be used.

    \b
    See also:
      mailctl send, mailctl show
    """
    from mailctl.operations.preview import PreviewRequest, make_preview

    if serve:
        session.refuse_json("mailctl preview --serve")
        _serve(session, kind, port=port)
        return
    if kind is None:
        raise InvalidInput("KIND", "is missing.", fix="Give a kind, such as reset, or --serve.")
    form.refuse_several(as_json=session.output.as_json)
    request = PreviewRequest(
        kind=session.catalog.get(kind),
        user_id=user_id,
        email=check_address(email, name="--email"),
        variables=read_variables(variables or []),
        template=template,
    )
    _show(session.output, make_preview(session.runtime, request), form)


def show_preview(output: Output, envelopes: Iterable[Envelope]) -> None:
    """Print messages: a JSON object each, or headers and text."""
    from mailctl.views.messages import EnvelopeView

    for envelope in envelopes:
        view = EnvelopeView.of(envelope)
        if output.as_json:
            output.record(view)
        else:
            fields = view.as_json()
            text = fields.pop("text")
            output.fields([(name.replace("_", " "), str(value)) for name, value in fields.items()])
            output.line()
            output.line(text)


def _serve(session: CliSession, kind: str | None, *, port: int) -> None:
    from mailctl.web.server import serve_previews

    if kind is not None:
        session.catalog.get(kind)

    def announce(address: str, guest: NewApiKey | None) -> None:
        session.output.note(f"previews: {address}{f'/{kind}' if kind else ''}")
        if guest is not None:
            session.output.note(f"key, valid until this process ends: {guest.plaintext}")

    serve_previews(session.settings, port=port, on_ready=announce)


def _show(output: Output, preview: Preview, form: FormatOptions) -> None:
    envelope = preview.envelope
    if form.html is not None:
        _write_html(output, preview.html, form.html)
    elif form.in_browser:
        _open_in_browser(output, preview.html)
    elif form.raw:
        output.raw(envelope.data)
    elif form.text:
        output.line(envelope.text)
    elif output.as_json:
        from mailctl.views.messages import PreviewView

        output.record(PreviewView.of_preview(preview))
    else:
        show_preview(output, [envelope])


def _write_html(output: Output, html: str, file: Path) -> None:
    if str(file) == "-":
        output.raw(html.encode())
        return
    try:
        # Only its owner may read it: the links of an email for a user are real.
        opener = partial(os.open, mode=0o600)
        with open(file, "w", encoding="utf-8", opener=opener) as stream:
            stream.write(html)
    except OSError as error:
        raise InvalidInput("--html", f"{file} cannot be written: {error.strerror}.") from error
    output.note(f"Written to {file}.")


def _open_in_browser(output: Output, html: str) -> None:
    import tempfile
    import webbrowser

    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", prefix="mailctl-preview-", suffix=".html", delete=False
    ) as stream:
        stream.write(html)
    if not webbrowser.open(Path(stream.name).as_uri()):
        raise MailctlError("No browser could be started.", fix=f"Open {stream.name} yourself.")
    output.note(f"Opened {stream.name}.")
