"""What goes wrong, as an answer: for programs as RFC 9457 says, for people as a page."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
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
    401: "No key, a wrong one, or a revoked one.",
    422: "A value cannot be used.",
    429: "Too many wrong keys from this address.",
    503: "A service that is needed cannot be reached.",
}


class Problem(BaseModel):
    """Why a request was not answered (RFC 9457)."""

    status: int
    title: str
    #: What is wrong, in one sentence.
    detail: str
    #: What to do about it.
    fix: str = ""


class AccessDenied(MailctlError):
    """The request has no key that opens the dashboard.

    Args:
        status: 401, 403 or 429.
        seconds_to_wait: before the next try is looked at.
    """

    def __init__(self, status: int, message: str, *, fix: str = "", seconds_to_wait: int = 0) -> None:
        super().__init__(message, fix=fix)
        self.status = status
        self.seconds_to_wait = seconds_to_wait

    @property
    def headers(self) -> Mapping[str, str]:
        """What the answer says besides (RFC 9110)."""
        if self.status == HTTPStatus.UNAUTHORIZED:
            return {"WWW-Authenticate": "Bearer"}
        return {"Retry-After": str(self.seconds_to_wait)} if self.seconds_to_wait else {}


def problem_of(error: Exception) -> Problem:
    """Return an error as an answer; what is not known to be fit for readers is not told."""
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
            # Which setting is weak is nothing to tell whoever asks.
            _log.error("%s %s", error.message, error.fix)
            return _problem(500, "The settings of this server cannot be used.", "Its log has more.")
        case MailctlError():
            return _problem(500, error.message, error.fix)
        case RequestValidationError():
            return _problem(422, "; ".join(_validation_message(each) for each in error.errors()))
        case HTTPException():
            return _problem(error.status_code, str(error.detail))
        case _:
            _log.error("a request failed: %s", type(error).__name__)
            return _problem(500, "This is a defect of mailctl.", "The log of the server has more.")


def headers_of(error: Exception) -> dict[str, str]:
    """Return what the answer to an error says in its header."""
    return dict(getattr(error, "headers", None) or {})


def problem_response(error: Exception) -> JSONResponse:
    """Return an error as an answer for programs."""
    problem = problem_of(error)
    return JSONResponse(
        problem.model_dump(),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=headers_of(error),
    )


def problem_responses(*, also: dict[int, str] | None = None) -> dict[int | str, dict[str, Any]]:
    """Return what the OpenAPI document says of the problems of an endpoint.

    Args:
        also: more of them, by status.
    """
    texts = _ERROR_DESCRIPTIONS | (also or {})
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {
        status: {"description": text, "model": Problem, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status, text in texts.items()
    }


def _problem(status: int, detail: str, fix: str = "") -> Problem:
    return Problem(status=status, title=HTTPStatus(status).phrase, detail=detail, fix=fix)


def _validation_message(error: Mapping[str, object]) -> str:
    place = error.get("loc")
    name = str(place[-1]) if isinstance(place, tuple) and place else "request"
    return f"{name}: {error.get('msg')}"
