"""`mailctl queue restore`: put back what nobody took."""

from __future__ import annotations

from typing import Annotated

import typer

from mailctl.cli.completion import complete_queue
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.terminal.confirm import confirm
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.timefmt import pluralize


@uses_log(AccessMode.OPTIONAL)
def restore(
    session: CliSession,
    queue: Annotated[
        str | None,
        typer.Argument(
            metavar="QUEUE", help="Where it came from; default: all queues.", autocompletion=complete_queue
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Put messages of other apps that nobody took back on their queue, unchanged.

    A worker moves a message for a task that it does not have to `QUEUE.unclaimed` when nobody has taken it
    for a minute. Start the workers of that app first.
    """
    from mailctl.broker.unclaimed import UnclaimedMessages
    from mailctl.monitoring.queues import Queues
    from mailctl.operations.known_names import check_queue_anywhere

    session.allow_missing_log()
    unclaimed = UnclaimedMessages(session.runtime.app)
    counts = unclaimed.counts([queue] if queue else Queues(session.runtime).names())
    if queue and not counts:
        check_queue_anywhere(session.runtime, queue)
    if not counts:
        session.output.note("No messages are unclaimed.")
        counts = {queue: 0} if queue else {}
    elif not dry_run:
        where = ", ".join(f"{pluralize(number, 'message')} on {name}" for name, number in counts.items())
        confirm(f"Put back {where}?", is_sure=yes)
    for name, number in counts.items():
        restored = 0 if dry_run else unclaimed.restore(name)
        if session.output.as_json:
            from mailctl.views.queues import RestoreView

            session.output.record(RestoreView(queue=name, unclaimed=number, restored=restored))
        else:
            verb = "would be put" if dry_run else "put"
            session.output.line(
                f"{name}  {pluralize(number if dry_run else restored, 'message')} {verb} back"
            )
