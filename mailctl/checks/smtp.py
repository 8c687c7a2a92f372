"""Checks of the mail server: an SMTP session step by step, and an optional test message."""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from mailctl.checks.finding import CheckGroup, Finding
from mailctl.checks.refusals import fix_for
from mailctl.checks.templates import make_throwaway_composer
from mailctl.domain.address_validation import validate_address
from mailctl.domain.catalog import GENERIC
from mailctl.domain.models import Content, User
from mailctl.domain.outcomes import OUR_FAULTS, OutcomeKind
from mailctl.domain.recipient_policy import recipient_policy_from_settings
from mailctl.domain.routing import DEFAULT_SERVER
from mailctl.errors import MailctlError
from mailctl.process.deadlines import DEADLINE_SECONDS, call_with_deadline
from mailctl.settings.hosts import socket_path
from mailctl.smtp.capture import CaptureSender
from mailctl.smtp.mail_servers import mail_servers_from_settings
from mailctl.smtp.pool import SmtpPool
from mailctl.smtp.port_probe import LONGEST_LOOK_SECONDS, look_at_port
from mailctl.smtp.probe import REPLY_SECONDS, ProbeStep, probe_recipient
from mailctl.smtp.recipient_guard import GuardedSender
from mailctl.smtp.server import smtp_server_from_settings
from mailctl.timefmt import format_milliseconds, pluralize

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from mailctl.domain.models import Envelope
    from mailctl.domain.outcomes import Outcome
    from mailctl.settings import Settings
    from mailctl.smtp.mail_servers import MailServers, NamedServer
    from mailctl.smtp.port_probe import PortUse
    from mailctl.smtp.sender import Sender
    from mailctl.smtp.server import SmtpServer

_GROUP = CheckGroup(name="smtp")
_SEND_TEST = "send-test"
_SERVICE_NAME = "The mail server"
#: For all steps of a session.
_SESSION_SECONDS = 20.0
#: For the session and what cannot be cancelled, such as the resolution of a name.
_PROBE_SECONDS = _SESSION_SECONDS + 2.0
#: The part of it in which an access token must be fetched.
_TOKEN_SECONDS = 8.0
#: How long a port may be silent before its protocol is probed.
_SILENT_SECONDS = 0.5
#: How long to wait for the reply to the test message: many servers scan for spam before they reply.
_DATA_SECONDS = 30.0
_SUBJECT = "mailctl test message"
_CONTEXT = {
    "title": "The mail server works",
    "body": "This message was sent with `mailctl check-config --send-test`. There is nothing to do.",
}


def check_smtp(settings: Settings, *, offline: bool, send_test: str | None) -> Iterator[Finding]:
    """Check each step of an SMTP session.

    Args:
        settings: the settings.
        offline: whether to skip the session.
        send_test: the address to send a test message to; None sends none.
    """
    servers = yield from _named_servers(settings)
    if not settings.email_enabled:
        yield _captured(settings)
        is_usable = True
    elif servers is None:
        is_usable = False
    elif offline:
        yield _GROUP.skip("connect", "offline")
        is_usable = False
    else:
        is_usable = yield from _probe_servers(settings, servers, send_test or settings.email_from_address)
    if send_test is None:
        return
    if is_usable:
        yield _send_test_message(settings, send_test)
    else:
        yield _GROUP.skip(_SEND_TEST, "offline" if offline else "the mail server is not available")


def _captured(settings: Settings) -> Finding:
    detail = f"EMAIL_ENABLED=False: emails are captured to {_capture_folder(settings)}"
    if settings.debug:
        return _GROUP.skip("connect", detail)
    return _GROUP.warn("connect", f"{detail}, not sent.", fix="Set EMAIL_ENABLED=True and EMAIL_HOST.")


