"""Errors as problem documents."""

from __future__ import annotations

import json

import pytest
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from mailctl.errors import (
    BrokerUnavailable,
    ConfigurationError,
    InvalidInput,
    LogMissing,
    MailctlError,
    NotFound,
)
from mailctl.web.problem import (
    MEDIA_TYPE,
    AccessDenied,
    headers_of,
    problem_of,
    problem_response,
    problem_responses,
    without_details,
)


@pytest.mark.parametrize(
    ("error", "status", "title"),
    [
        (AccessDenied(403, "no"), 403, "Forbidden"),
        (LogMissing("no log"), 503, "Service Unavailable"),
        (NotFound("no email"), 404, "Not Found"),
        (InvalidInput("since", "is wrong."), 422, None),
        (BrokerUnavailable("no broker"), 503, "Service Unavailable"),
        (MailctlError("no"), 500, "Internal Server Error"),
        (HTTPException(405), 405, "Method Not Allowed"),
    ],
)
def test_the_status_follows_from_the_class(error: Exception, status: int, title: str | None) -> None:
    """The title is that of the status."""
    problem = problem_of(error)
    assert problem.status == status
    assert title in (None, problem.title)


def test_what_is_wrong_with_the_settings_stays_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A client must not learn which one is weak."""
    problem = problem_of(ConfigurationError("SECRET_KEY is weak.", fix="Set it."))
    assert (problem.status, "SECRET_KEY" in f"{problem.detail} {problem.fix}") == (500, False)
    assert "SECRET_KEY is weak. Set it." in caplog.text


def test_an_unexpected_error_is_not_described(caplog: pytest.LogCaptureFixture) -> None:
    """Its text may have an address in it: the log has its class."""
    problem = problem_of(ValueError("zoe@example.com"))
    assert (problem.status, "zoe" in problem.detail) == (500, False)
    assert ("ValueError" in caplog.text, "zoe" in caplog.text) == (True, False)


def test_an_invalid_parameter_is_named() -> None:
    """All of them in one sentence."""
    error = RequestValidationError(
        [{"loc": ("query", "limit"), "msg": "too large"}, {"loc": (), "msg": "not JSON"}]
    )
    assert problem_of(error).detail == "limit: too large; request: not JSON"


def test_the_response_is_a_problem_document() -> None:
    """With the headers of the error."""
    response = problem_response(AccessDenied(429, "Too many.", fix="Wait 3 s.", seconds_to_wait=3))
    assert (response.media_type, response.headers["retry-after"]) == (MEDIA_TYPE, "3")
    assert json.loads(bytes(response.body)) == {
        "status": 429,
        "title": "Too Many Requests",
        "detail": "Too many.",
        "fix": "Wait 3 s.",
    }
    assert headers_of(ValueError()) == {}


def test_an_endpoint_documents_its_own_errors_beside_the_others() -> None:
    """All of them are problem documents."""
    documented = problem_responses(also={404: "There is no such email."})
    assert set(documented) == {401, 404, 422, 429, 503}
    assert documented[404]["description"] == "There is no such email."
    assert all(MEDIA_TYPE in each["content"] for each in documented.values())


@pytest.mark.parametrize("error", [LogMissing("no log at /srv/x"), BrokerUnavailable("no answer of db1")])
def test_a_stranger_reads_no_details(error: MailctlError, caplog: pytest.LogCaptureFixture) -> None:
    """They are in the log of the server; other errors are about the request."""
    problem = problem_of(without_details(error))
    assert (problem.status, error.message in problem.detail) == (503, False)
    assert error.message in caplog.text
    refused = NotFound("This link is not valid.")
    assert without_details(refused) is refused
