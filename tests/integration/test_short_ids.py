"""Ids as tables print them: short, and accepted by every command that takes one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.integration.commands import Mailctl, welcome

if TYPE_CHECKING:
    from pathlib import Path

#: Commands that take the id of an email.
TAKERS = ("status", "why", "show", "cancel", "hold", "release", "retry", "resend")
COUNT = 40


@pytest.fixture
def campaign(mailctl: Mailctl, tmp_path: Path) -> list[str]:
    """The ids of a campaign's emails, which begin alike."""
    rows = "".join(f"user{number}@example.com\n" for number in range(COUNT))
    (tmp_path / "users.csv").write_text(f"email\n{rows}")
    sent = mailctl("send", "welcome", "--users-file", "users.csv", "--json")
    ids = [line["task_id"] for line in sent.lines if "task_id" in line]
    assert len({task_id[:8] for task_id in ids}) == 1
    return ids


def printed_ids(text: str, full_ids: list[str]) -> set[str]:
    """Return the words of a text that are starts of these ids."""
    return {word for word in re.split(r"\s+", text) if len(word) >= 8 and any_starts(word, full_ids)}


def any_starts(word: str, full_ids: list[str]) -> bool:
    """Whether one of the ids starts with a word."""
    return any(each.startswith(word) for each in full_ids)


@pytest.mark.parametrize("words", ["list", "queue peek mailctl.bulk", "hold --to user --dry-run"])
def test_what_a_table_prints_is_accepted(mailctl: Mailctl, campaign: list[str], words: str) -> None:
    """By arguments and by standard input; no longer than it has to be."""
    printed = mailctl(*words.split())
    short = printed_ids(printed.out, campaign)
    assert (printed.code, len(short) >= 5) == (0, True), printed.out
    for each in short:
        assert [full for full in campaign if full.startswith(each)] == [full_id(mailctl, each)]
        assert len([full for full in campaign if full.startswith(each[:-1])]) > 1
    piped = mailctl("hold", "-", "--dry-run", "--json", stdin="\n".join(short))
    assert (piped.code, {line["outcome"] for line in piped.lines}) == (0, {"would be done"})
    for taker in ("status", "why", "show", "hold", "cancel"):
        assert mailctl(taker, next(iter(short))).code == 0, taker


def full_id(mailctl: Mailctl, short: str) -> str:
    """Return the id that a short one stands for."""
    found = mailctl("status", short, "--json")
    assert found.code == 0, found.err
    return str(found.lines[0]["task_id"])


def test_ids_that_differ_early_have_eight_characters(mailctl: Mailctl) -> None:
    """As most have, which are random."""
    ids = [welcome(mailctl) for _ in range(3)]
    assert printed_ids(mailctl("list").out, ids) == {each[:8] for each in ids}


def test_an_ambiguous_id_is_wrong_usage(mailctl: Mailctl, campaign: list[str]) -> None:
    """Exit code 2 from every command, also beside an id that is unknown; a sentence names some that fit."""
    start = campaign[0][:8]
    for taker in TAKERS:
        asked = [mailctl(taker, start)]
        if taker not in ("why", "show"):
            asked.append(mailctl(taker, "ffff", start))
            asked.append(mailctl(taker, "-", stdin=f"ffff\n{start}\n"))
        for ran in asked:
            [sentence] = [line for line in (ran.out + ran.err).splitlines() if "several ids" in line]
            candidates = re.findall(rf"\b{start}-[0-9a-f-]+", sentence)
            assert (taker, ran.code, len(candidates)) == (taker, 2, 5), sentence
            assert "and more" in sentence
    for candidate in candidates:
        assert mailctl("status", candidate).code == 0
