"""Why the delivery log does not know an id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.diagnosis.models import Cause, Certainty
from mailctl.shell_command import mailctl_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.diagnosis.models import UnknownId


def diagnose_unknown(unknown: UnknownId) -> tuple[Cause, ...]:
    """Return why the log does not know an id, the most likely first; at least one cause."""
    order = list(Certainty)
    causes = sorted(_causes(unknown), key=lambda cause: order.index(cause.certainty))
    first = {cause.name: cause for cause in reversed(causes)}
    return tuple(cause for cause in causes if first[cause.name] is cause)


def _causes(unknown: UnknownId) -> Iterator[Cause]:
    if unknown.other_homes:
        home, again = unknown.other_homes[0], mailctl_command("why", arguments=[unknown.task_id])
        yield Cause(
            name="log_elsewhere",
            sentence=f"another log has it: that of MAILCTL_HOME={home}; the log read here is {unknown.log}",
            next_step=again.with_environment(MAILCTL_HOME=str(home)),
        )
    else:
        yield from _celery_causes(unknown)
    yield Cause(
        name="never_existed",
        sentence="no email has this id: it is mistyped, was pruned, or its transaction was rolled back",
        next_step=mailctl_command("list"),
        certainty=Certainty.POSSIBLE,
    )
    yield from _other_log_causes(unknown)
    if unknown.broker_error:
        yield Cause(
            name="broker_down",
            sentence=f"Celery could not be asked for it: {unknown.broker_error.rstrip('.')}",
            next_step=mailctl_command("check-config"),
            certainty=Certainty.POSSIBLE,
        )


def _celery_causes(unknown: UnknownId) -> Iterator[Cause]:
    """What Celery knows of a task that is not in the log."""
    place = unknown.search.position if unknown.search else None
    message = place.message if place else None
    if message is not None and message.is_from_mailctl:
        where = (
            "a worker has its message" if place and place.ahead is None else f"queue {message.queue!r} has it"
        )
        yield Cause(
            name="log_elsewhere",
            sentence=f"mailctl recorded it in another log ({where}), and not in {unknown.log}",
            next_step=mailctl_command("check-config"),
        )
    elif message is not None and place is not None:
        ahead = "a worker has its message" if place.ahead is None else f"{place.ahead} messages before it"
        yield Cause(
            name="another_program",
            sentence=f"published by another program; the delivery log does not know it; {ahead} in queue"
            f" {message.queue!r}",
            next_step=mailctl_command("queue", "peek", arguments=[message.queue]),
        )
    elif unknown.result is not None:
        text = f": {unknown.result.text}" if unknown.result.text else ""
        name = "log_elsewhere" if unknown.result.is_from_mailctl else "another_program"
        origin = (
            "recorded in another log" if unknown.result.is_from_mailctl else "published by another program"
        )
        yield Cause(
            name=name,
            sentence=f"{origin}; the delivery log does not know it; Celery says {unknown.result.state}{text}",
            next_step=mailctl_command("check-config"),
            certainty=Certainty.LIKELY,
        )


def _other_log_causes(unknown: UnknownId) -> Iterator[Cause]:
    """The log that was read may be the wrong one."""
    if unknown.other_homes:
        return
    if unknown.relative_home is not None:
        depends = f": MAILCTL_HOME={unknown.relative_home} depends on the folder"
        sentence = f"the log read here is {unknown.log}{depends}; set it as the service has it"
    else:
        sentence = f"the log read here is {unknown.log}"
    empty = "; no email was ever recorded there" if unknown.is_log_empty else ""
    if unknown.is_log_missing:
        empty = "; it does not exist"
    yield Cause(
        name="log_elsewhere",
        sentence=f"{sentence}{empty}",
        next_step=mailctl_command("check-config"),
        certainty=Certainty.LIKELY if unknown.is_log_empty else Certainty.POSSIBLE,
    )
