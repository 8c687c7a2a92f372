"""`mailctl queue pause|resume|purge`: stop and start the sending, and empty a queue."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.action_runner import run_action
from mailctl.cli.completion import complete_kind, complete_queue
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import ActionOptions, with_options
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import InvalidInput
from mailctl.operations.identity import current_actor
from mailctl.shell_command import mailctl_command
from mailctl.timefmt import parse_duration, pluralize

if TYPE_CHECKING:
    from mailctl.delivery_log.pauses import Pause

QueueArgument = Annotated[
    str | None, typer.Argument(metavar="QUEUE", help="A queue, by its name.", autocompletion=complete_queue)
]
KindOption = Annotated[
    str | None,
    typer.Option("--kind", metavar="KIND", help="A kind of email instead.", autocompletion=complete_kind),
]
#: Emails that are counted at most.
_MAX_COUNTED = 100_000


@uses_log(AccessMode.UPDATE)
def pause(
    session: CliSession,
    queue: QueueArgument = None,
    kind: KindOption = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why.")] = "",
) -> None:
    """Stop the sending of a queue or kind: for all workers, at once, until it is resumed.

    What is being sent at this moment is finished; all else waits in the delivery log and uses up no attempts.
    """
    from mailctl.operations.pausing import PauseService

    pausing = PauseService(session.runtime)
    target = pausing.resolve_target(queue=queue, kind=kind)
    found, is_new = pausing.pause(target, actor=current_actor(), reason=" ".join(reason.split()))
    if not is_new:
        session.output.note("It was paused already; that stays as it is.")
    _show(session, found, is_paused=True, waiting=pausing.count_waiting(target, limit=_MAX_COUNTED))


@uses_log(AccessMode.UPDATE)
def resume(session: CliSession, queue: QueueArgument = None, kind: KindOption = None) -> None:
    """Let a queue or kind go on, at once."""
    from mailctl.operations.pausing import PauseService

    pausing = PauseService(session.runtime)
    target = pausing.resolve_target(queue=queue, kind=kind)
    found = pausing.resume(target)
    _show(session, found, is_paused=False, waiting=pausing.count_waiting(target, limit=_MAX_COUNTED))


@uses_log(AccessMode.UPDATE)
@with_options
def purge(
    session: CliSession,
    doing: ActionOptions,
    queue: QueueArgument = None,
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
    from mailctl.delivery_log.queries.search import EmailFilter, count_matching
    from mailctl.domain.eligibility import PURGE
    from mailctl.domain.models import State

    wanted = EmailFilter(
        queue=queue,
        kinds=tuple(session.catalog.get(name).name for name in kind or ()),
        campaign=campaign,
        until=datetime.now(UTC) - parse_duration(older_than, field="--older-than") if older_than else None,
    )
    if all_queues != wanted.matches_all:
        raise InvalidInput(
            "queue",
            "cannot be combined with --all." if all_queues else "is missing.",
            fix="Give a queue, --kind, --older-than or --campaign, or --all.",
        )
    run_action(session, PURGE, doing, wanted=replace(wanted, states=PURGE.allowed_states))
    held = count_matching(session.runtime.engine, replace(wanted, states=(State.HELD,)))
    if held:
        also = mailctl_command(
            "cancel", state="held", queue=queue, kind=wanted.kinds, campaign=campaign, until=older_than
        )
        session.output.note(f"{pluralize(held, 'held email')} left alone; cancel with: {also}")


def _show(session: CliSession, found: Pause, *, is_paused: bool, waiting: int) -> None:
    if session.output.as_json:
        from mailctl.views.queues import PauseChangeView

        session.output.record(PauseChangeView.of_change(found, is_paused=is_paused, waiting=waiting))
        return
    number = f"{_MAX_COUNTED} emails or more" if waiting == _MAX_COUNTED else pluralize(waiting, "email")
    if is_paused:
        session.output.line(f"{found}; {number} waiting. Go on with: {found.resume_command}")
    else:
        session.output.line(f"{found.scope} {found.name} goes on; {number} waiting.")
