"""What unsubscribing leaves behind in the log of the server."""

from __future__ import annotations

import logging

import pytest

from mailctl.web.unsubscribe import unsubscribe_router


@pytest.fixture
def access_log() -> logging.Logger:
    """The access log of uvicorn, with what the routes have added to it."""
    for _ in range(2):
        unsubscribe_router()
    return logging.getLogger("uvicorn.access")


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/unsubscribe?t=sealed-token", "/unsubscribe"),
        ("/mail/unsubscribe?x=y&t=sealed-token", "/mail/unsubscribe"),
        ("/mail/Unsubscribe/?t=sealed-token", "/mail/Unsubscribe/"),
        ("/emails?state=failed", "/emails?state=failed"),
    ],
)
def test_a_token_is_not_logged(access_log: logging.Logger, path: str, logged: str) -> None:
    """Who reads the access log could unsubscribe others."""
    text, arguments = '%s - "%s %s HTTP/%s" %d', ("192.0.2.1:5000", "GET", path, "1.1", 200)
    record = access_log.makeRecord(access_log.name, logging.INFO, "", 0, text, arguments, None)
    assert access_log.filter(record)
    assert record.getMessage() == f'192.0.2.1:5000 - "GET {logged} HTTP/1.1" 200'


def test_several_routers_filter_once(access_log: logging.Logger) -> None:
    """A service may make one for each of its applications."""
    assert sum(type(each).__name__ == "_TokenFilter" for each in access_log.filters) == 1
