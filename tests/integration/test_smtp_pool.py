"""The SMTP pool against a real server: what arrives, and which session carries it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mailctl.domain.outcomes import Outcome, OutcomeKind
from mailctl.domain.reason_codes import ReasonCode
from mailctl.errors import LeaseEnded
from mailctl.smtp.pool_limits import PoolLimits
from tests.smtp_client import message, plain, send, with_pool
from tests.smtp_server import (
    Context,
    Drop,
    ScriptedSmtpServer,
    Stall,
)

if TYPE_CHECKING:
    from pathlib import Path

    from mailctl.smtp.pool import SmtpPool


K = OutcomeKind


class TestDelivery:
    """What the server gets."""

    def test_the_message_arrives_as_it_is_for_whom_the_envelope_says(self) -> None:
        """Dots and all; the recipient comes from the envelope and never from a header."""
        envelope = message(body=b"To: other@example.com\r\n.\r\n..dots\r\n.\r\nend\r\n")
        with ScriptedSmtpServer() as server:
            [outcome] = send(plain(server), envelope)
            [accepted] = server.wait_for(1)
        assert outcome.kind is K.ACCEPTED
        assert accepted.data == envelope.data
        assert (accepted.sender, accepted.recipients) == ("app@example.com", ("one@example.com",))

    def test_a_message_goes_over_a_unix_socket(self, tmp_path: Path) -> None:
        """With user name and password, which do not leave the host."""
        path = tmp_path / "mail.sock"
        with ScriptedSmtpServer(path=path, credentials=("app", "hunter2")) as server:
            at_socket = replace(plain(server), host=f"unix:{path}", username="app", password="hunter2")
            [outcome] = send(at_socket, message())
            [accepted] = server.wait_for(1)
        assert (outcome.kind, accepted.recipients) == (K.ACCEPTED, ("one@example.com",))

    def test_a_closed_pool_has_ended_its_sessions(self) -> None:
        """With QUIT, so that the server does not wait for more."""

        async def scenario(pool: SmtpPool) -> Outcome:
            outcome = await pool.send(message())
            await pool.close()
            return outcome

        with ScriptedSmtpServer() as server:
            assert with_pool(plain(server), scenario).kind is K.ACCEPTED
            assert server.wait_for_line("QUIT")

    @pytest.mark.parametrize("passes", [0, 1, 2, 3])
    def test_a_fence_keeps_the_body_back(self, passes: int) -> None:
        """At each step; the next message goes out on another session."""
        asked = iter([None] * passes)

        def fence() -> None:
            if next(asked, LeaseEnded) is LeaseEnded:
                raise LeaseEnded("too late")

        async def scenario(pool: SmtpPool) -> Outcome:
            with pytest.raises(LeaseEnded):
                await pool.send(message("late"), fence=fence)
            return await pool.send(message("next"))

        with ScriptedSmtpServer() as server:
            assert with_pool(plain(server), scenario).kind is K.ACCEPTED
            [accepted] = server.wait_for(1)
        assert accepted.message_id == message("next").message_id

    def test_the_reply_after_the_body_is_kept(self) -> None:
        """It holds the queue id, by which the server's operator finds the email."""
        with ScriptedSmtpServer(script={"body": ["250 2.0.0 Ok: queued as 4F2A1"]}) as server:
            [outcome] = send(plain(server), message())
        assert str(outcome) == "250 2.0.0 Ok: queued as 4F2A1"

    def test_bare_line_ends_cannot_smuggle_a_second_message(self) -> None:
        """Only CRLF goes out, so no server can see the end of the message elsewhere."""
        envelope = message(body=b"a\n.\nMAIL FROM:<evil@example.com>\r.\r\n.\rb")
        with ScriptedSmtpServer() as server:
            [outcome] = send(plain(server), envelope)
            [accepted] = server.wait_for(1)
        assert outcome.kind is K.ACCEPTED
        assert accepted.data.endswith(b"a\r\n.\r\nMAIL FROM:<evil@example.com>\r\n.\r\n.\r\nb\r\n")

    def test_size_and_8bitmime_are_used_where_offered(self) -> None:
        """A message that is too large is then refused before it is transferred (RFC 1870)."""
        envelope = message()
        with ScriptedSmtpServer() as server:
            send(plain(server), envelope)
            line = server.wait_for_line("MAIL")
        assert line == f"MAIL FROM:<app@example.com> SIZE={len(envelope.data)} BODY=8BITMIME"

    def test_no_option_is_used_that_is_not_offered(self) -> None:
        """An old server would refuse the command."""
        with ScriptedSmtpServer(extensions=[]) as server:
            send(plain(server), message())
            assert server.wait_for_line("MAIL") == "MAIL FROM:<app@example.com>"

    @pytest.mark.parametrize(("extensions", "at_once"), [(["PIPELINING"], True), ([], False)])
    def test_commands_go_out_at_once_where_the_server_can_take_it(
        self, extensions: list[str], at_once: bool
    ) -> None:
        """Two round trips a message instead of four (RFC 2920)."""
        with ScriptedSmtpServer(script={"mail": [Stall(0.1)]}, extensions=extensions) as server:
            send(plain(server), message())
            said = [f"{who} {line[:4]}" for _, who, line in server.log]
            waiting = server.unread_after["mail"]
        assert said.index("C MAIL") < said.index("C RCPT") < said.index("C DATA")
        assert (b"DATA" in waiting) is at_once

    def test_helo_is_tried_where_ehlo_is_unknown(self) -> None:
        """RFC 5321 section 4.1.1.1."""
        with ScriptedSmtpServer(script={"ehlo": ["502 5.5.1 unknown"]}) as server:
            [outcome] = send(plain(server), message())
            assert server.wait_for_line("HELO") == "HELO client.example.com"
        assert outcome.kind is K.ACCEPTED

    @pytest.mark.parametrize(
        "recipient", ["", "a@x.org,b@x.org", "a@x.org> SIZE=1", "a@x.org\r\nRSET", "ä@x.org"]
    )
    def test_an_address_that_is_not_one_address_never_reaches_the_wire(self, recipient: str) -> None:
        """It is refused for good, and the session is not used again."""
        with ScriptedSmtpServer() as server:
            outcomes = send(plain(server), replace(message(), recipient=recipient), message("two"))
            assert not any("x.org" in line for _, _, line in server.log)
            assert [each.recipients for each in server.wait_for(1)] == [("two@example.com",)]
        assert [outcome.kind for outcome in outcomes] == [K.REFUSED, K.ACCEPTED]


