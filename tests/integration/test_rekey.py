"""Another SECRET_KEY: what the old one sealed is sealed with the new one, while workers go on."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

from mailctl import runtime as runtimes
from mailctl.checks.delivery_log import check_log
from mailctl.cli.main import main
from mailctl.delivery_log.rekey import BATCH_SIZE, RekeyResult, has_unbound_contents
from mailctl.delivery_log.retention import Retention
from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.catalog import WELCOME
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.errors import ExitCode
from mailctl.operations.maintenance import rekey
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.unbound_seals import seal_unbound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mailctl.checks.finding import Finding

OLD, NEW = "the-old-secret-" * 3, "the-new-secret-" * 3


@pytest.fixture(params=["sqlite", "postgresql"])
def open_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Runtime]]:
    """Opens one log with other keys."""
    more: dict[str, Any] = {"mailctl_home": tmp_path}
    if request.param == "postgresql":
        more["mailctl_database_url"] = request.getfixturevalue("postgres_url")
    opened: list[Runtime] = []

    def open_with(secret: str, *, old: str = "") -> Runtime:
        opened.append(Runtime(Settings(secret_key=secret, mailctl_secret_keys_old=old, **more)))
        return opened[-1]

    yield open_with
    for site in opened:
        site.close()


def record(site: Runtime, count: int) -> list[str]:
    contents = [
        make_content(WELCOME, make_user(email=f"u{number}@example.com"), origins=site.link_origins)
        for number in range(count)
    ]
    return Enqueuer(site).record(EmailRequest(kind=WELCOME), contents).ids


def total(site: Runtime, **options: bool) -> RekeyResult:
    return sum(rekey(site.settings, **options), RekeyResult())


def test_everything_is_sealed_anew_once(open_site: Callable[..., Runtime]) -> None:
    """After that the old key is needed no more, and a second run finds nothing to do."""
    count = BATCH_SIZE + 3
    ids = record(open_site(OLD), count)
    both = open_site(NEW, old=OLD)
    assert total(both, dry_run=True) == RekeyResult(outdated=count)
    assert total(both) == RekeyResult(outdated=count)
    assert total(both) == RekeyResult(current=count)
    only_new = open_site(NEW)
    assert total(only_new) == RekeyResult(current=count)
    taken = only_new.claims.claim(ids[:10], worker="w")
    assert (len(taken.claims), taken.unreadable) == (10, [])


def test_what_no_key_opens_is_told_and_left(open_site: Callable[..., Runtime]) -> None:
    """Its key may turn up yet."""
    [lost] = record(open_site(OLD), 1)
    stranger = open_site(NEW)
    [fine] = record(stranger, 1)
    assert total(stranger) == RekeyResult(current=1, unreadable=(lost,))
    assert total(open_site(NEW, old=OLD)) == RekeyResult(outdated=1, current=1)
    assert fine != lost


def test_what_a_worker_scrubs_meanwhile_stays_scrubbed(open_site: Callable[..., Runtime]) -> None:
    """Sealing goes on in small steps; between them emails are sent, recorded and forgotten."""
    site = open_site(OLD)
    ids = record(site, 3 * BATCH_SIZE)
    both = open_site(NEW, old=OLD)
    stopped = threading.Event()

    def work() -> None:
        while not stopped.is_set():
            with both.engine.begin() as connection:
                connection.execute(update(emails).where(emails.c.id.in_(ids[::2])).values(content=None))
            stopped.wait(0.01)

    worker = threading.Thread(target=work)
    worker.start()
    total(both)
    stopped.set()
    worker.join()
    with both.engine.connect() as connection:
        left = set(connection.execute(select(emails.c.id).where(emails.c.content.is_not(None))).scalars())
    assert left == set(ids[1::2])
    assert total(open_site(NEW)).unreadable == ()


def test_the_command_counts_and_fails_for_what_no_key_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """JSON has the counts, standard error the ids."""
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET_KEY", OLD)

    def run(*arguments: str) -> tuple[int, str]:
        try:
            return main([*arguments]), ""
        finally:
            runtimes.close()

    assert run("send", "welcome", "--user-id", "1")[0] == ExitCode.DONE
    monkeypatch.setenv("SECRET_KEY", NEW)
    capsys.readouterr()
    assert run("db", "rekey")[0] == ExitCode.FAILED
    assert "MAILCTL_SECRET_KEYS_OLD" in capsys.readouterr().err
    monkeypatch.setenv("MAILCTL_SECRET_KEYS_OLD", OLD)
    assert run("db", "rekey", "--dry-run", "--json")[0] == ExitCode.DONE
    found = json.loads(capsys.readouterr().out)
    assert (found["resealed"], found["dry_run"]) == (1, True)
    assert run("db", "rekey")[0] == ExitCode.DONE
    assert "re-encrypted the content of 1 email with SECRET_KEY" in capsys.readouterr().out


def test_what_is_scrubbed_is_overwritten_in_the_file(tmp_path: Path) -> None:
    """Not in the database and, once that is folded in, not in its write-ahead log."""
    site = Runtime(Settings(secret_key=OLD, mailctl_home=tmp_path))
    ids = record(site, 20)
    with site.engine.connect() as connection:
        sealed = connection.execute(select(emails.c.content)).scalars().all()
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    assert all(content in (tmp_path / "mailctl.db").read_bytes() for content in sealed)
    now = datetime.now(UTC)
    with site.engine.begin() as connection:
        connection.execute(
            update(emails)
            .values(state="failed", updated_at=now - timedelta(days=400))
            .where(emails.c.id.in_(ids))
        )

    assert (
        sum(Retention(site.engine).prune(contents_before=now, emails_before=now - timedelta(days=500))) == 20
    )
    with site.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    site.close()
    data = b"".join(path.read_bytes() for path in tmp_path.glob("mailctl.db*"))
    assert not any(content in data for content in sealed)


def test_contents_of_an_earlier_version_are_found(open_site: Callable[..., Runtime]) -> None:
    """`check-config` says that `db rekey` seals them again; those of finished emails matter to nobody."""
    site = open_site(NEW)
    [email_id, other] = record(site, 2)
    assert not has_unbound_contents(site.engine)
    plain = json.dumps({"user": {"email": "u0@example.com"}}).encode()
    unbound = seal_unbound(plain, secret=NEW, purpose="log/content")
    with site.engine.begin() as connection:
        connection.execute(update(emails).where(emails.c.id == email_id).values(content=unbound))
        connection.execute(update(emails).where(emails.c.id == other).values(state="failed"))
    assert has_unbound_contents(site.engine)
    [found] = [each for each in check_log_of(site) if each.name == "contents"]
    assert "mailctl db rekey" in found.fix
    assert total(site) == RekeyResult(outdated=1, current=1)
    assert not has_unbound_contents(site.engine)


def check_log_of(site: Runtime) -> list[Finding]:
    """Return the findings about a log."""
    steps, findings = check_log(site.settings, offline=False), []
    while True:
        try:
            findings.append(next(steps))
        except StopIteration as end:
            end.value.dispose()
            return findings
