"""Checks of what the mail server has told workers recently, and the fixes for refusals that are our fault."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.checks.finding import CheckGroup, Finding
from mailctl.delivery_log.refusals import Refusals
from mailctl.delivery_log.storage.engine_clock import clock_of
from mailctl.domain.outcomes import OUR_FAULTS, ReplyCategory
from mailctl.domain.routing import DEFAULT_SERVER
from mailctl.errors import MailctlError
from mailctl.process.deadlines import call_with_deadline
from mailctl.smtp.classify import reply_category
from mailctl.smtp.mail_servers import mail_servers_from_settings
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Engine

    from mailctl.delivery_log.refusals import LoggedEnd
    from mailctl.settings import Settings
    from mailctl.smtp.mail_servers import NamedServer

_GROUP = CheckGroup(name="smtp")
_NAME = "last-hour"
_PERIOD = timedelta(hours=1)
#: What to do about a refusal, by what it is about.
_FIXES: Mapping[ReplyCategory, str] = {
    ReplyCategory.SENDER: (
        "Check EMAIL_FROM_ADDRESS and EMAIL_HOST_USER: the account must be allowed to send from that address,"
        " and some providers have to verify it first."
    ),
    ReplyCategory.CREDENTIALS: (
        "Correct EMAIL_HOST_USER and EMAIL_HOST_PASSWORD; some providers require an app password."
    ),
    ReplyCategory.ENCRYPTION: "Set EMAIL_TLS to starttls (port 587) or implicit (port 465).",
    ReplyCategory.CLIENT_CERTIFICATE: (
        "Set EMAIL_TLS_CLIENT_CERT to a certificate that the mail server trusts and that has not expired."
    ),
    ReplyCategory.HELO: "Set EMAIL_HELO_NAME to the full name of this host, as its reverse DNS has it.",
    ReplyCategory.RELAY: (
        "Set EMAIL_HOST_USER and EMAIL_HOST_PASSWORD, or ask the administrator of EMAIL_HOST to allow"
        " this host to relay."
    ),
    ReplyCategory.ACCOUNT: "Ask the provider what restricts the account; it may be in a sandbox.",
    ReplyCategory.REPUTATION: (
        "Check the block lists and the reverse DNS of this host, and SPF, DKIM and DMARC of the sender's"
        " domain."
    ),
    ReplyCategory.QUOTA: "Wait until the quota is available again, or ask the provider to raise it.",
    ReplyCategory.CONNECTIONS: "Lower MAILCTL_SMTP_CONNECTIONS, or the number of worker processes.",
}


def fix_for(category: ReplyCategory | None) -> str | None:
    """Return what to do about a refusal; None if that depends on the email."""
    return None if category is None else _FIXES.get(category)


def check_recent_refusals(engine: Engine | None, settings: Settings) -> Iterator[Finding]:
    """Report what the mail server has told workers in the last hour that concerns every email.

    Args:
        engine: of the delivery log; None if it cannot be read.
        settings: the settings.
    """
    if engine is None or not settings.email_enabled:
        return
    try:
        ends = call_with_deadline(
            lambda: Refusals(engine).recent_ends(since=clock_of(engine)() - _PERIOD, with_deferrals=True),
            service="The delivery log",
        )
    except MailctlError as error:
        yield _GROUP.error(_NAME, error)
        return
    yield from findings_of(ends, _known_servers(settings))


def _known_servers(settings: Settings) -> Mapping[str, NamedServer]:
    try:
        return mail_servers_from_settings(settings).by_name
    except MailctlError:  # the mail servers have a check of their own
        return {}


def findings_of(
    newest_first: Sequence[LoggedEnd], servers: Mapping[str, NamedServer] | None = None
) -> Iterator[Finding]:
    """Yield a finding for each fault of ours among the ends of attempts, by mail server.

    Args:
        newest_first: how attempts ended, the latest first.
        servers: the mail servers of the settings by name; None without named ones.
    """
    faults = [
        finding
        for name in dict.fromkeys(end.server for end in newest_first)
        for finding in _findings_about(
            name, [end for end in newest_first if end.server == name], (servers or {}).get(name)
        )
    ]
    yield from faults
    if newest_first and not faults:
        yield _GROUP.ok(
            _NAME,
            "in the last hour, the mail server has refused nothing because of our settings or our account",
        )


def _findings_about(
    name: str, newest_first: Sequence[LoggedEnd], server: NamedServer | None
) -> Iterator[Finding]:
    """Yield the findings about one mail server; what another one has accepted is no news about it."""
    counts: Counter[ReplyCategory] = Counter()
    latest: dict[ReplyCategory, tuple[LoggedEnd, bool]] = {}
    was_accepted_since = False
    for end in newest_first:
        if end.reply is None:
            was_accepted_since = True
            continue
        category = reply_category(end.reply, stage=end.stage) if end.reply.code else None
        if category in OUR_FAULTS:
            counts[category] += 1
            latest.setdefault(category, (end, was_accepted_since))
    for category, (end, is_over) in latest.items():
        finding = _finding(category, counts[category], end, is_over=is_over)
        yield finding if name == DEFAULT_SERVER else _about_named_server(finding, name, server)


def _about_named_server(finding: Finding, name: str, server: NamedServer | None) -> Finding:
    fix = finding.fix if server is None else f"{server.described_by}: {server.names.in_text(finding.fix)}"
    return replace(finding, name=f"{name}: {finding.name}", fix=fix)


def _finding(category: ReplyCategory, count: int, end: LoggedEnd, *, is_over: bool) -> Finding:
    report = _GROUP.warn if is_over else _GROUP.fail
    times = pluralize(count, "attempt")
    detail = (
        f"In the last hour, {times} ended with this reply of the mail server: {end.reply} (at {end.stage})."
    )
    after = " It has accepted other emails since." if is_over else ""
    return report(_NAME, detail + after, fix=_FIXES[category])
