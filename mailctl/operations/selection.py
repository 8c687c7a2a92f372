"""Which emails an operator means: some by their ids, or all that fit filters."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mailctl.delivery_log.queries.search import Filter, count_fitting, count_states, newest, search
from mailctl.diagnosis.status import Inquiry
from mailctl.errors import InvalidInput
from mailctl.operations.known_names import check_campaign, check_queue_anywhere

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Engine

    from mailctl.domain.eligibility import Action
    from mailctl.domain.models import Email
    from mailctl.runtime import Runtime

#: Emails that are looked at, and changed, together.
CHUNK = 500


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The emails that are meant."""

    named: tuple[Email, ...] = ()
    #: What was given as an id and leads to no email, with the reason.
    unknown: tuple[tuple[str, str], ...] = ()
    #: What was given as an id and leads to several emails, with the reason.
    ambiguous: tuple[tuple[str, str], ...] = ()
    #: What the emails have in common that were not named.
    wanted: Filter | None = None

    def count(self, engine: Engine) -> int:
        """Return how many emails are meant, by now.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        return len(self.named) if self.wanted is None else count_fitting(engine, self.wanted)

    def chunks(self, engine: Engine) -> Iterator[Sequence[Email]]:
        """Go through the emails, oldest first, some at a time; they may be changed meanwhile.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        for start in range(0, len(self.named), CHUNK):
            yield self.named[start : start + CHUNK]
        after: str | None = None
        while self.wanted is not None:
            page = search(engine, self.wanted, limit=CHUNK, after=after, oldest_first=True)
            yield page.emails
            after = page.cursor
            if after is None:
                return


def named(runtime: Runtime, ids: Iterable[str]) -> Selection:
    """Return the emails that ids, or unique starts of them, lead to; one that leads nowhere stops none.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    inquiry = Inquiry(runtime)
    found: dict[str, Email] = {}
    unknown: dict[str, str] = {}
    ambiguous: dict[str, str] = {}
    for given in ids:
        try:
            email = inquiry.email(given)
        except InvalidInput as error:
            ambiguous[given] = error.reason
            continue
        if email is None:
            unknown[given] = "the delivery log has no such email"
        else:
            found[email.id] = email
    return Selection(
        named=tuple(found.values()), unknown=tuple(unknown.items()), ambiguous=tuple(ambiguous.items())
    )


def fitting(runtime: Runtime, action: Action, wanted: Filter) -> Selection:
    """Return all emails that fit and are there by now; filters without a state mean the action's usual ones.

    Raises:
        InvalidInput: the action does nothing in a state that is asked for.
        LogUnavailable: the delivery log cannot be read.
    """
    for state in wanted.states:
        if state not in action.works_on:
            raise InvalidInput(
                "--state",
                f"`{action.name}` does nothing to what is {state}.",
                fix=f"It works on: {', '.join(action.works_on)}.",
            )
    states = wanted.states or action.by_default
    return Selection(wanted=replace(wanted, states=states, last=newest(runtime.engine)))


def nothing_fits(runtime: Runtime, wanted: Filter) -> str:
    """Return a sentence for who has found no email, with the log that was read: it may be the wrong one.

    Args:
        wanted: the filters as they were given.

    Raises:
        LogUnavailable: the delivery log cannot be read.
        NotFound: nobody knows the queue or the campaign.
    """
    if runtime.history.is_empty():
        return f"The delivery log at {runtime.log} is empty{runtime.logs_nearby}."
    if wanted.queue:
        check_queue_anywhere(runtime, wanted.queue)
    if wanted.campaign:
        check_campaign(runtime, wanted.campaign)
    return f"No email in the delivery log at {runtime.log} fits."


def nothing_to_do(runtime: Runtime, action: Action, wanted: Filter) -> str:
    """Return a sentence for who has found nothing that an action can be done to.

    Args:
        wanted: the filters as they were given.

    Raises:
        LogUnavailable: the delivery log cannot be read.
        NotFound: nobody knows the queue or the campaign.
    """
    nothing = nothing_fits(runtime, wanted)
    has_own_states = wanted.states and wanted.states != action.by_default
    found = {} if has_own_states else count_states(runtime.engine, replace(wanted, states=()))
    others = {state: number for state, number in found.items() if state not in action.by_default}
    if not others:
        return nothing
    states = ", ".join(f"{state} {number:,}" for state, number in Counter(others).most_common())
    possible = [str(state) for state in others if state in action.works_on]
    fix = f" Name the state to do it all the same: --state {possible[0]}." if possible else ""
    without = " without --state" if possible else ""
    fit = "email fits" if sum(others.values()) == 1 else "emails fit"
    number = f"{sum(others.values()):,}"
    return f"{number} {fit}, and `{action.name}`{without} does nothing to any of them ({states}).{fix}"
