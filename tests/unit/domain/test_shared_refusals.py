"""When a refusal is the same for everybody, with generated histories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailctl.domain.outcomes import SmtpReply
from mailctl.domain.shared_refusals import (
    MIN_DOMAINS,
    MIN_RECIPIENTS,
    EndedAttempt,
    find_shared_refusal,
    fingerprint,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCAL_PARTS = st.integers(min_value=0, max_value=30)
DOMAINS = st.sampled_from([f"d{number}.example" for number in range(8)])
RECIPIENTS = st.builds(lambda name, domain: f"u{name}@{domain}", LOCAL_PARTS, DOMAINS)
REFUSALS = st.sampled_from(["550 no", "554 never"])
REFUSED = st.builds(EndedAttempt, recipient=RECIPIENTS, refusal=REFUSALS, is_open=st.just(True))
DEAD = st.builds(EndedAttempt, recipient=RECIPIENTS, refusal=st.just("550 unknown"), is_open=st.just(False))
ACCEPTED = st.builds(EndedAttempt, recipient=RECIPIENTS, refusal=st.none())


def everybody(
    count: int = MIN_RECIPIENTS, *, domains: int = MIN_DOMAINS, refusal: str = "550 no"
) -> list[EndedAttempt]:
    """Return refusals of so many recipients over so many domains."""
    return [
        EndedAttempt(recipient=f"u{number}@d{number % domains}.example", refusal=refusal, is_open=True)
        for number in range(count)
    ]


def expected(newest_first: Sequence[EndedAttempt]) -> set[str]:
    """Return the refusals that everybody got, found in another way."""
    accepted = [number for number, each in enumerate(newest_first) if each.refusal is None]
    row = newest_first[: accepted[0] if accepted else None]
    alike = {
        each.refusal: {one.recipient for one in row if one.refusal == each.refusal}
        for each in row
        if each.is_open
    }
    return {
        refusal
        for refusal, found in alike.items()
        if refusal
        and len(found) >= MIN_RECIPIENTS
        and len({one.partition("@")[2] for one in found}) >= MIN_DOMAINS
    }


@st.composite
def near_the_rule(draw: st.DrawFn) -> list[EndedAttempt]:
    """Draw a history with just enough, or not quite enough, alike refusals, and perhaps an acceptance."""
    alike = everybody(
        draw(st.integers(min_value=MIN_RECIPIENTS - 2, max_value=MIN_RECIPIENTS + 4)),
        domains=draw(st.integers(min_value=MIN_DOMAINS - 2, max_value=MIN_DOMAINS + 1)),
        refusal=draw(REFUSALS),
    )
    others = draw(st.lists(st.one_of(REFUSED, DEAD), max_size=20))
    history = list(draw(st.permutations([*alike, *others])))
    if draw(st.booleans()):
        history.insert(draw(st.integers(min_value=0, max_value=len(history))), draw(ACCEPTED))
    return history


@given(near_the_rule() | st.lists(st.one_of(REFUSED, DEAD, ACCEPTED), max_size=80))
def test_every_history_is_decided_as_the_rule_says(history: list[EndedAttempt]) -> None:
    """So many recipients, over so many domains, refused alike since the last acceptance."""
    found = find_shared_refusal(history)
    assert (found is not None) == bool(expected(history))
    assert found is None or found in expected(history)


@given(st.lists(DEAD, max_size=200))
def test_a_list_of_dead_mailboxes_is_their_fault(history: list[EndedAttempt]) -> None:
    """However many there are, in however many domains."""
    assert find_shared_refusal(history) is None


@given(
    st.lists(
        st.builds(
            EndedAttempt,
            recipient=st.builds("u{}@example.com".format, st.integers()),
            refusal=st.just("550 no"),
            is_open=st.just(True),
        ),
        max_size=200,
    )
)
def test_a_campaign_to_one_domain_is_the_fault_of_that_domain(history: list[EndedAttempt]) -> None:
    """A thousand refusals of one domain say nothing about others."""
    assert find_shared_refusal(history) is None


@given(st.lists(DEAD, max_size=30), st.randoms(use_true_random=False))
def test_dead_mailboxes_in_between_hide_nothing(dead: list[EndedAttempt], chance: object) -> None:
    """They are refused for a reason of their own."""
    history = [*everybody(), *dead]
    chance.shuffle(history)  # type: ignore[attr-defined]
    assert find_shared_refusal(history) == "550 no"


@given(st.integers(min_value=0, max_value=MIN_RECIPIENTS - 1))
def test_an_acceptance_interrupts_the_row(position: int) -> None:
    """Somebody was not refused, so the fault is not ours."""
    history = everybody()
    history.insert(position, EndedAttempt(recipient="ada@example.com", refusal=None))
    assert find_shared_refusal(history) is None


def test_one_recipient_counts_once() -> None:
    """Retries of the same email prove nothing new."""
    assert find_shared_refusal([*everybody(MIN_RECIPIENTS - 1), *everybody(MIN_RECIPIENTS - 1)]) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("<ada@example.com>: rejected", "<bob@example.net>: rejected"),
        ("Rejected (id 1a2b3c) [mx1.example.com]", "Rejected (id 9f8e7d) [mx2.example.com]"),
        (
            "no at 2026-03-01T12:00:00Z see https://example.com/a",
            "no at 2026-03-02T09:30:11Z see https://example.com/b",
        ),
    ],
)
def test_addresses_hosts_and_ids_make_no_difference(one: str, other: str) -> None:
    """The rest of the words does."""
    replies = [SmtpReply(code=554, enhanced="5.7.1", text=text) for text in (one, other)]
    assert fingerprint(replies[0]) == fingerprint(replies[1])
    assert fingerprint(replies[0]) != fingerprint(SmtpReply(code=550, enhanced="5.7.1", text=one))
    assert fingerprint(replies[0]) != fingerprint(SmtpReply(code=554, enhanced="5.7.1", text="other words"))
