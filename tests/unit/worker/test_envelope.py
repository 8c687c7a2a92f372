"""What a worker decides on the envelope of a message, before Celery acts on it."""

from __future__ import annotations

import bz2
import gc
import json
import lzma
import random
import struct
import tracemalloc
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import amqp
import brotli
import pytest
from amqp import serialization, spec
from hypothesis import given
from hypothesis import strategies as st

from mailctl.worker import message_validation
from mailctl.worker.message_validation import Accepted, IncomingMessage, Refused, amqp_frames, decompression
from mailctl.worker.message_validation.headers import InvalidMessage, is_nested_too_deep
from mailctl.worker.message_validation.redis_messages import repair_message

TASK = "send_welcome_email_task"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
USER = {"user_data": {"email": "zoe@example.com"}}
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
TEXT = st.text(st.characters(codec=None), max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
NAMES = st.sampled_from(
    ["id", "task", "eta", "expires", "timelimit", "retries", "root_id", "shadow", "headers", "compression"]
)
TABLES = st.dictionaries(NAMES | TEXT, VALUES, max_size=6)


def wire(*, body: bytes | None = None, **headers: Any) -> IncomingMessage:
    """Return a good message, with other headers."""
    own = {"lang": "py", "task": TASK, "id": "an-id", "root_id": "an-id", "parent_id": None}
    whole = json.dumps([[], USER, EMBED]).encode() if body is None else body
    return IncomingMessage(headers={**own, **headers}, properties={"correlation_id": "an-id"}, body=whole)


def accepted(message: IncomingMessage, task: str = TASK) -> Accepted:
    """Return what a task gets of a message, which is accepted."""
    verdict = message_validation.validate_message(message, task, now=NOW)
    assert isinstance(verdict, Accepted), verdict
    return verdict


def reason(message: IncomingMessage) -> str:
    """Return why a message is refused."""
    verdict = message_validation.validate_message(message, TASK, now=NOW)
    assert isinstance(verdict, Refused), verdict
    return verdict.reason


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_the_body_of_a_good_message_is_passed_on_as_it_is() -> None:
    """It is not made anew, which would cost more than all checks together."""
    message = wire()
    assert accepted(message).body is message.body


def test_protocol_1_becomes_protocol_2() -> None:
    """All of it is in the body, its id and times too."""
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
    verdict = accepted(message)
    assert (verdict.id, verdict.headers[message_validation.NOT_BEFORE_HEADER]) == ("an-id", eta)
    assert json.loads(verdict.body) == [[1], USER, {}]


@pytest.mark.parametrize("name", ["callbacks", "errbacks", "chain", "chord", "id", "anything"])
def test_nothing_that_a_body_wants_called_is_passed_on(name: str) -> None:
    """Neither what Celery would publish, nor what would replace a part of the request."""
    body = json.dumps([[], USER, {**EMBED, name: [{"task": "x"}]}]).encode()
    assert json.loads(accepted(wire(body=body)).body) == [[], USER, {}]


@pytest.mark.parametrize(
    "name", ["callbacks", "chain", "chord", "update", "get", "hostname", "timelimit", "eta"]
)
def test_headers_that_would_become_a_part_of_the_request_are_left_out(name: str) -> None:
    """Celery puts every header into the context of the task, over its attributes and methods."""
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
def test_headers_that_only_a_worker_sets_are_not_taken_from_outside(name: str) -> None:
    """What one says would be printed, or obeyed."""
    assert name not in accepted(wire(**{name: "x"})).headers


def test_headers_of_tracers_reach_the_task() -> None:
    """Flat ones, and those that are there a second time."""
    traced = {"traceparent": "00-a-b-01", "headers": {"sentry-trace": "a"}, "baggage": "x=1"}
    assert traced.items() <= accepted(wire(**traced)).headers.items()


@pytest.mark.parametrize(
    ("ahead", "waits"),
    [(timedelta(days=-1), False), (timedelta(milliseconds=500), False), (timedelta(seconds=2), True)],
)
def test_only_a_later_eta_makes_an_email_wait(ahead: timedelta, waits: bool) -> None:
    """It waits in the log."""
    headers = accepted(wire(eta=(NOW + ahead).isoformat())).headers
    assert (message_validation.NOT_BEFORE_HEADER in headers) is waits
    assert "eta" not in headers


def test_only_a_canary_expires_on_the_broker() -> None:
    """Celery forgets what has expired: an email that is not sent has to be recorded."""
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
        (wire(body=b"x" * (2**20 + 1)), "more than 1048576 octets"),
        (wire(body=bz2.compress(b"x" * 2**21), compression="bzip2"), "expands to more than 1048576"),
        (wire(compression="x"), "unknown compression"),
        (wire(id="a\n"), "task id"),
        (replace(wire(), content_type="application/x-python-serialize"), "content type"),
        (replace(wire(), content_encoding="zlib_codec"), "content encoding"),
        (replace(wire(), properties={"reply_to": ["x"]}), "reply_to"),
    ],
)
def test_what_celery_or_its_pool_would_stumble_over_is_refused(message: IncomingMessage, part: str) -> None:
    """In a sentence without anything that the message says."""
    assert part in reason(message)


