"""`mailctl retry|cancel|hold|release|resend`: what an operator does to emails, by ids or by filters."""

from __future__ import annotations

from mailctl.cli.action_runner import run_action
from mailctl.cli.arguments import read_ids
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import ActionOptions, FilterOptions, IdsArgument, OverrideOptions, with_options
from mailctl.delivery_log.storage.access_mode import AccessMode


@uses_log(AccessMode.UPDATE)
@with_options
def retry(
    session: CliSession,
    filters: FilterOptions,
    daring: OverrideOptions,
    doing: ActionOptions,
    ids: IdsArgument = None,
) -> None:
    """Let undelivered emails go out again: those that it is safe for, others only when they are named.

    Works on failed, expired, deferred, cancelled and suppressed emails. Left out unless --include names them,
    or an id comes with --force: permanent (the mailbox is dead), maybe-sent (the mail server may have it
    already), useless (links or notice too old; it gets a new lifetime), suppressed, resent.
    """
    from mailctl.domain.eligibility import RETRY

    run_action(
        session, RETRY, doing, ids=_read_given_ids(ids), wanted=filters.to_filter(session), daring=daring
    )


@uses_log(AccessMode.UPDATE)
@with_options
def cancel(
    session: CliSession, filters: FilterOptions, doing: ActionOptions, ids: IdsArgument = None
) -> None:
    """Take emails back that are not out yet, also where a worker has their message; `release` undoes it."""
    from mailctl.domain.eligibility import CANCEL

    run_action(session, CANCEL, doing, ids=_read_given_ids(ids), wanted=filters.to_filter(session))


@uses_log(AccessMode.UPDATE)
@with_options
def hold(session: CliSession, filters: FilterOptions, doing: ActionOptions, ids: IdsArgument = None) -> None:
    """Keep emails back until they are released."""
    from mailctl.domain.eligibility import HOLD

    run_action(session, HOLD, doing, ids=_read_given_ids(ids), wanted=filters.to_filter(session))


@uses_log(AccessMode.UPDATE)
@with_options
def release(
    session: CliSession,
    filters: FilterOptions,
    daring: OverrideOptions,
    doing: ActionOptions,
    ids: IdsArgument = None,
) -> None:
    """Let held and cancelled emails go: at once, or when they were to go.

    Filters without --state mean held ones. Left out unless named: maybe-sent, resent.
    """
    from mailctl.domain.eligibility import RELEASE

    run_action(
        session,
        RELEASE,
        doing,
        ids=_read_given_ids(ids),
        wanted=filters.to_filter(session),
        daring=daring,
    )


@uses_log(AccessMode.UPDATE)
@with_options
def resend(
    session: CliSession,
    filters: FilterOptions,
    daring: OverrideOptions,
    doing: ActionOptions,
    ids: IdsArgument = None,
) -> None:
    """Make new emails of undelivered ones: with ids, links and lifetimes of their own.

    Delivered emails lose their content: use `mailctl send` for another. Left out unless named: permanent,
    maybe-sent, suppressed, resent.
    """
    from mailctl.domain.eligibility import RESEND

    run_action(
        session,
        RESEND,
        doing,
        ids=_read_given_ids(ids),
        wanted=filters.to_filter(session),
        daring=daring,
    )


def _read_given_ids(ids: list[str] | None) -> list[str] | None:
    return read_ids(ids) if ids else None
