"""Renders the HTML pages from the templates."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from mailctl.domain.shell_command import mailctl_command
from mailctl.domain.unicode_safety import escape_controls
from mailctl.timefmt import format_age, format_latency, format_optional_time, format_rate, format_share
from mailctl.web.charts import short_number
from mailctl.web.problem import headers_of, problem_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

#: The prefix of the names of all routes, so that they do not clash with those of another application.
_ROUTE_PREFIX = "mailctl:"
#: The attribute of a request's state that says whether there is a sign-in page.
SIGN_IN_STATE = "mailctl_has_sign_in"


def render(request: Request, template: str, *, status_code: int = 200, **values: Any) -> HTMLResponse:
    """Return a page.

    Args:
        request: the request for the page.
        template: the file name of the template.
        status_code: the HTTP status.
        values: the variables of the template.
    """
    html = (
        _environment()
        .get_template(template)
        .render(
            path_to=lambda page, **parameters: path_to(request, page, **parameters),
            current_page=request.scope["route"].name if "route" in request.scope else "",
            has_sign_in=has_sign_in(request),
            **values,
        )
    )
    return HTMLResponse(html, status_code=status_code)


def path_to(request: Request, page: str, **parameters: str) -> str:
    """Return the path of a page, including the prefix under which the dashboard is mounted.

    It has no host: a request could forge that.

    Args:
        request: any request to the dashboard.
        page: the name of the route without its prefix.
        parameters: the path parameters.
    """
    # An application that is mounted under a name has its routes under that name as well, and `url_for` starts
    # from the outermost application.
    application, name = request.scope["app"], f"{_ROUTE_PREFIX}{page}"
    return f"{request.scope.get('root_path', '')}{application.url_path_for(name, **parameters)}"


def has_sign_in(request: Request) -> bool:
    """Whether the dashboard has a sign-in page; otherwise the service decides who is allowed."""
    return getattr(request.state, SIGN_IN_STATE, True) is True


def error_page(request: Request, error: Exception) -> Response:
    """Return the page that reports an error."""
    problem = problem_of(error)
    page = render(request, "error.html", status_code=problem.status, problem=problem)
    page.headers.update(headers_of(error))
    return page


class ExactText(str):
    """A text that a page contains as it is: the HTML of an email, which is shown in a frame of its own."""

    __slots__ = ()


def _without_controls(value: object) -> object:
    """Escape the control characters of a text: they would reorder what a reader sees and copies."""
    if isinstance(value, ExactText | int | float):
        return value
    text = str(value)
    escaped = escape_controls(text)
    if escaped == text:
        return value
    return type(value)(escaped) if isinstance(value, str) else escaped


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mailctl.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_without_controls,
    )
    environment.globals.update(mailctl=mailctl_command, route_prefix=_ROUTE_PREFIX)
    environment.filters.update(
        timestamp=format_optional_time,
        duration=format_age,
        latency=format_latency,
        percent=format_share,
        number=short_number,
        per_minute=format_rate,
    )
    return environment
