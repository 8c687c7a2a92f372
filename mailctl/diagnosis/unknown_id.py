"""Rules for ids that the delivery log does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.diagnosis.models import Cause, Certainty
from mailctl.shell_command import mailctl_command
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.diagnosis.models import UnknownId


def diagnose_unknown(unknown: UnknownId) -> tuple[Cause, ...]:
    """Return why the delivery log does not have an id: at least one cause, the most likely first."""
    order = list(Certainty)
    causes = sorted(_causes(unknown), key=lambda cause: order.index(cause.certainty))
    first = {cause.name: cause for cause in reversed(causes)}
    return tuple(cause for cause in causes if first[cause.name] is cause)


def _causes(unknown: UnknownId) -> Iterator[Cause]:
    if unknown.other_homes:
        home, again = unknown.other_homes[0], mailctl_command("why", arguments=[unknown.task_id])
        yield Cause(
            name="log_elsewhere",
            sentence=f"the log of MAILCTL_HOME={home} has it; the log that was read is {unknown.log}",
            next_step=again.with_environment(MAILCTL_HOME=str(home)),
        )
    else:
        yield from _celery_causes(unknown)
    yield Cause(
        name="never_existed",
        sentence="no email has this id: it may be mistyped or pruned, or its transaction was rolled back",
        next_step=mailctl_command("list"),
        certainty=Certainty.POSSIBLE,
    )
    yield from _other_log_causes(unknown)
    if unknown.broker_error:
        yield Cause(
            name="broker_down",
            sentence=f"Celery could not be asked: {unknown.broker_error.rstrip('.')}",
            next_step=mailctl_command("check-config"),
            certainty=Certainty.POSSIBLE,
        )


def _celery_causes(unknown: UnknownId) -> Iterator[Cause]:
    """Yield the causes that follow from what Celery knows of the task."""
    place = unknown.search.position if unknown.search else None
    message = place.message if place else None
    if message is not None and message.is_from_mailctl:
        is_in_worker = place is not None and place.ahead is None
        where = "a worker holds its message" if is_in_worker else f"its message is in queue {message.queue!r}"
        yield Cause(
            name="log_elsewhere",
            sentence=f"mailctl recorded it in another delivery log, not in {unknown.log}; {where}",
            next_step=mailctl_command("check-config"),
        )
    elif message is not None and place is not None:
        where = (
            "a worker holds its message, which was"
            if place.ahead is None
            else f"{pluralize(place.ahead, 'message')} ahead of it"
        )
        yield Cause(
            name="another_program",
            sentence=f"another program published it, and it is not in the delivery log; {where} in queue"
            f" {message.queue!r}",
            next_step=mailctl_command("queue", "peek", arguments=[message.queue]),
        )
    elif unknown.result is not None:
        text = f": {unknown.result.text}" if unknown.result.text else ""
        name = "log_elsewhere" if unknown.result.is_from_mailctl else "another_program"
        origin = (
            "mailctl recorded it in another delivery log, not in this one"
            if unknown.result.is_from_mailctl
            else "another program published it, and it is not in the delivery log"
        )
        yield Cause(
            name=name,
            sentence=f"{origin}; Celery reports {unknown.result.state}{text}",
            next_step=mailctl_command("check-config"),
            certainty=Certainty.LIKELY,
        )


def _other_log_causes(unknown: UnknownId) -> Iterator[Cause]:
    """Yield the cause that the log which was read may be the wrong one."""
    if unknown.other_homes:
        return
    if unknown.relative_home is not None:
        relative = f"MAILCTL_HOME={unknown.relative_home} is relative to the working directory"
        sentence = f"the log that was read is {unknown.log}; {relative}, so set it as the service does"
    else:
        sentence = f"the log that was read is {unknown.log}"
    empty = "; no email was ever recorded in that log" if unknown.is_log_empty else ""
    if unknown.is_log_missing:
        empty = "; that log does not exist"
    yield Cause(
        name="log_elsewhere",
        sentence=f"{sentence}{empty}",
        next_step=mailctl_command("check-config"),
        certainty=Certainty.LIKELY if unknown.is_log_empty else Certainty.POSSIBLE,
    )
