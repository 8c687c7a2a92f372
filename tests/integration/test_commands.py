"""Commands that need no worker, from the arguments to what they print."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str]]


def data(result: tuple[int, str]) -> list[dict[str, Any]]:
    """Return the JSON lines of a command that went well."""
    code, out = result
    assert code == 0, out
    return [json.loads(line) for line in out.splitlines()]


class TestSend:
    def test_dry_run_shows_the_message_and_records_nothing(self, run: Run) -> None:
        """With its subject and text."""
        code, out = run("send", "reset", "--user-id", "1", "--dry-run")
        assert code == 0
        assert "Reset your Example password" in out
        assert run("list")[0] == 3, "it made a log"

    def test_several_users_get_one_each(self, run: Run) -> None:
        """One line of JSON for each."""
        sent = data(run("send", "welcome", "--user-id", "1", "--user-id", "2", "--json"))
        assert [line["user_id"] for line in sent] == ["1", "2"]
        assert {line["state"] for line in sent} == {"pending"}

    def test_a_scheduled_email_shows_its_time(self, run: Run) -> None:
        """`pending` alone would not tell it from one that waits for a worker."""
        code, out = run("send", "welcome", "--user-id", "1", "--in", "2h")
        assert (code, ", scheduled for 20" in out) == (0, True)
        assert "scheduled for" in run("list")[1]
        assert "scheduled" not in run("send", "welcome", "--user-id", "2")[1]

    def test_the_generic_kind_takes_variables(self, run: Run) -> None:
        """As the template wants them."""
        generic = ("send", "email", "--email", "zoe@example.com", "--subject", "Hi")
        code, out = run(*generic, "--set", "title=Good day", "--set", "body=It is ready.", "--dry-run")
        assert (code, "Good day" in out) == (0, True)


class TestStatus:
    def test_it_says_why_an_email_waits(self, run: Run) -> None:
        """And what to do, in one sentence."""
        task_id = data(run("send", "welcome", "--user-id", "1", "--json"))[0]["task_id"]
        [found] = data(run("status", task_id[:8], "--json"))
        assert (found["task_id"], found["state"]) == (task_id, "pending")
        assert "no worker" in found["explanation"]
        code, out = run("status", task_id)
        assert (code, "pending" in out, "recorded" in out) == (0, True, True)

    def test_a_scheduled_email_names_its_time(self, run: Run) -> None:
        """Also as a time in UTC."""
        task_id = data(run("send", "welcome", "--user-id", "1", "--in", "2h", "--json"))[0]["task_id"]
        [found] = data(run("status", task_id, "--json"))
        assert "scheduled for" in found["explanation"]
        assert found["next_attempt_at"].endswith("Z")

    def test_nobody_knows_it(self, run: Run) -> None:
        """Exit code 3."""
        assert run("status", "ffffffff")[0] == 3


class TestWhy:
    def test_the_next_step_is_a_command_to_copy(self, run: Run) -> None:
        """Below the sentence; then what was looked at."""
        task_id = data(run("send", "welcome", "--user-id", "1", "--json"))[0]["task_id"]
        code, out = run("why", task_id[:8])
        assert (code, "no worker is alive" in out, "next step  mailctl worker\n" in out) == (0, True, True)
        assert "mailctl.db" in out

    def test_it_says_which_email_it_explains(self, run: Run) -> None:
        """Of an address, it is the newest one."""
        task_id = data(run("send", "welcome", "--email", "zoe@example.com", "--json"))[0]["task_id"]
        lines = [line.split() for line in run("why", "zoe@example.com")[1].splitlines()]
        assert ["task", "id", task_id] in lines
        assert ["to", "zoe@example.com"] in lines

    def test_an_idempotency_key_stands_for_its_email(self, run: Run) -> None:
        """The call that was made one with it is told."""
        sent = run("send", "welcome", "--user-id", "1", "--idempotency-key", "order-7", "--json")
        [found] = data(run("why", "order-7", "--json"))
        assert found["task_id"] == data(sent)[0]["task_id"]
        assert [cause["cause"] for cause in found["causes"]] == ["no_worker", "idempotency"]

    def test_an_id_that_nobody_knows_has_a_diagnosis_too(self, run: Run) -> None:
        """Exit code 3, and the log that was read is named; with several that fit, 2."""
        code, out = run("why", "ffffffff", "--json")
        [first, *_] = json.loads(out)["causes"]
        assert (code, first["cause"]) == (3, "log_elsewhere")
        assert "mailctl.db" in first["sentence"]
        for _ in range(17):
            run("send", "welcome", "--user-id", "1")
        ids = [line["task_id"] for line in data(run("list", "--json"))]
        twice = next(one[0] for one in ids if sum(other[0] == one[0] for other in ids) > 1)
        assert run("why", twice)[0] == 2


class TestQueuesAndWorkers:
    def test_people_see_tables(self, run: Run) -> None:
        """With what has no worker marked, and addresses masked."""
        run("send", "welcome", "--email", "zoe@example.com")
        code, out = run("queue", "list")
        assert (code, "celery" in out, "no worker" in out) == (0, True, True)
        code, out = run("queue", "peek")
        assert (code, "z…@example.com" in out, "zoe@" in out) == (0, True, False)

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (("workers",), 0),
            (("workers", "list"), 0),
            (("workers", "ping"), 3),
            (("workers", "stop", "--yes"), 3),
            (("workers", "gone"), 2),
            (("queue",), 0),
            (("queue", "peek", "-n", "0"), 2),
        ],
    )
    def test_nobody_works_and_wrong_words_are_told(
        self, run: Run, arguments: tuple[str, ...], code: int
    ) -> None:
        """By the exit code; `workers` and `queue` alone list them."""
        run("db", "upgrade")
        assert run(*arguments)[0] == code


class TestList:
    @pytest.fixture
    def sent(self, run: Run) -> list[dict[str, Any]]:
        """Three welcomes and a reset, oldest first."""
        welcomes = run("send", "welcome", "--user-id", "1", "--user-id", "2", "--user-id", "3", "--json")
        return data(welcomes) + data(run("send", "reset", "--email", "zoe_x@example.com", "--json"))

    def ids(self, found: list[dict[str, Any]]) -> list[str]:
        """Return the ids of a list."""
        return [line["task_id"] for line in found]

    def test_the_newest_come_first(self, run: Run, sent: list[dict[str, Any]]) -> None:
        """Unless the oldest are wished for."""
        assert self.ids(data(run("list", "--json"))) == self.ids(sent)[::-1]
        assert self.ids(data(run("list", "--oldest-first", "--json"))) == self.ids(sent)

    @pytest.mark.parametrize(
        ("arguments", "positions"),
        [
            (("--kind", "reset"), [3]),
            (("--kind", "reset", "--kind", "welcome"), [0, 1, 2, 3]),
            (("--user-id", "2"), [1]),
            (("--to", "ZOE_"), [3]),
            (("--to", "%"), []),
            (("--state", "pending", "--kind", "welcome"), [0, 1, 2]),
            (("--state", "failed"), []),
            (("--queue", "celery"), [0, 1, 2, 3]),
            (("--queue", "mailctl.bulk"), []),
            (("--since", "1h"), [0, 1, 2, 3]),
            (("--until", "1h"), []),
            (("--error", "550"), []),
        ],
    )
    def test_filters_compose(
        self, run: Run, sent: list[dict[str, Any]], arguments: tuple[str, ...], positions: list[int]
    ) -> None:
        """An email is listed if it fits all of them."""
        found = data(run("list", "--oldest-first", "--json", *arguments))
        assert self.ids(found) == [sent[position]["task_id"] for position in positions]

    def test_pages_follow_each_other(
        self, run: Run, sent: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The end of a page names the next one; each email is on one of them."""
        assert main(("list", "--limit", "3", "--json")) == 0
        printed = capsys.readouterr()
        first = [json.loads(line)["task_id"] for line in printed.out.splitlines()]
        cursor = printed.err.split()[-1]
        rest = self.ids(data(run("list", "--limit", "3", "--after", cursor, "--json")))
        assert first + rest == self.ids(sent)[::-1]

    def test_people_see_a_table(self, run: Run, sent: list[dict[str, Any]]) -> None:
        """With ids that `status` takes."""
        code, out = run("list", "--kind", "reset")
        assert (code, sent[3]["task_id"][:8] in out, "zoe_x@example.com" in out) == (0, True, True)

    @pytest.mark.parametrize("arguments", [("--state", "gone"), ("--kind", "x"), ("--since", "soon")])
    def test_what_is_no_filter_is_refused(self, run: Run, arguments: tuple[str, ...]) -> None:
        """Exit code 2."""
        assert run("list", *arguments)[0] == 2


