"""Error responses: problem documents (RFC 9457), which the error page shows, too."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from mailctl.errors import (
    ConfigurationError,
    InvalidInput,
    LogMissing,
    MailctlError,
    NotFound,
    ServiceUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger("mailctl.web")
MEDIA_TYPE = "application/problem+json"
_ERROR_DESCRIPTIONS = {
    401: "The key is missing, invalid or revoked.",
    422: "A parameter is invalid.",
    429: "This client has sent too many invalid keys.",
    503: "The delivery log, or another service, is unavailable.",
}


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    status: int
    title: str
    detail: str = Field(description="What is wrong, in one sentence.")
    fix: str = Field(default="", description="What to do about it.")


class AccessDenied(MailctlError):
    """The request is not allowed.

    Args:
        status: the HTTP status: 401, 403 or 429.
        seconds_to_wait: seconds until the next attempt is accepted; 0 if there is no limit.
    """

    def __init__(self, status: int, message: str, *, fix: str = "", seconds_to_wait: int = 0) -> None:
        super().__init__(message, fix=fix)
        self.status = status
        self.seconds_to_wait = seconds_to_wait

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that the response needs (RFC 9110)."""
        if self.status == HTTPStatus.UNAUTHORIZED:
            return {"WWW-Authenticate": "Bearer"}
        return {"Retry-After": str(self.seconds_to_wait)} if self.seconds_to_wait else {}


def problem_of(error: Exception) -> Problem:
    """Return the problem document of an error; errors that may reveal secrets are described in general."""
    match error:
        case AccessDenied():
            return _problem(error.status, error.message, error.fix)
        case LogMissing():
            return _problem(503, error.message, error.fix)
        case NotFound():
            return _problem(404, error.message, error.fix)
        case InvalidInput():
            return _problem(422, error.message, error.fix)
        case ServiceUnavailable():
            return _problem(503, error.message, error.fix)
        case ConfigurationError():
            # A client must not learn which setting is weak.
            _log.error("%s %s", error.message, error.fix)
            return _problem(500, "The settings of this server are invalid.", "See the log of the server.")
        case MailctlError():
            return _problem(500, error.message, error.fix)
        case RequestValidationError():
            return _problem(422, "; ".join(_validation_message(each) for each in error.errors()))
        case HTTPException():
            return _problem(error.status_code, _detail(error))
        case _:
            _log.error("a request failed: %s", type(error).__name__)
            return _problem(500, "This is a bug in mailctl.", "See the log of the server.")


def without_details(error: Exception) -> Exception:
    """Return an error for a client that has shown no key: it names no database, file or setting.

    The log of the server has the details.
    """
    if not isinstance(error, ServiceUnavailable | LogMissing):
        return error
    _log.error("%s %s", error.message, error.fix)
    return ServiceUnavailable("This service is not available now.", fix="Try again later.")


def headers_of(error: Exception) -> dict[str, str]:
    """Return the headers that the response to an error needs."""
    return dict(getattr(error, "headers", None) or {})


def problem_response(error: Exception) -> JSONResponse:
    """Return the response to an error, for programs."""
    problem = problem_of(error)
    return JSONResponse(
        problem.model_dump(),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=headers_of(error),
    )


def problem_responses(*, also: dict[int, str] | None = None) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of the errors of an endpoint.

    Args:
        also: descriptions of further errors, by status.
    """
    descriptions = _ERROR_DESCRIPTIONS | (also or {})
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {
        status: {"description": text, "model": Problem, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status, text in descriptions.items()
    }


def _problem(status: int, detail: str, fix: str = "") -> Problem:
    return Problem(status=status, title=HTTPStatus(status).phrase, detail=detail, fix=fix)


def _detail(error: HTTPException) -> str:
    """Return the detail of the error; for an unknown path, a sentence instead of the status phrase."""
    is_unknown_path = error.detail == HTTPStatus.NOT_FOUND.phrase
    return "There is no page at this address." if is_unknown_path else str(error.detail)


def _validation_message(error: Mapping[str, object]) -> str:
    location = error.get("loc")
    name = str(location[-1]) if isinstance(location, tuple) and location else "request"
    return f"{name}: {error.get('msg')}"
