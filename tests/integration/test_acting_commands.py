"""What operators do to emails, and see of them, from the arguments to what is printed."""

from __future__ import annotations

import io
import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

import pytest

from mailctl import runtime
from mailctl.cli.main import main
from mailctl.message import Outcome, OutcomeKind, SmtpReply, State
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., "Ran"]

LOST = Outcome(kind=OutcomeKind.AMBIGUOUS, reply=SmtpReply(text="timed out"), stage="body")
REFUSED = Outcome(kind=OutcomeKind.BOUNCED, reply=SmtpReply(code=550, enhanced="5.7.1", text="blocked"))
DEAD = Outcome(kind=OutcomeKind.BOUNCED, reply=SmtpReply(code=550, enhanced="5.1.1", text="no such user"))


class Ran:
    """What a command did."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The objects that it printed."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in an empty folder, with or without something on standard input."""
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.setenv("MAILCTL_ACTOR", "zoe")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        try:
            code = main(arguments)
        finally:
            runtime.shut()
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return run


def send(run: Run, *arguments: str) -> str:
    """Record an email and return its id."""
    return str(run("send", *arguments, "--json").lines[0]["task_id"])


def welcome(run: Run, address: str = "zoe@example.com") -> str:
    """Record a welcome."""
    return send(run, "welcome", "--email", address)


def fail(email_id: str, outcome: Outcome, *, state: State = State.FAILED) -> None:
    """Let a worker try an email, and record what became of it."""
    parts = runtime.current()
    [claim] = parts.claims.take([email_id], worker="w@host").claims
    if outcome is LOST:
        parts.outbox.defer(claim, until=claim.created_at, outcome=outcome, counts=True, message_id=None)
        [claim] = parts.claims.take([email_id], worker="w@host").claims
    parts.outbox.finish(claim, state, outcome=outcome, reason=f"refused: {outcome}")
    runtime.shut()


def state_of(run: Run, email_id: str) -> str:
    """Return where an email stands."""
    return str(run("status", email_id, "--json").lines[0]["state"])


class TestNamed:
    def test_cancel_is_undone_by_release_and_both_say_who_and_why(self, run: Run) -> None:
        """Each is an event with its operator."""
        email_id = welcome(run)
        assert run("cancel", email_id[:8], "--reason", "wrong list").code == 0
        assert run("release", email_id).code == 0
        *_, cancelled, released = run("status", email_id, "--json").lines[0]["events"]
        assert (cancelled["text"], cancelled["actor"]) == ("cancelled: wrong list", "zoe")
        assert (released["state"], released["actor"]) == ("pending", "zoe")

    def test_one_bad_id_stops_none(self, run: Run) -> None:
        """Unknown is 3; else 1 if one could not be done; each is told."""
        email_id = welcome(run)
        mixed = run("hold", "ffff", email_id, "--json")
        assert mixed.code == 3
        assert [line["outcome"] for line in mixed.lines] == ["unknown", "done"]
        again = run("hold", email_id)
        assert (again.code, "it is held already" in again.out) == (1, True)

    def test_ids_come_by_a_pipe(self, run: Run) -> None:
        """One a line, with comments, or as JSON lines of other commands."""
        ids = [welcome(run, f"user{n}@example.com") for n in range(3)]
        listed = run("list", "--to", "user2", "--json").out
        piped = f"# these\n{ids[0]}  # the first\n\n{ids[1]}\n{listed}" + '{"campaign": "x", "recorded": 1}\n'
        done = run("cancel", "-", "--json", stdin=piped)
        assert (done.code, [line["task_id"] for line in done.lines]) == (0, ids)
        assert run("cancel", "-", stdin="").code == 0

    def test_ids_and_filters_do_not_mix(self, run: Run) -> None:
        """Nor is neither enough; and --force is for ids."""
        assert run("cancel", "abc", "--state", "pending").code == 2
        assert run("cancel").code == 2
        assert run("retry", "--state", "failed", "--force").code == 2
        assert run("retry", "--state", "failed", "--include", "luck").code == 2
        assert run("cancel", "--state", "sent").code == 2


