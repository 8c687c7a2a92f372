"""What operators do to emails, from the arguments to what is printed."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from mailctl import runtime
from mailctl.domain.outcomes import Outcome, OutcomeKind
from mailctl.domain.states import State
from tests.integration.commands import DEAD, LOST, REFUSED, fail, send, state_of, welcome

if TYPE_CHECKING:
    from tests.integration.commands import Mailctl, Ran


@pytest.fixture(autouse=True)
def by_zoe(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is she who acts."""
    monkeypatch.setenv("MAILCTL_ACTOR", "zoe")


class TestNamed:
    def test_cancel_is_undone_by_release_and_both_say_who_and_why(self, mailctl: Mailctl) -> None:
        """Each is an event with its operator."""
        email_id = welcome(mailctl)
        assert mailctl("cancel", email_id[:8], "--reason", "wrong list").code == 0
        assert mailctl("release", email_id).code == 0
        *_, cancelled, released = mailctl("status", email_id, "--json").lines[0]["events"]
        assert (cancelled["text"], cancelled["actor"]) == ("cancelled: wrong list", "zoe")
        assert (released["state"], released["actor"]) == ("pending", "zoe")

    def test_nobody_waits_for_a_held_email(self, mailctl: Mailctl) -> None:
        """Only an operator can release it, so `send --wait` says that at once."""
        once = ("send", "welcome", "--email", "zoe@example.com", "--idempotency-key", "order-7")
        email_id = mailctl(*once, "--json").lines[0]["task_id"]
        mailctl("hold", email_id, "--reason", "legal")
        waited = mailctl(*once, "--wait", "--timeout", "3000", "--json")
        assert (waited.code, waited.lines[0]["state"]) == (8, "held")
        assert "legal" in waited.err

    def test_one_bad_id_stops_none(self, mailctl: Mailctl) -> None:
        """Unknown is 3; else 1 if one could not be done; each is told."""
        email_id = welcome(mailctl)
        mixed = mailctl("hold", "ffff", email_id, "--json")
        assert mixed.code == 3
        assert [line["outcome"] for line in mixed.lines] == ["unknown", "done"]
        again = mailctl("hold", email_id)
        assert (again.code, "it is already held" in again.out) == (1, True)

    def test_ids_come_by_a_pipe(self, mailctl: Mailctl) -> None:
        """One a line, with comments, or as JSON lines of other commands."""
        ids = [welcome(mailctl, f"user{n}@example.com") for n in range(3)]
        listed = mailctl("list", "--to", "user2", "--json").out
        piped = f"# these\n{ids[0]}  # the first\n\n{ids[1]}\n{listed}" + '{"campaign": "x", "recorded": 1}\n'
        done = mailctl("cancel", "-", "--json", stdin=piped)
        assert (done.code, [line["task_id"] for line in done.lines]) == (0, ids)
        assert mailctl("cancel", "-", stdin="").code == 0

    def test_ids_and_filters_do_not_mix(self, mailctl: Mailctl) -> None:
        """Nor is neither enough; and --force is for ids."""
        mailctl("db", "upgrade")
        assert mailctl("cancel", "abc", "--state", "pending").code == 2
        assert mailctl("cancel").code == 2
        assert mailctl("retry", "--state", "failed", "--force").code == 2
        assert mailctl("retry", "--state", "failed", "--include", "luck").code == 2
        assert mailctl("cancel", "--state", "sent").code == 2


