"""Whether workers on the broker have another delivery log or SECRET_KEY than this process."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from mailctl.broker.shared_queues import find_mailctl_workers
from mailctl.celery_app import overridden_tasks
from mailctl.checks.agreement import AgreementSubject, Disagreement
from mailctl.domain.catalog import TASK_NAMES
from mailctl.domain.shell_command import mailctl_command

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from celery import Celery

    from mailctl.broker.inspector import BrokerInspector
    from mailctl.broker.shared_queues import MailctlWorker
    from mailctl.settings import Settings

# It is not known which log is the wrong one, so the fix stops no worker.
_LOG_FIX = (
    "Give them and this process the same log (MAILCTL_HOME or MAILCTL_DATABASE_URL), and restart the"
    f" wrong ones; list the workers: {mailctl_command('workers')}"
)
_KEY_FIX = (
    "If both belong to the same service, give them the same SECRET_KEY and restart those that had a different"
    " one; otherwise give each service a Redis database of its own (REDIS_DB)."
)


def find_other_workers(
    app: Celery, broker: BrokerInspector, queues: Collection[str], nodes: Mapping[str, tuple[str, ...]]
) -> list[MailctlWorker]:
    """Return the mailctl workers that take emails of this log but do not share it.

    Args:
        app: the app of this process; an app with the service's own tasks sends without the log.
        broker: asks the workers.
        queues: the queues of emails.
        nodes: the queues of each Celery worker that does not share the log, by node name.

    Raises:
        BrokerUnavailable: the broker does not answer.
    """
    if not nodes or overridden_tasks(app) == TASK_NAMES:
        return []
    return find_mailctl_workers(broker, queues, nodes)


def compare_other_workers(
    others: Sequence[MailctlWorker], settings: Settings, *, keys: Sequence[str], own_queues: Collection[str]
) -> Iterator[Disagreement]:
    """Yield a disagreement for each group of workers with another log, and for those whose keys differ.

    Args:
        others: the workers.
        settings: the settings of this process.
        keys: the fingerprints of its secret keys, the newest first.
        own_queues: the queues of the workers that share the log.
    """
    for queues, group in _by_queues(others).items():
        names = tuple(worker.name for worker in group)
        yield _other_log(names, queues, cannot_send=_gets_references(queues, settings, own_queues))
        differing = tuple(worker.name for worker in group if worker.keys and keys[0] not in worker.keys)
        if differing:
            yield Disagreement(
                subject=AgreementSubject.KEYS,
                workers=differing,
                detail=f"{_consumers(differing, queues)} and {_have(differing)} a SECRET_KEY that differs"
                " from the key of this process: links that one makes are invalid for the other",
                fix=_KEY_FIX,
                is_failure=False,
            )


def _by_queues(others: Sequence[MailctlWorker]) -> dict[tuple[str, ...], list[MailctlWorker]]:
    """Return the workers in groups that consume the same queues."""
    found: defaultdict[tuple[str, ...], list[MailctlWorker]] = defaultdict(list)
    for worker in others:
        found[worker.queues].append(worker)
    return dict(found)


def _gets_references(queues: Sequence[str], settings: Settings, own_queues: Collection[str]) -> bool:
    """Whether the messages on these queues carry only a reference to an email in the log."""
    mode = settings.mailctl_messages
    return mode == "reference" or (mode == "auto" and not {*own_queues}.isdisjoint(queues))


def _other_log(names: tuple[str, ...], queues: Sequence[str], *, cannot_send: bool) -> Disagreement:
    takes, sends, they = ("takes", "sends", "it") if len(names) == 1 else ("take", "send", "they")
    effect = (
        f"{they} {takes} emails of this log and cannot send them"
        if cannot_send
        else f"{they} {sends} emails of this log, which does not show what became of them"
    )
    link = "but" if cannot_send else "and"
    return Disagreement(
        subject=AgreementSubject.LOG,
        workers=names,
        detail=f"{_consumers(names, queues)} {link} {_have(names)} another delivery log: {effect}",
        fix=_LOG_FIX,
        is_failure=cannot_send,
    )


def _consumers(names: Sequence[str], queues: Sequence[str]) -> str:
    who = f"worker {names[0]} consumes" if len(names) == 1 else f"workers {', '.join(names)} consume"
    return f"{who} {', '.join(queues)}"


def _have(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"
