"""Which emails an operator means: some by their ids, or all that fit filters."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mailctl.delivery_log.queries.search import (
    EmailFilter,
    count_by_state,
    count_matching,
    newest_seq,
    search,
)
from mailctl.diagnosis.status import StatusService
from mailctl.errors import InvalidInput
from mailctl.operations.known_names import check_campaign, check_queue_anywhere

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Engine

    from mailctl.domain.eligibility import Action
    from mailctl.domain.models import Email
    from mailctl.runtime import Runtime

#: Emails that are looked at, and changed, together.
CHUNK_SIZE = 500


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The emails that are meant."""

    emails: tuple[Email, ...] = ()
    #: What was given as an id and leads to no email, with the reason.
    unknown: tuple[tuple[str, str], ...] = ()
    #: What was given as an id and leads to several emails, with the reason.
    ambiguous: tuple[tuple[str, str], ...] = ()
    #: What the emails have in common that were not named.
    filter: EmailFilter | None = None

    def count(self, engine: Engine) -> int:
        """Return how many emails are meant, by now.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        return len(self.emails) if self.filter is None else count_matching(engine, self.filter)

    def chunks(self, engine: Engine) -> Iterator[Sequence[Email]]:
        """Go through the emails, oldest first, some at a time; they may be changed meanwhile.

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
    """Return the emails that ids, or unique starts of them, lead to; one that leads nowhere stops none.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    inquiry = StatusService(runtime)
    found: dict[str, Email] = {}
    unknown: dict[str, str] = {}
    ambiguous: dict[str, str] = {}
    for given in ids:
        try:
            email = inquiry.find_email(given)
        except InvalidInput as error:
            ambiguous[given] = error.reason
            continue
        if email is None:
            unknown[given] = "the delivery log has no such email"
        else:
            found[email.id] = email
    return Selection(
        emails=tuple(found.values()), unknown=tuple(unknown.items()), ambiguous=tuple(ambiguous.items())
    )


def select_by_filter(runtime: Runtime, action: Action, wanted: EmailFilter) -> Selection:
    """Return all emails that fit and are there by now; filters without a state mean the action's usual ones.

    Raises:
        InvalidInput: the action does nothing in a state that is asked for.
        LogUnavailable: the delivery log cannot be read.
    """
    for state in wanted.states:
        if state not in action.allowed_states:
            raise InvalidInput(
                "--state",
                f"`{action.name}` does nothing to what is {state}.",
                fix=f"It works on: {', '.join(action.allowed_states)}.",
            )
    states = wanted.states or action.default_states
    return Selection(filter=replace(wanted, states=states, max_seq=newest_seq(runtime.engine)))


def no_match_message(runtime: Runtime, wanted: EmailFilter) -> str:
    """Return a sentence for who has found no email, with the log that was read: it may be the wrong one.

    Args:
        wanted: the filters as they were given.

    Raises:
        LogUnavailable: the delivery log cannot be read.
        NotFound: nobody knows the queue or the campaign.
    """
    if runtime.history.is_empty():
        return f"The delivery log at {runtime.masked_log_url} is empty{runtime.logs_nearby}."
    if wanted.queue:
        check_queue_anywhere(runtime, wanted.queue)
    if wanted.campaign:
        check_campaign(runtime, wanted.campaign)
    return f"No email in the delivery log at {runtime.masked_log_url} fits."


def nothing_to_do_message(runtime: Runtime, action: Action, wanted: EmailFilter) -> str:
    """Return a sentence for who has found nothing that an action can be done to.

    Args:
        wanted: the filters as they were given.

    Raises:
        LogUnavailable: the delivery log cannot be read.
        NotFound: nobody knows the queue or the campaign.
    """
    nothing = no_match_message(runtime, wanted)
    has_own_states = wanted.states and wanted.states != action.default_states
    found = {} if has_own_states else count_by_state(runtime.engine, replace(wanted, states=()))
    others = {state: number for state, number in found.items() if state not in action.default_states}
    if not others:
        return nothing
    states = ", ".join(f"{state} {number:,}" for state, number in Counter(others).most_common())
    possible = [str(state) for state in others if state in action.allowed_states]
    fix = f" Name the state to do it all the same: --state {possible[0]}." if possible else ""
    without = " without --state" if possible else ""
    fit = "email fits" if sum(others.values()) == 1 else "emails fit"
    number = f"{sum(others.values()):,}"
    return f"{number} {fit}, and `{action.name}`{without} does nothing to any of them ({states}).{fix}"
