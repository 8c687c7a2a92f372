"""A mail server is a stranger: whatever it says, however slowly, a session ends, and keeps little of it."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiosmtplib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from mailctl.domain.models import Envelope
from mailctl.domain.outcomes import Outcome, OutcomeKind
from mailctl.smtp.protocol import MAX_REPLY_LINES, MAX_REPLY_OCTETS, SmtpProtocol
from mailctl.smtp.server import SmtpServer
from mailctl.smtp.session import SESSION_ERRORS, SmtpSession
from tests.fuzz.cases import FEW, MANY, PROPERTY, Cases, as_many
from tests.servers.streams import StreamListener
from tests.unit.smtp.test_protocol import RecordingTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.smtp.server import TlsMode

pytestmark = pytest.mark.timeout(7200)
#: What one case may keep: a few replies of the longest kind, in pieces.
MEMORY = 2 * 1024 * 1024
#: How many pieces a dialogue has on average.
PIECES_IN_A_DIALOGUE = 8
CODES = st.sampled_from([b"250", b"220", b"354", b"421", b"550", b"451", b"199", b"999", b"2x0", b""])
ENDS = st.sampled_from([b"\r\n", b"\n", b"\r", b"", b"\r\n\r\n"])
LINES = st.builds(
    lambda code, mark, text, end: code + mark + text + end,
    CODES,
    st.sampled_from([b" ", b"-", b"", b"--", b"\t"]),
    st.binary(max_size=30) | st.builds(bytes, st.integers(0, 3000)),
    ENDS,
)
#: Pieces of what a server says: lines, noise, and as much as a reply without an end.
PIECES = (
    LINES
    | st.binary(max_size=60)
    | st.builds(lambda line, times: line * times, LINES, st.integers(1, 600))
    | st.sampled_from([b"250 ok\r\n", b"354 go\r\n", b"250-PIPELINING\r\n250 SIZE\r\n", b"250-\r\n" * 300])
)
_LINE = re.compile(rb"([2-5]\d\d)(-)?[ \t]?([^\r\n]*)\r?\n")


def codes_of(said: bytes) -> tuple[list[int], bool]:
    """Return the codes of the replies that bytes begin with, and whether the rest may become a reply."""
    codes: list[int] = []
    octets = lines = 0
    while found := _LINE.match(said):
        said, octets, lines = said[found.end() :], octets + found.end(), lines + 1
        if not found[2] and lines <= MAX_REPLY_LINES:
            codes.append(int(found[1]))
            octets = lines = 0
        elif lines >= MAX_REPLY_LINES:
            return codes, False
    return codes, b"\n" not in said and octets + len(said) <= MAX_REPLY_OCTETS


class Dialogue(RuleBasedStateMachine):
    """Commands and replies on one connection, in any order and any pieces."""

    cases: Cases

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.protocol = self.loop.run_until_complete(self._connect())
        self.said = b""
        self.read: list[int] = []
        self.commands = 0
        self.has_failed = False

    async def _connect(self) -> SmtpProtocol:
        return SmtpProtocol(RecordingTransport())

    def teardown(self) -> None:
        self.loop.close()

    @rule(commands=st.integers(1, 3))
    def write(self, commands: int) -> None:
        """Send commands, unless the session has ended."""
        if self.protocol.is_usable:
            self.protocol.write(b"RSET\r\n" * commands, commands=commands)
            self.commands += commands

    @rule(piece=PIECES)
    def receive(self, piece: bytes) -> None:
        """Receive a piece of what the server says."""
        was_usable = self.protocol.is_usable
        with self.cases.measure():
            self.protocol.data_received(piece)
        self.said += piece if was_usable else b""
        codes, may_go_on = codes_of(self.said)
        if was_usable and self.protocol.is_usable:
            assert may_go_on or len(piece) > MAX_REPLY_OCTETS
            assert len(codes) <= self.commands

    @rule()
    def read_reply(self) -> None:
        """Read a reply, or run out of time."""
        if not self.protocol.outstanding:
            return

        async def read() -> int:
            return (await self.protocol.read(within=0)).code

        try:
            code = self.loop.run_until_complete(read())
        except (aiosmtplib.SMTPException, OSError):
            self.has_failed = True
            return
        self.read.append(code)
        assert codes_of(self.said)[0][: len(self.read)] == self.read

    @rule()
    def hang_up(self) -> None:
        """The server closes the connection."""
        self.protocol.eof_received()
        assert not self.protocol.is_usable

    @invariant()
    def little_is_kept(self) -> None:
        """Not more than one reply in the making, and the replies to pending commands."""
        protocol = self.protocol
        assert len(protocol._buffer) <= MAX_REPLY_OCTETS
        assert len(protocol._lines) < MAX_REPLY_LINES
        assert len(protocol._replies) <= protocol.outstanding

    @invariant()
    def a_session_that_has_failed_stays_so(self) -> None:
        """A late reply would be taken for that of another command."""
        assert not (self.has_failed and self.protocol.is_usable)


def test_any_dialogue_is_bounded(is_long: bool, record_property: Any) -> None:
    """Replies are the same in whatever pieces they arrive, and what is not a reply ends the session."""
    cases = Cases("SMTP replies")

    class Measured(Dialogue):
        pass

    Measured.cases = cases
    machines = (MANY if is_long else FEW) // PIECES_IN_A_DIALOGUE
    run_state_machine_as_test(Measured, settings=as_many(machines, is_long=is_long))
    record_property(PROPERTY, cases.row)
    assert cases.octets < MEMORY


@dataclass
class Stranger:
    """A mail server that says at each stage what it was told to, then what a good one says, or nothing."""

    #: By stage: the pieces, and whether it then hangs up.
    script: dict[str, tuple[list[bytes], bool]] = field(default_factory=dict)
    answered_body: bytes = b""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one session."""
        try:
            await self._say(writer, "banner", b"220 stranger\r\n")
            while line := await reader.readline():
                verb = line[:4].upper()
                stage = {b"EHLO": "ehlo", b"HELO": "ehlo", b"MAIL": "mail", b"RCPT": "rcpt", b"DATA": "data"}
                usual = b"354 go on\r\n" if verb == b"DATA" else b"250 PIPELINING\r\n"
                said = await self._say(writer, stage.get(verb, "other"), usual)
                if verb == b"DATA" and said.startswith(b"354"):
                    while await reader.readline() not in (b".\r\n", b""):
                        pass
                    self.answered_body = await self._say(writer, "body", b"250 queued\r\n")
        except (OSError, ValueError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _say(self, writer: asyncio.StreamWriter, stage: str, usual: bytes) -> bytes:
        pieces, hangs_up = self.script.get(stage, ([usual], False))
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if hangs_up:
            raise OSError
        return b"".join(pieces)


STAGES = ["banner", "ehlo", "mail", "rcpt", "data", "body"]
SCRIPTS = st.dictionaries(
    st.sampled_from(STAGES), st.tuples(st.lists(PIECES, max_size=4), st.booleans()), max_size=2
)
ENVELOPE = Envelope(
    sender="a@example.com", recipient="b@example.com", message_id="<m@example.com>", data=b"hi", subject="s"
)


async def send_to(stranger: Stranger, *, tls: TlsMode = "none") -> Outcome:
    """Send a message in a session that waits a moment for each reply."""
    listener = StreamListener(stranger.converse).open(("127.0.0.1", 0))
    server = SmtpServer(
        host="127.0.0.1",
        port=listener.port,
        tls=tls,
        timeout_seconds=0.1,
        data_timeout_seconds=0.1,
        local_hostname="localhost",
    )
    session = SmtpSession(server, tls_context=ssl.create_default_context)
    try:
        await session.open()
        return await session.send(ENVELOPE)
    except SESSION_ERRORS as error:
        return session.explain(error)
    finally:
        session.close()
        await listener.close()


def test_any_server_ends_with_an_outcome(is_long: bool, record_property: Any) -> None:
    """`sent` only if it has accepted the body; no error but the expected ones; little memory."""
    together = 50 if is_long else 3
    cases = Cases(f"SMTP sessions with strangers, {together} at a time")

    async def send(strangers: list[Stranger]) -> list[Outcome]:
        return await asyncio.gather(*map(send_to, strangers))

    @as_many(400 if is_long else 10, is_long=is_long)
    @given(st.lists(SCRIPTS, min_size=together, max_size=together))
    def survive(scripts: list[dict[str, tuple[list[bytes], bool]]]) -> None:
        strangers = [Stranger(script) for script in scripts]
        with cases.measure(cases=together):
            outcomes = asyncio.run(send(strangers))
        for stranger, outcome in zip(strangers, outcomes, strict=True):
            if outcome.kind is OutcomeKind.ACCEPTED:
                codes, _ = codes_of(stranger.answered_body or b"250 queued\r\n")
                assert codes
                assert outcome.reply.code == codes[0]
                assert 200 <= codes[0] < 300

    survive()
    record_property(PROPERTY, cases.row)
    assert cases.octets < together * MEMORY


DRIPS: dict[str, Callable[[], bytes]] = {
    "a byte": lambda: b"2",
    "a line": lambda: b"250-\r\n",
    "a long line": lambda: b"250-" + b"x" * 500 + b"\r\n",
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_a_reply_that_never_ends_ends_with_the_time_limit(stage: str, drip: Callable[[], bytes]) -> None:
    """The limit counts from the command, not from the last byte; the server says on as long as it is let."""

    class Dripping(Stranger):
        async def _say(self, writer: asyncio.StreamWriter, said_at: str, usual: bytes) -> bytes:
            while said_at == stage:
                writer.write(drip())
                await writer.drain()
                await asyncio.sleep(0.001)
            return await super()._say(writer, said_at, usual)

    cases = Cases("drips")
    with cases.measure():
        outcome = asyncio.run(send_to(Dripping()))
    assert outcome.kind is (OutcomeKind.AMBIGUOUS if stage == "body" else OutcomeKind.DEFERRED)
    assert cases.octets < MEMORY


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_handshake_that_never_ends_ends_with_the_time_limit(tls: TlsMode) -> None:
    """Also while the server says a byte now and then: the head of a record that never comes."""

    class Silent(Stranger):
        async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                if tls == "starttls":
                    writer.write(b"220 stranger\r\n")
                    await reader.readline()
                    writer.write(b"250-here\r\n250 STARTTLS\r\n")
                    await reader.readline()
                    writer.write(b"220 go ahead\r\n")
                await reader.read(1)
                writer.write(b"\x16\x03\x03\x3f\xff")
                while True:
                    writer.write(b"\x02")
                    await writer.drain()
                    await asyncio.sleep(0.001)
            except OSError:
                pass
            finally:
                writer.transport.abort()

    outcome = asyncio.run(send_to(Silent(), tls=tls))
    assert (outcome.kind, outcome.stage) == (OutcomeKind.DEFERRED, "tls" if tls == "starttls" else "connect")
