"""By which mail server an email goes: the first route that fits, and of its servers the first that works."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from mailctl.domain.routing import (
    Route,
    RoutedEmail,
    Routing,
    ServerPlan,
    join_order,
    plan_attempt,
)

ROUTING = Routing(
    routes=(
        Route(servers=("own",), tenants=frozenset({"acme"})),
        Route(servers=("default", "backup"), kinds=frozenset({"reset", "verification"})),
        Route(servers=("backup", "default"), domains=frozenset({"gmail.com", "*.example.org"})),
        Route(servers=("bulk",), queues=frozenset({"mailctl.bulk"}), campaigns=frozenset({"spring"})),
    )
)


def email(**facts: Any) -> RoutedEmail:
    return RoutedEmail(**{"kind": "welcome", "queue": "celery", "recipient": "a@shop.test", **facts})


@pytest.mark.parametrize(
    ("facts", "order"),
    [
        ({}, ("default",)),
        ({"kind": "reset"}, ("default", "backup")),
        ({"kind": "reset", "tenant": "acme"}, ("own",)),
        ({"recipient": "ada@GMAIL.com"}, ("backup", "default")),
        ({"recipient": "ada@mail.example.org"}, ("backup", "default")),
        ({"recipient": "ada@a.b.example.org"}, ("backup", "default")),
        ({"recipient": "ada@example.org"}, ("default",)),
        ({"recipient": "ada@notgmail.com"}, ("default",)),
        ({"queue": "mailctl.bulk", "campaign": "spring"}, ("bulk",)),
        ({"queue": "mailctl.bulk", "campaign": "autumn"}, ("default",)),
        ({"campaign": "spring"}, ("default",)),
    ],
)
def test_the_first_route_whose_conditions_all_hold_decides(facts: Any, order: tuple[str, ...]) -> None:
    """Without one, the default server."""
    assert ROUTING.order_for(email(**facts)) == order


def test_what_a_server_may_have_accepted_stays_with_it() -> None:
    """Whatever the routes say."""
    order = ROUTING.order_for(email(kind="reset"), possible_holder="own")
    assert order == ("own",)
    assert plan_attempt(order, failing={"own"}) is None


@pytest.mark.parametrize(
    ("failing", "plan"),
    [
        ((), ServerPlan(server="a", alternatives=("b", "c"))),
        (("a",), ServerPlan(server="b", alternatives=("c",))),
        (("b",), ServerPlan(server="a", alternatives=("c",))),
        (("a", "b"), ServerPlan(server="c", alternatives=())),
        (("a", "b", "c"), None),
        (("other",), ServerPlan(server="a", alternatives=("b", "c"))),
    ],
)
def test_the_first_server_that_works_gets_the_email(failing: Any, plan: ServerPlan | None) -> None:
    """Without one the email waits."""
    assert plan_attempt(("a", "b", "c"), failing=failing) == plan


def test_a_probe_goes_to_the_failing_server_first() -> None:
    """And on to the next if that still fails."""
    plan = plan_attempt(("a", "b"), failing={"a"}, probed="a")
    assert plan == ServerPlan(server="a", alternatives=("b",))
    assert plan_attempt(("a",), failing={"a"}, probed="a") == ServerPlan(server="a")


def test_an_email_waits_exactly_if_all_of_its_servers_fail() -> None:
    """The routes that wait, and those that a server releases, agree with the plans, for every state."""
    servers = ("default", "backup", "own", "bulk")
    for count in range(len(servers) + 1):
        for failing in itertools.combinations(servers, count):
            waiting = set(ROUTING.routes_by(failing))
            for order in ROUTING.orders:
                waits = plan_attempt(order, failing=failing) is None
                assert waits == (join_order(order) in waiting)
    for order, server in itertools.product(ROUTING.orders, servers):
        assert (join_order(order) in ROUTING.routes_over(server)) == (server in order)


def test_an_email_that_stays_with_one_server_waits_for_it_alone() -> None:
    """Although no route has only this server."""
    assert "backup" in ROUTING.routes_by({"backup"})
    assert "backup" in ROUTING.routes_over("backup")


def test_a_server_has_an_alternative_if_another_follows_it_anywhere() -> None:
    """The last one of every list has none."""
    assert [ROUTING.has_alternative(name) for name in ("default", "backup", "own")] == [True, True, False]
