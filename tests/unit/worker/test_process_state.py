"""The state of a worker process: made at the first task, kept for the next ones, closed at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mailctl import runtime
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ConfigurationError
from mailctl.settings import Settings
from mailctl.smtp.capture import CaptureSender
from mailctl.smtp.recipient_guard import GuardedSender
from mailctl.worker import process_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def configure(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """A function that sets the settings of this process; its log is empty, in memory and read-only."""

    def set_settings(**more: Any) -> None:
        settings = Settings(mailctl_home=tmp_path / "none", **more)
        runtime.configure(settings, access_mode=AccessMode.OPTIONAL)

    yield set_settings
    process_state.close()
    runtime.close()


def test_all_tasks_of_a_process_share_one_state(configure: Callable[..., None]) -> None:
    """With its event loop and its SMTP sessions; the runtime is that of the process."""
    configure()
    first = process_state.current()
    assert process_state.current() is first
    assert first.runtime is runtime.current()


def test_emails_are_captured_unless_sending_is_enabled(configure: Callable[..., None]) -> None:
    """The recipient policy holds in either case."""
    configure()
    sender = process_state.current()._sender
    assert isinstance(sender, GuardedSender)
    assert isinstance(sender._sender, CaptureSender)


def test_closing_ends_the_event_loop_and_the_runtime(configure: Callable[..., None]) -> None:
    """The next task makes both again."""
    configure()
    first = process_state.current()
    process_state.close()
    assert not first._event_loop._thread.is_alive()
    assert not runtime.is_open()
    assert process_state.current() is not first


def test_closing_without_a_state_does_nothing() -> None:
    """A process may end before its first task."""
    process_state.close()
    assert not runtime.is_open()


def test_settings_that_cannot_be_used_are_tried_again(configure: Callable[..., None], tmp_path: Path) -> None:
    """The error is that of the first task; the next one finds what was corrected."""
    configure(mailctl_templates=tmp_path / "missing")
    with pytest.raises(ConfigurationError):
        process_state.current()
    runtime.close()
    configure()
    assert process_state.current().delivery is not None
