"""Every command of the command line, called so that it shows something, and a folder with emails for it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from mailctl.cli.main import app
from mailctl.delivery_log.operator_actions import AuditInfo
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.recipient_list import RecipientRow
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.campaign import CampaignRecorder
from mailctl.enqueue.send_service import Recipients, SendService
from mailctl.runtime import Runtime
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_LOG = "mailctl.db"
_REFUSED = Outcome(
    kind=OutcomeKind.REFUSED,
    reply=SmtpReply(code=550, enhanced="5.7.1", text="Nachricht zurückgewiesen — “spam” … 拒绝"),
)
_USERS = "email,name,title\nada@example.com,Ada,Your seat\nzoe@example.com,Zoë,You wait\nno address,Max,No\n"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to call a command; `{failed}` and the like in its words stand for ids in the folder."""

    command: str
    arguments: str = ""
    #: The exit code.
    code: int = 0
    #: What one that serves or follows shows before somebody presses Ctrl-C; "" for one that ends by itself.
    until: str = ""
    #: Whether its lines fit the window; what is to be copied is never folded.
    is_fitted: bool = True

    def words(self, ids: Mapping[str, str]) -> tuple[str, ...]:
        """Return what follows `mailctl`."""
        return tuple(f"{self.command} {self.arguments}".format(**ids).split())

    def __str__(self) -> str:
        return f"{self.command} {self.arguments}".strip().replace("{", "").replace("}", "")


ROWS = [
    Row(command="send welcome", arguments="--email zoe@example.com"),
    Row(command="send welcome", arguments="--users-file users.csv", code=1),
    Row(command="send welcome", arguments="--all-users --campaign all --yes"),
    Row(command="send welcome", arguments="--email zoe@example.com --wait --timeout 0.2", code=8),
    Row(command="send reset", arguments="--email zoe@example.com --dry-run", is_fitted=False),
    Row(command="send verification", arguments="--user-id 1 --in 1h"),
    Row(command="send new-ip", arguments="--user-id 1 --ip 192.0.2.7"),
    Row(
        command="send email",
        arguments="--subject Café --set title=Naïve --set body=“Grüße”—拒绝 --user-id 1 --dry-run",
        is_fitted=False,
    ),
    Row(command="worker", until="ready.", is_fitted=False),
    Row(command="demo", is_fitted=False),
    Row(command="status", arguments="{failed}", code=1),
    Row(command="status", arguments="{pending} --watch", until="pending"),
    Row(command="why", arguments="{failed}", code=1, is_fitted=False),
    Row(command="why", arguments="{pending}", is_fitted=False),
    Row(command="show", arguments="{pending}", is_fitted=False),
    Row(command="list"),
    Row(command="list", arguments="--watch", until="zoe", code=0),
    Row(command="list", arguments="--state sending", is_fitted=False),
    Row(command="errors", is_fitted=False),
    Row(command="events", is_fitted=False),
    Row(command="web", arguments="--port 0", code=0, until="dashboard:", is_fitted=False),
    Row(command="retry", arguments="{failed}"),
    Row(command="retry", arguments="--state failed --dry-run"),
    Row(command="cancel", arguments="{pending}"),
    Row(command="hold", arguments="--campaign spring --yes"),
    Row(command="release", arguments="{held}"),
    Row(command="resend", arguments="{failed} --dry-run"),
    Row(command="feedback serve", arguments="--port 0", code=0, until="feedback: http", is_fitted=False),
    Row(command="feedback tail-log", arguments="users.csv --from-start --once", is_fitted=False),
    Row(command="suppress add", arguments="no@example.com"),
    Row(command="suppress remove", arguments="dead@example.com"),
    Row(command="suppress list"),
    Row(command="suppress list", arguments="--reason unsubscribed"),
    Row(command="suppress import", arguments="users.csv", code=1),
    Row(command="campaign list"),
    Row(command="campaign show", arguments="spring"),
    Row(command="campaign pause", arguments="spring", is_fitted=False),
    Row(command="campaign resume", arguments="spring", code=3),
    Row(command="campaign cancel", arguments="spring --yes", is_fitted=False),
    Row(command="campaign set-rate", arguments="spring 10/s"),
    Row(command="feedback ingest", arguments="users.csv"),
    Row(command="feedback watch", code=2),
    Row(command="queue list"),
    Row(command="queue peek"),
    Row(command="queue pause", arguments="--kind welcome", is_fitted=False),
    Row(command="queue resume", arguments="celery", code=3),
    Row(command="queue purge", arguments="--all --yes", is_fitted=False),
    Row(command="queue restore"),
    Row(command="workers list"),
    Row(command="workers diff", is_fitted=False),
    Row(command="workers ping", code=3),
    Row(command="workers stop", arguments="--yes", code=3),
    Row(command="stats"),
    Row(command="stats", arguments="--by hour"),
    Row(command="top", until="q quits", is_fitted=False),
    Row(command="preview", arguments="welcome", is_fitted=False),
    Row(command="preview", arguments="--serve --port 0", code=0, until="previews:", is_fitted=False),
    Row(command="flower", arguments="--port 5555", code=2, is_fitted=False),
    Row(command="incident", code=1),
    Row(command="health", code=1),
    Row(command="health", arguments="--canary --timeout 1", code=1),
    Row(command="monitor", code=1),
    Row(command="metrics", is_fitted=False),
    Row(command="check-config", arguments="--offline", is_fitted=False),
    Row(
        command="init",
        arguments="--from-address a@b.example --env-file new.env --no-input --offline",
        is_fitted=False,
    ),
    Row(command="config show", arguments="--changed", is_fitted=False),
    Row(command="config diff", arguments="--profile production", code=1, is_fitted=False),
    Row(command="open", arguments="{failed} --url http://127.0.0.1:9/", code=5, is_fitted=False),
    Row(command="users list"),
    Row(command="users add", arguments="max@example.com"),
    Row(command="users import", arguments="users.csv", code=1),
    Row(command="keys create", arguments="on-call", is_fitted=False),
    Row(command="keys list"),
    Row(command="keys revoke", arguments="{key}"),
    Row(command="db current"),
    Row(command="db upgrade"),
    Row(command="db rekey"),
    Row(command="db partition", arguments="--dry-run", code=2),
    Row(command="prune"),
    Row(command="help", arguments="exit-codes"),
    Row(command="version"),
    Row(command="schema"),
    Row(command="schema", arguments="status", is_fitted=False),
]


