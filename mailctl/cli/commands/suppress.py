"""`mailctl suppress`: the list of suppressed addresses."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.arguments import read_input_file
from mailctl.cli.completion_scripts import complete_file
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.lazy_commands import CommandGroup
from mailctl.cli.option_groups import CursorOption, LayoutOptions, with_options
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.choices import require_choice
from mailctl.domain.shell_command import shell_quote
from mailctl.errors import ExitCode
from mailctl.timefmt import TimeStyle, format_time

if TYPE_CHECKING:
    from mailctl.cli.terminal.output import Output
    from mailctl.delivery_log.suppressions import Suppression
    from mailctl.operations.suppressing import SuppressionChanges, SuppressionImport
    from mailctl.views.suppressions import SuppressionChangeView, SuppressionView

app = CommandGroup("suppress", "Manage the suppression list: addresses that no email is sent to.")

AddressesArgument = Annotated[
    list[str], typer.Argument(metavar="ADDRESS", help="One or more email addresses.")
]
_COLUMNS = ["address", "source", "since", "by", "reason"]
#: What lists recipients who have unsubscribed, instead of suppressed addresses.
_UNSUBSCRIBED = "unsubscribed"


@uses_log(AccessMode.ON_WRITE)
def add(
    session: CliSession,
    addresses: AddressesArgument,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Reason to record with the addresses.")
    ] = "",
) -> None:
    """Add addresses to the suppression list, so that no email is sent to them.

    Emails to them that are still waiting will not be sent: they become `suppressed`. An address that a mail
    server rejects as nonexistent is added automatically.

    \b
    Examples:
      mailctl suppress add ada@example.com --reason "requested by phone"

    \b
    Exit codes:
      0  The addresses are on the list.
      2  An address is invalid; nothing was changed.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl suppress remove, mailctl suppress import
    """
    from mailctl.operations.identity import current_actor
    from mailctl.operations.suppressing import SuppressionService

    service = SuppressionService(session.runtime)
    changes = service.add(addresses, reason=reason, actor=current_actor())
    _show_changes(session.output, changes, changed="suppressed", unchanged="already suppressed")


@uses_log(AccessMode.UPDATE)
def remove(
    session: CliSession,
    addresses: AddressesArgument,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="Subscribe the recipients to this kind again, at their request.",
        ),
    ] = None,
) -> None:
    """Remove addresses from the suppression list, so that emails are sent to them again.

    Emails that are already `suppressed` stay suppressed unless you retry them. Recipients who have
    unsubscribed from a kind stay unsubscribed unless `--kind` names it.

    \b
    Examples:
      mailctl suppress remove ada@example.com
      mailctl suppress remove ada@example.com --kind newsletter

    \b
    Exit codes:
      0  The addresses are no longer on the list.
      3  An address was not on the list.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl suppress list, mailctl retry
    """
    from mailctl.operations.suppressing import SuppressionService, require_removed

    service = SuppressionService(session.runtime)
    changes = service.remove(addresses) if kind is None else service.resubscribe(addresses, kind=kind)
    _show_changes(session.output, changes, changed="removed", unchanged="not suppressed")
    require_removed(changes)


@uses_log(AccessMode.READ)
@with_options
def list_suppressed(
    session: CliSession,
    layout: LayoutOptions,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            "--reason",
            metavar="SOURCE",
            help="Only addresses from this source: bounce, complaint, operator, import, or unsubscribed.",
        ),
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", min=1, max=10_000, metavar="NUMBER", help="Maximum number of addresses to list."
        ),
    ] = 50,
    after: CursorOption = None,
) -> None:
    """List the suppressed addresses with their reasons.

    Recipients who have unsubscribed from a kind, or from campaigns of it, get all other emails. They are
    listed with `--reason unsubscribed` only.

    \b
    Examples:
      mailctl suppress list --source bounce
      mailctl suppress list --reason unsubscribed

    \b
    Exit codes:
      0  The addresses were printed, if there are any.
      3  There is no delivery log.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl suppress add, mailctl suppress remove
    """
    from mailctl.delivery_log.suppressions import SuppressionSource

    sources = [*SuppressionSource, _UNSUBSCRIBED]
    named = None if source is None else require_choice(source, sources, noun="source")
    layout.apply_to(
        session, f"suppressions:{'UnsubscribeView' if named == _UNSUBSCRIBED else 'SuppressionView'}"
    )
    if named == _UNSUBSCRIBED:
        _list_unsubscribed(session, limit=limit, after=after)
        return
    chosen = None if named is None else SuppressionSource(named)
    page = session.runtime.suppressions.page(limit=limit, after=after, source=chosen)
    session.output.listing(map(_view, page.entries), columns=_COLUMNS, rows=map(_row, page.entries))
    if not page.entries:
        session.output.note("No address is suppressed.")
    elif page.cursor is not None:
        session.output.note(f"There are more. To continue, add: --after {shell_quote(page.cursor)}")


@uses_log(AccessMode.ON_WRITE)
def import_suppressed(
    session: CliSession,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            autocompletion=complete_file,
            help="A CSV file with a header (email, optionally reason) or a JSON lines file; - reads stdin.",
        ),
    ],
) -> None:
    """Add all addresses of a file to the suppression list.

    Invalid rows are reported and skipped, and the command exits with 1.

    \b
    Examples:
      mailctl suppress import bounces.csv

    \b
    Exit codes:
      0  All addresses of the file are on the list.
      1  Some rows are invalid; the others are on the list.
      2  The file cannot be read.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl suppress add, mailctl suppress list
    """
    from mailctl.operations.identity import current_actor
    from mailctl.operations.suppressing import SuppressionService

    service = SuppressionService(session.runtime)
    data = read_input_file(file, field="FILE")
    result = service.import_list(data, field="FILE", actor=current_actor())
    _show_import(session.output, result)
    if result.problems:
        raise typer.Exit(ExitCode.FAILED)


app.add("add", add)
app.add("remove", remove)
app.add("list", list_suppressed)
app.add("import", import_suppressed)


def _list_unsubscribed(session: CliSession, *, limit: int, after: str | None) -> None:
    from mailctl.views.suppressions import UnsubscribeView

    page = session.runtime.unsubscribes.page(limit=limit, after=after)
    rows = [
        [entry.address, entry.kind, format_time(entry.created_at, TimeStyle.MINUTE)] for entry in page.entries
    ]
    views = map(UnsubscribeView.model_validate, page.entries)
    session.output.listing(views, columns=["address", "kind", "since"], rows=rows)
    if not page.entries:
        session.output.note("No recipient has unsubscribed.")
    elif page.cursor is not None:
        session.output.note(f"There are more. To continue, add: --after {shell_quote(page.cursor)}")


def _show_changes(output: Output, changes: SuppressionChanges, *, changed: str, unchanged: str) -> None:
    for address in changes.addresses:
        is_changed = address in changes.changed
        output.result(
            partial(_change_view, address, is_changed=is_changed),
            f"{address}: {changed if is_changed else unchanged}",
        )


def _show_import(output: Output, result: SuppressionImport) -> None:
    from mailctl.timefmt import pluralize

    for problem in result.problems:
        output.note(f"line {problem.line}: {problem.reason}")
    if output.as_json:
        from mailctl.views.suppressions import SuppressionImportView

        output.record(SuppressionImportView.model_validate(result))
    else:
        skipped = pluralize(len(result.problems), "invalid row")
        output.prose(f"{result.added} added, {result.known} already suppressed, {skipped} skipped", hang=0)


def _view(entry: Suppression) -> SuppressionView:
    from mailctl.views.suppressions import SuppressionView

    return SuppressionView.model_validate(entry)


def _change_view(address: str, *, is_changed: bool) -> SuppressionChangeView:
    from mailctl.views.suppressions import SuppressionChangeView

    return SuppressionChangeView(address=address, changed=is_changed)


def _row(entry: Suppression) -> list[str]:
    reason = " ".join(str(part) for part in (entry.code, entry.enhanced, entry.reason) if part)
    since = format_time(entry.created_at, TimeStyle.MINUTE)
    return [entry.address, entry.source, since, entry.actor or "", reason]
