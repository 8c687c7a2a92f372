"""Raw messages from Redis are repaired so that kombu can process and restore them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given

from mailctl.worker.message_validation.redis_messages import repair_message, stored_task_name
from tests.unit.worker.message_validation.values import VALUES, nested


@given(VALUES)
def test_every_json_object_becomes_a_message(raw: Any) -> None:
    """Its items have the types that kombu relies on; other values raise ValueError."""
    try:
        message = repair_message(raw, "celery")
    except ValueError:
        assert not isinstance(raw, dict)
        return
    json.dumps(message, default=repr)
    assert isinstance(message["headers"], dict)
    assert message["properties"]["delivery_info"]["routing_key"] == "celery"


def test_a_message_gets_a_new_tag_and_the_routing_key_of_its_queue() -> None:
    """Everything else stays unchanged."""
    info = {"exchange": "topics", "routing_key": "mail.welcome"}
    properties = {"delivery_info": info, "delivery_tag": "x", "priority": 3, "body_encoding": "base64"}
    raw = {"body": "e30=", "content-type": "application/json", "content-encoding": "utf-8"}
    raw |= {"headers": {"task": "theirs"}, "properties": properties}
    first, second = repair_message(raw, "celery"), repair_message(raw, "celery")
    assert len({each["properties"]["delivery_tag"] for each in (raw, first, second)}) == 3  # type: ignore[index]
    route = {"delivery_info": {"exchange": "", "routing_key": "celery"}}
    tag = {"delivery_tag": first["properties"]["delivery_tag"]}
    assert first == {**raw, "properties": {**properties, **route, **tag}}
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
def test_a_message_that_kombu_cannot_restore_is_stored_as_repaired(broken: dict[str, Any]) -> None:
    """kombu would delete the original."""
    raw = {"body": "", "headers": {}, "properties": {"delivery_info": {}}} | broken
    message = repair_message(raw, "celery")
    assert message.stored == message
    assert message.stored is not raw


@pytest.mark.parametrize(
    ("headers", "body", "name"),
    [
        ({"task": "mail"}, b"[[], {}, {}]", "mail"),
        ({}, b'{"task": "mail", "id": "1"}', "mail"),  # protocol 1
        ({}, b"[]", None),
    ],
)
def test_a_stored_message_names_its_task(headers: dict[str, str], body: bytes, name: str | None) -> None:
    """In its headers, or in its body."""
    properties = {"body_encoding": "base64", "delivery_info": {}}
    encoded = base64.b64encode(body).decode()
    raw = {"headers": headers, "body": encoded, "content-type": "application/json", "properties": properties}
    assert stored_task_name(raw) == name


@pytest.mark.parametrize("body", ["not base64!", "é", None, 7])
def test_a_damaged_body_names_no_task(body: Any) -> None:
    """It is a message of another program."""
    raw = {"headers": {}, "body": body, "properties": {"body_encoding": "base64", "delivery_info": {}}}
    assert stored_task_name({**raw, "content-type": "application/json"}) is None
