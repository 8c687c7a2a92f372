"""The rows that compare mailctl with its peers, by turns: emails sent, and emails recorded."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from mailctl.domain.catalog import GENERIC
from mailctl.domain.factory import make_content, make_recipient
from mailctl.domain.request import EmailRequest
from mailctl.settings import GROUPS_QUEUE
from tests.benchmarks.bench import PROCESSES, Bench, at_least, rate_of, skipped
from tests.benchmarks.bulk import sent
from tests.benchmarks.peers.email import HTML, SUBJECT, TEXT
from tests.benchmarks.sink import sink
from tests.servers import PostgresServer
from tests.workers import worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.acceptance.terminal import Window
    from tests.benchmarks.bench import Figure

_TEMPLATE = "order"
_EMAILS = 1500
#: Emails of a round of a peer: the slower ones get fewer, so that a round ends.
_PEER_EMAILS = {"procrastinate": 1500, "dramatiq": 600, "post_office": 600}
#: For each round trip in seconds, how many times the fastest peer mailctl has to be.
_BARS = {0.0: 1.2, 0.02: 2.0, 0.1: 3.0}
_CALLS, _AT_ONCE = 1500, 20


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Another program that sends emails."""

    #: The package that it needs.
    package: str
    #: The arguments of Python for each of its processes.
    workers: tuple[tuple[str, ...], ...]
    #: Counts the emails that it has sent.
    count: Callable[[Bench, str], int]

    @property
    def module(self) -> str:
        """The module with its task."""
        return f"tests.benchmarks.peers.with_{self.package}"

    @property
    def is_installed(self) -> bool:
        """Whether the extra `bench` is installed."""
        return importlib.util.find_spec(self.package) is not None


def _count_rows(query: str) -> Callable[[Bench, str], int]:
    def count(_bench: Bench, url: str) -> int:
        with psycopg.connect(url) as connection:
            row = connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    return count


def _count_in_redis(bench: Bench, _url: str) -> int:
    from redis import Redis

    with Redis.from_url(bench.redis.url) as client:
        return int(client.get("dramatiq-done") or 0)


_WORK = ("-m", "tests.benchmarks.peers.with_procrastinate", "work")
_DRAMATIQ = ("-m", "dramatiq", "tests.benchmarks.peers.with_dramatiq", "-p", "2", "-t", "16")
PEERS = (
    Peer(
        package="procrastinate",
        workers=(_WORK,) * PROCESSES,
        count=_count_rows("SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"),
    ),
    Peer(package="dramatiq", workers=(_DRAMATIQ,), count=_count_in_redis),
    Peer(
        package="post_office",
        workers=(("-m", "tests.benchmarks.peers.with_post_office", "work"),),
        count=_count_rows("SELECT count(*) FROM post_office_email WHERE status = 0"),
    ),
)