class TestSessions:
    """Which session carries which message."""

    def test_one_session_carries_many_messages(self) -> None:
        """Opening a session costs more than a delivery."""
        with ScriptedSmtpServer() as server:
            send(plain(server), *(message(str(number)) for number in range(10)))
            assert (server.sessions, len(server.wait_for(10))) == (1, 10)

    def test_a_refused_recipient_does_not_cost_the_session(self) -> None:
        """RSET ends the transaction, and the session goes on."""

        async def scenario(pool: SmtpPool) -> list[Outcome]:
            first = await pool.send(message("gone"))
            await asyncio.to_thread(server.wait_for_line, "RSET")
            await asyncio.sleep(0.02)
            return [first, await pool.send(message("here"))]

        with ScriptedSmtpServer(script={"rcpt": ["550 5.1.1 no such user"]}) as server:
            outcomes = with_pool(plain(server), scenario)
            assert server.sessions == 1
        assert [outcome.kind for outcome in outcomes] == [K.REFUSED, K.ACCEPTED]

    def test_no_more_sessions_than_allowed(self) -> None:
        """Mail servers count connections."""

        async def scenario(pool: SmtpPool) -> list[Outcome]:
            return await asyncio.gather(*(pool.send(message(str(number))) for number in range(40)))

        with ScriptedSmtpServer() as server:
            outcomes = with_pool(plain(server), scenario, limits=PoolLimits(connections=3))
            accepted = server.by_message_id()
            assert server.peak_sessions <= 3
        assert {outcome.kind for outcome in outcomes} == {K.ACCEPTED}
        assert {len(found) for found in accepted.values()} == {1}
        assert len(accepted) == 40
        assert all(
            found[0].recipients == (f"{message_id[1:].partition('@')[0]}@example.com",)
            for message_id, found in accepted.items()
        )

    @pytest.mark.parametrize("stage", ["data", "body"])
    def test_a_domain_without_replies_leaves_sessions_to_others(self, stage: str) -> None:
        """Its other messages are put off after a while, and the server is not asked to take them."""

        def stall(context: Context) -> Stall | None:
            return Stall(600) if context.recipients[-1].endswith("@stuck.example") else None

        async def scenario(pool: SmtpPool) -> tuple[list[Outcome], list[Outcome]]:
            stuck = [
                asyncio.create_task(
                    pool.send(replace(message(f"s{number}"), recipient=f"s{number}@stuck.example"))
                )
                for number in range(11)
            ]
            others = await asyncio.gather(*(pool.send(message(str(number))) for number in range(3)))
            done, waiting = await asyncio.wait(stuck, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            return others, [task.result() for task in done]

        script = {stage: stall}
        with ScriptedSmtpServer(script) as server:
            others, put_off = with_pool(plain(server), scenario, limits=PoolLimits(connections=10))
        assert {outcome.kind for outcome in others} == {K.ACCEPTED}
        assert {(outcome.kind, outcome.stage, outcome.reason_code) for outcome in put_off} == {
            (K.DEFERRED, "", ReasonCode.SEND_RATE)
        }
        assert "none of the 3 emails to stuck.example that are being sent has ended" in str(put_off[0])

    def test_a_session_ends_after_its_number_of_messages(self) -> None:
        """Servers limit it, too, and ours says goodbye first."""
        with ScriptedSmtpServer() as server:
            send(plain(server), *map(message, "abcde"), limits=PoolLimits(messages_per_session=2))
            assert server.sessions == 3
            assert [line for _, way, line in server.log if way == "C"].count("QUIT") == 3

    def test_an_idle_session_is_closed_in_time(self) -> None:
        """Without waiting for the next message."""

        async def scenario(pool: SmtpPool) -> None:
            await pool.send(message())
            await asyncio.to_thread(server.wait_for_line, "QUIT")

        with ScriptedSmtpServer() as server:
            with_pool(plain(server), scenario, limits=PoolLimits(max_idle_seconds=0.05))

    def test_a_session_ends_at_its_age(self) -> None:
        """However busy it is."""
        with ScriptedSmtpServer() as server:
            send(plain(server), message("a"), message("b"), limits=PoolLimits(max_age_seconds=0.0))
            assert server.sessions == 2

    def test_a_session_that_the_server_ended_is_replaced_unnoticed(self) -> None:
        """Idle too long for the server: the next message goes out on a fresh session."""

        async def scenario(pool: SmtpPool) -> list[Outcome]:
            first = await pool.send(message("a"))
            await asyncio.to_thread(server.wait_until_all_hung_up)
            return [first, await pool.send(message("b"))]

        with ScriptedSmtpServer(idle_timeout=0.05) as server:
            outcomes = with_pool(plain(server), scenario)
            assert server.sessions == 2
        assert [outcome.kind for outcome in outcomes] == [K.ACCEPTED, K.ACCEPTED]

    def test_a_limit_of_the_server_is_met_unnoticed(self) -> None:
        """421 at MAIL on a used session means: use another one."""
        with ScriptedSmtpServer(max_messages_per_session=2) as server:
            outcomes = send(plain(server), *map(message, "abcde"))
            assert server.sessions == 3
        assert {outcome.kind for outcome in outcomes} == {K.ACCEPTED}

    @pytest.mark.parametrize("unasked", ["250 2.0.0 and once more", "- what a proxy says"])
    def test_a_session_that_said_what_nobody_asked_is_not_used_again(self, unasked: str) -> None:
        """Its next reply might be to another command: an email that was refused would be taken for sent."""
        script = {"body": [f"250 2.0.0 Ok\n{unasked}"], "rcpt": [None, "550 5.1.1 nobody"]}
        with ScriptedSmtpServer(script=script) as server:
            outcomes = with_pool(plain(server), _one_a_moment_after_the_other)
            assert server.sessions == 2
            assert len(server.messages) == 1
        assert [outcome.kind for outcome in outcomes] == [K.ACCEPTED, K.REFUSED]

    def test_a_lost_session_is_replaced_once_only(self) -> None:
        """A server that drops everybody gets no second retry at once."""
        with ScriptedSmtpServer(script={"mail": [None, Drop(), Drop(), Drop()]}) as server:
            outcomes = send(plain(server), message("a"), message("b"))
            assert server.sessions == 2
        assert [outcome.kind for outcome in outcomes] == [K.ACCEPTED, K.DEFERRED]

    def test_a_server_that_was_restarted_is_used_again(self) -> None:
        """Nothing has to be told to the pool."""

        async def scenario(pool: SmtpPool) -> list[Outcome]:
            first = await pool.send(message("a"))
            await asyncio.to_thread(server.stop)
            second = await pool.send(message("b"))
            await asyncio.to_thread(server.start)
            return [first, second, await pool.send(message("c"))]

        with ScriptedSmtpServer() as server:
            outcomes = with_pool(plain(server), scenario)
        assert [outcome.kind for outcome in outcomes] == [K.ACCEPTED, K.DEFERRED, K.ACCEPTED]

    def test_closing_says_goodbye(self) -> None:
        """And after that nothing can be sent."""

        async def scenario(pool: SmtpPool) -> None:
            await pool.send(message())
            await pool.close()
            with pytest.raises(RuntimeError, match="closed"):
                await pool.send(message())

        with ScriptedSmtpServer() as server:
            with_pool(plain(server), scenario)
            assert server.wait_for_line("QUIT")


async def _one_a_moment_after_the_other(pool: SmtpPool) -> list[Outcome]:
    """Whatever the server says of itself has arrived before the second."""
    first = await pool.send(message("a"))
    await asyncio.sleep(0.1)
    return [first, await pool.send(message("b"))]
