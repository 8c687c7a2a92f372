"""`mailctl status`: show what happened to emails."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.arguments import NO_IDS, read_ids
from mailctl.cli.completion import complete_id
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import note_others
from mailctl.cli.terminal.interrupts import watching
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ExitCode, MailctlError
from mailctl.timefmt import format_optional_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.diagnosis.status import EmailStatus, StatusService
    from mailctl.domain.models import Email, Event

#: How many of the emails of the same call are named; `--json` names all.
_SHOWN_OF_GROUP = 5
#: How often --watch reads the status of several emails, in seconds.
_POLL_SECONDS = 1.0


@uses_log(AccessMode.OPTIONAL)
def status(
    session: CliSession,
    task_ids: Annotated[
        list[str],
        typer.Argument(
            metavar="ID",
            help="Ids of emails or unique prefixes of them, Message-IDs, idempotency keys, queue ids of the"
            " mail server, or addresses for their newest email; - reads ids from stdin.",
            autocompletion=complete_id,
        ),
    ],
    watch: Annotated[
        bool, typer.Option("--watch", help="Follow the emails until all are finished, or until Ctrl-C.")
    ] = False,
) -> None:
    """Show what happened to emails, and why.

    One email is shown with its history, several as one line each. Exits with 1 if an email has failed,
    with 3 if an id is unknown, and with 6 if an email is unconfirmed.

    \b
    Examples:
      mailctl status 3f2a
      mailctl status 3f2a 9b1c --watch
      mailctl list --state failed --json | mailctl status -

    \b
    Exit codes:
      0  Every email was found, and none has failed; also after Ctrl-C.
      1  An email has failed.
      2  A prefix matches several emails.
      3  An id is unknown.
      5  The delivery log cannot be used.
      6  An email is unconfirmed.

    \b
    See also:
      mailctl why, mailctl show, mailctl list
    """
    from mailctl.diagnosis.status import StatusService

    service = StatusService(session.runtime)
    ids = read_ids(task_ids)
    if len(ids) != 1 or "-" in task_ids:
        _show_each(session, service, ids, watch=watch)
        return
    found = service.status(ids[0])
    note_others(session, service, ids[0])
    if watch:
        found = _watch(session, service, found)
    else:
        _show(session, found)
    if found.exit_code is not ExitCode.DONE:
        raise typer.Exit(found.exit_code)


def _show_each(session: CliSession, service: StatusService, ids: Sequence[str], *, watch: bool) -> None:
    """Print one line per email, and with --watch one for each change until all are finished.

    Raises:
        Exit: an id is unknown or ambiguous, or an email has failed.
    """
    if not ids:
        session.output.note(NO_IDS)
    codes: set[ExitCode] = set()
    latest: dict[str, EmailStatus] = {}
    for given, found in service.statuses(ids):
        if isinstance(found, MailctlError):
            codes.add(found.exit_code)
            _show_unknown(session, given, found)
            continue
        latest[found.task_id] = found
        _show_line(session, found)
    if watch:
        with watching():
            _watch_each(session, service, latest)
    codes |= {found.exit_code for found in latest.values()}
    if (code := ExitCode.most_severe(codes)) is not ExitCode.DONE:
        raise typer.Exit(code)


def _watch_each(session: CliSession, service: StatusService, latest: dict[str, EmailStatus]) -> None:
    """Print a line for each change of several emails until all are finished; keep their last status."""
    while unfinished := [found for found in latest.values() if found.email and not found.email.is_final]:
        time.sleep(_POLL_SECONDS)
        for before in unfinished:
            latest[before.task_id] = now = service.status(before.task_id)
            if len(now.events) > len(before.events):
                _show_line(session, now)


def _show_line(session: CliSession, found: EmailStatus) -> None:
    if session.output.as_json:
        _print_json(session, found)
    else:
        session.output.state(f"{found.state or 'unknown':<9}", f"{found.task_id}  {found.explanation}")


def _show_unknown(session: CliSession, given: str, error: MailctlError) -> None:
    if session.output.as_json:
        from mailctl.views.status import StatusView

        session.output.record(StatusView.of_unknown(given, error.message))
    else:
        session.output.state("unknown  ", f"{given}  {error.message}")


def _watch(session: CliSession, service: StatusService, first: EmailStatus) -> EmailStatus:
    """Show an email and its new events until it is finished; return its last status."""
    latest = first
    with watching():
        _show(session, first)
        if first.email is None or first.email.is_final:
            return first
        for _ in service.follow(first.task_id, timeout=None):
            before, latest = latest, service.status(first.task_id)
            new = latest.events[len(before.events) :]
            if session.output.as_json and new:
                _print_json(session, latest)
            elif not session.output.as_json:
                _show_events(session, new)
        if not session.output.as_json:
            session.output.state(latest.state or "unknown", latest.explanation)
    return latest


def _show(session: CliSession, found: EmailStatus) -> None:
    if session.output.as_json:
        _print_json(session, found)
        return
    session.output.state(found.state or "unknown", found.explanation)
    session.output.line()
    session.output.fields(_fields(found))
    if found.events:
        session.output.line()
        _show_events(session, found.events)


def _print_json(session: CliSession, found: EmailStatus) -> None:
    from mailctl.views.status import StatusView

    session.output.record(StatusView.of(found))


def _fields(found: EmailStatus) -> list[tuple[str, str]]:
    rows = [("task id", found.task_id)]
    email = found.email
    if email is not None:
        rows += [
            ("kind", email.kind),
            ("to", email.to + (f" (user {email.user_id})" if email.user_id else "")),
            ("queue", email.queue),
            ("attempts", str(email.attempts)),
            ("created", format_optional_time(email.created_at)),
            ("sent", format_optional_time(email.sent_at)),
            ("next attempt", format_optional_time(email.next_attempt_at)),
            ("expires", "" if email.is_final else format_optional_time(email.expires_at)),
            ("worker", email.worker or ""),
            ("mail server", email.server or ""),
            ("tenant", email.tenant or ""),
            ("message id", email.message_id or ""),
            ("queue id", email.reply.queue_id or ""),
        ]
    rows.append(("celery", found.celery.state if found.celery else ""))
    rows.append(("sent with", _describe_group(found.group)))
    return rows


def _describe_group(others: tuple[Email, ...]) -> str:
    shown, rest = others[:_SHOWN_OF_GROUP], len(others) - _SHOWN_OF_GROUP
    return ", ".join(other.id for other in shown) + (f" and {rest} others" if rest > 0 else "")


def _show_events(session: CliSession, events: tuple[Event, ...]) -> None:
    for event in events:
        prefix = f"{format_optional_time(event.at)}  {event.state:<9}  "
        session.output.prose(prefix + event.summary, hang=len(prefix))
