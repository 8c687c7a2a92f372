"""`mailctl status`: what became of emails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.arguments import NO_IDS, read_ids
from mailctl.cli.completion import complete_id
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.terminal.interrupts import watching
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ExitCode, InvalidInput, MailctlError
from mailctl.timefmt import format_optional_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.diagnosis.status import EmailStatus, StatusService
    from mailctl.domain.models import Event


@uses_log(AccessMode.OPTIONAL)
def status(
    session: CliSession,
    task_ids: Annotated[
        list[str],
        typer.Argument(
            metavar="TASK_ID",
            help="Ids, or unique starts of them; - reads them from standard input.",
            autocompletion=complete_id,
        ),
    ],
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end, or until Ctrl-C.")] = False,
) -> None:
    """Tell what became of emails, and why they are where they are."""
    from mailctl.diagnosis.status import StatusService

    inquiry = StatusService(session.runtime)
    ids = read_ids(task_ids)
    if len(ids) != 1 or "-" in task_ids:
        _show_each(session, inquiry, ids, watch=watch)
        return
    found = inquiry.status(ids[0])
    if watch:
        found = _watch(session, inquiry, found)
    else:
        _show(session, found)
    if found.has_failed:
        raise typer.Exit(ExitCode.FAILED)


def _show_each(session: CliSession, inquiry: StatusService, ids: Sequence[str], *, watch: bool) -> None:
    """Print a line for each; the exit code is that of what is not known, else of what has failed."""
    if watch:
        raise InvalidInput("--watch", "follows one email.", fix="Use `mailctl list --watch` for many.")
    if not ids:
        session.output.note(NO_IDS)
    codes: set[ExitCode] = set()
    for given, found in inquiry.statuses(ids):
        if isinstance(found, MailctlError):
            codes.add(found.exit_code)
            _show_unknown(session, given, found)
            continue
        codes |= {ExitCode.FAILED} if found.has_failed else set()
        if session.output.as_json:
            _print_json(session, found)
        else:
            session.output.state(f"{found.state or 'unknown':<9}", f"{found.task_id}  {found.explanation}")
    if codes:
        raise typer.Exit(ExitCode.most_severe(codes))


def _show_unknown(session: CliSession, given: str, error: MailctlError) -> None:
    if session.output.as_json:
        from mailctl.views.status import StatusView

        session.output.record(StatusView.of_unknown(given, error.message))
    else:
        session.output.state("unknown  ", f"{given}  {error.message}")


def _watch(session: CliSession, inquiry: StatusService, first: EmailStatus) -> EmailStatus:
    """Show an email and what happens to it, and return how it stood last."""
    latest = first
    with watching():
        _show(session, first)
        if first.email is None or first.email.is_final:
            return first
        for _ in inquiry.follow(first.task_id, timeout=None):
            before, latest = latest, inquiry.status(first.task_id)
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
            ("message id", email.message_id or ""),
        ]
    rows.append(("celery", found.celery.state if found.celery else ""))
    rows.append(("same call", ", ".join(other.id for other in found.group)))
    return rows


def _show_events(session: CliSession, events: tuple[Event, ...]) -> None:
    for event in events:
        by_worker = f" by {event.worker}" if event.worker and event.state == "sending" else ""
        who = f" (by {event.actor})" if event.actor else by_worker
        text = f"{event.text}{who}".strip()
        when = f"{format_optional_time(event.at)}  {event.state:<9}  "
        session.output.prose(when + text, hang=len(when))
