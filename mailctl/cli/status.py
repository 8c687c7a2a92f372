"""`mailctl status`: what became of an email."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import Session
from mailctl.cli.views import status_view, time_view
from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from mailctl.message import Event
    from mailctl.status import Status


def status(
    session: Session,
    task_id: Annotated[str, typer.Argument(metavar="TASK_ID", help="The id, or a unique start of it.")],
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
) -> None:
    """Tell what became of an email, and why it is where it is."""
    from mailctl.status import Inquiry

    inquiry = Inquiry(session.runtime)
    found = inquiry.status(task_id)
    _show(session, found)
    if watch and found.email is not None and not found.email.is_final:
        found = _watch(session, inquiry, found)
    if found.has_failed:
        raise typer.Exit(ExitCode.FAILED)


def _watch(session: Session, inquiry: object, first: Status) -> Status:
    from mailctl.status import Inquiry

    assert isinstance(inquiry, Inquiry)
    seen, latest = len(first.events), first
    for _ in inquiry.follow(first.task_id, timeout=None):
        latest = inquiry.status(first.task_id)
        if session.output.as_json and len(latest.events) > seen:
            session.output.record(status_view(latest))
        elif not session.output.as_json:
            _show_events(session, latest.events[seen:])
        seen = len(latest.events)
    if not session.output.as_json:
        session.output.state(latest.state or "unknown", latest.explanation)
    return latest


def _show(session: Session, found: Status) -> None:
    if session.output.as_json:
        session.output.record(status_view(found))
        return
    session.output.state(found.state or "unknown", found.explanation)
    session.output.line()
    session.output.fields(_fields(found))
    if found.events:
        session.output.line()
        _show_events(session, found.events)


def _fields(found: Status) -> list[tuple[str, str]]:
    rows = [("task id", found.task_id)]
    email = found.email
    if email is not None:
        rows += [
            ("kind", email.kind),
            ("to", email.to + (f" (user {email.user_id})" if email.user_id else "")),
            ("queue", email.queue),
            ("attempts", str(email.attempts)),
            ("created", time_view(email.created_at) or ""),
            ("sent", time_view(email.sent_at) or ""),
            ("next attempt", time_view(email.next_attempt_at) or ""),
            ("expires", "" if email.is_final else time_view(email.expires_at) or ""),
            ("worker", email.worker or ""),
            ("message id", email.message_id or ""),
        ]
    rows.append(("celery", found.celery.state if found.celery else ""))
    rows.append(("same call", ", ".join(other.id for other in found.group)))
    return rows


def _show_events(session: Session, events: tuple[Event, ...]) -> None:
    for event in events:
        who = f" by {event.worker}" if event.worker and event.state == "sending" else ""
        text = f"{event.text}{who}".strip()
        session.output.line(f"{event.at:%Y-%m-%d %H:%M:%S}Z  {event.state:<9}  {text}")
