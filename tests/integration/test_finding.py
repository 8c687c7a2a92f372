"""Finding emails by any name, and errors in groups, and printing them in the form that one needs."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest

from mailctl import runtime
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from tests.integration.commands import DEAD, LOST, REFUSED, fail, send, welcome

if TYPE_CHECKING:
    from tests.integration.commands import Mailctl

NAMES = {"message_id": "<m1@shop.example>", "smtp_text": "Ok: queued as 4XyZ12"}


@pytest.fixture
def email_id(mailctl: Mailctl) -> str:
    """An email with an idempotency key, a Message-ID, and an id at the mail server."""
    found = send(mailctl, "welcome", "--email", "zoe@example.com", "--idempotency-key", "order-7")
    with writing(runtime.current().engine) as connection:
        connection.execute(emails.update().where(emails.c.id == found).values(**NAMES))
    return found


@pytest.mark.parametrize(
    "name", ["m1@shop.example", "<m1@shop.example>", "4XyZ12", "order-7", "Zoe@example.com"]
)
def test_an_email_has_many_names(mailctl: Mailctl, email_id: str, name: str) -> None:
    """Every command that shows an email takes each of them, and its id."""
    welcome(mailctl, "max@example.com")
    for given in (name, email_id[:10]):
        assert mailctl("status", given, "--json").lines[0]["task_id"] == email_id
        assert mailctl("why", given, "--json").lines[0]["task_id"] == email_id
        assert mailctl("show", given, "--json").lines[0]["task_id"] == email_id
        assert [each["task_id"] for each in mailctl("list", given, "--json").lines] == [email_id]


def test_an_address_stands_for_its_newest_email_and_lists_them_all(mailctl: Mailctl) -> None:
    """To look at; what changes emails wants to know which."""
    ids = [welcome(mailctl) for _ in range(3)]
    shown = mailctl("why", "zoe@example.com", "--json")
    assert shown.lines[0]["task_id"] == ids[-1]
    assert "This is the newest email to zoe@example.com; list 2 more with: mailctl list" in shown.err
    assert len(mailctl("list", "zoe@example.com", "--json").lines) == 3
    cancelled = mailctl("cancel", "zoe@example.com", "--json")
    assert cancelled.code != 0
    assert {each["state"] for each in mailctl("list", "--json").lines} == {"pending"}


def test_nothing_is_found_by_a_name_that_nothing_has(mailctl: Mailctl, email_id: str) -> None:
    """Exit code 3, and where to ask further."""
    found = mailctl("list", "nobody@example.com")
    assert (found.code, "mailctl why nobody@example.com" in found.err) == (3, True)
    assert mailctl("list", email_id, "--state", "failed", "--json").lines == []


def test_states_attempts_and_times_are_filters(mailctl: Mailctl) -> None:
    """Several states in one option; a number of attempts with a sign."""
    good, bad, lost = (welcome(mailctl, f"{name}@example.com") for name in ("good", "bad", "lost"))
    fail(bad, DEAD)
    fail(lost, LOST)

    def found(*arguments: str) -> set[str]:
        return {each["task_id"] for each in mailctl("list", *arguments, "--json").lines}

    assert found("--state", "failed,deferred") == {bad, lost}
    assert found("--attempts", ">0") == {bad, lost}
    assert found("--attempts", "0", "--since", "today") <= {good}
    assert found("--maybe-sent") == {lost}
    assert found("--between", "2h..0s") == {good, bad, lost}
    assert found("--between", "2h..1h") == set()
    assert mailctl("list", "--between", "1h").code == 2
    assert mailctl("list", "--attempts", "many").code == 2


@pytest.mark.parametrize(
    ("words", "column"),
    [
        ("list", "smtp.code"),
        ("errors", "reason_code"),
        ("campaign list", "campaign"),
        ("queue list", "queue"),
        ("workers list", "worker"),
        ("workers list --dead", "lease_until"),
        ("workers diff", "subject"),
        ("suppress list", "address"),
        ("suppress list --source unsubscribed", "kind"),
        ("keys list", "name"),
        ("users list", "username"),
    ],
)
def test_an_empty_list_has_its_header(mailctl: Mailctl, words: str, column: str) -> None:
    """A program that reads the file finds its columns."""
    mailctl("db", "upgrade")
    printed = mailctl(*words.split(), "-o", "csv").out
    assert column in printed.splitlines()[0].split(",")


def test_failures_are_exported_as_csv(mailctl: Mailctl) -> None:
    """With the columns that one wants; a misspelt one is refused with those that exist."""
    fail(welcome(mailctl), REFUSED)
    printed = mailctl("list", "--state", "failed", "-o", "csv", "--columns", "to,smtp.code,error")
    [header, row] = csv.reader(io.StringIO(printed.out))
    assert header == ["to", "smtp.code", "error"]
    assert row[:2] == ["zoe@example.com", "550"]
    table = mailctl("list", "--columns", "to,state")
    assert table.out.split() == ["to", "state", "zoe@example.com", "failed"]
    wrong = mailctl("list", "--columns", "address")
    assert (wrong.code, "task_id" in wrong.err) == (2, True)
    assert mailctl("list", "-o", "xml").code == 2
    assert mailctl("list", "-o", "json").lines == mailctl("list", "--json").lines
    assert mailctl("queue", "list", "-o", "tsv").out.startswith("queue\t")


def test_errors_are_groups_with_one_command_each(mailctl: Mailctl) -> None:
    """Numbers and addresses make no difference, domains and codes do."""
    for number in range(3):
        text = f"<u{number}@example.com> no such mailbox {number}"
        outcome = Outcome(
            kind=OutcomeKind.REFUSED, reply=SmtpReply(code=550, enhanced="5.1.1", text=text), stage="rcpt"
        )
        fail(welcome(mailctl, f"u{number}@example.com"), outcome)
    fail(welcome(mailctl, "other@example.org"), REFUSED)
    first, second = mailctl("errors", "--json").lines
    assert (first["emails"], first["domain"], first["cause"]) == (3, "example.com", "recipient_refused")
    assert (first["trend"], first["failed"], len(first["sample_ids"])) == ("new", 3, 3)
    assert first["next_step"].startswith("mailctl list --state failed --error '550 5.1.1'")
    assert (second["emails"], second["code"], second["enhanced"]) == (1, 550, "5.7.1")
    assert "example.com" in mailctl("errors").out
    assert mailctl("errors", "--campaign", "nosuch").code == 3
    assert "No attempt has failed since" in mailctl("errors", "--since", "0s").err
