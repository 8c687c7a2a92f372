"""The pages for people: each shows what the command line would say, and the command that would act."""

from __future__ import annotations

from collections import Counter
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Query, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mailctl import runtime
from mailctl.checks import run_checks
from mailctl.delivery_log.queries.search import search
from mailctl.diagnosis.eligibility_checker import EligibilityChecker
from mailctl.diagnosis.status import EmailStatus, StatusService
from mailctl.domain.models import State
from mailctl.errors import InvalidInput, MailctlError, NotFound
from mailctl.operations.message_viewer import MessageViewer
from mailctl.shell_command import mailctl_command
from mailctl.timefmt import format_age, format_latency, format_optional_time, format_rate
from mailctl.web.api.emails import TaskId
from mailctl.web.auth import AccessControl, check_same_origin
from mailctl.web.charts import short_number
from mailctl.web.filters import EmailQuery, read_email_query
from mailctl.web.problem import AccessDenied, headers_of, problem_of
from mailctl.web.routing import EMAIL_CSP, PageRoute

if TYPE_CHECKING:
    from mailctl.operations.message_viewer import MessageDetails
    from mailctl.shell_command import ShellCommand

_STATIC = {"style.css": "text/css", "page.js": "text/javascript"}
#: A form on the sign-in page is as long as a key.
_MAX_FORM_BYTES = 4096