def test_a_refused_message_is_recorded_under_an_id_that_it_has() -> None:
    """Its own, else its correlation id, else one that is the same whenever it comes again."""
    assert reason_id(wire(id="an-id", timelimit=1)) == "an-id"
    assert reason_id(wire(id=["x"])) == "an-id"
    other = replace(wire(), properties={})
    assert reason_id(replace(other, headers={"task": TASK})) == reason_id(
        replace(other, headers={"task": TASK})
    )


def reason_id(message: IncomingMessage) -> str:
    verdict = message_validation.validate_message(message, TASK, now=NOW)
    assert isinstance(verdict, Refused)
    return verdict.id


@given(TABLES, TABLES, VALUES, st.sampled_from(["application/json", "", None, 7]) | VALUES)
def test_no_envelope_breaks_the_decision(
    headers: Any, properties: Any, payload: Any, content_type: Any
) -> None:
    """It is accepted or refused, and what is accepted can be pickled and printed."""
    body = repr(payload).encode(errors="replace") if isinstance(payload, bytes) else dumped(payload)
    message = IncomingMessage(headers=headers, properties=properties, body=body, content_type=content_type)
    message_validation.task_name(message)
    verdict = message_validation.validate_message(message, TASK, now=NOW)
    assert 0 < len(verdict.id) <= 155
    assert verdict.id.isprintable()
    if isinstance(verdict, Accepted):
        assert not is_nested_too_deep(verdict.headers, limit=2)
        assert verdict.headers["id"] == verdict.id
    else:
        assert verdict.reason.isprintable()


def dumped(payload: Any) -> bytes:
    return json.dumps(payload, default=repr).encode()


@given(VALUES)
def test_whatever_lies_in_redis_becomes_a_message_or_is_none(raw: Any) -> None:
    """With all types that kombu takes for granted."""
    try:
        message = repair_message(raw, "celery")
    except ValueError:
        assert not isinstance(raw, dict)
        return
    json.dumps(message, default=repr)
    assert isinstance(message["headers"], dict)
    assert message["properties"]["delivery_info"]["routing_key"] == "celery"