class TestFound:
    def test_a_queue_or_campaign_that_nobody_knows_is_refused(self, mailctl: Mailctl) -> None:
        """A slip of the pen would look as if there was nothing to do."""
        welcome(mailctl)
        for line in (
            "queue pause clery",
            "queue peek clery",
            "queue purge clery --yes",
            "queue purge clery --dry-run",
            "queue restore clery",
            "hold --queue clery --yes",
            "release --queue clery --yes",
        ):
            ran = mailctl(*line.split())
            said = "error: There is no queue 'clery'. Did you mean 'celery'?\n"
            assert (ran.code, ran.out, ran.err) == (3, "", said), line
            known = mailctl(*line.replace("clery", "mailctl.bulk").split())
            assert (known.code, "does not exist" in known.err) == (0, False), line
        for line in (
            "hold --campaign nope --yes",
            "cancel --campaign nope",
            "queue purge --campaign nope --yes",
        ):
            ran = mailctl(*line.split())
            assert (ran.code, "has no email of campaign 'nope'" in ran.err) == (3, True), line

    def test_what_is_left_out_is_told_with_the_reason(self, mailctl: Mailctl) -> None:
        """As by the plan of --dry-run, with the number of each."""
        for number, outcome in enumerate([REFUSED, DEAD, DEAD, LOST]):
            fail(welcome(mailctl, f"user{number}@example.com"), outcome)
        by_state = ("retry", "--state", "failed")
        planned = [line for line in mailctl(*by_state, "--dry-run").out.splitlines() if "left out" in line]
        done = mailctl(*by_state, "--yes").err
        assert "1 email retried, 3 left out." in done
        assert [line for line in done.splitlines() if "left out:" in line] == planned
        assert any(line.startswith("     2  left out: permanent") for line in planned)

    def test_where_no_email_is_in_a_state_for_it_the_states_are_told(self, mailctl: Mailctl) -> None:
        """They fit the filters; what does it all the same is offered if there is such a thing."""
        for number in range(2):
            welcome(mailctl, f"user{number}@example.com")
        mailctl("cancel", "--kind", "welcome", "--yes")
        match = "2 emails match, but"
        for line in ("hold --kind welcome --yes", "hold --kind welcome", "queue purge celery --yes"):
            name = "purge" if "purge" in line else "hold"
            ran = mailctl(*line.split())
            assert (ran.code, ran.err) == (
                0,
                f"{match} `{name}` does not apply to any of them (2 cancelled).\n",
            ), line
        assert mailctl("release", "--kind", "welcome", "--dry-run").out == (
            f"{match} `release` by default does not apply to any of them (2 cancelled). "
            "To include them, name their state: --state cancelled.\n"
        )
        assert "matches." in mailctl("hold", "--kind", "reset", "--yes").err

    def test_nobody_to_ask_means_no(self, mailctl: Mailctl) -> None:
        """Exit code 4, the number, a sample, and what to add; --dry-run only looks."""
        email_id = welcome(mailctl)
        refused = mailctl("cancel", "--kind", "welcome")
        assert (refused.code, "--yes" in refused.err, email_id[:8] in refused.err) == (4, True, True)
        assert "1  would be cancelled (pending 1)" in mailctl("cancel", "--kind", "welcome", "--dry-run").out
        assert state_of(mailctl, email_id) == "pending"

    def test_many_are_undone_together(self, mailctl: Mailctl) -> None:
        """The command that undoes it is printed, and touches nothing that was cancelled before."""
        earlier, *ids = (welcome(mailctl, f"user{n}@example.com") for n in range(3))
        mailctl("cancel", earlier)
        purged = mailctl("queue", "purge", "celery", "--yes", "--reason", "a mistake")
        assert "2 emails purged." in purged.err
        undo = purged.err.rpartition("mailctl ")[2].split()
        assert mailctl(*undo, "--yes").code == 0
        assert [state_of(mailctl, each) for each in (earlier, *ids)] == ["cancelled", "pending", "pending"]

    def test_purge_needs_to_be_told_what(self, mailctl: Mailctl) -> None:
        """By kind, age, campaign, queue, or all."""
        email_id = welcome(mailctl)
        assert mailctl("queue", "purge").code == 2
        assert mailctl("queue", "purge", "celery", "--all").code == 2
        assert (
            "No email in the delivery log at" in mailctl("queue", "purge", "--older-than", "1h", "--yes").err
        )
        assert mailctl("queue", "purge", "--all", "--yes").code == 0
        assert state_of(mailctl, email_id) == "cancelled"


