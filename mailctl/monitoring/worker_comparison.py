"""A comparison of the live workers that shows only what differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.delivery_log.heartbeats import has_skew

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.delivery_log.process_identity import ProcessIdentity

#: What stands for this process beside the workers.
THIS_PROCESS = "this process"
#: Characters of the fingerprint of a key, and of the id of a log, that are shown.
_SHOWN = 6
_DEFAULT = "(default)"
_UNKNOWN = "(unknown)"
_MISSING = "(missing)"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Something that is not the same for all workers."""

    #: Such as version, key, mail server, or the name of a setting.
    subject: str
    #: What each worker has, by node name.
    values: Mapping[str, str]


def compare_workers(workers: Sequence[Worker], own: ProcessIdentity) -> list[Difference]:
    """Return what differs between live workers, and between them and this process.

    Of settings and templates, only fingerprints are known, so that no value is shown.

    Args:
        workers: the live workers that share the delivery log.
        own: the identity of this process; its settings are not compared, because it sends no email, and its
            templates only if it has any.
    """
    return [each for each in _subjects(workers, own) if len(set(each.values.values())) > 1]


def _subjects(workers: Sequence[Worker], own: ProcessIdentity) -> Iterator[Difference]:
    if not workers:
        return
    known = {worker.name: worker.identity for worker in workers}
    everybody = {**known, THIS_PROCESS: own}
    for subject, values in (
        ("version", {name: each.version if each else _UNKNOWN for name, each in everybody.items()}),
        ("key", {name: each.keys[0][:_SHOWN] if each else _UNKNOWN for name, each in everybody.items()}),
        (
            "log",
            {name: (each.log_id or "")[:_SHOWN] if each else _UNKNOWN for name, each in everybody.items()},
        ),
        ("mail server", {name: _server(each) for name, each in everybody.items()}),
        ("clock", {worker.name: _clock(worker) for worker in workers}),
        ("pool", {worker.name: f"{worker.pool} {worker.concurrency}" for worker in workers}),
        ("queues", {worker.name: ", ".join(sorted(worker.queues)) for worker in workers}),
    ):
        yield Difference(subject=subject, values=values)
    yield from _settings(known)
    yield from _templates(everybody if own.templates else known)


def _server(identity: ProcessIdentity | None) -> str:
    return _UNKNOWN if identity is None else identity.mail_server or "captures to files"


def _clock(worker: Worker) -> str:
    skew = worker.clock_skew
    return f"{skew:+.1f} s" if skew is not None and has_skew(skew) else "right"


def _settings(known: Mapping[str, ProcessIdentity | None]) -> Iterator[Difference]:
    values = {name: each.settings if each else None for name, each in known.items()}
    yield from _differences_by_name(values, prefix="", missing=_DEFAULT)


def _templates(known: Mapping[str, ProcessIdentity | None]) -> Iterator[Difference]:
    values = {name: each.templates if each else None for name, each in known.items()}
    yield from _differences_by_name(values, prefix="template ", missing=_MISSING)


def _differences_by_name(
    known: Mapping[str, Mapping[str, str] | None], *, prefix: str, missing: str
) -> Iterator[Difference]:
    """Yield the values of each name by process; None stands for a process whose values are unknown."""
    for name in sorted({name for each in known.values() if each for name in each}):
        values = {
            process: _UNKNOWN if each is None else each.get(name, missing) for process, each in known.items()
        }
        yield Difference(subject=f"{prefix}{name}", values=values)
