"""The limits of a mail server: few sessions, which all processes share, and the rates that it teaches."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.opening import open_delivery_log
from mailctl.delivery_log.send_limits import SendLimits, read_learned_limits
from mailctl.delivery_log.session_shares import SessionShares
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.outcomes import Outcome, OutcomeKind, ReplyCategory
from mailctl.domain.send_rates import SendRates
from mailctl.settings import Settings
from mailctl.smtp.classify import is_server_failure
from mailctl.smtp.paced_sender import PacedSender
from mailctl.smtp.pool import SmtpPool
from mailctl.smtp.pool_limits import PoolLimits
from tests.smtp_client import hasty, message, plain, with_pool
from tests.smtp_server import (
    Action,
    Context,
    Reply,
    ScriptedSmtpServer,
    Stall,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailctl.domain.models import Envelope

K = OutcomeKind


class TestFewSessions:
    """A mail server that allows fewer sessions at a time than the pool would open."""

    @pytest.mark.parametrize("allowed", [1, 3, 10])
    def test_messages_wait_for_the_sessions_that_are_allowed(
        self, allowed: int, record_property: Callable[[str, object], None]
    ) -> None:
        """No outage: all are sent, and each session too many is refused once."""
        refusals, open_at_a_time = [], []

        def greet(context: Context) -> Action:
            if server.open_sessions <= allowed:
                open_at_a_time.append(server.open_sessions)
                return None
            refusals.append(context.session)
            return Reply("421 4.7.0 Error: too many connections", then_drop=True)

        async def scenario(pool: SmtpPool) -> list[Outcome]:
            return await asyncio.gather(*(pool.send(message(f"m{number}")) for number in range(320)))

        with ScriptedSmtpServer({"banner": greet}) as server:
            outcomes = with_pool(plain(server), scenario, limits=PoolLimits(connections=12))
        assert {outcome.kind for outcome in outcomes} == {K.ACCEPTED}
        assert len(server.by_message_id()) == 320
        assert len(refusals) <= 12
        assert max(open_at_a_time) == allowed
        row = (f"{allowed} sessions (320 emails, 12 wanted)", f"{max(open_at_a_time)}", str(len(refusals)))
        record_property("limits", row)

    def test_without_any_session_a_message_is_deferred_and_nobody_knocks_again_at_once(self) -> None:
        """Another process has the sessions that the server allows; that is not the email's fault."""
        refusal = Reply("421 4.7.0 Error: too many connections", then_drop=True)

        async def scenario(pool: SmtpPool) -> list[Outcome]:
            return [await pool.send(message(f"m{number}")) for number in range(20)]

        with ScriptedSmtpServer({"banner": lambda _: refusal}) as server:
            outcomes = with_pool(plain(server), scenario)
        assert {(each.kind, each.category, each.stage) for each in outcomes} == {
            (K.DEFERRED, ReplyCategory.CONNECTIONS, "connect")
        }
        assert server.sessions == 1
        assert not any(is_server_failure(each) for each in outcomes)

    def test_a_silent_server_is_no_reason_to_try_one_session_at_a_time(self) -> None:
        """It does not refuse any: after a second, the other messages try, too."""

        async def scenario(pool: SmtpPool) -> list[Outcome]:
            return await asyncio.gather(*(pool.send(message(f"m{number}")) for number in range(4)))

        with ScriptedSmtpServer({"banner": lambda _: Stall(600)}) as server:
            outcomes = with_pool(hasty(plain(server)), scenario)
        assert {outcome.kind for outcome in outcomes} == {K.DEFERRED}
        assert server.peak_sessions == 4

    def test_messages_share_the_failure_of_a_server_that_others_follow(self) -> None:
        """They go by the next server at once, instead of each trying this one."""

        async def scenario(pool: SmtpPool) -> list[Outcome]:
            return await asyncio.gather(*(pool.send(message(f"m{number}")) for number in range(20)))

        with ScriptedSmtpServer({"banner": lambda _: Stall(600)}) as server:
            outcomes = with_pool(hasty(plain(server)), scenario, limits=PoolLimits(shares_failures=True))
        assert {(outcome.kind, outcome.stage) for outcome in outcomes} == {(K.DEFERRED, "connect")}
        assert server.sessions == 1

    @pytest.mark.parametrize(("allowed", "processes"), [(1, 3), (3, 3), (10, 3), (1, 12), (10, 12)])
    def test_processes_share_the_sessions_that_are_allowed(
        self, allowed: int, processes: int, tmp_path: Path, record_property: Callable[[str, object], None]
    ) -> None:
        """What one learns holds for all: together they use all sessions, and nobody is sent away for long."""
        refusals, peak = [], [0]

        def greet(context: Context) -> Action:
            if server.open_sessions <= allowed:
                peak[0] = max(peak[0], server.open_sessions)
                return None
            refusals.append(context.session)
            return Reply("421 4.7.0 Error: too many connections", then_drop=True)

        async def send_until_accepted(pool: SmtpPool, name: str) -> None:
            while (await pool.send(message(name))).kind is not K.ACCEPTED:
                pass

        async def scenario() -> None:
            limits, shares = PoolLimits(connections=12), SessionShares(engine, "default")
            pools = [SmtpPool(plain(server), limits=limits, shares=shares) for _ in range(processes)]
            sent = (send_until_accepted(pools[number % processes], f"m{number}") for number in range(1000))
            await asyncio.gather(*sent)
            await asyncio.gather(*(pool.close() for pool in pools))

        engine = open_delivery_log(Settings(mailctl_home=tmp_path), AccessMode.CREATE)
        with ScriptedSmtpServer({"banner": greet}) as server:
            asyncio.run(scenario())
        engine.dispose()
        assert len(server.by_message_id()) == len(server.messages) == 1000
        assert peak == [allowed]
        name = f"{allowed} sessions (1,000 emails, {processes} processes)"
        record_property("limits", (name, f"{peak[0]}", str(len(refusals))))
        # Two for each process, however long it takes until it knows what others have learned.
        assert len(refusals) <= 2 * max(processes, 5)