def test_a_message_of_redis_has_a_tag_of_its_own_and_goes_back_to_its_queue() -> None:
    """Whatever tag and way it came with; all else stays as it was."""
    info = {"exchange": "topics", "routing_key": "mail.welcome"}
    properties = {"delivery_info": info, "delivery_tag": "x", "priority": 3, "body_encoding": "base64"}
    raw = {"body": "e30=", "content-type": "application/json", "content-encoding": "utf-8"}
    raw |= {"headers": {"task": "theirs"}, "properties": properties}
    first, second = repair_message(raw, "celery"), repair_message(raw, "celery")
    assert len({each["properties"]["delivery_tag"] for each in (raw, first, second)}) == 3  # type: ignore[index]
    way = {"delivery_info": {"exchange": "", "routing_key": "celery"}}
    tag = {"delivery_tag": first["properties"]["delivery_tag"]}
    assert first == {**raw, "properties": {**properties, **way, **tag}}
    assert raw["properties"] == properties
    assert first.stored is raw


@pytest.mark.parametrize(
    "broken",
    [
        {"headers": None},
        {"properties": {"delivery_info": "celery"}},
        {"properties": {"delivery_info": {}, "priority": float("inf")}},
        {"more": [[[[[]]]]] * 3, "headers": {"deep": nested(200)}},
    ],
)
def test_what_kombu_could_not_restore_is_kept_as_it_was_repaired(broken: dict[str, Any]) -> None:
    """It would throw it away."""
    raw = {"body": "", "headers": {}, "properties": {"delivery_info": {}}} | broken
    message = repair_message(raw, "celery")
    assert message.stored == message
    assert message.stored is not raw


