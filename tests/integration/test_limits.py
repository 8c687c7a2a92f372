"""Limits: how many emails one address, one user, one source and all together get."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mailctl.domain.address_block import address_block
from mailctl.domain.catalog import GENERIC, RESET, WELCOME
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.enqueuer import Enqueuer
from tests.integration.delivering import WORKER, Post, record, states

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    MakePost = Callable[..., Post]


@pytest.fixture
def post(make_post: MakePost) -> Post:
    """A delivery on an empty log."""
    return make_post()


class TestLimits:
    def test_the_sixth_reset_in_an_hour_ends_suppressed(self, post: Post) -> None:
        """However the address is written; other kinds and other people are not concerned."""
        ids = [record(post, RESET, address) for address in ["zoe@example.com", "ZOE@example.com"] * 3]
        assert states(post, ids) == [State.PENDING] * 5 + [State.SUPPRESSED]
        assert "5 reset emails per hour" in (post.email(ids[-1]).error or "")
        others = [record(post, WELCOME), record(post, RESET, "max@example.com")]
        assert states(post, others) == [State.PENDING] * 2

    @pytest.mark.parametrize(
        "addresses",
        [
            [f"zoe+{number}@example.com" for number in range(20)],
            [f"{'zoeyz'[:n]}.{'zoeyz'[n:]}@gmail.com" for n in range(1, 5)] * 2,
        ],
        ids=["plus tags", "dots at Gmail"],
    )
    def test_other_spellings_of_a_mailbox_count_as_it(self, post: Post, addresses: list[str]) -> None:
        """And each email that is sent goes to the address as it was given."""
        ids = [record(post, RESET, address) for address in addresses]
        assert states(post, ids) == [State.PENDING] * 5 + [State.SUPPRESSED] * (len(ids) - 5)
        assert [post.email(email_id).to for email_id in ids] == addresses

    def test_what_was_suppressed_takes_no_place(self, make_post: MakePost) -> None:
        """Else who keeps asking would never get one again; what an operator forces passes, and counts."""
        post = make_post(mailctl_limit_per_recipient="welcome=2/h")
        ids = [record(post), record(post, forced_by="ops"), record(post), record(post, forced_by="ops")]
        assert states(post, ids) == [State.PENDING, State.PENDING, State.SUPPRESSED, State.PENDING]

    def test_a_user_with_many_addresses_is_one_user(self, make_post: MakePost) -> None:
        """All kinds together, if the setting says so."""
        post = make_post(mailctl_limit_per_user="*=2/h")
        ids = [
            record(post, kind, f"{n}@example.com", user_id=7)
            for n, kind in enumerate([WELCOME, RESET, WELCOME])
        ]
        assert states(post, ids) == [State.PENDING, State.PENDING, State.SUPPRESSED]
        assert "MAILCTL_LIMIT_PER_USER" in (post.email(ids[2]).error or "")
        assert states(post, [record(post, user_id=8)]) == [State.PENDING]

    def test_a_client_that_asks_for_many_addresses_is_one_source(self, make_post: MakePost) -> None:
        """Also if it changes its address within its block; other sources, and none, are not concerned."""
        post = make_post(mailctl_limit_per_source="reset=2/h")
        block = {"source": address_block("203.0.113.7")}
        ids = [record(post, RESET, f"{n}@example.com", **block) for n in range(4)]
        assert states(post, ids) == [State.PENDING] * 2 + [State.SUPPRESSED] * 2
        assert (post.email(ids[3]).error or "").startswith(
            "over the limit of 2 reset emails per hour from one block of IP addresses (MAILCTL_LIMIT_PER_SO"
        )
        others = [
            record(post, RESET, "e@example.com"),
            record(post, RESET, "f@example.com", source=address_block("203.0.114.7")),
            record(post, WELCOME, "g@example.com", **block),
        ]
        assert states(post, others) == [State.PENDING] * 3

    def test_one_call_counts_each(self, make_post: MakePost) -> None:
        """The same address several times in one call has no more places."""
        post = make_post(mailctl_limit_per_recipient="email=2/h")
        content = make_content(
            GENERIC,
            make_user(email="zoe@example.com"),
            origins=frozenset(),
            subject="Hi",
            template="message",
        )
        ids = Enqueuer(post.runtime).record(EmailRequest(kind=GENERIC), [content] * 3).ids
        assert states(post, ids) == [State.PENDING, State.PENDING, State.SUPPRESSED]

    def test_the_same_call_counts_once(self, post: Post) -> None:
        """An idempotency key that is repeated records nothing."""
        ids = {record(post, RESET, idempotency_key="k") for _ in range(9)}
        assert len(ids) == 1
        assert states(post, [record(post, RESET) for _ in range(5)])[-2:] == [State.PENDING, State.SUPPRESSED]

    def test_messages_of_other_programs_count(self, post: Post) -> None:
        """Their door is no way round."""
        arguments = {
            "user_data": {"email": "zoe@example.com"},
            "reset_url": "http://localhost:3000/reset-password?t=abc",
        }
        reports = [
            post.delivery.deliver_message(
                f"task-{n}", EmailRequest(kind=RESET), arguments, queue="celery", worker=WORKER
            )
            for n in range(6)
        ]
        assert [report.state for report in reports] == [State.SENT] * 5 + [State.SUPPRESSED]

    def test_over_the_ceiling_they_wait(self, make_post: MakePost) -> None:
        """One after the other, at the pace of the limit, and nobody may claim them before."""
        post = make_post(mailctl_limit_global="2/m")
        ids = [record(post, address=f"{n}@example.com") for n in range(5)]
        emails = [post.email(email_id) for email_id in ids]
        assert [email.not_before is None for email in emails] == [True, True, False, False, False]
        waits = [
            (email.not_before - emails[0].created_at).total_seconds() for email in emails if email.not_before
        ]
        assert [round(wait) for wait in waits] == [60, 90, 120]
        assert post.deliver(ids[2]).state is None
        assert post.runtime.history.events(ids[2])[-1].reason_code is ReasonCode.OVER_GLOBAL_LIMIT
        assert states(post, [record(post, forced_by="ops")]) == [State.PENDING]

    def test_a_message_over_the_ceiling_waits_in_the_log(self, make_post: MakePost) -> None:
        """A relay publishes it when its time has come."""
        post = make_post(mailctl_limit_global="1/m")
        for n in range(2):
            post.delivery.deliver_message(
                f"task-{n}",
                EmailRequest(kind=WELCOME),
                {"user_data": {"email": f"{n}@example.com"}},
                queue="celery",
                worker=WORKER,
            )
        assert states(post, ["task-0", "task-1"]) == [State.SENT, State.PENDING]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_processes_share_the_last_place(
    database: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty resets for one address, from two processes at once: exactly five go."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    url = url if database == "sqlite" else request.getfixturevalue("postgres_url")
    monkeypatch.setenv("MAILCTL_DATABASE_URL", url)
    monkeypatch.setenv("DEBUG", "True")
    command = [sys.executable, "-c", _TEN_RESETS]
    processes = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    found = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        found += process.communicate(timeout=60)[0].split()
        assert process.returncode == 0
    assert sorted(found) == ["pending"] * 5 + ["suppressed"] * 15


_TEN_RESETS = """
import asyncio
from types import SimpleNamespace
from mailctl import EmailService, runtime

async def main():
    await EmailService.prepare()
    print("ready", flush=True)
    input()
    user = SimpleNamespace(id=7, email="zoe@example.com", username="zoe")
    calls = [EmailService.send_password_reset_email(user, "a-token-of-ours") for _ in range(10)]
    for email_id in await asyncio.gather(*calls):
        print(runtime.current().history.find(email_id)[0].state)
    await EmailService.close()

asyncio.run(main())
"""