def test_a_domain_that_is_slowed_down_slows_no_other_down(tmp_path: Path) -> None:
    """All workers keep its rate, and the server's is as before."""
    slow = "450 4.7.28 Our system has detected an unusual rate of unsolicited mail"

    def reply(context: Context) -> Action:
        return Reply(slow) if context.recipients == ["ada@gmail.com"] else None

    def to(name: str, recipient: str) -> Envelope:
        return replace(message(name), recipient=recipient)

    async def scenario(senders: list[PacedSender]) -> list[Outcome]:
        first, second = senders
        refused = await first.send(to("one", "ada@gmail.com"))
        others = [await sender.send(to("two", "bob@example.com")) for sender in senders for _ in range(5)]
        # The rate is a tenth of a message a second: the next place is taken, those after it are too late.
        later = await asyncio.gather(*(second.send(to("three", "eva@gmail.com")) for _ in range(3)))
        await asyncio.gather(*(sender.close() for sender in senders))
        return [refused, *others, *later]

    engine = open_delivery_log(Settings(mailctl_home=tmp_path), AccessMode.CREATE)
    with ScriptedSmtpServer({"body": reply}) as server:
        senders = [
            PacedSender(
                SmtpPool(plain(server)), SendLimits(engine), rates=SendRates(), servers={"default": None}
            )
            for _ in range(2)
        ]
        refused, *outcomes = asyncio.run(scenario(senders))
    [limit] = read_learned_limits(engine, now=datetime.now(UTC))
    engine.dispose()
    assert (refused.kind, limit.scope, limit.rate) == (K.DEFERRED, "domain gmail.com", pytest.approx(0.1))
    assert [outcome.kind for outcome in outcomes[:10]] == [K.ACCEPTED] * 10
    assert sorted(outcome.kind for outcome in outcomes[10:]) == [K.ACCEPTED, K.DEFERRED, K.DEFERRED]