class TestUsers:
    def test_they_are_listed_added_and_imported(self, run: Run, tmp_path: Path) -> None:
        """The embedded directory, which development starts with."""
        before = len(data(run("users", "list", "--json")))
        assert run("users", "add", "zoe@example.com", "--first-name", "Zoe")[0] == 0
        file = tmp_path / "users.csv"
        file.write_text("email,username,first_name\nmax@example.com,max,Max\n")
        assert run("users", "import", str(file))[0] == 0
        listed = data(run("users", "list", "--json"))
        assert len(listed) == before + 2
        assert "zoe@example.com" in run("users", "list")[1]


class TestDatabase:
    def test_the_schema_is_made_and_told(self, run: Run) -> None:
        """`db upgrade` is safe to repeat."""
        assert run("db", "upgrade")[0] == 0
        [found] = data(run("db", "current", "--json"))
        assert found["current"] == found["head"]
        assert run("db", "upgrade")[0] == 0

    def test_prune_counts_and_removes(self, run: Run) -> None:
        """Only what is finished."""
        run("send", "welcome", "--user-id", "1")
        [counted] = data(run("prune", "--older-than", "90d", "--json"))
        assert (counted["emails"], counted["contents"], counted["dry_run"]) == (0, 0, False)
        assert run("prune", "--older-than", "soon")[0] == 2


class TestCheckConfig:
    def test_development_without_a_worker(self, run: Run) -> None:
        """Every line has a group, a status and a detail; what is wrong has a fix."""
        code, out = run("check-config", "--json")
        found = json.loads(out)
        assert (code == 0, found["profile"]) == (found["ok"], "development")
        assert all(check["fix"] for check in found["checks"] if check["status"] in ("warn", "fail"))
        assert "settings" in run("check-config", "--offline")[1]
