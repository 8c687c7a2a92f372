"""The runtime: how its parts are built, and in which order they are closed."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from mailctl import runtime
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ConfigurationError, LogMissing
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from mailctl.smtp.recipient_guard import GuardedSender

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose delivery log does not exist."""
    return Settings(mailctl_home=tmp_path / "none")


@pytest.fixture
def parts(settings: Settings) -> Iterator[Runtime]:
    """A runtime on an empty log in memory."""
    parts = Runtime(settings, access_mode=AccessMode.OPTIONAL)
    yield parts
    parts.close()


@pytest.fixture
def process(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Configure this process with the settings for the time of a test."""
    runtime.close()
    for name in ("_settings", "_app", "_access_mode"):
        monkeypatch.setattr(runtime, name, getattr(runtime, name))
    runtime.configure(settings, access_mode=AccessMode.OPTIONAL)
    yield
    runtime.close()


class Part:
    """A part that notes when it is closed."""

    def __init__(self, name: str, closed: list[str]) -> None:
        self.name, self.closed = name, closed

    def close(self) -> None:
        """Note the name."""
        self.closed.append(self.name)


class TestClosing:
    """Closing runs in reverse order."""

    def test_actions_run_before_the_parts_that_they_need(self, settings: Settings) -> None:
        """Registered actions run latest first, before any part is closed."""
        closed: list[str] = []
        parts = Runtime(settings, access_mode=AccessMode.OPTIONAL)
        parts.__dict__["directory"] = Part("directory", closed)
        for name in ("first", "second"):
            parts.on_close(Part(name, closed).close)
        parts.close()
        assert closed == ["second", "first", "directory"]

    def test_parts_that_were_not_used_are_not_opened_for_it(self, settings: Settings) -> None:
        """Closing does not open the directory of users."""
        parts = Runtime(settings, access_mode=AccessMode.OPTIONAL)
        parts.close()
        assert "directory" not in vars(parts)

    def test_closing_twice_runs_actions_once(self, parts: Runtime) -> None:
        """A second call has nothing left to do."""
        closed: list[str] = []
        parts.on_close(Part("once", closed).close)
        parts.close()
        parts.close()
        assert closed == ["once"]


class TestParts:
    """Parts follow from the settings."""

    def test_a_given_app_is_used(self, settings: Settings) -> None:
        """A given app is returned as it is."""
        app = Celery("service", set_as_current=False)
        parts = Runtime(settings, app=app, access_mode=AccessMode.OPTIONAL)
        assert parts.app is app
        parts.close()

    def test_an_empty_log_stands_in_for_a_missing_one(self, parts: Runtime) -> None:
        """The mode OPTIONAL replaces a missing log by an empty one."""
        assert parts.is_log_missing

    def test_a_missing_log_is_an_error_to_commands_that_need_it(self, settings: Settings) -> None:
        """The mode READ requires a log."""
        with pytest.raises(LogMissing):
            Runtime(settings, access_mode=AccessMode.READ)

    def test_the_password_of_the_log_is_not_shown(self, tmp_path: Path) -> None:
        """The masked URL has the user and not the password."""
        url = f"sqlite:///{tmp_path / 'log.db'}"
        parts = Runtime(Settings(mailctl_database_url=url), access_mode=AccessMode.OPTIONAL)
        parts.settings = Settings(mailctl_database_url="postgresql://ada:secret@db/mail")
        assert "ada" in parts.masked_log_url
        assert "secret" not in parts.masked_log_url
        parts.close()

    @pytest.mark.parametrize(("is_enabled", "has_circuits"), [(True, True), (False, False)])
    def test_captured_emails_have_no_circuit(
        self, settings: Settings, *, is_enabled: bool, has_circuits: bool
    ) -> None:
        """Without a mail server there is no circuit to open."""
        changed = settings.model_copy(update={"email_enabled": is_enabled})
        parts = Runtime(changed, access_mode=AccessMode.OPTIONAL)
        assert (parts.circuits is not None) is has_circuits
        parts.close()

    def test_every_sender_keeps_to_the_recipient_policy(self, parts: Runtime) -> None:
        """The capture sender is guarded like the SMTP sender."""
        assert isinstance(parts.make_sender(), GuardedSender)

    @pytest.mark.parametrize(
        "broken",
        [
            {"email_from_address": "nobody"},
            {"frontend_url": "ftp://shop.example"},
            {"mailctl_link_mint": "no.such:mint"},
        ],
        ids=lambda broken: next(iter(broken)),
    )
    def test_settings_with_which_no_email_can_be_made_are_refused(
        self, settings: Settings, broken: dict[str, str]
    ) -> None:
        """Each setting that every worker needs is checked."""
        parts = Runtime(settings.model_copy(update=broken), access_mode=AccessMode.OPTIONAL)
        with pytest.raises(ConfigurationError):
            parts.check_message_settings()
        parts.close()


@pytest.mark.usefixtures("process")
class TestTheRuntimeOfThisProcess:
    """`current` opens the runtime on first use."""

    def test_it_is_opened_once(self) -> None:
        """The first call opens the runtime, and later calls return it."""
        assert not runtime.is_open()
        first = runtime.current()
        assert runtime.current() is first
        assert runtime.is_open()

    def test_it_can_be_opened_again(self) -> None:
        """Closing is idempotent, and the next call opens a new runtime."""
        first = runtime.current()
        runtime.close()
        runtime.close()
        assert not runtime.is_open()
        assert runtime.current() is not first

    def test_a_failed_opening_is_tried_again(self, settings: Settings) -> None:
        """An error is not remembered."""
        with pytest.raises(LogMissing):
            runtime.current(access_mode=AccessMode.READ)
        assert not runtime.is_open()
        assert runtime.current().is_log_missing

    def test_the_app_of_a_worker_is_adopted(self) -> None:
        """A worker gives the app that it runs."""
        app = Celery("service", set_as_current=False)
        runtime.adopt_app(app)
        assert runtime.current().app is app

    def test_a_configured_app_stays(self, settings: Settings) -> None:
        """The app of `configure` has priority over the adopted one."""
        mine, other = (Celery(name, set_as_current=False) for name in ("mine", "other"))
        runtime.configure(settings, app=mine, access_mode=AccessMode.OPTIONAL)
        runtime.adopt_app(other)
        assert runtime.current().app is mine

    def test_weak_keys_are_refused_without_opening_anything(self, settings: Settings) -> None:
        """The check of the keys opens no delivery log."""
        weak = {"debug": False, "secret_key": "changeme"}
        runtime.configure(Settings(mailctl_home=settings.mailctl_home, **weak))
        with pytest.raises(ConfigurationError):
            runtime.require_usable_keys()
        assert not runtime.is_open()


@pytest.mark.parametrize(
    ("values", "is_durable"),
    [
        ({}, True),
        ({"mailctl_durability": "relaxed"}, False),
        ({"mailctl_durability": "relaxed", "mailctl_on_ambiguous": "hold"}, True),
        ({"mailctl_durability": "relaxed", "mailctl_ambiguous_resends": 0}, True),
    ],
)
def test_no_claim_may_be_lost_where_an_email_in_doubt_is_never_sent_again(
    values: dict[str, Any], is_durable: bool, tmp_path: Path
) -> None:
    """Whichever setting says so: an email whose claim was lost is sent again."""
    with closing(Runtime(Settings(mailctl_home=tmp_path, **values))) as parts:
        assert parts.claims._durable is is_durable
