"""`mailctl prune`: forget what is finished and old."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode

#: How long the content of undelivered emails is kept where nothing is said.
_CONTENTS_KEPT = timedelta(days=30)


@uses_log(AccessMode.UPDATE)
def prune(
    session: CliSession,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="LENGTH", help="Remove emails that ended before that.")
    ] = "90d",
    contents_older_than: Annotated[
        str | None,
        typer.Option(
            "--contents-older-than",
            metavar="LENGTH",
            help="Remove the content of emails that ended undelivered before; else 30d, or --older-than.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
) -> None:
    """Forget finished emails: their content first, then that they were. Workers may go on meanwhile."""
    from mailctl.operations.maintenance import Pruner
    from mailctl.timefmt import parse_duration

    kept = parse_duration(older_than, field="--older-than")
    contents_kept = (
        parse_duration(contents_older_than, field="--contents-older-than")
        if contents_older_than
        else min(kept, _CONTENTS_KEPT)
    )
    if dry_run:
        session.access_mode = AccessMode.READ
    pruning = Pruner(session.runtime, older_than=kept, contents_older_than=contents_kept)
    found = pruning.count()
    if not dry_run:
        with session.output.spinner("pruning") as update:
            done = 0
            try:
                for number in pruning.run():
                    done += number
                    update(f"{done:,} done")
            except KeyboardInterrupt:
                session.output.note(f"{done:,} done; the same command goes on with the rest.")
                raise
    if session.output.as_json:
        from mailctl.views.maintenance import PruneView

        session.output.record(PruneView.of(found, dry_run=dry_run))
    else:
        verb = "would go" if dry_run else "are gone"
        used = f" and {found.link_uses} used links" if found.link_uses else ""
        session.output.prose(f"{found.emails} emails and {found.contents} contents{used} {verb}", hang=0)
