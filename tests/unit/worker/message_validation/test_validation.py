"""A message is accepted or refused before Celery acts on it."""

from __future__ import annotations

import bz2
import json
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailctl.worker import message_validation
from mailctl.worker.message_validation import Accepted, IncomingMessage, InvalidMessage, Rejected
from mailctl.worker.message_validation.headers import is_nested_too_deep
from tests.unit.worker.message_validation.values import TEXT, VALUES, nested

TASK = "send_welcome_email_task"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
USER = {"user_data": {"email": "zoe@example.com"}}
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
NAMES = st.sampled_from(
    ["id", "task", "eta", "expires", "timelimit", "retries", "root_id", "shadow", "headers", "compression"]
)
TABLES = st.dictionaries(NAMES | TEXT, VALUES, max_size=6)


def wire(*, body: bytes | None = None, **headers: Any) -> IncomingMessage:
    """Return a valid message with additional headers."""
    own = {"lang": "py", "task": TASK, "id": "an-id", "root_id": "an-id", "parent_id": None}
    whole = json.dumps([[], USER, EMBED]).encode() if body is None else body
    return IncomingMessage(headers={**own, **headers}, properties={"correlation_id": "an-id"}, body=whole)


def accepted(message: IncomingMessage, task: str = TASK) -> Accepted:
    """Return the accepted parts of a message."""
    decision = message_validation.validate_message(message, task, now=NOW)
    assert isinstance(decision, Accepted), decision
    return decision


def reason(message: IncomingMessage) -> str:
    """Return why a message is refused."""
    decision = message_validation.validate_message(message, TASK, now=NOW)
    assert isinstance(decision, Rejected), decision
    return decision.reason


def test_the_body_of_a_valid_message_is_not_copied() -> None:
    """Serializing it again would cost more than all checks together."""
    message = wire()
    assert accepted(message).body is message.body


def test_a_message_of_protocol_1_is_converted_to_protocol_2() -> None:
    """Its body contains id, times and arguments."""
    eta = (NOW + timedelta(hours=1)).isoformat()
    payload = {
        "task": TASK,
        "id": "an-id",
        "args": [1],
        "kwargs": USER,
        "eta": eta,
        "callbacks": [{"task": "x"}],
    }
    message = IncomingMessage(headers={}, body=json.dumps(payload).encode())
    assert message_validation.task_name(message) == TASK
    decision = accepted(message)
    assert (decision.id, decision.headers[message_validation.NOT_BEFORE_HEADER]) == ("an-id", eta)
    assert json.loads(decision.body) == [[1], USER, {}]


@pytest.mark.parametrize("name", ["callbacks", "errbacks", "chain", "chord", "id", "anything"])
def test_the_options_in_a_body_are_removed(name: str) -> None:
    """Celery would publish callbacks, and let other options replace parts of the request."""
    body = json.dumps([[], USER, {**EMBED, name: [{"task": "x"}]}]).encode()
    assert json.loads(accepted(wire(body=body)).body) == [[], USER, {}]


@pytest.mark.parametrize(
    "name", ["callbacks", "chain", "chord", "update", "get", "hostname", "timelimit", "eta"]
)
def test_headers_that_would_replace_a_part_of_the_request_are_removed(name: str) -> None:
    """Celery sets every header as an attribute of the request, over its own attributes and methods."""
    assert name not in accepted(wire(**{name: None})).headers


@pytest.mark.parametrize(
    "name",
    [
        message_validation.REFUSAL_HEADER,
        message_validation.NOT_BEFORE_HEADER,
        message_validation.EXPIRES_HEADER,
        "mailctl_x",
    ],
)
def test_private_headers_are_removed(name: str) -> None:
    """Another program could otherwise choose the text of a refusal, or a time."""
    assert name not in accepted(wire(**{name: "x"})).headers


def test_headers_of_tracers_are_forwarded() -> None:
    """Both flat ones, and those that are repeated in `headers`."""
    traced = {"traceparent": "00-a-b-01", "headers": {"sentry-trace": "a"}, "baggage": "x=1"}
    assert traced.items() <= accepted(wire(**traced)).headers.items()


@pytest.mark.parametrize(
    ("ahead", "waits"),
    [(timedelta(days=-1), False), (timedelta(milliseconds=500), False), (timedelta(seconds=2), True)],
)
def test_only_an_eta_in_the_future_delays_an_email(ahead: timedelta, waits: bool) -> None:
    """The email waits in the delivery log."""
    headers = accepted(wire(eta=(NOW + ahead).isoformat())).headers
    assert (message_validation.NOT_BEFORE_HEADER in headers) is waits
    assert "eta" not in headers


