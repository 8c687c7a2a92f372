"""A control message is parsed, and its command is allowed or refused."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from celery.worker.control import Panel

from mailctl.worker.message_validation import InvalidMessage
from mailctl.worker.remote_control.message import ControlMessage, Receiver, check_clock, check_command, read

NAME = "mail@a-host-whose-name-is-of-some-length"
REPLIES = "reply.celery.pidbox"
BUILT_IN = Receiver(hostname=NAME, reply_exchange=REPLIES, commands=Panel.data, is_built_in=True, pool_size=4)
OF_A_SERVICE = replace(BUILT_IN, is_built_in=False)


def read_ping(**fields: Any) -> ControlMessage | None:
    return read({"method": "ping", "arguments": {}, **fields}, OF_A_SERVICE)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"destination": None, "pattern": None, "matcher": None}, True),
        ({"destination": [NAME]}, True),
        ({"destination": ["other@there", NAME]}, True),
        ({"destination": ["other@there"]}, False),
        ({"pattern": "mail@*", "matcher": "glob"}, True),
        ({"pattern": "other@*", "matcher": "glob"}, False),
        ({"pattern": "^mail@.*length$", "matcher": "pcre"}, True),
        ({"pattern": "^other@.+", "matcher": "pcre"}, False),
    ],
)
def test_a_message_addresses_all_workers_names_or_a_pattern(fields: dict[str, Any], expected: bool) -> None:
    """As in Celery."""
    assert (read_ping(**fields) is not None) is expected


@pytest.mark.parametrize("pattern", ["([a-z@-]+)+!", "a?" * 40 + "a" * 40, ".*" * 30 + "!", "[", "*"])
def test_a_pattern_that_could_run_for_long_is_refused(pattern: str) -> None:
    """Before it is matched."""
    with pytest.raises(InvalidMessage, match=re.escape("its pattern is invalid.")):
        read_ping(pattern=pattern, matcher="pcre")


def test_a_reply_goes_only_to_the_exchange_for_replies() -> None:
    """Other fields of the address are removed."""
    reply_to = {"exchange": REPLIES, "routing_key": "someone", "x": 1}
    message = read_ping(reply_to=reply_to, ticket="t")
    assert message is not None
    assert message.body["reply_to"] == {"exchange": REPLIES, "routing_key": "someone"}
    with pytest.raises(InvalidMessage):
        read_ping(reply_to={"exchange": "", "routing_key": "celery"})


def test_a_pool_keeps_at_least_one_process() -> None:
    """A worker without processes would do nothing."""
    smaller, empty = (message("pool_shrink", n=number) for number in (3, 4))
    check_command(smaller, OF_A_SERVICE)
    with pytest.raises(InvalidMessage, match="no process in the pool"):
        check_command(empty, OF_A_SERVICE)
    with pytest.raises(InvalidMessage, match="does not execute"):
        check_command(smaller, BUILT_IN)


def test_shutdown_has_to_name_a_worker_of_the_built_in_app() -> None:
    """In the app of a service it may address all workers."""
    to_all, to_one = message("shutdown"), replace(message("shutdown"), is_addressed=True)
    check_command(to_one, BUILT_IN)
    check_command(to_all, OF_A_SERVICE)
    with pytest.raises(InvalidMessage, match="name the worker"):
        check_command(to_all, BUILT_IN)


def test_a_command_of_a_service_has_its_own_arguments() -> None:
    """Even if it has the name of one of Celery's commands."""

    def ping(state: Any, *, soon: Any) -> None:
        """Answer."""

    service = replace(OF_A_SERVICE, commands={"ping": ping})
    check_command(message("ping", soon=[{"x": 1}]), service)
    with pytest.raises(InvalidMessage, match="are not those of the command"):
        check_command(message("ping", late=1), service)
    with pytest.raises(InvalidMessage, match="no such command"):
        check_command(message("stats"), service)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (["ping"], "not a control message"),
        ({"method": "ping", "x": 1}, "not a control message"),
        ({"method": ""}, "names no command"),
        ({"method": "ping", "arguments": ["x"]}, "not an object"),
        ({"method": "ping", "ticket": "a\n"}, "ticket"),
        ({"method": "ping", "destination": "a name"}, "not a list of names"),
        ({"method": "ping", "pattern": 7, "matcher": "glob"}, "not a string"),
        ({"method": "ping", "reply_to": {"exchange": REPLIES}}, "routing key"),
    ],
)
def test_a_message_with_an_invalid_field_is_refused(payload: object, reason: str) -> None:
    """The reason names the field."""
    with pytest.raises(InvalidMessage, match=reason):
        read(payload, OF_A_SERVICE)


@pytest.mark.parametrize("clock", [-1, 2**62, "1", 1.5])
def test_a_clock_that_amqp_cannot_carry_is_refused(clock: object) -> None:
    """The worker would adopt it, and publish it with every message."""
    check_clock(None)
    check_clock(2**62 - 1)
    with pytest.raises(InvalidMessage, match="clock"):
        check_clock(clock)


def message(method: str, **arguments: Any) -> ControlMessage:
    return ControlMessage(method=method, arguments=arguments, is_addressed=False, reply_to=None, ticket=None)
