"""`mailctl send` to many: rows in, what became of each out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from mailctl.cli.inputs import forced_by, read_list, when
from mailctl.cli.preview import show_preview
from mailctl.errors import ExitCode, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailctl.campaign import Campaign, Mailing, Recorded
    from mailctl.cli.context import Session
    from mailctl.cli.order import Common, Words
    from mailctl.message import RowProblem
    from mailctl.recipients import Recipient


def carry_out_campaign(session: Session, words: Words, common: Common) -> None:
    """Record the emails of a campaign, or with --dry-run show the first of them."""
    from mailctl.campaign import Campaign
    from mailctl.moments import count

    rows, mailing = _mailing(session, words, common)
    campaign = Campaign(session.runtime, mailing)
    problems = list(campaign.check(rows)) if common.strict or common.dry_run else []
    if common.dry_run:
        _tell_problems(session, problems)
        envelope = campaign.preview(rows)
        show_preview(session, [envelope] if envelope else [])
        good = count(len(rows) - len(problems), "email")
        session.output.note(f"{good} would go out; {count(len(problems), 'bad row')}.")
    elif problems:
        _tell_problems(session, problems)
        raise InvalidInput(
            "--users-file", f"has {count(len(problems), 'bad row')}; nothing is sent.", fix="Mend them."
        )
    else:
        problems = _record(session, campaign, mailing, rows)
    if problems:
        raise typer.Exit(ExitCode.FAILED)


def _mailing(session: Session, words: Words, common: Common) -> tuple[list[Recipient | RowProblem], Mailing]:
    from mailctl.campaign import Mailing, named_after, rows_of
    from mailctl.moments import parse_rate
    from mailctl.recipients import read_recipients

    _refuse_what_is_for_one(words, common)
    mailing = Mailing(
        campaign=common.campaign or "",
        kind=words.kind,
        context=words.context,
        subject=words.subject,
        template=words.template,
        not_before=when(at=common.at, after=common.in_),
        forced_by=forced_by(common),
        rate=parse_rate(common.rate, field="--rate") if common.rate else None,
    )
    if common.users_file is not None:
        data = read_list(common.users_file, field="--users-file")
        named = mailing if common.campaign is not None else named_after(mailing, data)
        return list(read_recipients(data)), named
    if common.campaign is None:
        raise InvalidInput(
            "--campaign", "is missing.", fix="Name it, so that running it again sends no second copy."
        )
    return rows_of(session.runtime.directory), mailing


def _refuse_what_is_for_one(words: Words, common: Common) -> None:
    if common.user_id or common.email or (common.users_file and common.all_users):
        raise InvalidInput("recipient", "is given twice.", fix="Give one of --users-file and --all-users.")
    if common.wait:
        raise InvalidInput("--wait", "is for one email.", fix="Follow with `mailctl list --campaign NAME`.")
    if common.idempotency_key:
        raise InvalidInput("--idempotency-key", "is for one email.", fix="Use --campaign NAME.")
    if words.tokens:
        raise InvalidInput("token", "belongs to one user.", fix="Leave it out; each email gets its own.")


def _record(
    session: Session, campaign: Campaign, mailing: Mailing, rows: list[Recipient | RowProblem]
) -> list[RowProblem]:
    """Record row by row, and say what became of them, also when it is cut short."""
    from mailctl.moments import count

    new, known, suppressed, problems = 0, 0, 0, list[Any]()
    try:
        with session.output.progress("recorded", total=lambda: len(rows)) as advance:
            for step in campaign.record(rows):
                new, known = new + len(step.emails), known + step.known
                problems += step.problems
                suppressed += step.suppressed
                _show_step(session, mailing, step)
                advance(step.rows)
    except KeyboardInterrupt:
        done = f"{campaign.rows_in_log} of {len(rows)}"
        session.output.note(f"Stopped: {done} are in, campaign {mailing.campaign}. The same command goes on.")
        raise
    summary = {
        "campaign": mailing.campaign,
        "recorded": new,
        "known": known,
        "suppressed": suppressed,
        "problems": len(problems),
    }
    if session.output.as_json:
        session.output.record(summary)
    else:
        in_already = f", {known} {'was' if known == 1 else 'were'} in already" if known else ""
        stopped = f", {suppressed} of them suppressed" if suppressed else ""
        skipped = f", {count(len(problems), 'bad row')} skipped" if problems else ""
        text = f"{count(new, 'email')} recorded{stopped}{in_already}{skipped}; campaign {mailing.campaign}"
        session.output.prose(text, hang=0)
    return problems


def _show_step(session: Session, mailing: Mailing, step: Recorded) -> None:
    _tell_problems(session, step.problems)
    if session.output.as_json:
        for email_id, address in step.emails:
            session.output.record({"task_id": email_id, "to": address, "campaign": mailing.campaign})


def _tell_problems(session: Session, problems: Iterable[RowProblem]) -> None:
    for problem in problems:
        session.output.note(f"line {problem.line}: {problem.reason}")
