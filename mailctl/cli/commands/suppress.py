"""`mailctl suppress`: the addresses that nothing is sent to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.arguments import read_input_file
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.lazy_commands import CommandGroup
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ExitCode, InvalidInput, NotFound
from mailctl.shell_command import shell_quote
from mailctl.timefmt import TimeStyle, format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.delivery_log.suppressions import Suppression

app = CommandGroup(
    "suppress", "The addresses that nothing is sent to: bounces add themselves, operators add and remove."
)

_Addresses = Annotated[list[str], typer.Argument(metavar="ADDRESS...", help="One address, or several.")]


@uses_log(AccessMode.ON_WRITE)
def add(
    session: CliSession,
    addresses: _Addresses,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for whoever asks.")] = "",
) -> None:
    """Send nothing to these addresses any more; emails that wait for them end suppressed."""
    from mailctl.delivery_log.suppressions import SuppressionSource
    from mailctl.operations.identity import current_actor

    wanted = _validated(addresses)
    new = session.runtime.suppressions.add(
        dict.fromkeys(wanted, reason), source=SuppressionSource.OPERATOR, actor=current_actor()
    )
    _show_changes(session, wanted, {True: "suppressed", False: "suppressed already"}, done=new)


@uses_log(AccessMode.UPDATE)
def remove(session: CliSession, addresses: _Addresses) -> None:
    """Let these addresses be mailed again; what ended suppressed stays so until it is retried."""
    wanted = list(dict.fromkeys(map(_normalized, addresses)))
    removed = session.runtime.suppressions.remove(wanted)
    _show_changes(session, wanted, {True: "removed", False: "not suppressed"}, done=removed)
    if not removed:
        raise NotFound("None of these addresses is suppressed.", fix="See `mailctl suppress list`.")


@uses_log(AccessMode.READ)
def list_suppressed(
    session: CliSession,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="SOURCE", help="How it came here: bounce, operator or import."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most.")] = 50,
    after: Annotated[
        str | None, typer.Option("--after", metavar="CURSOR", help="Go on where a list was cut.")
    ] = None,
) -> None:
    """List the suppressed addresses, with reason, code and time."""
    from mailctl.delivery_log.suppressions import SuppressionSource

    if source is not None and source not in list(SuppressionSource):
        raise InvalidInput(
            "--source", f"{source!r} is none.", fix=f"Use one of: {', '.join(SuppressionSource)}."
        )
    page = session.runtime.suppressions.page(
        limit=limit, after=after, source=SuppressionSource(source) if source else None
    )
    if session.output.as_json:
        from mailctl.views.suppressions import SuppressionView

        for entry in page.entries:
            session.output.record(SuppressionView.model_validate(entry))
    else:
        rows = [_row(entry) for entry in page.entries]
        session.output.table(["address", "source", "since", "by", "reason"], rows)
    if not page.entries:
        session.output.note("No address is suppressed.")
    elif page.cursor is not None:
        session.output.note(f"There are more: --after {shell_quote(page.cursor)}")


@uses_log(AccessMode.ON_WRITE)
def import_suppressed(
    session: CliSession,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="CSV with a header (email, perhaps reason) or JSON lines; - for standard input.",
        ),
    ],
) -> None:
    """Suppress the addresses of a list; bad rows are told with their line, and skipped."""
    from mailctl.delivery_log.suppressions import SuppressionSource
    from mailctl.domain.recipient_list import read_suppression_list
    from mailctl.operations.identity import current_actor
    from mailctl.timefmt import pluralize

    reasons, problems = read_suppression_list(read_input_file(file, field="FILE"), field="FILE")
    new = session.runtime.suppressions.add(reasons, source=SuppressionSource.IMPORT, actor=current_actor())
    for problem in problems:
        session.output.note(f"line {problem.line}: {problem.reason}")
    known = len(reasons) - len(new)
    if session.output.as_json:
        from mailctl.views.row_problems import RowProblemView
        from mailctl.views.suppressions import SuppressionImportView

        bad = [RowProblemView.model_validate(problem) for problem in problems]
        session.output.record(SuppressionImportView(added=len(new), known=known, problems=bad))
    else:
        skipped = pluralize(len(problems), "bad row")
        session.output.prose(f"{len(new)} added, {known} suppressed already, {skipped} skipped", hang=0)
    if problems:
        raise typer.Exit(ExitCode.FAILED)


app.add("add", add)
app.add("remove", remove)
app.add("list", list_suppressed)
app.add("import", import_suppressed)


def _validated(addresses: Sequence[str]) -> list[str]:
    from mailctl.domain import validation

    return list(
        dict.fromkeys(validation.validate_address(address, field=address).lower() for address in addresses)
    )


def _normalized(address: str) -> str:
    """Return an address as the list has it; what came on it once may be one that is not taken any more."""
    from mailctl.domain import validation

    try:
        return validation.validate_address(address, field=address).lower()
    except InvalidInput:
        return address.lower()


def _show_changes(
    session: CliSession, addresses: Sequence[str], words: dict[bool, str], *, done: Sequence[str]
) -> None:
    for address in addresses:
        if session.output.as_json:
            from mailctl.views.suppressions import SuppressionChangeView

            session.output.record(SuppressionChangeView(address=address, changed=address in done))
        else:
            session.output.line(f"{address}: {words[address in done]}")


def _row(entry: Suppression) -> list[str]:
    said = " ".join(str(part) for part in (entry.code, entry.enhanced, entry.reason) if part)
    since = format_time(entry.created_at, TimeStyle.MINUTE)
    return [entry.address, entry.source, since, entry.actor or "", said]