def _named_servers(settings: Settings) -> Generator[Finding, None, MailServers | None]:
    """Report the servers beside the default one; return all mail servers, or None if they cannot be used."""
    try:
        servers = mail_servers_from_settings(settings)
    except MailctlError as error:
        yield _GROUP.error("servers", error)
        return None
    if settings.mailctl_servers is not None or settings.server_variables:
        routes = pluralize(len(servers.routing.routes), "route")
        yield _GROUP.ok("servers", f"{', '.join(servers.labels)}; {routes}")
    return servers


def _probe_servers(
    settings: Settings, servers: MailServers, recipient: str
) -> Generator[Finding, None, bool]:
    """Probe all mail servers at the same time; return whether the default one is available."""
    names = list(servers.by_name)
    probe = partial(_probe, settings, servers, recipient=recipient)
    with ThreadPoolExecutor(max_workers=len(names)) as threads:
        # What is said depends on the context: local times, options that commands repeat.
        running = [threads.submit(copy_context().run, probe, name) for name in names]
        probed = [each.result() for each in running]
    for name, (findings, _) in zip(names, probed, strict=True):
        yield from (_as_finding_about(servers.by_name[name], finding) for finding in findings)
    return probed[names.index(DEFAULT_SERVER)][1]


def _as_finding_about(server: NamedServer, finding: Finding) -> Finding:
    """Return a finding about a named server with its name, and with the names of its settings."""
    if server.name == DEFAULT_SERVER:
        return finding
    return replace(
        finding,
        name=f"{server.name}: {finding.name}",
        detail=server.names.in_text(finding.detail),
        fix=f"{server.described_by}: {server.names.in_text(finding.fix)}" if finding.fix else "",
    )


def _probe(
    settings: Settings, servers: MailServers, name: str, *, recipient: str
) -> tuple[list[Finding], bool]:
    """Go through a session as an email does, up to RCPT; return also whether the mail server is available."""
    try:
        patient = servers.smtp_server(name)
    except MailctlError as error:
        return [_GROUP.error("auth", error)], False
    server = _with_short_timeouts(patient)
    try:
        steps = call_with_deadline(
            lambda: asyncio.run(_probe_steps(settings, server, recipient=recipient)),
            service=_SERVICE_NAME,
            seconds=_PROBE_SECONDS,
        )
    except MailctlError as error:
        return [_GROUP.error("connect", error)], False
    findings = [_step(_with_patience(step, patient, server), server, recipient=recipient) for step in steps]
    is_usable = all(step.ok or step.name in ("mail", "rcpt") for step in steps)
    if is_usable and server.tls == "none":
        findings.append(_GROUP.skip("tls", "EMAIL_TLS=none: the session is not encrypted"))
    if is_usable and not server.username:
        findings.append(_GROUP.skip("auth", "EMAIL_HOST_USER is not set: the session is not authenticated"))
    return findings, is_usable


async def _probe_steps(settings: Settings, server: SmtpServer, *, recipient: str) -> list[ProbeStep]:
    probe = asyncio.create_task(
        probe_recipient(
            server,
            sender=_envelope_sender(settings),
            recipient=recipient,
            seconds=_SESSION_SECONDS,
        )
    )
    if socket_path(server.host) is not None:
        return await probe
    await asyncio.wait([probe], timeout=_SILENT_SECONDS)
    # Of a port that says nothing it is looked meanwhile what it speaks, so that this takes no longer.
    look = None if probe.done() else asyncio.create_task(look_at_port(server.host, server.port))
    try:
        if look is not None and not await _can_connect(probe, look):
            probe.cancel()
            return [_no_connection(server)]
        steps = await probe
        last = steps[-1]
        if last.ok or last.name not in ("connect", "tls") or last.category is not None:
            return steps
        if last.name == "connect" and last.is_misconfigured:
            return steps  # its greeting has told what the port speaks
        use = await (look or look_at_port(server.host, server.port))
    finally:
        if look is not None:
            look.cancel()
    return [*steps[:-1], replace(last, detail=last.detail + _describe_port(use, server))]


