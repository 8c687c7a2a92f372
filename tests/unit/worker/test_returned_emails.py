"""Emails that a process without a session leaves to others, and those that it takes from them."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.delivery_log.publications import RETURNED_FOR
from mailctl.errors import LogUnavailable
from mailctl.worker.returned_emails import FEW_SESSIONS, ReturnedEmails, Search
from tests.unit.worker.fakes import Calls, parts

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVERS = ["default"]


class Process:
    """A process with some sessions, and a log with some returned emails."""

    def __init__(self, sessions: int, *, messages: str = "auto", waiting: Sequence[Any] = ()) -> None:
        self.sessions = sessions
        self.begun: list[str] = []
        self.claims = Calls(return_unstarted=2)
        self.publications = Calls(find_due=[*waiting, *([[]] * 1000)])
        runtime = parts(
            app=SimpleNamespace(tasks={}),
            claims=self.claims,
            publications=self.publications,
            settings=SimpleNamespace(mailctl_messages=messages),
        )
        sender: Any = SimpleNamespace(capacity=lambda *_: self.sessions)
        in_flight: Any = SimpleNamespace(wait_for_room=lambda **_: ("default", self.sessions))
        self.returned = ReturnedEmails(runtime, sender, in_flight)

    def begin(self, ids: Sequence[str]) -> int:
        self.begun += ids
        return len(ids)

    def look(self) -> None:
        """Look for returned emails until there are none."""
        self.returned.look_for(Search(like=["mine"], server="default", begin=self.begin))
        while (thread := self.returned._thread) and self.publications.names.count("find_due") < 4:
            thread.join(0.01)
        self.returned.close()


@pytest.mark.parametrize(("sessions", "is_left"), [(0, True), (1, False)])
def test_emails_are_left_to_others_that_have_all_sessions(sessions: int, is_left: bool) -> None:
    """Relays leave them there for a while."""
    process = Process(sessions)
    assert process.returned.leave_to_others(["a", "b"], SERVERS, reason="so") is is_left
    assert [how["after"] for _, _, how in process.claims.calls] == [RETURNED_FOR] * is_left


def test_an_email_is_kept_that_the_log_does_not_say_is_published() -> None:
    """It would say so after the return, and nobody would have its message."""
    assert not Process(0).returned.leave_to_others(["a", "b", "c"], SERVERS, reason="so")


def test_what_other_emails_keep_waiting_is_published_again_at_once() -> None:
    """This process has sessions, so that nobody looks for it."""
    process = Process(1)
    process.returned.return_unstarted(["a"], SERVERS, reason="so")
    assert [how["after"] for _, _, how in process.claims.calls] == [timedelta()]


@pytest.mark.parametrize("sessions", [1, FEW_SESSIONS])
def test_a_process_with_few_sessions_takes_what_others_have_returned(sessions: int) -> None:
    """As long as there is something; an outage of the log does not end that."""
    process = Process(sessions, waiting=[["a"], LogUnavailable("the log does not answer."), ["b"]])
    process.look()
    assert process.begun == ["a", "b"]


@pytest.mark.parametrize(("sessions", "messages"), [(FEW_SESSIONS + 1, "auto"), (1, "full")])
def test_a_process_takes_no_emails_that_others_send(sessions: int, messages: str) -> None:
    """With many sessions others have some, too; with messages in full they do not ask the log."""
    process = Process(sessions, messages=messages, waiting=[["a"]])
    process.look()
    assert (process.begun, process.publications.calls) == ([], [])


def test_a_process_without_a_session_stands_by_for_one() -> None:
    """Meanwhile messages come to others."""
    process = Process(0)
    waiting = threading.Thread(
        target=process.returned.stand_by, args=(SERVERS,), kwargs={"until": time.monotonic() + 60}
    )
    waiting.start()
    process.sessions = 1
    waiting.join()
    process.returned.stand_by(SERVERS, until=time.monotonic() + 60)
    process.sessions = 0
    process.returned.stand_by(SERVERS, until=0.0)
