"""`mailctl queue pause|resume|purge`: stop and start the sending, and empty a queue."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.action_runner import carry_out
from mailctl.cli.completion import complete_kind, complete_queue
from mailctl.cli.context import Session, uses_log
from mailctl.cli.option_groups import Doing, with_options
from mailctl.cli.views import pause_view
from mailctl.command import mailctl
from mailctl.delivery_log.storage.access_mode import LogMode
from mailctl.errors import InvalidInput
from mailctl.operations.identity import current_actor
from mailctl.timefmt import count, parse_length

if TYPE_CHECKING:
    from mailctl.delivery_log.pauses import Pause

Queue = Annotated[
    str | None, typer.Argument(metavar="QUEUE", help="A queue, by its name.", autocompletion=complete_queue)
]
Kind = Annotated[
    str | None,
    typer.Option("--kind", metavar="KIND", help="A kind of email instead.", autocompletion=complete_kind),
]
#: Emails that are counted at most.
_MOST = 100_000


@uses_log(LogMode.UPDATE)
def pause(
    session: Session,
    queue: Queue = None,
    kind: Kind = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why.")] = "",
) -> None:
    """Stop the sending of a queue or kind: for all workers, at once, until it is resumed.

    What is being sent at this moment is finished; all else waits in the delivery log and uses up no attempts.
    """
    from mailctl.operations.pausing import Pausing

    pausing = Pausing(session.runtime)
    target = pausing.target(queue=queue, kind=kind)
    found, is_new = pausing.pause(target, actor=current_actor(), reason=" ".join(reason.split()))
    if not is_new:
        session.output.note("It was paused already; that stays as it is.")
    _show(session, found, is_paused=True, waiting=pausing.waiting(target, limit=_MOST))


@uses_log(LogMode.UPDATE)
def resume(session: Session, queue: Queue = None, kind: Kind = None) -> None:
    """Let a queue or kind go on, at once."""
    from mailctl.operations.pausing import Pausing

    pausing = Pausing(session.runtime)
    target = pausing.target(queue=queue, kind=kind)
    found = pausing.resume(target)
    _show(session, found, is_paused=False, waiting=pausing.waiting(target, limit=_MOST))


@uses_log(LogMode.UPDATE)
@with_options
def purge(
    session: Session,
    doing: Doing,
    queue: Queue = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help="Only this kind.", autocompletion=complete_kind),
    ] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="LENGTH", help="Only what was recorded before that.")
    ] = None,
    campaign: Annotated[
        str | None, typer.Option("--campaign", metavar="NAME", help="Only this campaign.")
    ] = None,
    all_queues: Annotated[bool, typer.Option("--all", help="Everything that waits to go out.")] = False,
) -> None:
    """Cancel what waits to go out, also what a worker has the message of; `mailctl release` undoes it.

    Held emails stay held.
    """
    from mailctl.delivery_log.queries.search import Filter, count_fitting
    from mailctl.domain.eligibility import PURGE
    from mailctl.domain.models import State

    wanted = Filter(
        queue=queue,
        kinds=tuple(session.catalog.named(name).name for name in kind or ()),
        campaign=campaign,
        until=datetime.now(UTC) - parse_length(older_than, field="--older-than") if older_than else None,
    )
    if all_queues != wanted.fits_all:
        raise InvalidInput(
            "queue",
            "cannot be combined with --all." if all_queues else "is missing.",
            fix="Give a queue, --kind, --older-than or --campaign, or --all.",
        )
    carry_out(session, PURGE, doing, wanted=replace(wanted, states=PURGE.works_on))
    held = count_fitting(session.runtime.engine, replace(wanted, states=(State.HELD,)))
    if held:
        also = mailctl(
            "cancel", state="held", queue=queue, kind=wanted.kinds, campaign=campaign, until=older_than
        )
        session.output.note(f"{count(held, 'held email')} left alone; cancel with: {also}")


def _show(session: Session, found: Pause, *, is_paused: bool, waiting: int) -> None:
    if session.output.as_json:
        session.output.record({**pause_view(found), "is_paused": is_paused, "waiting": waiting})
        return
    number = f"{_MOST} emails or more" if waiting == _MOST else count(waiting, "email")
    if is_paused:
        session.output.line(f"{found}; {number} waiting. Go on with: {found.remedy}")
    else:
        session.output.line(f"{found.scope} {found.name} goes on; {number} waiting.")
