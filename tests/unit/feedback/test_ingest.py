"""Messages are read and recorded; what says nothing is counted, and nothing keeps back what comes next."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from mailctl.delivery_log.reports import FeedbackResult
from mailctl.errors import ConfigurationError, LogUnavailable
from mailctl.feedback.ingest import MailIngester
from mailctl.feedback.recording import FeedbackReceipt
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.feedback_mail import samples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNKNOWN_USER = next(each for each in samples("bounces") if each.name == "postfix-unknown-user")


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    """The parts of a process, with an empty delivery log."""
    with closing(Runtime(Settings(mailctl_home=tmp_path))) as parts:
        yield parts


def counts(runtime: Runtime) -> dict[str, int]:
    """Return how many messages were no feedback, by the reason."""
    return {str(each.result): each.count for each in runtime.feedback_counts.read()}


def test_a_message_that_says_nothing_is_counted(runtime: Runtime) -> None:
    """By what it was taken for."""
    assert MailIngester(runtime).take(b"Subject: hello\r\n\r\nhow are you?") is FeedbackResult.IGNORED
    assert counts(runtime) == {"ignored": 1}


def test_a_bounce_of_another_log_matches_no_email(runtime: Runtime) -> None:
    """Two services may share a mailbox."""
    assert MailIngester(runtime).take(UNKNOWN_USER.mail()) == FeedbackReceipt(unmatched=1)


class Unforeseen(bytes):
    """A message that breaks its reader in a way that nobody foresaw."""

    def __len__(self) -> int:
        raise ZeroDivisionError("zoe@example.com")


def test_a_message_that_breaks_the_reader_is_no_reason_to_stop(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    """It would break it each time that it came again. Its text is not logged."""
    assert MailIngester(runtime).take(Unforeseen(b"To: zoe@example.com")) is FeedbackResult.MALFORMED
    assert counts(runtime) == {"malformed": 1}
    assert "a message could not be read: ZeroDivisionError" in caplog.text
    assert "zoe@" not in caplog.text


class Down:
    """The reports of a delivery log that is down."""

    def record(self, reports: object) -> None:
        """Say so."""
        raise LogUnavailable("It is down.")


def test_while_the_log_is_down_a_message_is_not_taken(runtime: Runtime) -> None:
    """Its source keeps it."""
    without_log = SimpleNamespace(settings=runtime.settings, feedback_reports=Down())
    with pytest.raises(LogUnavailable):
        MailIngester(cast("Runtime", without_log)).take(UNKNOWN_USER.mail())


def test_a_bounce_address_that_is_not_usable_is_an_error_at_the_start(tmp_path: Path) -> None:
    """Not at the first bounce."""
    settings = Settings(mailctl_home=tmp_path, mailctl_bounce_address="no address")
    with closing(Runtime(settings)) as parts, pytest.raises(ConfigurationError, match="BOUNCE_ADDRESS"):
        MailIngester(parts)
