"""Probes a mail server: opens a session step by step without sending a message."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mailctl.domain.outcomes import OutcomeKind
from mailctl.errors import ConfigurationError
from mailctl.settings.credential_masking import MASK
from mailctl.smtp.server import make_tls_context
from mailctl.smtp.session import SESSION_ERRORS, OpeningStep, SmtpSession, TransactionStep, own_host_name
from mailctl.timefmt import TimeStyle, format_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailctl.domain.outcomes import ReplyCategory
    from mailctl.smtp.server import SmtpServer
#: Seconds that a probe waits for the greeting and for each reply at most. Some servers greet strangers late:
#: Postfix' postscreen after 6 s.
REPLY_SECONDS = 8.0


@dataclass(frozen=True, kw_only=True)
class ProbeStep:
    """A step of opening a session, and its result."""

    #: The stage: connect, tls, auth, mail or rcpt.
    name: str
    ok: bool
    #: What was found, or why the step failed.
    detail: str
    seconds: float
    #: What a refusal is about; None if the step succeeded, or failed without a reply.
    category: ReplyCategory | None = None
    #: Whether it is certain that only other settings help; not of a refusal by the server.
    is_misconfigured: bool = False
    #: The fix that the error itself suggests, if any.
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class TimeBudget:
    """How long all steps together may take."""

    seconds: float
    #: A time of the event loop's clock.
    until: float

    @classmethod
    def of(cls, seconds: float) -> TimeBudget:
        """Return a budget that begins now."""
        return cls(seconds=seconds, until=asyncio.get_running_loop().time() + seconds)


async def probe_session(
    session: SmtpSession, server: SmtpServer, *, budget: TimeBudget | None = None
) -> list[ProbeStep]:
    """Open a session step by step until one fails; the caller closes the session.

    Args:
        session: a session that is not open yet.
        server: the mail server of the session.
        budget: the time for all steps; None if only the mail server's timeouts limit them.

    Returns:
        The steps taken. With implicit TLS, the step `tls` reports what `connect` did, and takes no time.
    """
    taken: list[ProbeStep] = []
    for name, step in session.opening_steps():
        taken.append(await _probe_step(step, name=name, session=session, server=server, budget=budget))
        if not taken[-1].ok:
            break
        if name == "connect" and server.tls == "implicit":
            taken.append(ProbeStep(name="tls", ok=True, detail=_tls_detail(session), seconds=0.0))
    return taken


async def probe_recipient(
    server: SmtpServer, *, sender: str, recipient: str, seconds: float | None = None
) -> list[ProbeStep]:
    """Open a session and start a transaction up to RCPT, then reset it: nothing is delivered.

    Args:
        server: the mail server.
        sender: the address for MAIL.
        recipient: the address for RCPT.
        seconds: for all steps together, of which connecting gets no more than the mail server's timeout; None
            if only that timeout limits each reply.

    Returns:
        The steps taken: connect, tls, auth, mail, rcpt; only the last one can have failed.
    """
    session = SmtpSession(server, tls_context=lambda: make_tls_context(server))
    await asyncio.to_thread(
        own_host_name
    )  # which is remembered, and can take long: it is not the server's time
    budget = None if seconds is None else TimeBudget.of(seconds)
    try:
        taken = await probe_session(session, server, budget=budget)
        for name, offer in session.transaction_steps(sender=sender, recipient=recipient):
            if taken[-1].ok:
                taken.append(await _probe_command(offer, name=name, session=session, budget=budget))
        if taken[-1].ok:
            await session.reset()
        if taken[-1].ok or taken[-1].category is not None:
            await session.quit()
        return taken
    finally:
        session.close()  # a server that has not replied is not waited for again


async def _probe_command(
    offer: TransactionStep, *, name: str, session: SmtpSession, budget: TimeBudget | None
) -> ProbeStep:
    session.stage = name
    started = time.monotonic()
    try:
        async with asyncio.timeout_at(None if budget is None else budget.until) as limit:
            refusal = await offer()
    except SESSION_ERRORS as error:
        if budget is not None and limit.expired():
            return _out_of_time(name, budget, started)
        refusal = session.explain(error)
    detail = "the server accepts it" if refusal is None else str(refusal)
    return ProbeStep(
        name=name,
        ok=refusal is None,
        detail=detail,
        seconds=time.monotonic() - started,
        category=None if refusal is None else refusal.category,
    )


async def _probe_step(
    step: OpeningStep, *, name: str, session: SmtpSession, server: SmtpServer, budget: TimeBudget | None
) -> ProbeStep:
    session.stage = name
    started = time.monotonic()
    try:
        async with asyncio.timeout_at(_end_of(name, server, budget)) as limit:
            await step()
    except SESSION_ERRORS as error:
        if budget is not None and limit.expired() and limit.when() == budget.until:
            late = _out_of_time(name, budget, started)
            return replace(late, fix=_fix_after_connecting(name, session))
        outcome = session.explain(error, guesses_port=False)  # the fix says it
        return ProbeStep(
            name=outcome.stage,
            ok=False,
            detail=str(outcome),
            seconds=time.monotonic() - started,
            category=outcome.category,
            is_misconfigured=outcome.kind is OutcomeKind.CONFIG and outcome.category is None,
            fix=error.fix if isinstance(error, ConfigurationError) else _fix_after_connecting(name, session),
        )
    detail = _detail(name, session=session, server=server)
    return ProbeStep(name=name, ok=True, detail=detail, seconds=time.monotonic() - started)


def _fix_after_connecting(name: str, session: SmtpSession) -> str:
    """Return what to look at if a server does not open the session that it has begun; "" otherwise."""
    if name == "connect" and session.has_been_greeted:
        return "It has greeted this host, so the address is right: find out why it does not answer EHLO."
    if name == "connect" and session.awaits_greeting:
        return (
            "It accepts connections: check that EMAIL_TLS matches EMAIL_PORT (port 587 is for starttls, 465"
            " for implicit), and find out why it does not greet this host."
        )
    return ""


def _end_of(name: str, server: SmtpServer, budget: TimeBudget | None) -> float | None:
    """Return when a step ends at the latest; None if only the mail server's timeouts limit it."""
    if budget is None:
        return None
    if name != "connect":
        return budget.until
    # The connection, the greeting and the reply to EHLO have this timeout each; here they share it.
    return min(budget.until, asyncio.get_running_loop().time() + server.timeout_seconds)