class TestFound:
    def test_nobody_to_ask_means_no(self, run: Run) -> None:
        """Exit code 4, the number, a sample, and what to add; --dry-run only looks."""
        email_id = welcome(run)
        refused = run("cancel", "--kind", "welcome")
        assert (refused.code, "--yes" in refused.err, email_id[:8] in refused.err) == (4, True, True)
        assert "1  would be cancelled (pending 1)" in run("cancel", "--kind", "welcome", "--dry-run").out
        assert state_of(run, email_id) == "pending"

    def test_many_are_undone_together(self, run: Run) -> None:
        """The command that undoes it is printed, and touches nothing that was cancelled before."""
        earlier, *ids = (welcome(run, f"user{n}@example.com") for n in range(3))
        run("cancel", earlier)
        purged = run("queue", "purge", "celery", "--yes", "--reason", "a mistake")
        assert "2 emails purged." in purged.err
        undo = purged.err.rpartition("mailctl ")[2].split()
        assert run(*undo, "--yes").code == 0
        assert [state_of(run, each) for each in (earlier, *ids)] == ["cancelled", "pending", "pending"]

    def test_purge_needs_to_be_told_what(self, run: Run) -> None:
        """By kind, age, campaign, queue, or all."""
        email_id = welcome(run)
        assert run("queue", "purge").code == 2
        assert run("queue", "purge", "celery", "--all").code == 2
        assert "0 emails purged" in run("queue", "purge", "--older-than", "1h", "--yes").err
        assert run("queue", "purge", "--all", "--yes").code == 0
        assert state_of(run, email_id) == "cancelled"


class TestRetry:
    def test_it_does_the_safe_ones_and_names_the_others(self, run: Run) -> None:
        """What may be sent already, or cannot arrive, has to be named."""
        safe, dead, lost = (welcome(run, f"user{n}@example.com") for n in range(3))
        for email_id, outcome in ((safe, REFUSED), (dead, DEAD), (lost, LOST)):
            fail(email_id, outcome)
        plan = run("retry", "--state", "failed", "--dry-run", "--json").lines
        assert {line["task_id"]: line["hazards"] for line in plan} == {
            safe: [],
            dead: ["permanent"],
            lost: ["maybe-sent"],
        }
        run("retry", "--state", "failed", "--yes")
        assert [state_of(run, each) for each in (safe, dead, lost)] == ["pending", "failed", "failed"]
        assert run("retry", lost).code == 1
        assert run("retry", lost, "--force").code == 0
        assert run("retry", "--state", "failed", "--include", "permanent", "--yes").code == 0
        assert [state_of(run, each) for each in (dead, lost)] == ["pending", "pending"]

    def test_what_is_too_old_gets_a_new_life_only_when_it_is_named(self, run: Run) -> None:
        """Else its time stays what it was."""
        email_id = send(run, "reset", "--email", "zoe@example.com")
        fail(email_id, REFUSED, state=State.EXPIRED)
        before = run("status", email_id, "--json").lines[0]["expires_at"]
        assert "useless" in run("retry", email_id).out
        assert run("retry", email_id, "--include", "useless").code == 0
        assert run("status", email_id, "--json").lines[0]["expires_at"] > before


class TestResend:
    def test_a_new_email_and_an_old_one_name_each_other(self, run: Run) -> None:
        """And a second copy has to be wished for, of either."""
        email_id = welcome(run)
        fail(email_id, REFUSED)
        [line] = run("resend", email_id, "--json").lines
        new, old = (run("status", each, "--json").lines[0] for each in (line["new_task_id"], email_id))
        assert (new["state"], new["to"], new["kind"]) == ("pending", "zoe@example.com", "welcome")
        assert f"is a resend of {email_id}" in new["events"][0]["text"]
        assert old["events"][-1]["text"] == f"resent as {new['task_id']}"
        for again in ("resend", "retry"):
            assert "resent: " in run(again, email_id).out
        assert run("resend", email_id, "--force").code == 0

    def test_delivered_emails_have_no_content(self, run: Run) -> None:
        """The command that sends another is named."""
        email_id = welcome(run)
        fail(email_id, Outcome(kind=OutcomeKind.ACCEPTED), state=State.SENT)
        refused = run("resend", email_id)
        assert (refused.code, "mailctl send welcome --email zoe@example.com" in refused.out) == (1, True)


