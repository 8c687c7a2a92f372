"""The endpoints about single emails."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from mailctl import runtime
from mailctl.diagnosis.status import StatusService
from mailctl.errors import NotFound
from mailctl.views.diagnosis import DiagnosisView
from mailctl.views.emails import EmailPageView
from mailctl.views.status import StatusView
from mailctl.web.filters import EmailQuery, read_email_query
from mailctl.web.problem import problem_responses
from mailctl.web.routing import ApiRoute

#: An id of an email, or a unique prefix of one.
TaskId = Annotated[str, Path(min_length=1, max_length=155, pattern=r"^[^\x00-\x1f\x7f]+$")]
router = APIRouter(route_class=ApiRoute, tags=["emails"], responses=problem_responses())
_NOT_FOUND = problem_responses(also={404: "There is no such email."})


@router.get(
    "/api/emails",
    name="mailctl:api_emails",
    responses=problem_responses(also={404: "The queue or the campaign does not exist."}),
)
def list_emails(query: Annotated[EmailQuery, Depends(read_email_query)]) -> EmailPageView:
    """List emails, newest first."""
    return EmailPageView.of(query.page())


@router.get("/api/emails/{task_id}", name="mailctl:api_email", responses=_NOT_FOUND)
def show_email(task_id: TaskId) -> StatusView:
    """Return the status of an email and its events; a unique prefix of the id is enough."""
    return StatusView.of(StatusService(runtime.current()).status(task_id))


@router.get("/api/emails/{task_id}/why", name="mailctl:api_why", responses=_NOT_FOUND)
def explain_email(task_id: TaskId) -> DiagnosisView:
    """Return the causes of an email's state, the most likely first, and what to do about each."""
    diagnosis = StatusService(runtime.current()).why(task_id)
    if not diagnosis.is_known:
        cause = diagnosis.causes[0]
        raise NotFound(cause.sentence, fix=str(cause.next_step or ""))
    return DiagnosisView.of(diagnosis)
