"""The broker and the result backend: do they answer, and do they keep what they are given?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.broker.inspector import BrokerInspector
from mailctl.celery_app import has_private_results
from mailctl.checks.app import has_results, masked_broker_url
from mailctl.checks.finding import CheckGroup, Finding
from mailctl.errors import BrokerUnavailable
from mailctl.redaction import mask_url
from mailctl.timefmt import format_milliseconds

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from celery import Celery

_GROUP = CheckGroup(name="broker")
_EVICTION_SETTING = "maxmemory-policy"
_NO_EVICTION = "noeviction"


def check_broker(app: Celery | None, *, offline: bool) -> Generator[Finding, None, BrokerInspector | None]:
    """Ask the broker and the result backend for a sign of life.

    Returns:
        The broker, if it answers.
    """
    if app is None:
        yield _GROUP.skip("broker", "there is no app to ask for it")
        return None
    broker = BrokerInspector(app)
    is_there = yield from _reach_broker(broker, app, offline=offline)
    yield _results(broker, app, offline=offline)
    if not is_there:
        return None
    yield from _eviction(broker)
    return broker


def _reach_broker(broker: BrokerInspector, app: Celery, *, offline: bool) -> Generator[Finding, None, bool]:
    if broker.is_in_memory:
        yield _GROUP.ok(
            "broker",
            f"{masked_broker_url(app)} is private to each process; "
            "the delivery log carries emails between them",
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
    yield _GROUP.ok("broker", f"{masked_broker_url(app)} answers, round trip {format_milliseconds(seconds)}")
    return True


def _results(broker: BrokerInspector, app: Celery, *, offline: bool) -> Finding:
    address = mask_url(app.conf.result_backend)
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
    return _GROUP.ok("results", f"{address} answers, round trip {format_milliseconds(seconds)}")


def _eviction(broker: BrokerInspector) -> Iterator[Finding]:
    if broker.is_in_memory:
        return
    try:
        policy = broker.server_setting(_EVICTION_SETTING)
    except BrokerUnavailable:
        # Hosted servers forbid CONFIG; that it answers is known by now.
        yield _GROUP.skip(_EVICTION_SETTING, "the server does not tell")
        return
    if policy == _NO_EVICTION:
        yield _GROUP.ok(_EVICTION_SETTING, f"{policy}: a full Redis refuses messages and loses none")
    elif policy is not None:
        yield _GROUP.warn(
            _EVICTION_SETTING,
            f"{policy}: a full Redis throws messages and results away",
            fix=f"CONFIG SET {_EVICTION_SETTING} {_NO_EVICTION}, and the same in redis.conf.",
        )
