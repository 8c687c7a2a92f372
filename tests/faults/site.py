"""A site to do damage to: a delivery log, a Redis, a mail server, and workers in processes of their own."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from mailctl.domain.catalog import WELCOME
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.request import EmailRequest
from mailctl.errors import LogUnavailable
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.faults.account import Account, account_for
from tests.servers.process import children_of

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from mailctl.domain.models import Email
    from mailctl.domain.states import State
    from mailctl.enqueue.background import Dispatcher
    from tests.acceptance.terminal import Terminal, Window
    from tests.servers import RedisServer
    from tests.smtp_server import ScriptedSmtpServer

#: Sessions that each process of a worker may have: so many emails are in doubt when it ends.
CONNECTIONS = 4
#: Seconds after which what is not finished counts as lost.
PATIENCE = 200.0


class Site:
    """What one scenario works on.

    Args:
        terminal: whose .env all workers read.
    """

    def __init__(self, terminal: Terminal, redis: RedisServer, smtp: ScriptedSmtpServer) -> None:
        self.terminal = terminal
        self.redis = redis
        self.smtp = smtp
        self.workers: list[Window] = []
        self.ids: list[str] = []
        self._launched = 0
        self._runtime: Runtime | None = None
        self._dispatcher: Dispatcher | None = None
        self._damaged_until = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_runtime()

    def close_runtime(self) -> None:
        """Close the library in this process; its next use opens it again."""
        if self._runtime is not None:
            self._runtime.close()
            self._runtime = None

    @property
    def runtime(self) -> Runtime:
        """The library, in this process, on the same log and broker."""
        if self._runtime is None:
            self._runtime = Runtime(Settings.load(self.terminal.folder / ".env"))
        return self._runtime

    def start_worker(self, *arguments: str) -> Window:
        """Start a worker process and wait until it is ready."""
        worker = self.launch_worker(*arguments)
        worker.wait_until_printed("ready.")
        return worker

    def launch_worker(self, *arguments: str) -> Window:
        """Start a worker process and go on at once."""
        self._launched += 1
        worker = self.terminal.launch_worker(*arguments, "-n", f"w{self._launched}@%h")
        self.workers.append(worker)
        return worker

    def enqueue(self, count: int, *, publishes: bool = True) -> None:
        """Record emails, and let the broker have them unless a relay is to do that."""
        from mailctl.enqueue.enqueuer import Enqueuer
        from mailctl.errors import BrokerUnavailable

        enqueuer = Enqueuer(self.runtime)
        for _ in range(count):
            user = make_user(email=f"user{len(self.ids)}@example.com", first_name="Ada")
            ids = enqueuer.record(
                EmailRequest(kind=WELCOME), [make_content(WELCOME, user, origins=self.runtime.link_origins)]
            ).ids
            self.ids += ids
            if publishes:
                try:
                    enqueuer.publish(ids)
                except BrokerUnavailable:
                    publishes = False  # a relay does it when the broker is back

    def call(self, count: int) -> None:
        """Record emails as the calls of a web request do; each call has returned its id."""
        from mailctl.enqueue.background import Dispatcher

        if self._dispatcher is None:
            self._dispatcher = Dispatcher(self.runtime)
        for _ in range(count):
            user = make_user(email=f"user{len(self.ids)}@example.com", first_name="Ada")
            self.ids.append(self._dispatcher.record_now(EmailRequest(kind=WELCOME), [user]))

    def enqueue_campaign(self, count: int) -> None:
        """Record a campaign, which workers send in batches."""
        from mailctl.domain.recipient_list import RecipientRow
        from mailctl.enqueue.campaign import CampaignRecorder

        mailing = EmailRequest(campaign=f"campaign-{len(self.ids)}", kind=WELCOME)
        rows = [RecipientRow(line=n, email=f"user{n}@example.com") for n in range(count)]
        for step in CampaignRecorder(self.runtime, mailing).record(rows):
            self.ids += [email_id for email_id, _ in step.emails]

    def finished(self) -> int:
        """How many emails are in a final state."""
        return sum(count for state, count in self.runtime.history.count_by_state().items() if is_final(state))

    def count(self, state: State) -> int:
        """How many emails are in a state."""
        return self.runtime.history.count_by_state().get(state, 0)

    def wait_until_finished(self, count: int, *, patience: float = PATIENCE) -> None:
        """Wait until so many emails are in a final state, for so many seconds at most."""
        in_time = holds_within(patience, lambda: self.finished() >= count)
        assert in_time, f"{count} finished emails: not after {patience:g} s\n{self.report(self.ids[-50:])}"

    def wait_until(
        self, condition: Callable[[], bool], *, what: str = "what was waited for", patience: float = PATIENCE
    ) -> None:
        """Wait until a condition holds, for so many seconds at most."""
        assert holds_within(patience, condition), f"{what}: not after {patience:g} s"

    def repaired(self) -> None:
        """Say that the damage is over: recovery is timed from here."""
        self._damaged_until = time.monotonic()

    def account(self, scenario: str, *, patience: float = PATIENCE) -> Account:
        """Wait for the end, and count; what has no end by then is lost."""
        holds_within(patience, lambda: self.finished() >= len(self.ids))
        seconds = time.monotonic() - self._damaged_until
        emails = [email for email_id in self.ids for email in self._emails(email_id)]
        events = {email.id: self.runtime.history.events(email.id) for email in emails}
        account = account_for(scenario, emails, events, self.smtp.messages, seconds=seconds)
        unknown = sorted(set(self.ids) - events.keys())
        return replace(account, emails=len(self.ids), lost=(*account.lost, *unknown))

    def report(self, ids: Sequence[str]) -> str:
        """Return what is known of emails, and what the workers said last."""
        stands = [self.terminal.status(email_id) for email_id in ids]
        lines = [f"{each['task_id']} {each['state']}: {each['explanation']}" for each in stands]
        for worker in self.workers:
            code = worker.process.poll()
            lines += [f"worker {worker.process.pid}, exit code {code}:", *worker.output.splitlines()[-40:]]
        return "\n".join(lines)

    def kill_a_child(self, chance: random.Random) -> None:
        """End a random pool process as a crash would."""
        children = [pid for worker in self.workers for pid in children_of(worker.process.pid)]
        if children:
            _kill(chance.choice(children))

    def freeze_worker(self, worker: Window) -> list[int]:
        """Stop a worker with all its pool processes, as a host that is suspended; return their ids."""
        family = [worker.process.pid, *children_of(worker.process.pid)]
        self.terminal.suspend(*family)
        return family

    def kill_worker(self, worker: Window) -> None:
        """End a worker with all its pool processes, as a power cut would."""
        family = [worker.process.pid, *children_of(worker.process.pid)]
        for pid in family:
            _kill(pid)
        worker.process.wait()
        self.workers.remove(worker)

    def _emails(self, email_id: str) -> Sequence[Email]:
        """Return the email with an id; nothing if the log has none, although a call has returned the id."""
        for _ in range(20):
            try:
                return self.runtime.history.find(email_id, limit=1)
            except LogUnavailable:
                time.sleep(0.5)
        return self.runtime.history.find(email_id, limit=1)


def holds_within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Wait until a condition holds, for so many seconds at most; return whether it does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return condition()


def is_final(state: object) -> bool:
    """Whether a state is one that nothing follows."""
    from mailctl.domain.states import FINAL_STATES

    return state in FINAL_STATES


def thaw(family: Sequence[int]) -> None:
    """Let the processes of a worker run again."""
    for pid in family:
        os.kill(pid, signal.SIGCONT)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