def single_emails(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """A backlog of single emails with the default settings, beside the fastest peer in the same round."""
    peers = [peer for peer in PEERS if peer.is_installed]
    for delay, bar in _BARS.items():
        name = f"single emails, {delay * 1000:.0f} ms, /s (other: peers)"
        if not peers:
            yield _skipped(name)
            continue
        turns = _turns(folder / f"{delay}", delay, peers, rounds)
        ours = [turn["mailctl"] for turn in turns]
        fastest = [max(turn[peer.package] for peer in peers) for turn in turns]
        yield at_least(name, ours, fastest, bar)
        for peer in peers:
            theirs = [turn[peer.package] for turn in turns]
            yield at_least(f"  beside {peer.package}, {delay * 1000:.0f} ms, /s", ours, theirs, 1.0)


def _turns(folder: Path, delay: float, peers: list[Peer], rounds: int) -> list[dict[str, float]]:
    with (
        sink(delay_seconds=delay) as port,
        PostgresServer(is_durable=True) as server,
        Bench(folder, smtp_port=port, log_url=server.make_database()) as bench,
    ):
        _write_template(bench)
        urls = {peer.package: server.make_database() for peer in peers}
        for peer in peers:
            if peer.package != "dramatiq":
                _run(bench, peer, urls, "prepare")
        return [
            {"mailctl": _ours(bench), **{peer.package: _theirs(bench, peer, urls) for peer in peers}}
            for _ in range(rounds)
        ]


def _write_template(bench: Bench) -> None:
    templates = bench.terminal.folder / "templates"
    templates.mkdir()
    (templates / f"{_TEMPLATE}.html").write_text(HTML)
    (templates / f"{_TEMPLATE}.txt").write_text(TEXT)
    bench.terminal.set(MAILCTL_TEMPLATES=templates)


def _ours(bench: Bench) -> float:
    def begin() -> int:
        count = _record(bench)
        windows.append(bench.terminal.launch_worker("-c", str(PROCESSES)))
        return count

    windows: list[Window] = []
    try:
        return rate_of(lambda: sent(bench), begin)
    finally:
        for window in windows:
            window.stop()


def _record(bench: Bench) -> int:
    request = EmailRequest(kind=GENERIC, subject=SUBJECT, template=_TEMPLATE)
    contents = [
        make_content(
            GENERIC,
            make_recipient(email=f"user{n}@example.com", name=""),
            subject=SUBJECT,
            template=_TEMPLATE,
            origins=bench.runtime.link_origins,
        )
        for n in range(_EMAILS)
    ]
    # Not published: the relay does that in groups, as it would beside workers that are alive already.
    bench.enqueuer.record(request, contents)
    return _EMAILS


def _theirs(bench: Bench, peer: Peer, urls: dict[str, str]) -> float:
    def begin() -> int:
        count = _PEER_EMAILS[peer.package]
        _run(bench, peer, urls, "record", str(count), "20")
        environment = _environment(bench, peer, urls)
        processes.extend(bench.python(*words, **environment) for words in peer.workers)
        return count

    processes: list[subprocess.Popen[str]] = []
    try:
        return rate_of(lambda: peer.count(bench, urls[peer.package]), begin)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.communicate()


def _run(bench: Bench, peer: Peer, urls: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", peer.module, *arguments]
    environment = os.environ | _environment(bench, peer, urls)
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def _environment(bench: Bench, peer: Peer, urls: dict[str, str]) -> dict[str, str]:
    return {
        "PEERS_DATABASE": urls[peer.package],
        "PEERS_REDIS": bench.redis.url,
        "PEERS_SMTP_PORT": str(bench.port),
    }


def recording(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """Calls of one process, twenty at once, in a PostgreSQL that flushes, beside procrastinate's defer."""
    peer, name = PEERS[0], "recording, 20 at once, /s (other: defer)"
    if not peer.is_installed:
        yield _skipped(name)
        return
    with PostgresServer(is_durable=True) as server, Bench(folder, log_url=server.make_database()) as bench:
        bench.terminal.set(MAILCTL_MESSAGES="reference")
        urls = {peer.package: server.make_database()}
        _run(bench, peer, urls, "prepare")
        pairs = [(_our_calls(bench), _their_calls(bench, peer, urls)) for _ in range(rounds)]
    ours, theirs = zip(*pairs, strict=True)
    yield at_least(name, ours, theirs, 1.0)


def _our_calls(bench: Bench) -> float:
    """Record while a worker is alive that takes groups, as in production, and takes no time itself."""
    now = bench.runtime.clock()
    queues = (bench.runtime.settings.celery_queue_default, GROUPS_QUEUE)
    bench.runtime.workers.record_heartbeat(worker(now, queues=queues))
    arguments = ("-m", "tests.benchmarks.recording", str(_CALLS), str(_AT_ONCE))
    process = bench.python(*arguments, **bench.terminal.settings_in_force())
    return float(process.communicate()[0])


def _their_calls(bench: Bench, peer: Peer, urls: dict[str, str]) -> float:
    return float(_run(bench, peer, urls, "record", str(_CALLS), str(_AT_ONCE)))


def _skipped(name: str) -> Figure:
    return skipped(name, "pip install '.[bench]' installs the peers")
