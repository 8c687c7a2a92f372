"""`mailctl retry|cancel|hold|release|resend`: what an operator does to emails, by ids or by filters."""

from __future__ import annotations

from mailctl.cli.action_runner import carry_out
from mailctl.cli.arguments import read_ids
from mailctl.cli.context import Session, uses_log
from mailctl.cli.option_groups import Daring, Doing, Filters, Ids, with_options
from mailctl.delivery_log.storage.access_mode import LogMode


@uses_log(LogMode.UPDATE)
@with_options
def retry(session: Session, filters: Filters, daring: Daring, doing: Doing, ids: Ids = None) -> None:
    """Let undelivered emails go out again: those that it is safe for, others only when they are named.

    Works on failed, expired, deferred, cancelled and suppressed emails. Left out unless --include names them,
    or an id comes with --force: permanent (the mailbox is dead), maybe-sent (the mail server may have it
    already), useless (links or notice too old; it gets a new lifetime), suppressed, resent.
    """
    from mailctl.domain.eligibility import RETRY

    carry_out(session, RETRY, doing, ids=_given(ids), wanted=filters.read(session), daring=daring)


@uses_log(LogMode.UPDATE)
@with_options
def cancel(session: Session, filters: Filters, doing: Doing, ids: Ids = None) -> None:
    """Take emails back that are not out yet, also where a worker has their message; `release` undoes it."""
    from mailctl.domain.eligibility import CANCEL

    carry_out(session, CANCEL, doing, ids=_given(ids), wanted=filters.read(session))


@uses_log(LogMode.UPDATE)
@with_options
def hold(session: Session, filters: Filters, doing: Doing, ids: Ids = None) -> None:
    """Keep emails back until they are released."""
    from mailctl.domain.eligibility import HOLD

    carry_out(session, HOLD, doing, ids=_given(ids), wanted=filters.read(session))


@uses_log(LogMode.UPDATE)
@with_options
def release(session: Session, filters: Filters, daring: Daring, doing: Doing, ids: Ids = None) -> None:
    """Let held and cancelled emails go: at once, or when they were to go.

    Filters without --state mean held ones. Left out unless named: maybe-sent, resent.
    """
    from mailctl.domain.eligibility import RELEASE

    carry_out(
        session,
        RELEASE,
        doing,
        ids=_given(ids),
        wanted=filters.read(session),
        daring=daring,
    )


@uses_log(LogMode.UPDATE)
@with_options
def resend(session: Session, filters: Filters, daring: Daring, doing: Doing, ids: Ids = None) -> None:
    """Make new emails of undelivered ones: with ids, links and lifetimes of their own.

    Delivered emails lose their content: use `mailctl send` for another. Left out unless named: permanent,
    maybe-sent, suppressed, resent.
    """
    from mailctl.domain.eligibility import RESEND

    carry_out(
        session,
        RESEND,
        doing,
        ids=_given(ids),
        wanted=filters.read(session),
        daring=daring,
    )


def _given(ids: list[str] | None) -> list[str] | None:
    return read_ids(ids) if ids else None
