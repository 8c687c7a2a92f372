"""The faults of a soak: each breaks one part of a site for a while, and repairs it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tests.faults.site import thaw
from tests.servers import PostgresServer, RabbitServer, RedisServer
from tests.smtp_server import AcceptThenDrop, Drop, Reply, Stall

if TYPE_CHECKING:
    import random

    from tests.acceptance.terminal import Window
    from tests.faults.site import Site
    from tests.smtp_server import Action

Fault: TypeAlias = Callable[[], AbstractContextManager[None]]


class Faults:
    """All that may happen to a site.

    Args:
        site: the site; its first worker is never killed, so that its memory can be watched.
        broker: its broker.
        database: its PostgreSQL; None for SQLite.
        chance: chooses.
    """

    def __init__(
        self,
        site: Site,
        broker: RedisServer | RabbitServer,
        database: PostgresServer | None,
        chance: random.Random,
    ) -> None:
        self._site, self._broker, self._database, self._chance = site, broker, database, chance

    def choose(self) -> Fault:
        """Return one of the faults that this site can have."""
        of_log = [self.database_crash, self.database_stop, self.database_silence]
        of_broker = [self.broker_kill, self.broker_silence, self.broker_memory_loss]
        of_smtp = [self.smtp_stop, self.smtp_silence, self.smtp_hang_up, self.smtp_doubt, self.smtp_refusal]
        of_worker = [self.child_kill, self.worker_kill, self.worker_sleep, self.worker_stop]
        of_log = of_log if self._database else [self.sqlite_lock]
        return self._chance.choice(self._chance.choice([of_log, of_broker, of_smtp, of_worker]))

    def supervise(self) -> None:
        """Start workers again that have ended, as systemd does: one does not start without its log."""
        for worker in list(self._site.workers):
            if worker.process.poll() is not None:
                self._site.workers.remove(worker)
                self._site.launch_worker("-c", "2")

    @contextmanager
    def child_kill(self) -> Iterator[None]:
        """A pool process ends as in a crash."""
        self._site.kill_a_child(self._chance)
        yield

    @contextmanager
    def worker_kill(self) -> Iterator[None]:
        """A worker with its pool processes is gone, and starts again."""
        self._site.kill_worker(self._other_worker())
        yield
        self._site.launch_worker("-c", "2")

    @contextmanager
    def worker_stop(self) -> Iterator[None]:
        """A worker ends in order, as in a deployment."""
        worker = self._other_worker()
        worker.wait_until_printed("ready.")
        assert worker.stop() == 0, worker.output
        self._site.workers.remove(worker)
        yield
        self._site.launch_worker("-c", "2")

    @contextmanager
    def worker_sleep(self) -> Iterator[None]:
        """A worker's host is suspended for longer than a lease."""
        family = self._site.freeze_worker(self._other_worker())
        yield
        thaw(family)

    @contextmanager
    def broker_kill(self) -> Iterator[None]:
        """The broker crashes."""
        self._broker.kill()
        yield
        self._broker.start()

    @contextmanager
    def broker_silence(self) -> Iterator[None]:
        """The broker keeps its connections, and says nothing."""
        self._broker.freeze()
        yield
        self._broker.thaw()

    @contextmanager
    def broker_memory_loss(self) -> Iterator[None]:
        """What the broker had is gone, or its connections are."""
        if isinstance(self._broker, RedisServer):
            with closing(self._broker.client()) as client:
                client.flushall()
        else:
            self._broker.control("close_all_connections", "maintenance")
        yield

    @contextmanager
    def database_crash(self) -> Iterator[None]:
        """A process of PostgreSQL is killed, and with it all its sessions."""
        assert self._database
        self._database.crash()
        yield

    @contextmanager
    def database_stop(self) -> Iterator[None]:
        """PostgreSQL is away."""
        assert self._database
        self._database.stop()
        yield
        self._database.start()

    @contextmanager
    def database_silence(self) -> Iterator[None]:
        """PostgreSQL keeps its connections, and says nothing."""
        assert self._database
        self._database.freeze()
        yield
        self._database.thaw()

    @contextmanager
    def sqlite_lock(self) -> Iterator[None]:
        """Another program holds the lock of the file."""
        file = self._site.terminal.folder / ".mailctl" / "mailctl.db"
        with closing(sqlite3.connect(file, isolation_level=None, timeout=60)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    @contextmanager
    def smtp_stop(self) -> Iterator[None]:
        """The mail server is away."""
        self._site.smtp.stop()
        yield
        self._site.smtp.start()

    def smtp_silence(self) -> AbstractContextManager[None]:
        """The mail server does not reply to MAIL."""
        return self._scripted("mail", Stall(30))

    def smtp_hang_up(self) -> AbstractContextManager[None]:
        """The mail server hangs up at RCPT."""
        return self._scripted("rcpt", Drop())

    def smtp_doubt(self) -> AbstractContextManager[None]:
        """The mail server takes some messages, and hangs up instead of saying so."""
        return self._scripted("body", AcceptThenDrop(), share=0.05)

    def smtp_refusal(self) -> AbstractContextManager[None]:
        """The mail server wants to be asked again later."""
        return self._scripted("rcpt", Reply("451 4.7.1 greylisted"), share=0.5)

    @contextmanager
    def _scripted(self, stage: str, action: Action, *, share: float = 1.0) -> Iterator[None]:
        script = self._site.smtp.script
        script[stage] = lambda _: action if self._chance.random() < share else None
        yield
        del script[stage]

    def _other_worker(self) -> Window:
        return self._chance.choice(self._site.workers[1:])


def memory_kib(pid: int) -> int:
    """Return the memory of a process, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def descriptors(pid: int) -> int:
    """Return how many files and sockets a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
