"""Feedback is taken from all sources that the settings name."""

from __future__ import annotations

import imaplib
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from mailctl.errors import ConfigurationError, LogUnavailable, ServiceUnavailable
from mailctl.feedback.watching import FeedbackWatch, require_sources, sources_from_settings
from mailctl.runtime import Runtime
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def test_the_settings_name_the_sources(runtime: Runtime, tmp_path: Path) -> None:
    """None, or all of them at once."""
    for name in ("new", "cur"):
        (tmp_path / name).mkdir()
    with pytest.raises(ConfigurationError, match="No source"):
        require_sources(runtime)
    with pytest.raises(ConfigurationError, match="password or access tokens"):
        sources_from_settings(Settings(mailctl_feedback_imap="imaps://a@h"))
    found = sources_from_settings(
        Settings(
            mailctl_feedback_maildir=tmp_path,
            mailctl_feedback_lmtp="127.0.0.1:0",
            mailctl_feedback_imap="imaps://a@h/INBOX,Junk",
            mailctl_feedback_imap_token_command="echo token",  # type: ignore[arg-type]
        )
    )
    assert [source.name for source in found] == ["maildir", "lmtp", "imap/INBOX", "imap/Junk"]


class Scripted:
    """A source that passes messages on and then does what it is made for."""

    def __init__(self, name: str, *messages: bytes, error: Exception | None = None) -> None:
        self.name = name
        self._messages, self._error = messages, error

    def run(self, take: Callable[..., object], *, stopped: threading.Event, once: bool) -> None:
        """Pass the messages on, and fail if it was made to."""
        for each in self._messages:
            take(each)
        if self._error is not None:
            raise self._error
        if not once:
            stopped.wait()


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    """The parts of a process, with a delivery log."""
    with closing(Runtime(Settings(mailctl_home=tmp_path))) as parts:
        yield parts


class TestOnce:
    """What is there now is taken, and it is said how much."""

    def test_messages_of_all_sources_are_counted(self, runtime: Runtime) -> None:
        """Also those that say nothing."""
        watch = FeedbackWatch(runtime, [Scripted("a", b"x", b"y"), Scripted("b", b"z")])
        assert watch.run_once() == 3

    def test_a_source_that_does_not_work_is_named(self, runtime: Runtime) -> None:
        """Without what its server says, which may quote addresses."""
        error = imaplib.IMAP4.error("no zoe@example.com here")
        watch = FeedbackWatch(runtime, [Scripted("imap/INBOX", error=error)])
        with pytest.raises(
            ServiceUnavailable, match="imap/INBOX does not work: the server refused"
        ) as failed:
            watch.run_once()
        assert "example.com" not in str(failed.value)

    def test_an_error_of_this_host_is_told_as_it_is(self, runtime: Runtime) -> None:
        """Such as a connection that is refused."""
        watch = FeedbackWatch(runtime, [Scripted("lmtp", error=ConnectionRefusedError(111, "refused"))])
        with pytest.raises(ServiceUnavailable, match="refused"):
            watch.run_once()

    def test_a_log_that_is_down_is_no_fault_of_a_source(self, runtime: Runtime) -> None:
        """The message comes again."""
        watch = FeedbackWatch(runtime, [Scripted("maildir", error=LogUnavailable("It is down."))])
        with pytest.raises(LogUnavailable):
            watch.run_once()


def test_a_source_that_fails_stops_no_other(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    """It is tried again later; an error that nobody foresaw is named by its class alone."""
    heard = threading.Event()

    class Hearing(Scripted):
        """Says that it has run."""

        @override
        def run(self, take: Callable[..., object], *, stopped: threading.Event, once: bool) -> None:
            heard.set()
            super().run(take, stopped=stopped, once=once)

    broken = Scripted("a", error=KeyError("zoe@example.com"))
    watch = FeedbackWatch(runtime, [broken, Hearing("b", b"x")])
    thread = threading.Thread(target=watch.run)
    thread.start()
    assert heard.wait(60)
    watch.stop()
    thread.join(60)
    assert not thread.is_alive()
    messages = [each.getMessage() for each in caplog.records]
    assert "the source a failed unexpectedly (KeyError)" in messages