def _out_of_time(name: str, budget: TimeBudget, started: float) -> ProbeStep:
    detail = f"not done at {name}, {budget.seconds:g} s after the session began"
    return ProbeStep(name=name, ok=False, detail=detail, seconds=time.monotonic() - started)


def _detail(name: str, *, session: SmtpSession, server: SmtpServer) -> str:
    if name == "connect":
        offered = ", ".join(sorted(keyword.upper() for keyword in session.extensions))
        answers = f"{server.address} answers {session.helo_name}"
        return answers + (f" and offers {offered}" if offered else "")
    if name == "tls":
        return _tls_detail(session)
    # Some services use a token as both user name and password.
    return f"signed in as {MASK if server.username == server.password else server.username}"


def _tls_detail(session: SmtpSession) -> str:
    tls = session.tls
    if tls is None:
        return "not encrypted"
    certificate = tls.getpeercert() or {}
    expiry = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), tz=UTC)
    valid_until = format_time(expiry, TimeStyle.DATE)
    return f"{tls.version()}, certificate for {_subject(certificate)}, valid until {valid_until}"


def _subject(certificate: Mapping[str, object]) -> str:
    """Return the host names of a certificate, which modern ones have as alternative names only."""
    names = certificate.get("subjectAltName") or ()
    values = [str(pair[1]) for pair in names if isinstance(pair, tuple)] if isinstance(names, tuple) else []
    return ", ".join(values[:3]) or "an unnamed server"