def test_only_a_canary_expires_on_the_broker() -> None:
    """Celery discards an expired task, but an expired email has to be recorded."""
    expires = NOW.isoformat()
    assert accepted(wire(expires=expires)).headers.get(message_validation.EXPIRES_HEADER) == expires
    assert accepted(wire(expires=expires), "mailctl.canary").headers.get("expires") == expires


@pytest.mark.parametrize(
    ("message", "part"),
    [
        (wire(timelimit=[10**400, None]), "number"),
        (wire(timelimit=["1", None]), "timelimit"),
        (wire(x=float("nan")), "number"),
        (wire(x=nested(101)), "100 levels"),
        (wire(x="x" * 70_000), "65536"),
        (wire(eta=(NOW + timedelta(days=400)).isoformat()), "366 days"),
        (wire(eta="9999-12-31T23:59:59-23:59"), "eta"),
        (wire(body=b"[[], " + b"[" * 101 + b"]" * 101 + b", {}]"), "100 levels"),
        (wire(body=b"x" * (2**20 + 1)), "more than 1048576 bytes"),
        (wire(body=bz2.compress(b"x" * 2**21), compression="bzip2"), "decompresses to more than 1048576"),
        (wire(compression="x"), "unknown compression"),
        (wire(id="a\n"), "task id"),
        (replace(wire(), content_type="application/x-python-serialize"), "content type"),
        (replace(wire(), content_encoding="zlib_codec"), "content encoding"),
        (replace(wire(), properties={"reply_to": ["x"]}), "reply_to"),
    ],
)
def test_what_would_break_celery_or_its_pool_is_refused(message: IncomingMessage, part: str) -> None:
    """The reason does not quote the message."""
    assert part in reason(message)


def test_a_refusal_has_the_id_of_its_message() -> None:
    """Or its correlation id, or an id that is the same for every delivery."""
    assert reason_id(wire(id="an-id", timelimit=1)) == "an-id"
    assert reason_id(wire(id=["x"])) == "an-id"
    other = replace(wire(), properties={})
    assert reason_id(replace(other, headers={"task": TASK})) == reason_id(
        replace(other, headers={"task": TASK})
    )


def reason_id(message: IncomingMessage) -> str:
    decision = message_validation.validate_message(message, TASK, now=NOW)
    assert isinstance(decision, Rejected)
    return decision.id


@given(TABLES, TABLES, VALUES, st.sampled_from(["application/json", "", None, 7]) | VALUES)
def test_every_message_is_accepted_or_refused(
    headers: Any, properties: Any, payload: Any, content_type: Any
) -> None:
    """Accepted headers are flat, and a reason is printable."""
    body = repr(payload).encode(errors="replace") if isinstance(payload, bytes) else dumped(payload)
    message = IncomingMessage(headers=headers, properties=properties, body=body, content_type=content_type)
    message_validation.task_name(message)
    decision = message_validation.validate_message(message, TASK, now=NOW)
    assert 0 < len(decision.id) <= 155
    assert decision.id.isprintable()
    if isinstance(decision, Accepted):
        assert not is_nested_too_deep(decision.headers, limit=2)
        assert decision.headers["id"] == decision.id
    else:
        assert decision.reason.isprintable()


def dumped(payload: Any) -> bytes:
    return json.dumps(payload, default=repr).encode()


def test_a_compressed_body_that_is_larger_than_the_limit_is_not_decompressed() -> None:
    """Its decompressed size does not matter."""
    assert "more than 1048576 bytes" in reason(wire(body=b"\0" * (2**20 + 1), compression="gzip"))


def test_a_message_for_a_task_of_a_service_keeps_its_options() -> None:
    """A service may use callbacks and chains, and larger bodies."""
    body = json.dumps([[], {}, {"chain": [{"task": "x"}]}]).encode()
    assert message_validation.validate_service_message(wire(body=body)) == body
    large = b"[" + b"1," * 2**20 + b"1]"
    assert (
        message_validation.validate_service_message(wire(body=zlib.compress(large), compression="gzip"))
        == large
    )
    for broken in (wire(timelimit=[10**400, None]), wire(id=None), wire(body=b"[" * 900 + b"]" * 900)):
        with pytest.raises(InvalidMessage):
            message_validation.validate_service_message(broken)