async def _can_connect(probe: asyncio.Task[list[ProbeStep]], look: asyncio.Task[PortUse | None]) -> bool:
    """Whether a port accepts connections, or the probe has ended; only then it is worth more patience."""
    await asyncio.wait([probe, look], return_when=asyncio.FIRST_COMPLETED)
    if not probe.done() and look.result() is None:
        await asyncio.wait([probe], timeout=max(0.0, DEADLINE_SECONDS - LONGEST_LOOK_SECONDS))
        return probe.done()
    return True


def _no_connection(server: SmtpServer) -> ProbeStep:
    seconds = min(server.timeout_seconds, DEADLINE_SECONDS)
    detail = f"timed out after {seconds:g} s at connect: no connection"
    return ProbeStep(name="connect", ok=False, detail=detail, seconds=seconds)


def _envelope_sender(settings: Settings) -> str:
    """Return what MAIL says for an email."""
    try:
        return make_throwaway_composer(settings).envelope_sender(str(uuid.uuid4()), kind=GENERIC.name)
    except MailctlError:  # the settings of senders have a check of their own
        return settings.email_from_address


def _describe_port(use: PortUse | None, server: SmtpServer) -> str:
    """Return a clause about what the port really speaks; "" if that explains nothing."""
    if use is None:
        return ""
    if use.protocol not in ("SMTP", None):
        return f"; port {server.port} speaks {use.protocol}, not SMTP"
    if use.is_tls_at_once and server.tls != "implicit":
        return f"; port {server.port} speaks TLS from the start, so it needs EMAIL_TLS=implicit"
    if not use.is_tls_at_once and server.tls == "implicit" and use.protocol == "SMTP":
        return (
            f"; port {server.port} speaks SMTP without TLS at first, so it needs EMAIL_TLS=starttls,"
            " or none if it offers no STARTTLS"
        )
    return ""


def _with_patience(step: ProbeStep, patient: SmtpServer, server: SmtpServer) -> ProbeStep:
    """Return a step that took too long with how long workers wait, who may get their reply."""
    if step.ok or step.seconds < server.timeout_seconds or patient.timeout_seconds <= server.timeout_seconds:
        return step
    return replace(step, detail=f"{step.detail}; workers wait for {patient.timeout_seconds:g} s")


def _step(step: ProbeStep, server: SmtpServer, *, recipient: str) -> Finding:
    if step.ok:
        return _GROUP.ok(step.name, f"{step.detail} ({format_milliseconds(step.seconds)})")
    if step.name == "rcpt" and step.category not in OUR_FAULTS:
        return _GROUP.skip(
            step.name,
            f"the server refuses {recipient} as a recipient ({step.detail}), which says nothing about others;"
            " give another address with --send-test",
        )
    return _GROUP.fail(
        step.name,
        f"{server.address}: {step.detail.rstrip('.')}.",
        fix=step.fix
        or _fix_for_token(step, server)
        or fix_for(step.category)
        or _fix_for_refused_host(step)
        or _fix(step.name, server),
    )


def _fix_for_token(step: ProbeStep, server: SmtpServer) -> str:
    if step.name != "auth" or server.tokens is None:
        return ""
    return (
        "Check that the access token is for EMAIL_HOST_USER and for sending by SMTP, and that the account may"
        " sign in with a token."
    )


def _fix_for_refused_host(step: ProbeStep) -> str:
    if step.name != "connect" or step.category is None:
        return ""
    return "The server answers, and refuses this host: ask who runs it whether this host may send through it."