class TestRetry:
    def test_it_does_the_safe_ones_and_names_the_others(self, mailctl: Mailctl) -> None:
        """What may be sent already, or cannot arrive, has to be named."""
        safe, dead, lost = (welcome(mailctl, f"user{n}@example.com") for n in range(3))
        for email_id, outcome in ((safe, REFUSED), (dead, DEAD), (lost, LOST)):
            fail(email_id, outcome)
        plan = mailctl("retry", "--state", "failed", "--dry-run", "--json").lines
        assert {line["task_id"]: line["hazards"] for line in plan} == {
            safe: [],
            dead: ["permanent", "suppressed"],
            lost: ["maybe-sent"],
        }
        mailctl("retry", "--state", "failed", "--yes")
        assert [state_of(mailctl, each) for each in (safe, dead, lost)] == ["pending", "failed", "failed"]
        assert mailctl("retry", lost).code == 1
        assert mailctl("retry", lost, "--force").code == 0
        dead_ones = "permanent,suppressed"  # the refusal has put the address on the list
        assert mailctl("retry", "--state", "failed", "--include", dead_ones, "--yes").code == 0
        assert [state_of(mailctl, each) for each in (dead, lost)] == ["pending", "pending"]

    @pytest.mark.parametrize("more", [("--dry-run",), ("--yes",)])
    def test_without_any_email_it_prints_one_object(self, mailctl: Mailctl, more: tuple[str, ...]) -> None:
        """A program reads JSON in any case."""
        welcome(mailctl)
        [found] = mailctl("retry", "--state", "failed", "--json", *more).lines
        assert (found["action"], found["emails"]) == ("retry", 0)
        assert found["explanation"].startswith("No email in the delivery log")

    def test_what_is_too_old_gets_a_new_life_only_when_it_is_named(self, mailctl: Mailctl) -> None:
        """Else its time stays what it was."""
        email_id = send(mailctl, "reset", "--email", "zoe@example.com")
        fail(email_id, REFUSED, state=State.EXPIRED)
        before = mailctl("status", email_id, "--json").lines[0]["expires_at"]
        assert "expired" in mailctl("retry", email_id).out
        assert mailctl("retry", email_id, "--include", "expired").code == 0
        assert mailctl("status", email_id, "--json").lines[0]["expires_at"] > before


class TestResend:
    def test_a_new_email_and_an_old_one_name_each_other(self, mailctl: Mailctl) -> None:
        """And a second copy has to be wished for, of either."""
        email_id = welcome(mailctl)
        fail(email_id, REFUSED)
        [line] = mailctl("resend", email_id, "--json").lines
        new, old = (mailctl("status", each, "--json").lines[0] for each in (line["new_task_id"], email_id))
        assert (new["state"], new["to"], new["kind"]) == ("pending", "zoe@example.com", "welcome")
        assert f"is a resend of {email_id}" in new["events"][0]["text"]
        assert old["events"][-1]["text"] == f"resent as {new['task_id']}"
        for again in ("resend", "retry"):
            assert "resent: " in mailctl(again, email_id).out
        assert mailctl("resend", email_id, "--force").code == 0

    def test_sent_emails_have_no_content(self, mailctl: Mailctl) -> None:
        """The command that sends another is named."""
        email_id = welcome(mailctl)
        fail(email_id, Outcome(kind=OutcomeKind.ACCEPTED), state=State.SENT)
        refused = mailctl("resend", email_id)
        assert (refused.code, "mailctl send welcome --email zoe@example.com" in refused.out) == (1, True)


class TestPause:
    def test_it_is_told_wherever_one_looks(self, mailctl: Mailctl) -> None:
        """Who, since when and why; and how to end it."""
        email_id = welcome(mailctl)
        paused = mailctl("queue", "pause", "--kind", "welcome", "--reason", "typo in it", "--json").lines[0]
        assert (paused["actor"], paused["waiting"], paused["is_paused"]) == ("zoe", 1, True)
        [found] = mailctl("status", email_id, "--json").lines
        assert "kind welcome has been paused by zoe since" in found["explanation"]
        [why] = mailctl("why", email_id, "--json").lines
        assert why["causes"][0]["next_step"] == "mailctl queue resume --kind welcome"
        assert mailctl("queue", "resume", "--kind", "welcome").code == 0
        assert mailctl("queue", "resume", "--kind", "welcome").code == 3

    def test_what_nobody_knows_cannot_be_paused(self, mailctl: Mailctl) -> None:
        """A slip of the pen would look as if it had stopped something."""
        mailctl("db", "upgrade")
        assert mailctl("queue", "pause", "nosuch").code == 3
        assert mailctl("queue", "pause", "--kind", "nosuch").code == 2
        assert mailctl("queue", "pause").code == 2


