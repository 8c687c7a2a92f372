"""Rules for ids that the delivery log does not have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailctl.diagnosis.models import Cause, Certainty
from mailctl.domain.own_tasks import outcome_of_result
from mailctl.domain.shell_command import mailctl_command
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from mailctl.broker.messages import MessagePosition
    from mailctl.diagnosis.models import UnknownId
    from mailctl.domain.models import CeleryResult
    from mailctl.domain.shell_command import ShellCommand


#: A text that cannot be an id of mailctl, and may be part of an address.
_WORD = re.compile(r"(?=.*[g-z])[a-z][\w.+-]{0,63}", re.IGNORECASE | re.ASCII)
#: The name of the cause that the service's own code sends email which nothing records.
_UNRECORDED = "unrecorded_task"
_RECORD = "mailctl.record_tasks(app) in the service's code records such emails from then on"


def diagnose_unknown(unknown: UnknownId) -> tuple[Cause, ...]:
    """Return why the delivery log does not have an id: at least one cause, the most likely first."""
    order = list(Certainty)
    causes = sorted(_causes(unknown), key=lambda cause: order.index(cause.certainty))
    first = {cause.name: cause for cause in reversed(causes)}
    return tuple(cause for cause in causes if first[cause.name] is cause)


def search_command(given: str) -> ShellCommand:
    """Return the command that lists the emails which a text may stand for."""
    is_name = "@" in given or may_be_part_of_address(given)
    return mailctl_command("list", to=given) if is_name else mailctl_command("list")


def may_be_part_of_address(given: str) -> bool:
    """Whether a text looks like the name of somebody rather than like an id."""
    return _WORD.fullmatch(given) is not None


def wider_search_command(given: str) -> ShellCommand:
    """Return the command that finds the email which was meant by a text that the delivery log does not have.

    Of an address the domain is searched for, because the address itself was not found.
    """
    if not _is_address(given):
        return search_command("" if "@" in given else given)
    return mailctl_command("list", to="@" + given.rpartition("@")[2])


def _is_address(given: str) -> bool:
    """Whether it has the form of an address; a Message-ID in angle brackets has not."""
    return "@" in given and not given.startswith("<")


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
    if not _is_known_to_celery(unknown):
        yield from _unrecorded_cause(unknown)
        yield Cause(
            name="never_existed",
            sentence=_describe_missing(unknown.task_id),
            next_step=wider_search_command(unknown.task_id),
            certainty=Certainty.POSSIBLE,
        )
    yield from _other_log_causes(unknown)
    if unknown.broker_error:
        yield Cause(
            name="broker_down",
            sentence=f"Celery could not be queried: {unknown.broker_error.rstrip('.')}",
            next_step=mailctl_command("check-config"),
            certainty=Certainty.POSSIBLE,
        )


def _describe_missing(given: str) -> str:
    if _is_address(given):
        return (
            "no email to this address is in the delivery log, and none has this Message-ID:"
            " it may be mistyped, or the email was pruned or rolled back"
        )
    noun = "Message-ID" if "@" in given else "id"
    return f"no email has this {noun}: it may be mistyped, or the email was pruned or rolled back"


def _is_known_to_celery(unknown: UnknownId) -> bool:
    return unknown.result is not None or _position(unknown) is not None


def _position(unknown: UnknownId) -> MessagePosition | None:
    return unknown.search.position if unknown.search else None


def _celery_causes(unknown: UnknownId) -> Iterator[Cause]:
    """Yield the cause that follows from what Celery knows of the task."""
    if (position := _position(unknown)) is not None:
        yield _cause_of_message(position, log=unknown.log, tasks=unknown.unrecorded_tasks)
    elif unknown.result is not None:
        yield _cause_of_result(unknown.result, tasks=unknown.unrecorded_tasks)


def _unrecorded_cause(unknown: UnknownId) -> Iterator[Cause]:
    """Yield the cause that the service's own code may have sent it, without a row in the log or a result."""
    if not unknown.unrecorded_tasks or unknown.broker_error or unknown.is_in_memory:
        return
    why = unknown.missing_results or "Celery has no result of it, or none any more"
    yield Cause(
        name=_UNRECORDED,
        sentence=f"the service's own code may have sent it, which is not recorded, and {why}; {_RECORD}",
        next_step=mailctl_command("check-config"),
        certainty=Certainty.POSSIBLE,
    )


def _cause_of_message(position: MessagePosition, *, log: str, tasks: Collection[str]) -> Cause:
    queue, ahead = position.message.queue, position.ahead
    if position.message.is_from_mailctl:
        where = "a worker holds its message" if ahead is None else f"its message is in queue {queue!r}"
        return Cause(
            name="log_elsewhere",
            sentence=f"mailctl recorded it in another delivery log, not in {log}; {where}",
            next_step=mailctl_command("check-config"),
        )
    held = f"a worker holds its message from queue {queue!r}"
    where = held if ahead is None else f"{pluralize(ahead, 'message')} ahead of it in queue {queue!r}"
    name, origin = _origin(position.message.task, tasks)
    return Cause(
        name=name,
        sentence=f"{origin}; {where}" + (f"; {_RECORD}" if name == _UNRECORDED else ""),
        next_step=mailctl_command("queue", "peek", arguments=[queue]),
    )


def _cause_of_result(result: CeleryResult, *, tasks: Collection[str]) -> Cause:
    name, origin = _origin(result.task, tasks)
    if result.is_from_mailctl:
        name, origin = "log_elsewhere", "mailctl recorded it in another delivery log, not in this one"
    report = f"Celery reports {result.state}"
    outcome = outcome_of_result(result, task=result.task) if name == _UNRECORDED else None
    if outcome is not None:
        report += f", and {outcome.reason.text}"
    elif result.text:
        report += f": {result.text}"
    report += f"; {_RECORD}" if name == _UNRECORDED else ""
    return Cause(
        name=name,
        sentence=f"{origin}; {report}",
        next_step=mailctl_command("check-config"),
        certainty=Certainty.LIKELY,
    )


def _origin(task: str, tasks: Collection[str]) -> tuple[str, str]:
    """Return who has published a message of a task, as a name of a cause and a clause.

    Args:
        task: the name of the task; "" if it is not known.
        tasks: the email tasks of the service's own code whose emails nothing records.
    """
    if tasks and (not task or task in tasks):
        whose = f"its task {task}" if task else "one of its email tasks"
        return _UNRECORDED, f"the service's own code published it for {whose}, and nothing recorded it"
    return "another_program", "another program published it, and it is not in the delivery log"


def _other_log_causes(unknown: UnknownId) -> Iterator[Cause]:
    """Yield the cause that the log which was read may be the wrong one."""
    if unknown.other_homes:
        return
    sentence = f"it may be in another delivery log than the one at {unknown.log}"
    if unknown.is_log_missing:
        sentence = f"there is no delivery log at {unknown.log}"
    elif unknown.is_log_empty:
        sentence += ", in which no email was ever recorded"
    if unknown.relative_home is not None:
        home = f"MAILCTL_HOME={unknown.relative_home}"
        sentence += f"; {home} is relative to the working directory, so the service may use another log"
    yield Cause(
        name="log_elsewhere",
        sentence=sentence,
        next_step=mailctl_command("check-config"),
        certainty=Certainty.LIKELY if unknown.is_log_empty else Certainty.POSSIBLE,
    )
