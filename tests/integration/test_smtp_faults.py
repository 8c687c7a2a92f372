"""Every fault at every stage, against a real server: what it means for the email, and for the pool."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mailctl.domain.outcomes import Outcome, OutcomeKind
from mailctl.smtp.pool_limits import PoolLimits
from tests.smtp_client import HASTE, STALL, hasty, message, plain, send, signed_in, with_pool
from tests.smtp_server import (
    AcceptThenDrop,
    Action,
    Certificates,
    Context,
    Drop,
    Reply,
    Reset,
    Script,
    ScriptedSmtpServer,
    Stall,
    test_certificates,
)

if TYPE_CHECKING:
    from mailctl.smtp.pool import SmtpPool
    from mailctl.smtp.server import SmtpServer

K = OutcomeKind

FAULTS: dict[str, Action] = {
    "drop": Drop(),
    "reset": Reset(),
    "stall": Stall(STALL),
    "421": Reply("421 4.3.2 shutting down", then_drop=True),
    "4xx": "451 4.3.0 later",
    "5xx": "554 5.0.0 never",
    "garbage": "what do you want?",
}
OPENING = ("banner", "ehlo")
TRANSACTION = ("mail", "rcpt", "data", "body")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return test_certificates(tmp_path_factory.mktemp("certificates"))


def expected_kind(stage: str, fault: str, *, is_reused: bool) -> OutcomeKind:
    """The rule of the fault matrix."""
    if stage == "body" and fault in ("drop", "reset", "stall", "garbage"):
        return K.AMBIGUOUS
    if fault == "5xx":
        return K.CONFIG if stage in OPENING else K.REFUSED
    is_stale = fault in ("drop", "reset") or (fault == "421" and stage == "mail")
    return K.ACCEPTED if is_reused and is_stale and stage != "body" else K.DEFERRED


def client_of(server: SmtpServer, fault: str) -> SmtpServer:
    """Return the server for a client that waits for a stall no longer than it has to."""
    return hasty(server) if fault == "stall" else server


class TestFaults:
    """Each fault at each stage, on fresh sessions and on used ones."""

    @pytest.mark.parametrize("extensions", [("PIPELINING",), ()], ids=["pipelined", "one by one"])
    @pytest.mark.parametrize("fault", FAULTS)
    @pytest.mark.parametrize(
        ("stage", "is_reused"),
        [(stage, False) for stage in (*OPENING, *TRANSACTION)] + [(stage, True) for stage in TRANSACTION],
    )
    def test_a_fault_is_told_as_what_it_is(
        self, stage: str, is_reused: bool, fault: str, extensions: tuple[str, ...]
    ) -> None:
        """Accepted: the server has it once. Deferred, bounced: it has it not. And the pool works on."""
        script: Script = {stage: [*([None] if is_reused else []), FAULTS[fault]]}
        messages = [*([message("before")] if is_reused else []), message("tested"), message("after")]
        with ScriptedSmtpServer(script=script, extensions=extensions) as server:
            outcomes = send(client_of(plain(server), fault), *messages)
            accepted = server.by_message_id()
        kind = outcomes[-2].kind
        assert kind is expected_kind(stage, fault, is_reused=is_reused)
        assert len(accepted.get("<tested@mail.example.com>", [])) == (1 if kind is K.ACCEPTED else 0)
        assert outcomes[-1].kind is K.ACCEPTED
        assert accepted["<after@mail.example.com>"][0].recipients == ("after@example.com",)

    @pytest.mark.parametrize("fault", FAULTS)
    @pytest.mark.parametrize("stage", ["starttls", "auth"])
    def test_a_fault_before_the_first_message_defers_or_is_ours(
        self, stage: str, fault: str, certificates: Certificates
    ) -> None:
        """A refusal of TLS or of our credentials is never the email's fault."""
        with ScriptedSmtpServer(
            script={stage: [FAULTS[fault]]}, ssl_context=certificates.server, credentials=("app", "secret")
        ) as server:
            configured = client_of(signed_in(server, certificates), fault)
            first, second = send(configured, message("tested"), message("after"))
            assert set(server.by_message_id()) == {"<after@mail.example.com>"}
        assert first.kind is (K.CONFIG if fault == "5xx" else K.DEFERRED)
        assert first.stage == ("tls" if stage == "starttls" else "auth")
        assert second.kind is K.ACCEPTED

    def test_a_server_that_waits_for_a_body_without_recipient_gets_none(self) -> None:
        """Some say 354 to a DATA that came along with a refused RCPT (RFC 2920 section 3.1)."""
        script: Script = {"rcpt": ["550 5.1.1 no such user"], "data": ["354 go ahead"]}
        with ScriptedSmtpServer(script=script) as server:
            refused, accepted = send(plain(server), message("gone"), message("here"))
            assert [each.message_id for each in server.wait_for(1)] == ["<here@mail.example.com>"]
            assert server.sessions == 2
        assert (refused.kind, accepted.kind) == (K.REFUSED, K.ACCEPTED)

    def test_a_server_that_takes_the_message_and_dies_leaves_doubt(self) -> None:
        """It has the message, and we cannot know: ambiguous, and not sent again by itself."""
        with ScriptedSmtpServer(script={"body": [AcceptThenDrop()]}) as server:
            [outcome] = send(plain(server), message())
            assert len(server.wait_for(1)) == 1
        assert (outcome.kind, outcome.stage) == (K.AMBIGUOUS, "body")

    @pytest.mark.parametrize("fault", FAULTS)
    def test_quit_never_changes_an_outcome(self, fault: str) -> None:
        """The email was accepted before."""
        with ScriptedSmtpServer(script={"quit": [FAULTS[fault]]}) as server:
            [outcome] = send(client_of(plain(server), fault), message())
        assert outcome.kind is K.ACCEPTED

    @pytest.mark.parametrize("fault", FAULTS)
    def test_rset_never_changes_an_outcome(self, fault: str) -> None:
        """The email was refused before; only the session may be lost."""
        script: Script = {"rcpt": ["550 5.1.1 no such user"], "rset": [FAULTS[fault]]}
        with ScriptedSmtpServer(script=script) as server:
            refused, accepted = send(client_of(plain(server), fault), message(), message("two"))
        assert (refused.kind, str(refused)) == (K.REFUSED, "550 5.1.1 no such user")
        assert accepted.kind is K.ACCEPTED

    def test_a_server_that_is_not_there_means_later(self) -> None:
        """Connection refused is a matter of minutes."""
        with ScriptedSmtpServer() as server:
            pass
        [outcome] = send(plain(server), message())
        assert (outcome.kind, outcome.reply.text) == (K.DEFERRED, "connection refused")

    def test_a_timeout_names_stage_and_seconds(self) -> None:
        """So that the operator knows which setting it was."""
        with ScriptedSmtpServer(script={"rcpt": [Stall(STALL)]}) as server:
            [outcome] = send(hasty(plain(server)), message())
        assert outcome.reply.text == f"timed out after {HASTE:g} s at rcpt"

    @pytest.mark.parametrize(
        ("stage", "named"),
        [("banner", "connect"), ("ehlo", "connect"), ("starttls", "tls"), ("mail", "mail")],
    )
    def test_a_server_that_another_one_follows_is_left_soon(
        self, stage: str, named: str, certificates: Certificates
    ) -> None:
        """However far it comes: a host may freeze at any moment, also one whose sessions are open."""
        with ScriptedSmtpServer({stage: [Stall(STALL)]}, ssl_context=certificates.server) as server:
            usual = replace(plain(server), tls="starttls", ca_file=certificates.ca_file)
            [outcome] = send(replace(usual, connect_timeout_seconds=HASTE), message())
        assert outcome.kind is K.DEFERRED
        assert outcome.reply.text.startswith(f"timed out after {HASTE:g} s at {named}")


