"""`mailctl queue restore`: put unclaimed messages back on their queue."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.completion import complete_queue
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import YesOption
from mailctl.cli.terminal.confirm import confirm
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from mailctl.broker.unclaimed import UnclaimedMessages
    from mailctl.views.queues import RestoreView


@uses_log(AccessMode.OPTIONAL)
def restore(
    session: CliSession,
    queue: Annotated[
        str | None,
        typer.Argument(
            metavar="QUEUE",
            help="The queue that the messages came from; default: all queues.",
            autocompletion=complete_queue,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the messages without moving them.")
    ] = False,
    yes: YesOption = False,
) -> None:
    """Put unclaimed messages of other apps back on their queue.

    A worker that receives a message for a task that it does not have moves it to `QUEUE.unclaimed` if no
    other worker takes it within about a minute. Start the workers of the other app before you restore its
    messages.

    \b
    Examples:
      mailctl queue restore --dry-run
      mailctl queue restore celery --yes

    \b
    Exit codes:
      0  The messages are back on their queue.
      3  There is no such queue.
      4  You did not confirm; nothing was moved.
      5  The broker or the delivery log cannot be used.

    \b
    See also:
      mailctl queue list, mailctl workers
    """
    from mailctl.broker.unclaimed import UnclaimedMessages

    session.allow_missing_log()
    messages = UnclaimedMessages(session.runtime.app)
    counts = _count(session, messages, queue)
    if not counts:
        session.output.note("There are no unclaimed messages.")
        counts = {queue: 0} if queue else {}
    elif not dry_run:
        where = ", ".join(f"{pluralize(number, 'message')} on {name}" for name, number in counts.items())
        confirm(f"Restore {where}?", is_confirmed=yes)
    for name, number in counts.items():
        _show(session, name, unclaimed=number, restored=None if dry_run else messages.restore(name))


def _count(session: CliSession, messages: UnclaimedMessages, queue: str | None) -> dict[str, int]:
    from mailctl.monitoring.queues import Queues
    from mailctl.operations.known_names import check_queue_anywhere

    counts = messages.counts([queue] if queue else Queues(session.runtime).names())
    if queue and not counts:
        check_queue_anywhere(session.runtime, queue)
    return counts


def _show(session: CliSession, queue: str, *, unclaimed: int, restored: int | None) -> None:
    """Print how many messages of a queue were restored; None stands for a dry run."""
    verb = "would be restored" if restored is None else "restored"
    count = pluralize(unclaimed if restored is None else restored, "message")
    session.output.result(
        partial(_view, queue, unclaimed=unclaimed, restored=restored or 0), f"{queue}  {count} {verb}"
    )


def _view(queue: str, *, unclaimed: int, restored: int) -> RestoreView:
    from mailctl.views.queues import RestoreView

    return RestoreView(queue=queue, unclaimed=unclaimed, restored=restored)