@pytest.mark.parametrize(
    ("method", "compress"),
    [
        ("gzip", zlib.compress),
        ("zlib", zlib.compress),
        ("bzip2", bz2.compress),
        ("xz", lzma.compress),
        ("brotli", brotli.compress),
    ],
)
def test_a_body_is_expanded_up_to_a_limit_and_no_further(method: str, compress: Any) -> None:
    """However much it holds, no more than the limit is in memory."""
    assert decompression.decompress(compress(b"x" * 1000), method, limit=1000) == b"x" * 1000
    bomb = compress(b"x" * (64 * 2**20))
    gc.collect()
    tracemalloc.start()
    with pytest.raises(decompression.DecompressedTooLarge):
        decompression.decompress(bomb, method, limit=2**20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * 2**20


class OldBrotliDecoder:
    """A decoder that has no limit of its own, as before Brotli 1.2, and counts how often it is called."""

    def __init__(self) -> None:
        self._decoder = brotli.Decompressor()
        self.is_finished = self._decoder.is_finished
        self.calls = 0

    def process(self, data: bytes) -> bytes:
        self.calls += 1
        return bytes(self._decoder.process(data))


class BrotliDecoder(OldBrotliDecoder):
    """A decoder that can be told where to stop."""

    def process(self, data: bytes, output_buffer_limit: int | None = None) -> bytes:  # type: ignore[override]
        self.calls += 1
        return bytes(self._decoder.process(data, output_buffer_limit=output_buffer_limit))


@pytest.mark.parametrize(("make", "most_calls"), [(BrotliDecoder, 1), (OldBrotliDecoder, 5000)])
def test_brotli_takes_a_whole_body_at_once_where_its_decoder_has_a_limit(
    make: type[OldBrotliDecoder], most_calls: int
) -> None:
    """An older one gets it in pieces so small that none of them can hold gigabytes."""
    body = random.Random(1).randbytes(64 * 1024)
    decoder = make()
    adapted = decompression._Brotli(decoder)
    assert adapted.decompress(brotli.compress(body), len(body) + 1) == body
    assert adapted.eof
    assert decoder.calls <= most_calls
    bomb = decompression._Brotli(make())
    assert len(bomb.decompress(brotli.compress(b"x" * 64 * 2**20), 2**20)) < 32 * 2**20
    assert not bomb.eof


def test_streams_in_a_row_count_together() -> None:
    """As bzip2 and xz read them."""
    assert decompression.decompress(bz2.compress(b"a") + bz2.compress(b"b"), "bzip2", limit=2) == b"ab"
    with pytest.raises(decompression.DecompressedTooLarge):
        decompression.decompress(bz2.compress(b"aa") * 2, "bzip2", limit=3)


@pytest.mark.parametrize(
    ("method", "compress"), [("zlib", zlib.compress), ("bzip2", bz2.compress), ("xz", lzma.compress)]
)
def test_a_body_of_very_many_streams_is_not_expanded(method: str, compress: Any) -> None:
    """Each adds nothing, costs a copy of all that follows, and so never meets the limit."""
    streams = compress(b"") * 17
    with pytest.raises(ValueError, match="damaged"):
        decompression.decompress(streams, method, limit=2**20)
    unnamed = IncomingMessage(headers={"compression": method}, body=streams)
    assert message_validation.task_name(unnamed) is None
    assert decompression.decompress(compress(b"a") * 16, method, limit=16) == b"a" * 16


def test_a_compressed_body_that_is_longer_than_the_limit_is_not_expanded() -> None:
    """Whatever it would become."""
    assert "more than 1048576 octets" in reason(wire(body=b"\0" * (2**20 + 1), compression="gzip"))


def test_a_message_for_a_services_own_task_keeps_what_it_asks_for() -> None:
    """Callbacks, chains and times are the service's business; its limits are wider."""
    body = json.dumps([[], {}, {"chain": [{"task": "x"}]}]).encode()
    assert message_validation.service_task_body(wire(body=body)) == body
    large = b"[" + b"1," * 2**20 + b"1]"
    assert message_validation.service_task_body(wire(body=zlib.compress(large), compression="gzip")) == large
    for broken in (wire(timelimit=[10**400, None]), wire(id=None), wire(body=b"[" * 900 + b"]" * 900)):
        with pytest.raises(InvalidMessage):
            message_validation.service_task_body(broken)


def test_properties_that_are_no_utf_8_are_read_as_far_as_they_can_be() -> None:
    """py-amqp ends the connection instead, and the broker sends the message again."""
    amqp_frames.tolerate_properties()
    message = amqp.Message(b"", content_type="a" * 7, application_headers={"id": "x"}, correlation_id="b" * 5)
    octets = message._serialize_properties().replace(b"a" * 7, b"\xff" * 7)
    decode = serialization.PROPERTY_CLASSES[spec.Basic.CLASS_ID]
    properties, _ = decode(octets, 0)
    assert properties["application_headers"] == {"id": "x"}
    assert properties["correlation_id"] == "b" * 5
    assert properties["content_type"] == "\ufffd" * 7


def test_only_the_value_of_a_header_that_cannot_be_read_is_replaced() -> None:
    """A timestamp that is none becomes a number; all else stays, at any level."""
    amqp_frames.tolerate_properties()
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    seconds = int(moment.timestamp())
    headers = {
        "id": "x",
        "sent": moment,
        "inner": {"sent": moment, "list": [1, moment]},
        b"caf\xe9": 1,
        "last": "y",
    }
    message = amqp.Message(b"", application_headers=headers)
    octets = message._serialize_properties()
    octets = octets.replace(struct.pack(">Q", seconds), struct.pack(">Q", seconds * 1000))
    properties, _ = serialization.PROPERTY_CLASSES[spec.Basic.CLASS_ID](octets, 0)
    number = seconds * 1000
    assert properties["application_headers"] == {
        **headers,
        "sent": number,
        "inner": {"sent": number, "list": [1, number]},
    }


def test_a_header_that_nests_too_deep_is_replaced_and_those_behind_it_stay() -> None:
    """py-amqp meets Python's recursion limit."""
    amqp_frames.tolerate_properties()
    deep = b""
    for _ in range(3000):
        deep = b"A" + struct.pack(">I", len(deep)) + deep
    table = b"\4deep" + deep + b"\4lastt\1"
    octets = struct.pack(">HI", 0x2000, len(table)) + table
    properties, _ = serialization.PROPERTY_CLASSES[spec.Basic.CLASS_ID](octets, 0)
    assert properties["application_headers"] == {"deep": "(nested too deep)", "last": True}