class TestShow:
    def test_links_are_masked_unless_they_are_to_be_revealed(self, run: Run) -> None:
        """In text, HTML and source; stderr says what is shown."""
        email_id = send(run, "reset", "--user-id", "1")
        for form in ((), ("--html",), ("--raw",), ("--json",)):
            assert ("***" in (out := run("show", email_id, *form).out), "gAAAA" in out) == (True, False)
        revealed = run("show", email_id, "--reveal")
        assert "reset-password?t=gAAAA" in revealed.out
        assert "minted anew" in revealed.err
        assert "who has them can use them" in revealed.err
        assert "Reset your Example password" in revealed.out

    def test_of_a_sent_email_the_headers_are_left(self, run: Run) -> None:
        """And it says why there is no more."""
        email_id = send(run, "reset", "--user-id", "1")
        fail(email_id, Outcome(kind=OutcomeKind.ACCEPTED), state=State.SENT)
        shown = run("show", email_id)
        assert (shown.code, "forgotten" in shown.err, "ada@example.com" in shown.out) == (0, True, True)
        assert run("show", email_id, "--raw").code == 1
        assert run("show", "ffff").code == 3

    def test_a_captured_email_is_read_from_its_file(self, run: Run, tmp_path: Path) -> None:
        """As it was written, and masked; only in the folder for them."""
        email_id = send(run, "reset", "--user-id", "1")
        source = run("show", email_id, "--raw", "--reveal", "--json").lines[0]["raw"]
        (tmp_path / "one.eml").write_bytes(source.encode())
        folder = tmp_path / ".mailctl" / "mail"
        reply = SmtpReply(text=str(folder / "one.eml"))
        fail(email_id, Outcome(kind=OutcomeKind.CAPTURED, reply=reply), state=State.CAPTURED)
        assert run("show", email_id, "--json").lines[0]["source"] == "log"
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "one.eml").rename(folder / "one.eml")
        [shown] = run("show", email_id, "--json").lines
        assert (shown["source"], "reset-password?t=***" in shown["text"]) == ("file", True)
        assert "reset-password?t=gAAAA" in run("show", email_id, "--reveal").out


class TestStatusOfSeveral:
    def test_each_has_a_line(self, run: Run) -> None:
        """Exit code 3 if one is unknown, else 1 if one has failed."""
        good, bad = welcome(run), welcome(run, "max@example.com")
        fail(bad, DEAD)
        assert run("status", good, good).code == 0
        assert run("status", good, bad, "--json").code == 1
        mixed = run("status", "-", "--json", stdin=f"{good}\nffff\n{bad}\n")
        assert (mixed.code, [line["state"] for line in mixed.lines]) == (3, ["pending", None, "failed"])


class TestSortedLists:
    @pytest.mark.parametrize("sort", ["created", "updated", "to", "state"])
    @pytest.mark.parametrize("more", [(), ("--oldest-first",)])
    def test_pages_follow_each_other(self, run: Run, sort: str, more: tuple[str, ...]) -> None:
        """Each email is on one page, in the order of the whole list."""
        addresses = ("b@example.com", "a@example.com", "b@example.com", "c@example.com")
        ids = [welcome(run, address) for address in addresses]
        run("hold", ids[2], ids[0])
        whole = run("list", "--sort", sort, *more, "--json").lines
        key = {"created": "created_at", "updated": "updated_at"}.get(sort, sort)
        rises = sort in ("to", "state") or bool(more)
        assert [line[key] for line in whole] == sorted((line[key] for line in whole), reverse=not rises)
        paged: list[str] = []
        after: list[str] = []
        for _ in range(4):
            page = run("list", "--sort", sort, *more, "--limit", "1", *after, "--json")
            paged += [line["task_id"] for line in page.lines]
            after = page.err.split()[-2:]
        assert paged == [line["task_id"] for line in whole]

    def test_a_cursor_of_another_list_is_refused(self, run: Run) -> None:
        """Exit code 2."""
        assert run("list", "--after", "3:zoe@example.com").code == 2
        assert run("list", "--sort", "to", "--after", "3").code == 2
        assert run("list", "--sort", "updated", "--after", "3:soon").code == 2
        assert run("list", "--sort", "luck").code == 2


class TestPause:
    def test_it_is_told_wherever_one_looks(self, run: Run) -> None:
        """Who, since when and why; and how to end it."""
        email_id = welcome(run)
        paused = run("queue", "pause", "--kind", "welcome", "--reason", "typo in it", "--json").lines[0]
        assert (paused["actor"], paused["waiting"], paused["is_paused"]) == ("zoe", 1, True)
        [found] = run("status", email_id, "--json").lines
        assert "kind welcome paused by zoe since" in found["explanation"]
        [why] = run("why", email_id, "--json").lines
        assert why["causes"][0]["next_step"] == "mailctl queue resume --kind welcome"
        assert run("queue", "resume", "--kind", "welcome").code == 0
        assert run("queue", "resume", "--kind", "welcome").code == 3

    def test_what_nobody_knows_cannot_be_paused(self, run: Run) -> None:
        """A slip of the pen would look as if it had stopped something."""
        assert run("queue", "pause", "nosuch").code == 2
        assert run("queue", "pause", "--kind", "nosuch").code == 2
        assert run("queue", "pause").code == 2


