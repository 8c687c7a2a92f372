"""The list of emails, and the page of one email."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mailctl import runtime
from mailctl.delivery_log.queries.search import EmailPage
from mailctl.diagnosis.eligibility_checker import EligibilityChecker
from mailctl.diagnosis.status import EmailStatus, StatusService
from mailctl.domain.shell_command import mailctl_command
from mailctl.domain.states import State
from mailctl.errors import InvalidInput, LogMissing, MailctlError, NotFound
from mailctl.operations.message_viewer import MessageViewer
from mailctl.web.api.emails import TaskId
from mailctl.web.email_frame import FRAME_PAGE_CSP, frame_document
from mailctl.web.filters import EmailQuery, read_email_query
from mailctl.web.problem import problem_of
from mailctl.web.routing import PageRoute
from mailctl.web.templating import path_to, render

if TYPE_CHECKING:
    from mailctl.domain.shell_command import ShellCommand
    from mailctl.operations.message_viewer import MessageDetails

router = APIRouter(route_class=PageRoute, default_response_class=HTMLResponse, include_in_schema=False)


@router.get("/emails", name="mailctl:emails")
def emails_page(request: Request, query: Annotated[EmailQuery, Depends(read_email_query)]) -> Response:
    """Show the emails that match the filters."""
    page, error = _page_or_error(query)
    if (found := query.named_email(page)) is not None:
        return RedirectResponse(path_to(request, "email", task_id=found), 303)
    return render(
        request,
        "emails.html",
        status_code=problem_of(error).status if error else 200,
        query=query,
        page=page,
        error=error,
        short_ids=runtime.current().history.short_ids(email.id for email in page.emails),
        next_page=query.query_string(after=page.cursor) if page.cursor is not None else None,
        first_page=query.query_string(after=None) if query.after is not None else None,
        states=list(State),
        kinds=list(runtime.current().catalog.kinds),
    )


def _page_or_error(query: EmailQuery) -> tuple[EmailPage, MailctlError | None]:
    """Return the page of the list, or an empty one and what is wrong with a filter, to be shown beside it."""
    try:
        return query.page(), None
    except (InvalidInput, NotFound) as error:
        if isinstance(error, LogMissing):
            raise
        return EmailPage(emails=(), cursor=None), error


@router.get("/emails/{task_id}", name="mailctl:email")
def email_page(request: Request, task_id: TaskId) -> Response:
    """Show the status, the diagnosis, the events and the content of an email."""
    service = StatusService(runtime.current())
    status = service.status(task_id)
    message, message_error = _message_details(status)
    page = render(
        request,
        "email.html",
        status=status,
        short_ids=service.short_ids(status),
        diagnosis=service.why(status.task_id),
        message=message,
        message_error=message_error,
        frame=frame_document(message.html_source) if message is not None and message.raw else "",
        commands=_commands(status, has_message=message is not None),
    )
    page.headers["Content-Security-Policy"] = FRAME_PAGE_CSP
    return page


def _message_details(status: EmailStatus) -> tuple[MessageDetails | None, str]:
    """Return the content of an email with masked links, or the reason why it cannot be shown."""
    if status.email is None:
        return None, ""
    try:
        return MessageViewer(runtime.current(), reveals=False).show(status.email.id), ""
    except MailctlError as error:
        return None, str(error)


def _commands(status: EmailStatus, *, has_message: bool) -> list[tuple[str, ShellCommand]]:
    """Return the commands that apply to an email, each with its description."""
    commands = [("Follow", mailctl_command("status", arguments=[status.task_id], watch=True))]
    if status.email is not None:
        actions = EligibilityChecker(runtime.current()).available_actions(status.email)
        commands += [(action.description, action.command) for action in actions]
    if has_message:
        commands.append(("Show the message", mailctl_command("show", arguments=[status.task_id])))
    return commands
