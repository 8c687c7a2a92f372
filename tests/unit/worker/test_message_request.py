"""The consumer puts validated times into headers, and the sender names in them who it is for."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

from mailctl.domain.catalog import WELCOME
from mailctl.worker.message_request import read_email_request
from mailctl.worker.message_validation import EXPIRES_HEADER, NOT_BEFORE_HEADER


def test_they_are_part_of_the_request() -> None:
    """The times of the headers become part of the request."""
    not_before, expires_at = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    headers = {
        NOT_BEFORE_HEADER: not_before.isoformat(),
        EXPIRES_HEADER: expires_at.isoformat(),
    }
    request = read_email_request(SimpleNamespace(**headers), WELCOME)
    assert (request.kind, request.not_before, request.expires_at) == (WELCOME, not_before, expires_at)


def test_a_message_without_times_is_sent_at_once() -> None:
    """A message without such headers has no times."""
    request = read_email_request(SimpleNamespace(), WELCOME)
    assert (request.not_before, request.expires_at) == (None, None)


def test_the_headers_name_sender_and_tenant() -> None:
    """What is no name is left out: another program may have put anything there."""
    request = read_email_request(SimpleNamespace(mailctl_sender="press", mailctl_tenant="acme"), WELCOME)
    assert (request.sender, request.tenant) == ("press", "acme")
    request = read_email_request(SimpleNamespace(mailctl_sender="a\nb", mailctl_tenant={"x": 1}), WELCOME)
    assert (request.sender, request.tenant) == (None, None)
