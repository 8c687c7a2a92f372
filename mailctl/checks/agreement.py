"""Whether processes that share a delivery log agree on keys, clock, log, mail server and settings."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mailctl.delivery_log.heartbeats import has_skew

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.delivery_log.process_identity import ProcessIdentity

_KEY_FIX = (
    "Give all processes the same SECRET_KEY, and restart those that had a different one. "
    "While a key is being rotated, name the earlier one in MAILCTL_SECRET_KEYS_OLD."
)
_LOG_FIX = "Restart the worker: the log that it opened has since been replaced."
_CAPTURE_FIX = "Set EMAIL_ENABLED to the same value for all workers, and restart those that had another one."
_MAIL_SERVER_FIX = "Unless this is on purpose, set EMAIL_HOST and EMAIL_PORT to the same values everywhere."
_SETTINGS_FIX = "Unless this is on purpose, give all workers the same settings, and restart them."
_TEMPLATES_FIX = "Deploy the same templates everywhere, and restart the workers: they read templates once."
_VERSION_FIX = "Install the same version everywhere, and restart the workers."

#: The maximum number of template files that a finding names.
_MAX_NAMES = 5


class AgreementSubject(StrEnum):
    """A subject on which processes have to agree."""

    KEYS = "keys"
    CLOCKS = "clocks"
    LOG = "log"
    MAIL_SERVER = "mail-server"
    VERSION = "version"
    SETTINGS = "settings"
    TEMPLATES = "templates"


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """A process that differs from the others, and what follows from it."""

    subject: AgreementSubject
    #: The node names of the workers that it is about; empty if it is about the process that checks.
    workers: tuple[str, ...]
    #: A clause in lower case, without a full stop.
    detail: str
    fix: str
    #: Whether emails suffer from it; otherwise it may be on purpose.
    is_failure: bool = True


def find_disagreements(
    workers: Sequence[Worker], own: ProcessIdentity, *, own_skew_seconds: float | None = None
) -> list[Disagreement]:
    """Compare the live workers with each other and with the process that checks.

    Args:
        workers: the live workers; those of a version that does not report its identity are left out.
        own: the identity of the process that checks.
        own_skew_seconds: by how much its clock is ahead of the database's; None if that was not measured.
    """
    known = {worker.name: worker.identity for worker in workers if worker.identity is not None}
    return [
        *_keys(known, own),
        *_clocks(workers, own_skew_seconds),
        *_logs(known, own),
        *_captures(known, own),
        *_mail_servers(known, own),
        *_versions(known, own),
        *_settings(known),
        *_templates(known, own),
    ]


def _describe_skew(seconds: float) -> str:
    """Return by how much a clock is off, such as "8.0 s behind"."""
    return f"{abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'}"


def _keys(known: Mapping[str, ProcessIdentity], own: ProcessIdentity) -> Iterator[Disagreement]:
    lacking = [name for name, identity in known.items() if own.keys[0] not in identity.keys]
    if known and len(lacking) == len(known) and len({identity.keys[0] for identity in known.values()}) == 1:
        yield Disagreement(
            subject=AgreementSubject.KEYS,
            workers=(),
            detail=f"the SECRET_KEY of this process differs from the key of {_workers(known)},"
            " so workers cannot read the emails that this process records",
            fix=_KEY_FIX,
        )
        return
    if lacking:
        yield _unreadable(lacking, "the emails that this process records")
    for name, identity in known.items():
        others = [
            other
            for other, theirs in known.items()
            if other not in lacking and name not in lacking and identity.keys[0] not in theirs.keys
        ]
        if others:
            yield _unreadable(others, f"the emails that worker {name} records")


def _unreadable(workers: Iterable[str], what: str) -> Disagreement:
    names = tuple(workers)
    has = "has" if len(names) == 1 else "have"
    detail = f"{_workers(names)} {has} another SECRET_KEY and cannot read {what}"
    return Disagreement(subject=AgreementSubject.KEYS, workers=names, detail=detail, fix=_KEY_FIX)


def _clocks(workers: Sequence[Worker], own_skew_seconds: float | None) -> Iterator[Disagreement]:
    if own_skew_seconds is not None and has_skew(own_skew_seconds):
        yield _clock((), "this host", own_skew_seconds, fix=_clock_fix("this host"))
    for worker in workers:
        seconds = worker.clock_skew
        if seconds is not None and has_skew(seconds):
            fix = _clock_fix(f"host {worker.host}")
            yield _clock((worker.name,), f"worker {worker.name} (host {worker.host})", seconds, fix=fix)


def _clock(workers: tuple[str, ...], whose: str, seconds: float, *, fix: str) -> Disagreement:
    detail = f"the clock of {whose} is {_describe_skew(seconds)} that of the database"
    return Disagreement(subject=AgreementSubject.CLOCKS, workers=workers, detail=detail, fix=fix)


def _clock_fix(host: str) -> str:
    return f"Synchronise the clocks of {host} and of the database server by NTP; see `timedatectl`."


def _logs(known: Mapping[str, ProcessIdentity], own: ProcessIdentity) -> Iterator[Disagreement]:
    other = tuple(name for name, identity in known.items() if identity.log_id != own.log_id)
    if other:
        has = "has" if len(other) == 1 else "have"
        detail = f"{_workers(other)} {has} opened a delivery log that is not the current one"
        yield Disagreement(subject=AgreementSubject.LOG, workers=other, detail=detail, fix=_LOG_FIX)


def _captures(known: Mapping[str, ProcessIdentity], own: ProcessIdentity) -> Iterator[Disagreement]:
    capturing = tuple(name for name, identity in known.items() if not identity.mail_server)
    sending = [name for name, identity in known.items() if identity.mail_server]
    if not capturing or not (sending or own.mail_server):
        return
    verb = "captures" if len(capturing) == 1 else "capture"
    others = _workers(sending) if sending else "this process"
    yield Disagreement(
        subject=AgreementSubject.MAIL_SERVER,
        workers=capturing,
        detail=f"{_workers(capturing)} {verb} emails to files (EMAIL_ENABLED=False), unlike {others}",
        fix=_CAPTURE_FIX,
        is_failure=bool(sending),
    )


def _mail_servers(known: Mapping[str, ProcessIdentity], own: ProcessIdentity) -> Iterator[Disagreement]:
    by_server = _grouped(known, own, lambda identity: ", ".join(identity.servers))
    by_server.pop("", None)
    if len(by_server) > 1:
        yield _difference(
            AgreementSubject.MAIL_SERVER, "mail servers differ", by_server, fix=_MAIL_SERVER_FIX
        )


def _versions(known: Mapping[str, ProcessIdentity], own: ProcessIdentity) -> Iterator[Disagreement]:
    by_version = _grouped(known, own, lambda identity: identity.version)
    if len(by_version) > 1:
        yield _difference(
            AgreementSubject.VERSION, "versions of mailctl differ", by_version, fix=_VERSION_FIX
        )


def _settings(known: Mapping[str, ProcessIdentity]) -> Iterator[Disagreement]:
    """Compare the settings of workers with each other; those of whoever checks send no email."""
    differing = _find_differing([identity.settings for identity in known.values()])
    if differing:
        yield Disagreement(
            subject=AgreementSubject.SETTINGS,
            workers=tuple(known),
            detail=f"settings of {_workers(known)} differ: {_join(differing)}",
            fix=_SETTINGS_FIX,
            is_failure=False,
        )


def _templates(known: Mapping[str, ProcessIdentity], own: ProcessIdentity) -> Iterator[Disagreement]:
    """Compare the service's own templates of workers, and of this process if it has any."""
    if not known:
        return
    fingerprints = [identity.templates for identity in known.values()]
    differing = _find_differing([*fingerprints, *([own.templates] if own.templates else [])])
    if differing:
        whose = _workers(known)
        if not _find_differing(fingerprints):
            whose += " and of this process"
        yield Disagreement(
            subject=AgreementSubject.TEMPLATES,
            workers=tuple(known),
            detail=f"templates of {whose} differ: {_join_some(differing)}",
            fix=_TEMPLATES_FIX,
            is_failure=False,
        )


def _find_differing(values: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the names that do not have the same value everywhere, sorted."""
    names = {name for each in values for name in each}
    return sorted(name for name in names if len({each.get(name) for each in values}) > 1)


def _grouped(
    known: Mapping[str, ProcessIdentity], own: ProcessIdentity, key: Callable[[ProcessIdentity], str]
) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, identity in known.items():
        found[key(identity)].append(name)
    if known:
        found[key(own)].append("this process")
    return dict(found)


def _difference(
    subject: AgreementSubject, what: str, groups: Mapping[str, list[str]], *, fix: str
) -> Disagreement:
    shown = "; ".join(f"{_join(names)}: {value}" for value, names in sorted(groups.items()))
    workers = tuple(name for names in groups.values() for name in names if name != "this process")
    return Disagreement(
        subject=subject, workers=workers, detail=f"{what} ({shown})", fix=fix, is_failure=False
    )


def _workers(names: Iterable[str]) -> str:
    """Return "worker" or "workers", and their names."""
    listed = list(names)
    return f"worker{'s' if len(listed) > 1 else ''} {_join(listed)}"


def _join(names: Iterable[str]) -> str:
    return ", ".join(names)


def _join_some(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{_join(names[:_MAX_NAMES])}{more}"
