"""Selection of emails: by ids, or by a filter."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mailctl.delivery_log.idempotency import IdempotencyKeys
from mailctl.delivery_log.opening import describe_nearby_logs
from mailctl.delivery_log.queries.search import (
    EmailFilter,
    count_by_state,
    count_matching,
    newest_seq,
    search,
)
from mailctl.diagnosis.status import StatusService
from mailctl.diagnosis.unknown_id import may_be_part_of_address, search_command
from mailctl.domain.shell_command import mailctl_command
from mailctl.errors import InvalidInput, NotFound
from mailctl.operations.known_names import check_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Engine

    from mailctl.domain.eligibility import Action
    from mailctl.domain.models import Email
    from mailctl.domain.states import State
    from mailctl.runtime import Runtime

#: The number of emails that are read, and changed, together.
CHUNK_SIZE = 500
#: The most emails that one text may stand for.
_MAX_FOUND = 1000


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The emails that an operation applies to."""

    emails: tuple[Email, ...] = ()
    #: The given ids that match no email, each with the reason.
    unknown: tuple[tuple[str, str], ...] = ()
    #: The given ids that match several emails, each with the reason.
    ambiguous: tuple[tuple[str, str], ...] = ()
    #: The filter that selects emails; None for a selection by ids.
    filter: EmailFilter | None = None

    def count(self, engine: Engine) -> int:
        """Return the current number of selected emails.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        return len(self.emails) if self.filter is None else count_matching(engine, self.filter)

    def chunks(self, engine: Engine) -> Iterator[Sequence[Email]]:
        """Yield the emails in chunks, oldest first; they may be changed during the iteration.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        for start in range(0, len(self.emails), CHUNK_SIZE):
            yield self.emails[start : start + CHUNK_SIZE]
        after: str | None = None
        while self.filter is not None:
            page = search(engine, self.filter, limit=CHUNK_SIZE, after=after, oldest_first=True)
            yield page.emails
            after = page.cursor
            if after is None:
                return


def select_by_ids(runtime: Runtime, ids: Iterable[str]) -> Selection:
    """Return the emails with these ids or unique prefixes of ids; unknown and ambiguous ones are listed.

    Args:
        runtime: the components of this process.
        ids: ids, or the first characters of ids.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    status = StatusService(runtime)
    found: dict[str, Email] = {}
    unknown: dict[str, str] = {}
    ambiguous: dict[str, str] = {}
    for given in ids:
        try:
            email = status.find_email(given)
        except InvalidInput as error:
            ambiguous[given] = error.reason
            continue
        if email is None:
            unknown[given] = "the delivery log has no email with this id"
        else:
            found[email.id] = email
    return Selection(
        emails=tuple(found.values()), unknown=tuple(unknown.items()), ambiguous=tuple(ambiguous.items())
    )


def find_ids(runtime: Runtime, references: Iterable[str]) -> tuple[str, ...]:
    """Return the ids of the emails that texts refer to, each of which may stand for several.

    Args:
        runtime: the components of this process.
        references: ids or prefixes of ids, Message-IDs, idempotency keys, queue ids of the mail server, or
            addresses.

    Raises:
        NotFound: the delivery log has no email for one of them.
        LogUnavailable: the delivery log cannot be read.
    """
    keys, history = IdempotencyKeys(runtime.engine), runtime.history
    found: list[str] = []
    for given in references:
        emails = history.find(given, limit=_MAX_FOUND)
        key = None if emails else keys.find(given.strip(), now=runtime.clock())
        emails = emails or (history.emails([key.email_id]) if key else [])
        emails = emails or history.find_by_reference(given, limit=_MAX_FOUND)
        if not emails:
            raise NotFound(
                f"The delivery log at {runtime.masked_log_url} has no email for {given!r}.",
                fix=_how_to_find(given),
            )
        found += [email.id for email in emails]
    return tuple(dict.fromkeys(found))


def _how_to_find(given: str) -> str:
    if may_be_part_of_address(given):
        return f"If it is part of an address, run: {search_command(given)}"
    return f"For possible reasons, run: {mailctl_command('why', arguments=[given])}"


def select_by_filter(runtime: Runtime, action: Action, wanted: EmailFilter) -> Selection:
    """Return all current emails that match a filter.

    Args:
        runtime: the components of this process.
        action: the action to be done; its default states apply if the filter names none.
        wanted: the filter.

    Raises:
        InvalidInput: the action cannot be done in one of the filter's states.
        LogUnavailable: the delivery log cannot be read.
    """
    for state in wanted.states:
        if state not in action.allowed_states:
            raise InvalidInput(
                "--state",
                f"{state} is not a state that `{action.name}` applies to.",
                fix=f"Give one of: {', '.join(action.allowed_states)}.",
            )
    states = wanted.states or action.default_states
    return Selection(filter=replace(wanted, states=states, max_seq=newest_seq(runtime.engine)))


def no_match_message(runtime: Runtime, wanted: EmailFilter) -> str:
    """Return a sentence that says that no email matches, and names the log, which may be the wrong one.

    Args:
        runtime: the components of this process.
        wanted: the filter as the operator gave it.

    Raises:
        LogUnavailable: the delivery log cannot be read.
        NotFound: the queue or the campaign of the filter is unknown.
    """
    if runtime.history.is_empty():
        nearby = describe_nearby_logs(runtime.settings)
        return f"The delivery log at {runtime.masked_log_url} is empty{nearby}."
    check_names(runtime, wanted)
    return f"No email in the delivery log at {runtime.masked_log_url} matches."


def nothing_to_do_message(runtime: Runtime, action: Action, wanted: EmailFilter) -> str:
    """Return a sentence that says why an action applies to none of the emails that match a filter.

    Args:
        runtime: the components of this process.
        action: the action.
        wanted: the filter as the operator gave it.

    Raises:
        LogUnavailable: the delivery log cannot be read.
        NotFound: the queue or the campaign of the filter is unknown.
    """
    no_match = no_match_message(runtime, wanted)
    names_states = wanted.states and wanted.states != action.default_states
    counts = {} if names_states else count_by_state(runtime.engine, replace(wanted, states=()))
    others = Counter({state: n for state, n in counts.items() if state not in action.default_states})
    return not_applicable_message(action, others) if others else no_match


def not_applicable_message(action: Action, others: Counter[State]) -> str:
    """Return a sentence that says in which states the matching emails are.

    Args:
        action: the action.
        others: the number of matching emails in each state that the action does not apply to by default.
    """
    states = ", ".join(f"{count:,} {state}" for state, count in others.most_common())
    possible = [state for state in others if state in action.allowed_states]
    fix = f" To include them, name their state: --state {possible[0]}." if possible else ""
    subject = "1 email matches" if others.total() == 1 else f"{others.total():,} emails match"
    by_default = " by default" if possible else ""
    return f"{subject}, but `{action.name}`{by_default} does not apply to any of them ({states}).{fix}"
