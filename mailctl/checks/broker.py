"""The broker and the result backend: do they answer, and do they keep what they are given?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.broker.inspector import Broker
from mailctl.celery_app import has_private_results
from mailctl.checks.app import has_results, shown_broker
from mailctl.checks.finding import Finding, Group
from mailctl.deadlines import as_milliseconds
from mailctl.errors import BrokerUnavailable
from mailctl.redaction import masked_url

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from celery import Celery

_GROUP = Group(name="broker")
_POLICY = "maxmemory-policy"
_KEEPS_ALL = "noeviction"


def check_broker(app: Celery | None, *, offline: bool) -> Generator[Finding, None, Broker | None]:
    """Ask the broker and the result backend for a sign of life.

    Returns:
        The broker, if it answers.
    """
    if app is None:
        yield _GROUP.skip("broker", "there is no app to ask for it")
        return None
    broker = Broker(app)
    is_there = yield from _reach_broker(broker, app, offline=offline)
    yield _results(broker, app, offline=offline)
    if not is_there:
        return None
    yield from _eviction(broker)
    return broker


def _reach_broker(broker: Broker, app: Celery, *, offline: bool) -> Generator[Finding, None, bool]:
    if broker.is_in_memory:
        yield _GROUP.ok(
            "broker",
            f"{shown_broker(app)} is private to each process; the delivery log carries emails between them",
        )
        return True
    if offline:
        yield _GROUP.skip("broker", "offline")
        return False
    try:
        seconds = broker.ping()
    except BrokerUnavailable as error:
        yield _GROUP.error("broker", error)
        return False
    yield _GROUP.ok("broker", f"{shown_broker(app)} answers, round trip {as_milliseconds(seconds)}")
    return True


def _results(broker: Broker, app: Celery, *, offline: bool) -> Finding:
    address = masked_url(app.conf.result_backend)
    if not has_results(app):
        return _GROUP.skip("results", "the app keeps no results")
    if has_private_results(app):
        return _GROUP.ok("results", f"{address} is private to each process; the delivery log keeps outcomes")
    if offline:
        return _GROUP.skip("results", "offline")
    try:
        seconds = broker.ping_backend() or 0.0
    except BrokerUnavailable as error:
        return _GROUP.error("results", error)
    return _GROUP.ok("results", f"{address} answers, round trip {as_milliseconds(seconds)}")


def _eviction(broker: Broker) -> Iterator[Finding]:
    if broker.is_in_memory:
        return
    try:
        policy = broker.redis_setting(_POLICY)
    except BrokerUnavailable:
        # Hosted servers forbid CONFIG; that it answers is known by now.
        yield _GROUP.skip(_POLICY, "the server does not tell")
        return
    if policy == _KEEPS_ALL:
        yield _GROUP.ok(_POLICY, f"{policy}: a full Redis refuses messages and loses none")
    elif policy is not None:
        yield _GROUP.warn(
            _POLICY,
            f"{policy}: a full Redis throws messages and results away",
            fix=f"CONFIG SET {_POLICY} {_KEEPS_ALL}, and the same in redis.conf.",
        )