router = APIRouter(route_class=PageRoute, default_response_class=HTMLResponse, include_in_schema=False)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("mailctl.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["mailctl"] = mailctl_command
    environment.filters.update(
        moment=format_optional_time,
        age=format_age,
        seconds=format_latency,
        percent=_percent,
        number=short_number,
        per_minute=format_rate,
    )
    return environment


def render(request: Request, template: str, *, status_code: int = 200, **values: Any) -> HTMLResponse:
    """Return a page made from a template."""
    html = (
        _templates()
        .get_template(template)
        .render(
            to=lambda page, **parts: path_to(request, page, **parts),
            here=request.scope["route"].name if "route" in request.scope else "",
            **values,
        )
    )
    return HTMLResponse(html, status_code=status_code)


def path_to(request: Request, page: str, **parts: str) -> str:
    """Return the path of a page, wherever the dashboard is put; never a host, which a request could forge."""
    return request.url_for(f"mailctl:{page}", **parts).path


def error_page(request: Request, error: Exception) -> Response:
    """Return what a person reads when something is wrong."""
    problem = problem_of(error)
    page = render(request, "error.html", status_code=problem.status, problem=problem)
    page.headers.update(headers_of(error))
    return page


@router.get("/", name="mailctl:home")
def home(request: Request) -> Response:
    """Lead to the overview."""
    return RedirectResponse(path_to(request, "overview"), 303)


@router.get("/emails", name="mailctl:emails")
def emails_page(request: Request, wanted: Annotated[EmailQuery, Depends(read_email_query)]) -> Response:
    """Show emails that fit the filters in the address."""
    found = search(
        runtime.current().engine,
        wanted.to_filter(),
        limit=wanted.limit,
        after=wanted.after,
        oldest_first=wanted.oldest_first,
    )
    return render(
        request,
        "emails.html",
        wanted=wanted,
        page=found,
        short_ids=runtime.current().history.short_ids(email.id for email in found.emails),
        next=wanted.query_string(after=found.cursor) if found.cursor is not None else None,
        first=wanted.query_string(after=None) if wanted.after is not None else None,
        states=list(State),
        kinds=list(runtime.current().catalog.kinds),
        command=wanted.command(),
    )


@router.get("/emails/{task_id}", name="mailctl:email")
def email_page(request: Request, task_id: TaskId) -> Response:
    """Show what became of one email, why, and what it says."""
    inquiry = StatusService(runtime.current())
    status = inquiry.status(task_id)
    exhibit, trouble = _message_details(status)
    return render(
        request,
        "email.html",
        status=status,
        short_ids=inquiry.short_ids(status),
        diagnosis=inquiry.why(status.task_id),
        exhibit=exhibit,
        trouble=trouble,
        commands=_commands(status, can_be_shown=exhibit is not None),
    )


@router.get("/emails/{task_id}/html", name="mailctl:email_html")
def email_html(task_id: TaskId) -> Response:
    """Return the HTML of an email for the frame on its page: nothing in it runs or loads."""
    page = MessageViewer(runtime.current(), reveals=False).show(task_id).html_source
    headers = {"Content-Security-Policy": EMAIL_CSP, "X-Frame-Options": "SAMEORIGIN"}
    return HTMLResponse(page or "<!doctype html><title>Nothing</title>", headers=headers)


@router.get("/check-config", name="mailctl:check_config")
def check_config_page(request: Request) -> Response:
    """Show what is wrong with the set-up; asks every service, so it takes a moment."""
    findings = list(run_checks(runtime.current().settings))
    counts = Counter(finding.status for finding in findings)
    return render(request, "check_config.html", findings=findings, counts=counts)


def sign_in_router(access: AccessControl) -> APIRouter:
    """Return what is open to everybody: the sign-in page, and the files that it needs."""
    made = APIRouter(route_class=PageRoute, default_response_class=HTMLResponse, include_in_schema=False)

    @made.get("/login", name="mailctl:sign_in")
    def sign_in_page(request: Request, next: Annotated[str, Query(max_length=2000)] = "") -> Response:
        """Ask for a key."""
        return render(request, "login.html", next=next, trouble="")

    @made.post("/login")
    async def sign_in(request: Request) -> Response:
        """Begin a session."""
        check_same_origin(request)
        form = await _read_form(request)
        wanted = form.get("next", "")
        try:
            key_id = await _in_thread(access.check_key, request, form.get("key", "").strip())
        except AccessDenied as error:
            page = render(request, "login.html", status_code=error.status, next=wanted, trouble=error.message)
            page.headers.update(headers_of(error))
            return page
        response = RedirectResponse(_safe_redirect_path(request, wanted), 303)
        access.begin_session(request, response, key_id, path=path_to(request, "home"))
        return response

    @made.post("/logout", name="mailctl:sign_out")
    async def sign_out(request: Request) -> Response:
        """End the session."""
        check_same_origin(request)
        response = RedirectResponse(path_to(request, "sign_in"), 303)
        access.end_session(response, path=path_to(request, "home"))
        return response

    @made.get("/static/{name}", name="mailctl:static")
    def static(name: str) -> Response:
        """Return a file that the pages use."""
        if name not in _STATIC:
            raise NotFound(f"There is no file {name}.")
        body = files("mailctl.web").joinpath("static", name).read_bytes()
        return Response(body, media_type=_STATIC[name])

    return made


async def _in_thread(function: Any, *arguments: Any) -> Any:
    from starlette.concurrency import run_in_threadpool

    return await run_in_threadpool(function, *arguments)


async def _read_form(request: Request) -> dict[str, str]:
    """Return the fields of a small form."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM_BYTES:
            raise InvalidInput("form", "is too long.")
    return {name: values[-1] for name, values in parse_qs(body.decode("ascii", "replace")).items()}


def _safe_redirect_path(request: Request, wanted: str) -> str:
    """Return where to go after signing in: a page of ours, never another site."""
    home = path_to(request, "home")
    is_own = wanted.startswith(home) and not wanted.startswith("//") and "\\" not in wanted
    return wanted if is_own and wanted.isprintable() else home


def _message_details(status: EmailStatus) -> tuple[MessageDetails | None, str]:
    """Return what an email says, its links masked; or why it cannot be shown."""
    if status.email is None:
        return None, ""
    try:
        return MessageViewer(runtime.current(), reveals=False).show(status.email.id), ""
    except MailctlError as error:
        return None, str(error)


def _commands(status: EmailStatus, *, can_be_shown: bool) -> list[tuple[str, ShellCommand]]:
    """Return the commands that are about one email, each with what it does."""
    commands = [("Follow it", mailctl_command("status", arguments=[status.task_id], watch=True))]
    if status.email is not None:
        found = EligibilityChecker(runtime.current()).available_actions(status.email)
        commands += [(offer.description, offer.command) for offer in found]
    if can_be_shown:
        commands.append(("Read it whole", mailctl_command("show", arguments=[status.task_id])))
    return commands


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
