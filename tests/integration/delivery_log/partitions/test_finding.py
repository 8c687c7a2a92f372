"""Statements reach the partitions that they need, by their indexes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from mailctl.delivery_log.campaigns import Campaigns
from mailctl.delivery_log.claims import Claims
from mailctl.delivery_log.queries.search import EmailFilter, search
from mailctl.delivery_log.queries.statistics import Statistics
from mailctl.domain.email_ids import day_of
from mailctl.domain.states import State
from tests.integration.delivery_log.conftest import KEYRING, LEASE, Log

if TYPE_CHECKING:
    from collections.abc import Iterator

from tests.integration.delivery_log.partitions.contents import DAY, NOW, layout_of


class TestFinding:
    """Statements reach the partitions that they need, by their indexes."""

    @pytest.fixture
    def plans(self, parted: Log) -> Iterator[list[dict[str, Any]]]:
        """The plans of the statements that a test runs, as PostgreSQL explains them."""
        found: list[dict[str, Any]] = []

        def explain(
            connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
        ) -> None:
            if statement.startswith(("SELECT", "UPDATE", "INSERT")) and not many and "mailctl_e" in statement:
                # As if nothing was small: with few rows, reading all is quickest.
                cursor.execute("SET LOCAL enable_seqscan = off")
                cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
                answer = cursor.fetchone()[0]
                found.append((answer if isinstance(answer, list) else json.loads(answer))[0]["Plan"])

        event.listen(parted.engine, "before_cursor_execute", explain)
        yield found
        event.remove(parted.engine, "before_cursor_execute", explain)

    def test_an_email_is_found_in_its_partition_alone(self, parted: Log, plans: list[Any]) -> None:
        """By its id or the start of it, with its events; when it is claimed, and when it ends."""
        ids = [parted.add() for _ in range(3)]
        plans.clear()
        parted.history.find(ids[0])
        parted.history.find(ids[0][:9])
        parted.history.events(ids[0])
        parted.publications.mark_queued(ids)
        claims = Claims(parted.engine, KEYRING, lease=LEASE, clock=parted.clock).claim(ids, worker="w").claims
        assert len(claims) == 3
        parted.results.finish(claims[0], State.FAILED, reason=None)
        reached = [relations(plan) for plan in plans]
        assert len(reached) >= 7
        day = day_name(parted)
        assert {name for names in reached for name in names} == {
            f"mailctl_{what}_{day}" for what in ("emails", "events")
        }

    def test_due_emails_are_found_by_indexes(self, parted: Log, plans: list[Any]) -> None:
        """Of each partition the index is asked, and those alone are changed that have something."""
        added = [parted.add() for _ in range(3)]
        plans.clear()
        reserved = parted.publications.reserve_due(limit=10)
        assert {each.id for each in reserved} == set(added)
        Campaigns(parted.engine, parted.outbox, clock=parted.clock).take_due(limit=10)
        parted.recovery.release_stale(max_resends=2)
        parted.recovery.expire()
        assert plans
        for plan in plans:
            assert sequential(plan) == []

    def test_the_newest_come_first_without_sorting(self, parted: Log, plans: list[Any]) -> None:
        """Each partition gives its newest, and no more are read than are shown."""
        search(parted.engine, EmailFilter(), limit=5)
        search(parted.engine, EmailFilter(states=[State.FAILED]), limit=5)
        search(parted.engine, EmailFilter(user_id="42"), limit=5)
        assert len(plans) >= 3
        for plan in plans:
            assert sequential(plan) == []
            assert "Sort" not in node_types(plan)

    def test_statistics_of_a_span_are_found_by_time(self, parted: Log, plans: list[Any]) -> None:
        """Emails outside of the span are not read."""
        Statistics(parted.engine).totals(NOW - 4 * DAY, NOW - 2 * DAY)
        assert plans
        for plan in plans:
            assert sequential(plan) == []


def day_name(log: Log) -> str:
    layout = layout_of(log.engine)
    assert layout is not None
    [days] = [each for each in layout.ranges if each.first <= day_of(log.clock.now) < each.end]
    return f"{days.first_date:%Y%m%d}"


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from nodes(each)


def node_types(plan: dict[str, Any]) -> set[str]:
    return {each["Node Type"] for each in nodes(plan)}


def relations(plan: dict[str, Any]) -> set[str]:
    """Return the partitions that a plan reads."""
    return {
        each["Relation Name"]
        for each in nodes(plan)
        if each["Node Type"] != "ModifyTable" and "mailctl_e" in each.get("Relation Name", "")
    }


def sequential(plan: dict[str, Any]) -> list[str]:
    """Return the partitions of which a plan reads every row."""
    return [
        each["Relation Name"]
        for each in nodes(plan)
        if each["Node Type"] == "Seq Scan" and "mailctl_e" in each["Relation Name"]
    ]
