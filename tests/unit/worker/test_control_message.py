"""Control messages: for whom they are, and which commands a worker obeys."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any

import pytest
from celery.worker.control import Panel

from mailctl.worker.message_validation.headers import InvalidMessage
from mailctl.worker.remote_control.message import ControlMessage, Receiver, check_command, read

NAME = "mail@a-host-whose-name-is-of-some-length"
REPLIES = "reply.celery.pidbox"
OWN = Receiver(hostname=NAME, reply_exchange=REPLIES, commands=Panel.data, is_own=True, pool_size=4)
OF_A_SERVICE = replace(OWN, is_own=False)


def read_ping(**fields: Any) -> ControlMessage | None:
    return read({"method": "ping", "arguments": {}, **fields}, OF_A_SERVICE)


@pytest.mark.parametrize(
    ("fields", "is_for_us"),
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
def test_a_message_is_for_all_for_names_or_for_a_pattern(fields: dict[str, Any], is_for_us: bool) -> None:
    """As Celery has it."""
    assert (read_ping(**fields) is not None) is is_for_us


@pytest.mark.parametrize("pattern", ["([a-z@-]+)+!", "a?" * 40 + "a" * 40, ".*" * 30 + "!", "[", "*"])
def test_no_pattern_takes_long(pattern: str) -> None:
    """A regular expression that could is refused before it is tried."""
    started = time.process_time()
    with pytest.raises(InvalidMessage, match=re.escape("its pattern is not usable.")):
        read_ping(pattern=pattern, matcher="pcre")
    assert time.process_time() - started < 1


def test_a_reply_goes_to_the_exchange_for_replies_alone() -> None:
    """With what kombu needs, and nothing else."""
    reply_to = {"exchange": REPLIES, "routing_key": "someone", "x": 1}
    message = read_ping(reply_to=reply_to, ticket="t")
    assert message is not None
    assert message.body["reply_to"] == {"exchange": REPLIES, "routing_key": "someone"}
    with pytest.raises(InvalidMessage):
        read_ping(reply_to={"exchange": "", "routing_key": "celery"})


def test_a_pool_keeps_a_process() -> None:
    """However many are to go."""
    smaller, empty = (message("pool_shrink", n=number) for number in (3, 4))
    check_command(smaller, OF_A_SERVICE)
    with pytest.raises(InvalidMessage, match="nothing would be left"):
        check_command(empty, OF_A_SERVICE)
    with pytest.raises(InvalidMessage, match="does not obey"):
        check_command(smaller, OWN)


def test_shutdown_has_to_name_a_worker_of_mailctl() -> None:
    """One that is said to all of them is obeyed in a service's app only."""
    to_all, to_one = message("shutdown"), replace(message("shutdown"), is_addressed=True)
    check_command(to_one, OWN)
    check_command(to_all, OF_A_SERVICE)
    with pytest.raises(InvalidMessage, match="name the worker"):
        check_command(to_all, OWN)


def test_a_command_of_the_services_own_has_its_own_arguments() -> None:
    """Also where it has taken the name of one of Celery's."""

    def ping(state: Any, *, soon: Any) -> None:
        """Answer."""

    service = replace(OF_A_SERVICE, commands={"ping": ping})
    check_command(message("ping", soon=[{"x": 1}]), service)
    with pytest.raises(InvalidMessage, match="are not those of the command"):
        check_command(message("ping", late=1), service)
    with pytest.raises(InvalidMessage, match="no such command"):
        check_command(message("stats"), service)


def message(method: str, **arguments: Any) -> ControlMessage:
    return ControlMessage(method=method, arguments=arguments, is_addressed=False, reply_to=None, ticket=None)
