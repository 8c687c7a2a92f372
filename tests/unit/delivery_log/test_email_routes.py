"""The mail server of each email in the log: chosen with the claim, changed before another server gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.delivery_log.circuits import Circuits
from mailctl.delivery_log.email_routes import EmailRoutes, RoutableEmail
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.routing import ServerPlan
from mailctl.domain.states import State
from tests.unit.delivery_log.conftest import NO_REPLY, SENT

if TYPE_CHECKING:
    from mailctl.domain.models import Claim
    from mailctl.domain.routing import ServerOrder
    from tests.unit.delivery_log.conftest import Log

UNREACHABLE = Outcome(kind=OutcomeKind.DEFERRED, reply=SmtpReply(text="refused"), stage="connect")


def plan_by(order: ServerOrder) -> tuple[ServerOrder, ServerPlan]:
    return order, ServerPlan(server=order[0], alternatives=order[1:])


def claim(log: Log, email_id: str, order: ServerOrder = ("default", "backup")) -> Claim:
    """Claim an email for the first of some servers."""
    [found] = log.claims.claim([email_id], worker="w", planner=lambda _: plan_by(order)).claims
    return found


def find(log: Log, email_id: str) -> RoutableEmail:
    [found] = EmailRoutes(log.engine, clock=log.time).find([email_id])
    return found


def test_a_claim_carries_its_plan(log: Log) -> None:
    """Each email of a group its own."""
    ids = [log.queue(), log.queue()]
    orders = dict(zip(ids, [("default", "backup"), ("bulk",)], strict=True))
    claims = log.claims.claim(ids, worker="w", planner=lambda email: plan_by(orders[email.id])).claims
    assert {each.id: each.plan.server for each in claims} == {ids[0]: "default", ids[1]: "bulk"}
    assert [log.email(email_id).server for email_id in ids] == [None, "bulk"]
    assert [log.email(email_id).asked_server for email_id in ids] == ["default", "bulk"]


def test_a_server_may_hold_an_email_only_after_an_attempt_without_a_reply(log: Log) -> None:
    """Or after a worker disappeared in the middle of one."""
    email_id = log.queue()
    log.defer(claim(log, email_id, ("backup",)), UNREACHABLE, seconds=0)
    assert find(log, email_id).possible_holder is None
    log.defer(claim(log, email_id, ("backup",)), NO_REPLY, seconds=0)
    assert find(log, email_id).possible_holder == "backup"
    crashed = log.queue()
    claim(log, crashed)
    log.forward(1000)
    log.recovery.release_stale(max_resends=2)
    assert find(log, crashed).possible_holder == "default"


def test_another_server_is_recorded_before_it_gets_the_email(log: Log) -> None:
    """If the worker dies then, that server may have it."""
    email_id = log.queue()
    held = claim(log, email_id)
    assert EmailRoutes(log.engine, clock=log.time).move(held, "backup", text="default refused; backup")
    assert log.last_event(email_id).reason_code is ReasonCode.NEXT_SERVER
    log.forward(1000)
    log.recovery.release_stale(max_resends=2)
    assert find(log, email_id).possible_holder == "backup"


def test_an_email_that_another_worker_has_claimed_does_not_move(log: Log) -> None:
    """Both would send it."""
    email_id = log.queue()
    lost = claim(log, email_id)
    log.forward(1000)
    log.recovery.release_stale(max_resends=2)
    claim(log, email_id)
    assert not EmailRoutes(log.engine, clock=log.time).move(lost, "backup", text="")
    assert log.email(email_id).server is None


def test_a_server_that_works_again_releases_what_it_may_send(log: Log) -> None:
    """And nothing that only others may send."""
    routes = ("default,backup", "backup")
    backup = Circuits(log.engine, "backup (b:25)", routes=routes, clock=log.time)
    while not backup.record_failure("refused").is_open:
        pass
    ids = {route: log.queue(address=f"{route[:4]}@example.com") for route in (*routes, "default")}
    later = log.now.replace(year=log.now.year + 1)
    for route, email_id in ids.items():
        assert backup.postpone_email(email_id, until=later, reason="down", route=route)
    unanswered = log.queue(address="unanswered@example.com")
    log.defer(claim(log, unanswered), UNREACHABLE, seconds=9999)
    assert backup.record_success() == 3
    due = {email.id for email in log.publications.reserve_due(limit=10)}
    assert due == {ids["default,backup"], ids["backup"], unanswered}


def test_what_waits_for_failing_servers_is_not_published(log: Log) -> None:
    """Unless one is to be a probe; the route of a new email is not known yet."""
    ids = {route: log.queue(address=f"{route[:3]}@example.com") for route in ("own", "default,backup")}
    circuits = Circuits(log.engine, "x:25", routes=("own",), clock=log.time)
    circuits.record_failure("refused", opens_at_once=True)
    for route, email_id in ids.items():
        circuits.postpone_email(email_id, until=log.now, reason="down", route=route)
    new = log.add("new@example.com")
    found = log.publications.reserve_due(limit=10, but_routes=["own"])
    assert {email.id for email in found} == {new, ids["default,backup"]}
    assert [email.id for email in log.publications.reserve_due(limit=1, only_routes=["own"])] == [ids["own"]]


def test_an_accepted_email_keeps_its_server(log: Log) -> None:
    """`stats --by server` counts it there."""
    email_id = log.queue()
    log.results.finish(claim(log, email_id, ("backup",)), State.SENT, outcome=SENT)
    assert (log.email(email_id).state, log.email(email_id).asked_server) == (State.SENT, "backup")
