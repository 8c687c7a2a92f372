"""Checks of the broker and the result backend: reachability and eviction policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.broker.inspector import BrokerInspector
from mailctl.celery_app import has_private_results
from mailctl.checks.app import has_results, masked_broker_url
from mailctl.checks.finding import CheckGroup, Finding
from mailctl.errors import BrokerRefused, BrokerUnavailable
from mailctl.settings.credential_masking import mask_url
from mailctl.timefmt import format_milliseconds

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from celery import Celery

_GROUP = CheckGroup(name="broker")
_EVICTION_SETTING = "maxmemory-policy"
_NO_EVICTION = "noeviction"
_CLUSTER_SETTING = "cluster-enabled"


def check_broker(app: Celery | None, *, offline: bool) -> Generator[Finding, None, BrokerInspector | None]:
    """Check that the broker and the result backend answer.

    Returns:
        The inspector of the broker; None if the broker does not answer or was not queried.
    """
    if app is None:
        yield _GROUP.skip("broker", "the app is not available")
        return None
    broker = BrokerInspector(app)
    is_reachable = yield from _reach_broker(broker, app, offline=offline)
    yield _results(broker, app, offline=offline)
    if not is_reachable:
        return None
    yield from _cluster(broker)
    yield from _eviction(broker)
    return broker


def _reach_broker(broker: BrokerInspector, app: Celery, *, offline: bool) -> Generator[Finding, None, bool]:
    if broker.is_in_memory:
        yield _GROUP.ok(
            "broker",
            f"{masked_broker_url(app)} is private to each process; "
            "the delivery log passes emails between them",
        )
        return True
    if offline:
        yield _GROUP.skip("broker", "offline")
        return False
    try:
        answer = broker.probe()
    except BrokerUnavailable as error:
        yield _GROUP.error("broker", error)
        return _still_answers(broker, error)
    round_trip = format_milliseconds(answer.seconds)
    yield _GROUP.ok("broker", f"{masked_broker_url(app)} answers, round trip {round_trip}")
    if answer.has_accepted_message:
        yield _GROUP.ok("publishing", "the broker accepts messages: it took one that no queue keeps")
    else:
        yield _GROUP.skip(
            "publishing",
            "a broker of this type cannot be probed: only an email shows whether it accepts messages",
        )
    return True


def _still_answers(broker: BrokerInspector, error: BrokerUnavailable) -> bool:
    """Whether a broker that accepts no messages can still be asked, for example who its workers are."""
    if not isinstance(error, BrokerRefused):
        return False
    try:
        broker.ping()
    except BrokerUnavailable:
        return False
    return True


def _results(broker: BrokerInspector, app: Celery, *, offline: bool) -> Finding:
    address = mask_url(app.conf.result_backend)
    if not has_results(app):
        return _GROUP.skip("results", "the app has no result backend")
    if has_private_results(app):
        return _GROUP.ok(
            "results", f"{address} is private to each process; the delivery log has the outcomes"
        )
    if offline:
        return _GROUP.skip("results", "offline")
    try:
        seconds = broker.probe_backend() or 0.0
    except BrokerUnavailable as error:
        return _GROUP.error("results", error)
    return _GROUP.ok("results", f"{address} answers, round trip {format_milliseconds(seconds)}")


def _cluster(broker: BrokerInspector) -> Iterator[Finding]:
    """Yield a failure if the server is a node of Redis Cluster, which Celery does not support."""
    if broker.is_in_memory:
        return
    try:
        is_node = broker.server_setting(_CLUSTER_SETTING) == "yes"
    except BrokerUnavailable:
        return  # `_eviction` says so
    if is_node:
        yield _GROUP.fail(
            _CLUSTER_SETTING,
            "The broker is a node of Redis Cluster, which Celery does not support: its commands span slots.",
            fix="Use a single Redis, with Sentinel (sentinel://) for failover, or RabbitMQ.",
        )


def _eviction(broker: BrokerInspector) -> Iterator[Finding]:
    if broker.is_in_memory:
        return
    try:
        policy = broker.server_setting(_EVICTION_SETTING)
    except BrokerUnavailable:
        # Hosted servers forbid CONFIG, and the ping has succeeded already.
        yield _GROUP.skip(_EVICTION_SETTING, "the server does not allow CONFIG GET")
        return
    if policy == _NO_EVICTION:
        yield _GROUP.ok(
            _EVICTION_SETTING, f"{policy}: a full Redis rejects new messages and keeps the old ones"
        )
    elif policy is not None:
        yield _GROUP.warn(
            _EVICTION_SETTING,
            f"A full Redis deletes messages and results ({policy}).",
            fix=f"Run CONFIG SET {_EVICTION_SETTING} {_NO_EVICTION}, and set the same in redis.conf.",
        )