def commands() -> set[str]:
    """Return the names of all commands that are registered."""

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[str]:
        found = getattr(command, "commands", None)
        if not found:
            yield " ".join(words)
            return
        for name in found:
            yield from walk(found[name], (*words, name))

    return set(walk(typer.main.get_command(app), ()))


class Office:
    """A folder with a delivery log in which there is something of everything.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "users.csv").write_text(_USERS)
        runtime = Runtime(Settings(mailctl_home=folder / ".mailctl"))
        try:
            self.ids = fill(runtime)
        finally:
            runtime.close()

    def copy_to(self, folder: Path) -> None:
        """Make the same again in another folder."""
        home = folder / ".mailctl"
        home.mkdir(parents=True)
        (folder / "users.csv").write_text(_USERS)
        source = sqlite3.connect(self.folder / ".mailctl" / _LOG)
        with closing(source), closing(sqlite3.connect(home / _LOG)) as copy:
            source.backup(copy)


def fill(runtime: Runtime) -> dict[str, str]:
    """Record something of everything in a delivery log; return ids by what was recorded."""
    sending = SendService(runtime)

    def send(address: str, kind: str = "welcome") -> str:
        request = EmailRequest(kind=BUILT_IN_KINDS[kind])
        return sending.send(request, Recipients(email=address)).emails[0].id

    ids = {name: send(f"{name}@example.com") for name in ("pending", "held", "sent", "failed")}
    [claim] = runtime.claims.claim([ids["sent"]], worker="w@host").claims
    accepted = Outcome(kind=OutcomeKind.ACCEPTED, reply=SmtpReply(code=250, text="ok"))
    runtime.attempt_results.finish(claim, State.SENT, outcome=accepted)
    [claim] = runtime.claims.claim([ids["failed"]], worker="w@host").claims
    refused = Reason(code=ReasonCode.REFUSED, text=f"refused: {_REFUSED}")
    runtime.attempt_results.finish(claim, State.FAILED, outcome=_REFUSED, reason=refused)
    mailing = EmailRequest(kind=BUILT_IN_KINDS["welcome"], campaign="spring")
    rows = [RecipientRow(line=n, email=f"zoe{n}@example.com", name="Zoë") for n in range(30)]
    [recorded] = CampaignRecorder(runtime, mailing).record(rows)
    runtime.actions.stop(
        [ids["held"]],
        State.HELD,
        from_states=[State.PENDING],
        done="held",
        audit=AuditInfo(actor="ada"),
    )
    ids["campaign"] = recorded.emails[0][0]
    ids["key"] = runtime.api_keys.create("laptop").id
    runtime.suppressions.add({"dead@example.com": "no longer"}, source="operator", actor="ada")
    return ids