class TestCancellation:
    """A caller that gives up in the middle."""

    @pytest.mark.parametrize("stage", [*OPENING, *TRANSACTION])
    def test_replies_of_a_cancelled_message_never_reach_the_next_one(self, stage: str) -> None:
        """The session is closed, so that a late reply pairs with nothing."""
        reached, given_up = threading.Event(), threading.Event()

        def stall_once(context: Context) -> Action:
            if not reached.is_set():
                reached.set()
                given_up.wait(60)
            return None

        async def scenario(pool: SmtpPool) -> list[Outcome]:
            task = asyncio.create_task(pool.send(message("cancelled")))
            await asyncio.to_thread(reached.wait, 60)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            given_up.set()
            return [await pool.send(message(name)) for name in ("next", "last")]

        with ScriptedSmtpServer(script={stage: stall_once}) as server:
            outcomes = with_pool(plain(server), scenario, limits=PoolLimits(connections=1))
            accepted = server.by_message_id()
        assert [outcome.kind for outcome in outcomes] == [K.ACCEPTED, K.ACCEPTED]
        for name in ("next", "last"):
            [found] = accepted[f"<{name}@mail.example.com>"]
            assert found.recipients == (f"{name}@example.com",)
        if stage != "body":
            assert "<cancelled@mail.example.com>" not in accepted

    def test_a_caller_that_gives_up_while_waiting_takes_no_session(self) -> None:
        """The one session stays usable for the others."""

        async def scenario(pool: SmtpPool) -> list[Outcome]:
            tasks = [asyncio.create_task(pool.send(message(str(number)))) for number in range(5)]
            await asyncio.sleep(0)
            tasks[2].cancel()
            return [
                found
                for found in await asyncio.gather(*tasks, return_exceptions=True)
                if isinstance(found, Outcome)
            ]

        with ScriptedSmtpServer() as server:
            outcomes = with_pool(plain(server), scenario, limits=PoolLimits(connections=1))
            assert len(server.wait_for(4)) == 4
        assert [outcome.kind for outcome in outcomes] == [K.ACCEPTED] * 4
