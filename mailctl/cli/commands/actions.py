"""`mailctl retry|cancel|hold|release|resend`: change emails, given by ids or by filters."""

from __future__ import annotations

from mailctl.cli.arguments import read_ids
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import ActionOptions, FilterOptions, IdsArgument, OverrideOptions, with_options
from mailctl.delivery_log.storage.access_mode import AccessMode


@uses_log(AccessMode.UPDATE)
@with_options
def retry(
    session: CliSession,
    filters: FilterOptions,
    overrides: OverrideOptions,
    options: ActionOptions,
    ids: IdsArgument = None,
) -> None:
    """Retry emails that were not sent.

    Works on failed, expired, deferred, cancelled and suppressed emails. Without --state, filters select only
    the failed, expired and deferred ones. An email with one of these hazards is left out unless --include
    names the hazard:

    \b
      permanent     the mailbox does not exist
      maybe-sent    the mail server may have accepted the email already
      expired       it has expired; a retry gives it new links and a new lifetime
      suppressed    a suppression or a sending limit stopped it
      unsubscribed  its recipient has unsubscribed
      resent        a new copy of it has been sent already

    \b
    Examples:
      mailctl retry 3f2a
      mailctl retry --state failed --since 24h --dry-run
      mailctl retry --error 550 --include permanent --reason "mailboxes restored"

    \b
    Exit codes:
      0  Every chosen email will be sent again.
      1  Some emails were left out; each is printed with the reason.
      2  An id is ambiguous, or there is no filter.
      3  An id is unknown.
      4  You did not confirm; nothing was changed.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl list, mailctl why, mailctl resend, mailctl release
    """
    from mailctl.cli.action_runner import run_action
    from mailctl.domain.eligibility import RETRY

    wanted = filters.to_filter(session)
    run_action(session, RETRY, options, ids=_read_ids(ids), filters=wanted, overrides=overrides)


@uses_log(AccessMode.UPDATE)
@with_options
def cancel(
    session: CliSession, filters: FilterOptions, options: ActionOptions, ids: IdsArgument = None
) -> None:
    """Cancel emails that have not been sent yet.

    This includes emails whose message a worker has already received. `mailctl release` undoes it.

    \b
    Examples:
      mailctl cancel 3f2a
      mailctl cancel --campaign spring --reason "wrong link"

    \b
    Exit codes:
      0  Every chosen email is cancelled.
      1  Some emails were left out; each is printed with the reason.
      2  An id is ambiguous, or there is no filter.
      3  An id is unknown.
      4  You did not confirm; nothing was changed.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl release, mailctl hold, mailctl queue purge
    """
    from mailctl.cli.action_runner import run_action
    from mailctl.domain.eligibility import CANCEL

    run_action(session, CANCEL, options, ids=_read_ids(ids), filters=filters.to_filter(session))


@uses_log(AccessMode.UPDATE)
@with_options
def hold(
    session: CliSession, filters: FilterOptions, options: ActionOptions, ids: IdsArgument = None
) -> None:
    """Hold emails until they are released.

    \b
    Examples:
      mailctl hold 3f2a
      mailctl hold --kind welcome --to @example.com

    \b
    Exit codes:
      0  Every chosen email is held.
      1  Some emails were left out; each is printed with the reason.
      2  An id is ambiguous, or there is no filter.
      3  An id is unknown.
      4  You did not confirm; nothing was changed.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl release, mailctl cancel, mailctl queue pause
    """
    from mailctl.cli.action_runner import run_action
    from mailctl.domain.eligibility import HOLD

    run_action(session, HOLD, options, ids=_read_ids(ids), filters=filters.to_filter(session))


@uses_log(AccessMode.UPDATE)
@with_options
def release(
    session: CliSession,
    filters: FilterOptions,
    overrides: OverrideOptions,
    options: ActionOptions,
    ids: IdsArgument = None,
) -> None:
    """Release held or cancelled emails.

    They are sent now, or at the time they were scheduled for. Without --state, filters select only held
    emails. An email with the hazard maybe-sent or resent is left out unless --include names the hazard; see
    `mailctl retry --help`.

    \b
    Examples:
      mailctl release 3f2a
      mailctl release --state cancelled --campaign spring

    \b
    Exit codes:
      0  Every chosen email is released.
      1  Some emails were left out; each is printed with the reason.
      2  An id is ambiguous, or there is no filter.
      3  An id is unknown.
      4  You did not confirm; nothing was changed.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl hold, mailctl cancel, mailctl queue resume
    """
    from mailctl.cli.action_runner import run_action
    from mailctl.domain.eligibility import RELEASE

    wanted = filters.to_filter(session)
    run_action(session, RELEASE, options, ids=_read_ids(ids), filters=wanted, overrides=overrides)


@uses_log(AccessMode.UPDATE)
@with_options
def resend(
    session: CliSession,
    filters: FilterOptions,
    overrides: OverrideOptions,
    options: ActionOptions,
    ids: IdsArgument = None,
) -> None:
    """Send a new copy of emails that were not sent.

    Each copy has its own id, links and lifetime. Without --state, filters select only failed and expired
    emails. An email with the hazard maybe-sent, permanent, suppressed, unsubscribed or resent is left out
    unless --include names the hazard; see `mailctl retry --help`. An email that was sent cannot be resent,
    because its content has been deleted; use `mailctl send` instead.

    \b
    Examples:
      mailctl resend 3f2a
      mailctl resend --state expired --kind reset --dry-run

    \b
    Exit codes:
      0  A copy of every chosen email is recorded.
      1  Some emails were left out; each is printed with the reason.
      2  An id is ambiguous, or there is no filter.
      3  An id is unknown.
      4  You did not confirm; nothing was changed.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl retry, mailctl send
    """
    from mailctl.cli.action_runner import run_action
    from mailctl.domain.eligibility import RESEND

    wanted = filters.to_filter(session)
    run_action(session, RESEND, options, ids=_read_ids(ids), filters=wanted, overrides=overrides)


def _read_ids(ids: list[str] | None) -> list[str] | None:
    return read_ids(ids) if ids else None
