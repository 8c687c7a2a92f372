"""`mailctl queue pause|resume|purge`: pause and resume sending, and empty a queue."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.arguments import split_values
from mailctl.cli.completion import complete_kind, complete_queue
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import ActionOptions, OptionGroup, with_options
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.shell_command import mailctl_command
from mailctl.errors import InvalidInput
from mailctl.operations.identity import current_actor
from mailctl.timefmt import parse_duration, pluralize

if TYPE_CHECKING:
    from mailctl.delivery_log.pauses import Pause
    from mailctl.delivery_log.queries.search import EmailFilter
    from mailctl.operations.pausing import PauseService, PauseTarget, UnsentEmails
    from mailctl.views.queues import PauseChangeView

QueueArgument = Annotated[
    str | None,
    typer.Argument(metavar="QUEUE", help="The name of the queue.", autocompletion=complete_queue),
]
KindOption = Annotated[
    str | None,
    typer.Option(
        "--kind", metavar="KIND", help="A kind of email instead of a queue.", autocompletion=complete_kind
    ),
]


@dataclass(frozen=True, kw_only=True)
class PurgeOptions(OptionGroup):
    """Which emails `mailctl queue purge` cancels."""

    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="Only emails of this kind; repeatable, or several as reset,welcome.",
            autocompletion=complete_kind,
        ),
    ] = None
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="DURATION",
            help="Only emails recorded longer ago than this, such as 2h.",
        ),
    ] = None
    campaign: Annotated[
        str | None, typer.Option("--campaign", metavar="NAME", help="Only emails of this campaign.")
    ] = None
    all_queues: Annotated[
        bool, typer.Option("--all", help="All emails that have not been sent, in every queue.")
    ] = False

    def to_filter(self, session: CliSession, queue: str | None) -> EmailFilter:
        """Return the filter that these options and the queue describe.

        Raises:
            InvalidInput: nothing is selected, or --all is combined with something else.
        """
        from mailctl.delivery_log.queries.search import EmailFilter

        age = parse_duration(self.older_than, field="--older-than") if self.older_than else None
        found = EmailFilter(
            queue=queue,
            kinds=tuple(session.catalog.get(name).name for name in split_values(self.kind)),
            campaign=self.campaign,
            until=datetime.now(UTC) - age if age else None,
        )
        if self.all_queues != found.matches_all:
            raise InvalidInput(
                *(
                    ("--all", "cannot be combined with filters.")
                    if self.all_queues
                    else ("queue", "is missing.")
                ),
                fix="Give a queue, --kind, --older-than or --campaign, or --all.",
            )
        return found


@uses_log(AccessMode.UPDATE)
def pause(
    session: CliSession,
    queue: QueueArgument = None,
    kind: KindOption = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Reason that is shown while it is paused.")
    ] = "",
) -> None:
    """Pause a queue or a kind on all workers until it is resumed.

    Emails that are being sent are not interrupted. All others wait in the delivery log and use up no
    attempts.

    \b
    Examples:
      mailctl queue pause mailctl.bulk --reason "mail server maintenance"
      mailctl queue pause --kind welcome

    \b
    Exit codes:
      0  The queue or the kind is paused.
      2  There is no such kind.
      3  There is no such queue.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl queue resume, mailctl queue list, mailctl hold
    """
    from mailctl.operations.pausing import PauseService

    service = PauseService(session.runtime)
    target = service.resolve_target(queue=queue, kind=kind)
    found, is_new = service.pause(target, actor=current_actor(), reason=" ".join(reason.split()))
    if not is_new:
        session.output.note("It is already paused; nothing was changed.")
    show_pause_change(session, service, target, found, is_paused=True)


@uses_log(AccessMode.UPDATE)
def resume(session: CliSession, queue: QueueArgument = None, kind: KindOption = None) -> None:
    """Resume a paused queue or kind.

    \b
    Examples:
      mailctl queue resume mailctl.bulk
      mailctl queue resume --kind welcome

    \b
    Exit codes:
      0  The queue or the kind is no longer paused.
      3  It was not paused.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl queue pause, mailctl queue list
    """
    from mailctl.operations.pausing import PauseService

    service = PauseService(session.runtime)
    target = service.resolve_target(queue=queue, kind=kind)
    show_pause_change(session, service, target, service.resume(target), is_paused=False)


@uses_log(AccessMode.UPDATE)
@with_options
def purge(
    session: CliSession, which: PurgeOptions, options: ActionOptions, queue: QueueArgument = None
) -> None:
    """Cancel the emails of a queue that have not been sent yet.

    This includes emails whose message a worker has already received. Held emails stay held. `mailctl release`
    undoes it.

    \b
    Examples:
      mailctl queue purge celery --older-than 2h --dry-run
      mailctl queue purge --campaign spring

    \b
    Exit codes:
      0  Every chosen email is cancelled.
      1  Some emails were left out; each is printed with the reason.
      2  Neither a queue nor a filter is given.
      3  There is no such queue or campaign.
      4  You did not confirm; nothing was changed.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl queue peek, mailctl cancel, mailctl release
    """
    from mailctl.cli.action_runner import run_action
    from mailctl.domain.eligibility import PURGE

    filters = which.to_filter(session, queue)
    run_action(session, PURGE, options, filters=replace(filters, states=PURGE.allowed_states))
    _note_held(session, filters, until=which.older_than)


def _note_held(session: CliSession, filters: EmailFilter, *, until: str | None) -> None:
    from mailctl.delivery_log.queries.search import count_matching
    from mailctl.domain.states import State

    if held := count_matching(session.runtime.engine, replace(filters, states=(State.HELD,))):
        command = mailctl_command(
            "cancel",
            state="held",
            queue=filters.queue,
            kind=filters.kinds,
            campaign=filters.campaign,
            until=until,
        )
        session.output.note(f"{pluralize(held, 'held email')} not changed. Cancel with: {command}")


def show_pause_change(
    session: CliSession, service: PauseService, target: PauseTarget, pause: Pause, *, is_paused: bool
) -> None:
    """Print that a queue, a kind or a campaign is paused or resumed, and how many emails that concerns."""
    unsent = service.count_unsent(target)
    count = f"{pluralize(unsent.waiting, 'email')} waiting"
    if is_paused:
        taken = f", {unsent.sending} more being sent, which the pause does not stop" if unsent.sending else ""
        text = f"{pause}; {count}{taken}. Resume with: {pause.resume_command}"
    else:
        text = f"{pause.scope.capitalize()} {pause.name} resumed; {count}."
    session.output.result(partial(_view, pause, unsent, is_paused=is_paused), text)


def _view(pause: Pause, unsent: UnsentEmails, *, is_paused: bool) -> PauseChangeView:
    from mailctl.views.queues import PauseChangeView

    return PauseChangeView.of_change(
        pause, is_paused=is_paused, waiting=unsent.waiting, sending=unsent.sending
    )
