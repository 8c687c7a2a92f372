"""`mailctl prune`: delete old emails from the delivery log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from mailctl.cli.terminal.output import Output
    from mailctl.delivery_log.retention import PrunableCounts
    from mailctl.operations.maintenance import Pruner


@uses_log(AccessMode.UPDATE)
def prune(
    session: CliSession,
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than",
            metavar="DURATION",
            help="Delete emails that reached a final state longer ago than this, such as 30d.",
        ),
    ] = "90d",
    contents_older_than: Annotated[
        str | None,
        typer.Option(
            "--contents-older-than",
            metavar="DURATION",
            help="Delete the contents of unsent emails that reached a final state longer ago than this; "
            "default: 30d, or --older-than if that is shorter.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count without deleting anything.")] = False,
) -> None:
    """Delete old emails from the delivery log.

    Only emails in a final state are deleted. The content of an email that is sent is deleted at once. Workers
    can keep running.

    \b
    Examples:
      mailctl prune --dry-run
      mailctl prune --older-than 30d --contents-older-than 7d

    \b
    Exit codes:
      0  The old emails are deleted.
      3  There is no delivery log.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl stats, mailctl db
    """
    from mailctl.operations.maintenance import Pruner
    from mailctl.timefmt import parse_duration

    emails_kept = parse_duration(older_than, field="--older-than")
    contents_kept = (
        parse_duration(contents_older_than, field="--contents-older-than") if contents_older_than else None
    )
    if dry_run:
        session.access_mode = AccessMode.READ
    pruner = Pruner(session.runtime, older_than=emails_kept, contents_older_than=contents_kept)
    counts = pruner.count()
    if not dry_run:
        _run(session.output, pruner)
    _show(session.output, counts, dry_run=dry_run)


def _run(output: Output, pruner: Pruner) -> None:
    done = 0
    with output.spinner("pruning") as update:
        try:
            for number in pruner.run():
                done += number
                update(f"{done:,} deleted")
        except KeyboardInterrupt:
            output.note(f"{done:,} deleted; repeat the command to continue.")
            raise


def _show(output: Output, counts: PrunableCounts, *, dry_run: bool) -> None:
    if output.as_json:
        from mailctl.views.maintenance import PruneView

        output.record(PruneView.of(counts, dry_run=dry_run))
    else:
        verb = "would be deleted" if dry_run else "deleted"
        links = f" and {pluralize(counts.link_uses, 'used link')}" if counts.link_uses else ""
        emails, contents = pluralize(counts.emails, "email"), pluralize(counts.contents, "content")
        output.prose(f"{emails} and {contents}{links} {verb}", hang=0)