class TestSuppressed:
    """What a rule stopped goes out when an operator names that."""

    @pytest.mark.parametrize("action", ["retry", "resend"])
    def test_it_passes_the_list_when_it_is_named(self, mailctl: Mailctl, action: str) -> None:
        """Left out without --include; with it a worker takes the email, though its address is on the list."""
        mailctl("suppress", "add", "zoe@example.com")
        email_id = welcome(mailctl)
        assert mailctl(action, email_id).code == 1
        done = mailctl(action, email_id, "--include", "suppressed", "--json").lines[0]
        assert done["outcome"] == "done"
        taken = runtime.current().claims.claim([done["new_task_id"] or email_id], worker="w@host")
        runtime.close()
        assert (len(taken.claims), taken.suppressed) == (1, {})

    def test_a_dead_mailbox_is_tried_again_by_force(self, mailctl: Mailctl) -> None:
        """Its refusal has put it on the list, which does not count then either."""
        email_id = welcome(mailctl)
        fail(email_id, DEAD)
        assert mailctl("retry", email_id, "--force").code == 0
        assert len(runtime.current().claims.claim([email_id], worker="w@host").claims) == 1
        runtime.close()


class TestNextSteps:
    """What `why` says to do can be done."""

    def take(self, mailctl: Mailctl, email_id: str) -> tuple[str, Ran]:
        """Take the first next step, and return it with what it did."""
        step = mailctl("why", email_id, "--json").lines[0]["causes"][0]["next_step"]
        program, *words = shlex.split(step)
        assert program == "mailctl"
        return step, mailctl(*words)

    def test_held_and_cancelled_emails_are_released(self, mailctl: Mailctl) -> None:
        """Each by the command for its id."""
        for action in ("hold", "cancel"):
            email_id = welcome(mailctl)
            mailctl(action, email_id)
            step, done = self.take(mailctl, email_id)
            assert (step, done.code) == (f"mailctl release {email_id}", 0)

    def test_suppressed_emails_go_once_the_list_lets_them(self, mailctl: Mailctl) -> None:
        """First the address leaves the list, then the email is retried."""
        mailctl("suppress", "add", "zoe@example.com")
        email_id = welcome(mailctl)
        steps = [self.take(mailctl, email_id) for _ in range(2)]
        assert [step for step, _ in steps] == [
            "mailctl suppress remove zoe@example.com",
            f"mailctl retry {email_id} --include suppressed",
        ]
        assert [done.code for _, done in steps] == [0, 0]

    def test_captured_emails_are_sent_anew(self, mailctl: Mailctl) -> None:
        """For their content is forgotten."""
        email_id = welcome(mailctl)
        parts = runtime.current()
        [claim] = parts.claims.claim([email_id], worker="w@host").claims
        outcome = Outcome(kind=OutcomeKind.CAPTURED, captured_file="mail/x.eml")
        parts.attempt_results.finish(claim, State.CAPTURED, outcome=outcome)
        runtime.close()
        step, done = self.take(mailctl, email_id)
        assert (step, done.code) == ("mailctl send welcome --email zoe@example.com", 0)

    def test_what_was_refused_is_looked_at_before_it_is_retried(self, mailctl: Mailctl) -> None:
        """By its own error."""
        email_id = welcome(mailctl)
        fail(email_id, REFUSED)
        step, done = self.take(mailctl, email_id)
        assert (step.split()[1] in ("status", "retry", "list"), done.code in (0, 1)) == (True, True)

    @pytest.mark.parametrize("words", ["--in 1h", ""])
    def test_what_waits_has_steps_that_exist(self, mailctl: Mailctl, words: str) -> None:
        """A worker, or a look that follows the email."""
        email_id = send(mailctl, "welcome", "--email", "zoe@example.com", *words.split())
        for cause in mailctl("why", email_id, "--json").lines[0]["causes"]:
            assert mailctl(*shlex.split(cause["next_step"])[1:], "--help").code == 0
