"""`mailctl suppress`, `--force`, own kinds and environments, from the arguments to what is printed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from mailctl import EmailService, runtime
from mailctl.checks.run_checks import run_checks
from mailctl.errors import InvalidInput
from mailctl.settings import Settings
from tests.smtp_server import ScriptedSmtpServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.commands import Mailctl


CATALOG = """
from datetime import timedelta
from mailctl.domain.catalog import Kind

KINDS = [
    Kind(
        name="invoice",
        subject="Invoice {number} from {project_name}",
        template="invoice",
        lifetime=timedelta(days=3),
        summary="sends an invoice",
        variables=("number", "amount"),
        samples={"number": "2026-17", "amount": "30.00"},
    )
]
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A service with a kind of its own, and its templates."""
    name = f"shop_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(CATALOG)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/invoice.html").write_text("<p>{{ number }}: {{ amount }}</p>")
    (tmp_path / "templates/invoice.txt").write_text("{{ number }}: {{ amount }}")
    env_file = tmp_path / "shop.env"
    env_file.write_text(f"MAILCTL_CATALOG={name}\nMAILCTL_TEMPLATES={tmp_path / 'templates'}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return env_file


class TestSuppress:
    def test_an_address_is_added_listed_and_removed(self, mailctl: Mailctl) -> None:
        """In lower case; adding twice changes nothing."""
        added = mailctl(
            "suppress", "add", "Zoe@Example.com", "max@example.com", "--reason", "asked", "--json"
        )
        assert added.lines == [
            {"schema": "mailctl/1", "address": address, "changed": True}
            for address in ("zoe@example.com", "max@example.com")
        ]
        assert mailctl("suppress", "add", "zoe@example.com").out == "zoe@example.com: already suppressed\n"
        listed = mailctl("suppress", "list", "--json", "--limit", "1")
        assert (listed.lines[0]["address"], listed.lines[0]["reason"]) == ("max@example.com", "asked")
        assert listed.lines[0]["source"] == "operator"
        assert listed.lines[0]["actor"]
        assert "--after max@example.com" in listed.err
        assert "zoe@example.com" in mailctl("suppress", "list", "--after", "max@example.com").out
        assert mailctl("suppress", "remove", "ZOE@example.com").code == 0
        assert mailctl("suppress", "remove", "zoe@example.com").code == 3

    def test_a_list_is_imported_row_by_row(self, mailctl: Mailctl, tmp_path: Path) -> None:
        """Bad rows are told with their line; CSV or JSON lines."""
        csv = tmp_path / "bounces.csv"
        csv.write_text("email,reason\na@example.com,hard bounce\nnobody,\nA@example.com,\n")
        imported = mailctl("suppress", "import", str(csv), "--json")
        [summary] = imported.lines
        assert (imported.code, summary["added"], summary["known"]) == (1, 1, 0)
        assert [problem["line"] for problem in summary["problems"]] == [3]
        lines = tmp_path / "bounces.jsonl"
        lines.write_text('{"email": "b@example.com", "reason": "complaint"}\n"a@example.com"\n')
        assert (
            mailctl("suppress", "import", str(lines)).out
            == "1 added, 1 already suppressed, 0 invalid rows skipped\n"
        )
        [first, second] = mailctl("suppress", "list", "--source", "import", "--json").lines
        assert (first["reason"], second["reason"]) == ("hard bounce", "complaint")

    @pytest.mark.parametrize(
        "arguments", [("add", "nobody"), ("add",), ("list", "--source", "x"), ("import", "there-is-none.csv")]
    )
    def test_what_cannot_be_used_is_refused(self, mailctl: Mailctl, arguments: tuple[str, ...]) -> None:
        """In one sentence, with exit code 2."""
        refused = mailctl("suppress", *arguments)
        assert (refused.code, refused.err.count("\n")) == (2, 1)

    def test_send_says_so_and_force_insists(self, mailctl: Mailctl) -> None:
        """Recorded, suppressed, and why; with --force it goes, and the log says who."""
        mailctl("suppress", "add", "zoe@example.com", "--reason", "asked us to stop")
        sent = mailctl("send", "welcome", "--email", "zoe@example.com", "--json")
        assert (sent.code, sent.lines[0]["state"], "asked us to stop" in sent.err) == (0, "suppressed", True)
        forced = mailctl("send", "welcome", "--email", "zoe@example.com", "--force", "--json")
        assert forced.lines[0]["state"] == "pending"
        [status] = mailctl("status", forced.lines[0]["task_id"], "--json").lines
        assert status["events"][0]["actor"]

    def test_a_retry_that_insists_is_not_suppressed_again(self, mailctl: Mailctl) -> None:
        """Without it the email stays where it is; with it the worker that takes it lets it pass."""
        mailctl("suppress", "add", "zoe@example.com")
        [sent] = mailctl("send", "welcome", "--email", "zoe@example.com", "--json").lines
        email_id = sent["task_id"]
        mailctl("retry", email_id)
        assert mailctl("status", email_id, "--json").lines[0]["state"] == "suppressed"
        assert mailctl("retry", email_id, "--force").code == 0
        taken = runtime.current().claims.claim([email_id], worker="w@host")
        runtime.close()
        assert [claim.id for claim in taken.claims] == [email_id]
        assert mailctl("status", email_id, "--json").lines[0]["state"] == "sending"

    def test_a_campaign_counts_them(self, mailctl: Mailctl, tmp_path: Path) -> None:
        """Suppressed ones are recorded too."""
        mailctl("suppress", "add", "zoe@example.com")
        (tmp_path / "list.csv").write_text("email\nzoe@example.com\nmax@example.com\n")
        sent = mailctl("send", "welcome", "--users-file", str(tmp_path / "list.csv"))
        assert sent.out.startswith("2 emails recorded, 1 of them suppressed; ")


class TestOwnKinds:
    def test_send_and_list_know_it(self, mailctl: Mailctl, shop: Path) -> None:
        """Wherever the file of settings is named."""
        options = ("--user-id", "1", "--set", "number=7", "--set", "amount=30")
        shown = mailctl("send", "invoice", *options, "--dry-run", "--env-file", str(shop))
        assert "Invoice 7 from Example" in shown.out, shown.err
        sent = mailctl("--env-file", str(shop), "send", "invoice", *options, "--json")
        assert (sent.lines[0]["kind"], sent.lines[0]["state"]) == ("invoice", "pending")
        listed = mailctl("list", "--kind", "invoice", "--json", "--env-file", str(shop))
        assert [line["task_id"] for line in listed.lines] == [sent.lines[0]["task_id"]]
        assert "Sends an invoice." in mailctl("--env-file", str(shop), "send", "--help").out

    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            (("number=7",), "Kind invoice needs the variable amount."),
            (
                ("number=7", "amount=3", "amont=4"),
                "Kind invoice has no variable 'amont'. Did you mean 'amount'?",
            ),
        ],
    )
    def test_variables_are_named(
        self, mailctl: Mailctl, shop: Path, given: tuple[str, ...], sentence: str
    ) -> None:
        """Those that are missing, and those that nobody knows."""
        options = [word for variable in given for word in ("--set", variable)]
        refused = mailctl("--env-file", str(shop), "send", "invoice", "--user-id", "1", *options)
        assert (refused.code, sentence in refused.err) == (2, True)

    def test_many_get_theirs(self, mailctl: Mailctl, shop: Path, tmp_path: Path) -> None:
        """A row brings its variables; one without them is told."""
        (tmp_path / "list.csv").write_text("email,number,amount\na@example.com,1,10\nb@example.com,2,\n")
        (tmp_path / "bad.jsonl").write_text('{"email": "c@example.com", "number": "3"}\n')
        sent = mailctl("--env-file", str(shop), "send", "invoice", "--users-file", str(tmp_path / "list.csv"))
        assert (sent.code, sent.out.startswith("2 emails recorded")) == (0, True)
        bad = mailctl("--env-file", str(shop), "send", "invoice", "--users-file", str(tmp_path / "bad.jsonl"))
        assert (bad.code, "line 1: Kind invoice needs the variable amount" in bad.err) == (1, True)

    def test_check_config_makes_a_sample(self, mailctl: Mailctl, shop: Path) -> None:
        """With the values that the kind gives."""
        out = mailctl("--env-file", str(shop), "check-config", "--offline").out
        assert "renders kind invoice" in out
        assert "Invoice 2026-17 from Example" in out

    def test_one_that_cannot_be_loaded_harms_no_other(self, mailctl: Mailctl, tmp_path: Path) -> None:
        """`check-config` has the finding, and our kinds go on."""
        (tmp_path / ".env").write_text("MAILCTL_CATALOG=there_is_no_such_shop\n")
        assert mailctl("send", "welcome", "--user-id", "1").code == 0
        refused = mailctl("send", "invoice", "--user-id", "1")
        assert (refused.code, "there_is_no_such_shop" in refused.err) == (2, True)
        out = mailctl("check-config", "--offline").out
        assert "fail  own kinds: " in out
        assert "renders kind reset" in out

    def test_a_service_sends_it(self, mailctl: Mailctl, shop: Path) -> None:
        """`EmailService.send` knows every kind."""
        runtime.configure(Settings.load(shop))
        user = SimpleNamespace(id=7, email="zoe@example.com", username="zoe")

        async def send(kind: str, **context: str) -> str:
            await EmailService.prepare()
            return await EmailService.send(kind, user, context)

        email_id = asyncio.run(send("invoice", number="7", amount="30"))
        assert runtime.current().history.find(email_id)[0].kind == "invoice"
        for kind, context in (("invoice", {"number": "7"}), ("invoce", {})):
            with pytest.raises(InvalidInput):
                asyncio.run(send(kind, **context))
        asyncio.run(EmailService.close())


class TestEnvironments:
    @pytest.mark.parametrize(
        ("setting", "sentence"),
        [
            ("MAILCTL_REDIRECT_TO=qa@corp.example", "MAILCTL_REDIRECT_TO: all mail goes to qa@corp.example"),
            ("MAILCTL_RECIPIENTS_ALLOW=@corp.example", "mail goes only to @corp.example"),
        ],
    )
    def test_what_is_in_force_is_said(
        self, mailctl: Mailctl, tmp_path: Path, setting: str, sentence: str
    ) -> None:
        """By `send` and by `check-config`."""
        (tmp_path / ".env").write_text(f"{setting}\n")
        assert sentence in mailctl("send", "welcome", "--user-id", "1", "--dry-run").err
        assert sentence in mailctl("check-config", "--offline").out

    @pytest.mark.parametrize("setting", ["MAILCTL_REDIRECT_TO=qa", "MAILCTL_RECIPIENTS_ALLOW=example.com"])
    def test_what_nobody_understands_stops_everything(
        self, mailctl: Mailctl, tmp_path: Path, setting: str
    ) -> None:
        """Nothing is recorded, nothing sent."""
        (tmp_path / ".env").write_text(f"{setting}\n")
        for command in (("send", "welcome", "--user-id", "1"), ("worker", "--drain")):
            refused = mailctl(*command)
            assert (refused.code, "nothing is sent" in refused.err) == (2, True)

    def test_a_test_message_is_no_way_round(self, tmp_path: Path) -> None:
        """`check-config --send-test` looks at the envelope too."""
        with ScriptedSmtpServer() as smtp:
            common = {
                "email_enabled": True,
                "email_host": "127.0.0.1",
                "email_port": smtp.port,
                "email_tls": "none",
                "mailctl_home": tmp_path,
            }
            closed = Settings(**common, mailctl_recipients_allow="@corp.example")
            found = {f.name: f for f in run_checks(closed, send_test="zoe@example.com")}
            assert (found["send-test"].status, smtp.messages) == ("fail", [])
            redirected = Settings(**common, mailctl_redirect_to="qa@corp.example")
            found = {f.name: f for f in run_checks(redirected, send_test="zoe@example.com")}
            assert found["send-test"].status == "ok"
            [message] = smtp.messages
        assert message.recipients == ("qa@corp.example",)