class TestCompletion:
    @pytest.mark.parametrize(
        ("words", "offered"),
        [
            ("mailctl cancel --state hel", ["held"]),
            ("mailctl list --kind ver", ["verification"]),
            ("mailctl queue pause mail", ["mailctl.bulk"]),
            ("mailctl show ID", ["ID"]),
            ("mailctl list --sort up", ["updated"]),
        ],
    )
    def test_a_shell_is_offered_what_there_is(
        self,
        run: Run,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        words: str,
        offered: list[str],
    ) -> None:
        """Ids, states, kinds, queues and orders."""
        email_id = welcome(run)
        assert complete(run, monkeypatch, capsys, words.replace("ID", email_id[:6])) == [
            each.replace("ID", email_id) for each in offered
        ]

    def test_without_a_log_nothing_is_offered_or_made(
        self,
        run: Run,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        tmp_path: Path,
    ) -> None:
        """And nothing is said."""
        assert complete(run, monkeypatch, capsys, "mailctl show abc") == []
        assert list(tmp_path.iterdir()) == []


def complete(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str
) -> list[str]:
    """Return what bash would be offered for the last of some words."""
    monkeypatch.setenv("_MAILCTL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit, match="0"):
        run()
    out, err = capsys.readouterr()
    assert err == ""
    return str(out).split()


class TestSuppressed:
    """What a rule stopped goes out when an operator names that."""

    @pytest.mark.parametrize("action", ["retry", "resend"])
    def test_it_passes_the_list_when_it_is_named(self, run: Run, action: str) -> None:
        """Left out without --include; with it a worker takes the email, though its address is on the list."""
        run("suppress", "add", "zoe@example.com")
        email_id = welcome(run)
        assert run(action, email_id).code == 1
        done = run(action, email_id, "--include", "suppressed", "--json").lines[0]
        assert done["outcome"] == "done"
        taken = runtime.current().claims.take([done["new_task_id"] or email_id], worker="w@host")
        runtime.shut()
        assert (len(taken.claims), taken.suppressed) == (1, {})

    def test_a_dead_mailbox_is_tried_again_by_force(self, run: Run) -> None:
        """Its refusal has put it on the list, which does not count then either."""
        email_id = welcome(run)
        fail(email_id, DEAD)
        assert run("retry", email_id, "--force").code == 0
        assert len(runtime.current().claims.take([email_id], worker="w@host").claims) == 1
        runtime.shut()


class TestNextSteps:
    """What `why` says to do can be done."""

    def take(self, run: Run, email_id: str) -> tuple[str, Ran]:
        """Take the first next step, and return it with what it did."""
        step = run("why", email_id, "--json").lines[0]["causes"][0]["next_step"]
        program, *words = shlex.split(step)
        assert program == "mailctl"
        return step, run(*words)

    def test_held_and_cancelled_emails_are_released(self, run: Run) -> None:
        """Each by the command for its id."""
        for action in ("hold", "cancel"):
            email_id = welcome(run)
            run(action, email_id)
            step, done = self.take(run, email_id)
            assert (step, done.code) == (f"mailctl release {email_id}", 0)

    def test_suppressed_emails_go_once_the_list_lets_them(self, run: Run) -> None:
        """First the address leaves the list, then the email is retried."""
        run("suppress", "add", "zoe@example.com")
        email_id = welcome(run)
        steps = [self.take(run, email_id) for _ in range(2)]
        assert [step for step, _ in steps] == [
            "mailctl suppress remove zoe@example.com",
            f"mailctl retry {email_id} --include suppressed",
        ]
        assert [done.code for _, done in steps] == [0, 0]

    def test_captured_emails_are_sent_anew(self, run: Run) -> None:
        """For their content is forgotten."""
        email_id = welcome(run)
        parts = runtime.current()
        [claim] = parts.claims.take([email_id], worker="w@host").claims
        outcome = Outcome(kind=OutcomeKind.CAPTURED, reply=SmtpReply(text="mail/x.eml"))
        parts.outbox.finish(claim, State.CAPTURED, outcome=outcome)
        runtime.shut()
        step, done = self.take(run, email_id)
        assert (step, done.code) == ("mailctl send welcome --email zoe@example.com", 0)

    def test_what_was_refused_is_looked_at_before_it_is_retried(self, run: Run) -> None:
        """By its own error."""
        email_id = welcome(run)
        fail(email_id, REFUSED)
        step, done = self.take(run, email_id)
        assert (step.split()[1] in ("status", "retry", "list"), done.code in (0, 1)) == (True, True)

    @pytest.mark.parametrize("words", ["--in 1h", ""])
    def test_what_waits_has_steps_that_exist(self, run: Run, words: str) -> None:
        """A worker, or a look that follows the email."""
        email_id = send(run, "welcome", "--email", "zoe@example.com", *words.split())
        for cause in run("why", email_id, "--json").lines[0]["causes"]:
            assert run(*shlex.split(cause["next_step"])[1:], "--help").code == 0