def _fix(stage: str, server: SmtpServer) -> str:
    ports = "port 587 is for EMAIL_TLS=starttls, 465 for implicit"
    if stage == "connect" and socket_path(server.host) is not None:
        return "Check the path in EMAIL_HOST, and whether this user may use the socket and enter its folder."
    if stage == "connect":
        return (
            f"Check EMAIL_HOST, EMAIL_PORT and EMAIL_TLS ({ports}), "
            "and whether a firewall blocks this host from sending mail."
        )
    if stage == "tls":
        trusted = server.ca_file or "the authorities that this system trusts"
        return (
            "Check that EMAIL_HOST is a name in the server's certificate, that EMAIL_CA_FILE contains "
            f"the authority that signed it (now: {trusted}), and that EMAIL_TLS matches EMAIL_PORT ({ports})."
            " A server that asks for a client certificate requires EMAIL_TLS_CLIENT_CERT."
            " A server on this host or in a private network that offers no TLS requires EMAIL_TLS=none."
        )
    if stage == "auth" and server.tls == "none" and socket_path(server.host) is None:
        return "Set EMAIL_TLS to starttls or implicit, or remove EMAIL_HOST_USER."
    if stage == "auth":
        return "Correct EMAIL_HOST_USER and EMAIL_HOST_PASSWORD; some providers require an app password."
    return (
        "Check EMAIL_FROM_ADDRESS and EMAIL_HOST_USER: the account must be allowed to send from that address."
    )


def _send_test_message(settings: Settings, address: str) -> Finding:
    try:
        recipient = validate_address(address, field=f"--send-test {address!r}")
        server = smtp_server_from_settings(settings)
        outcome = asyncio.run(_send_one(settings, server, recipient))
    except MailctlError as error:
        return _GROUP.error(_SEND_TEST, error)
    except OSError as error:
        return _GROUP.fail(
            _SEND_TEST,
            f"The folder {_capture_folder(settings)} cannot be written: {error.strerror}.",
            fix="Give this user write access to it, or set MAILCTL_HOME.",
        )
    return _test_result(outcome, server)


async def _send_one(settings: Settings, server: SmtpServer, recipient: str) -> Outcome:
    envelope = await _test_message(settings, recipient)
    sender = GuardedSender(_sender(settings, server), recipient_policy_from_settings(settings))
    try:
        return await sender.send(envelope)
    finally:
        await sender.close()


async def _test_message(settings: Settings, recipient: str) -> Envelope:
    now = datetime.now(UTC)
    content = Content(
        user=User(email=recipient), subject=_SUBJECT, template="message", context=dict(_CONTEXT)
    )
    return await make_throwaway_composer(settings).compose(
        id=str(uuid.uuid4()), kind=GENERIC.name, content=content, created_at=now, now=now
    )


def _sender(settings: Settings, server: SmtpServer) -> Sender:
    if not settings.email_enabled:
        return CaptureSender(_capture_folder(settings))
    return SmtpPool(_with_short_timeouts(server))


def _test_result(outcome: Outcome, server: SmtpServer) -> Finding:
    if outcome.kind is OutcomeKind.CAPTURED:
        return _GROUP.ok(_SEND_TEST, f"the message was captured to {outcome.captured_file}")
    if outcome.kind is OutcomeKind.ACCEPTED:
        return _GROUP.ok(_SEND_TEST, f"the mail server accepted the message: {outcome}")
    if outcome.kind is OutcomeKind.AMBIGUOUS:
        return _GROUP.fail(
            _SEND_TEST, f"{outcome}.", fix="Check the mailbox: the mail server may have accepted the message."
        )
    if outcome.kind is OutcomeKind.FORBIDDEN:
        return _GROUP.fail(
            _SEND_TEST, f"{outcome.reply.text}.", fix="Give an address that the recipient policy allows."
        )
    fix = "Try another address." if outcome.stage == "rcpt" else _fix(outcome.stage, server)
    fix = fix_for(outcome.category) or fix
    return _GROUP.fail(_SEND_TEST, f"The mail server did not accept the message: {outcome}.", fix=fix)


def _with_short_timeouts(server: SmtpServer) -> SmtpServer:
    return replace(
        server,
        timeout_seconds=min(server.timeout_seconds, REPLY_SECONDS),
        token_seconds=min(server.token_seconds, _TOKEN_SECONDS),
        data_timeout_seconds=min(server.data_timeout_seconds, _DATA_SECONDS),
    )


def _capture_folder(settings: Settings) -> Path:
    return settings.mailctl_home.absolute() / "mail"
