"""Checks for pitfalls: settings that work, but are unsafe or lose emails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from pydantic import SecretStr

from mailctl.celery_app import RECORDER_ATTRIBUTE
from mailctl.checks.pitfalls import check_pitfalls, check_secrets_file
from mailctl.checks.workers import DiscoveredWorkers
from mailctl.settings import Settings
from mailctl.settings.connection_urls import BrokerUrl
from tests.unit.checks.samples import FAIL, OK, WARN, by_name, production, worker

if TYPE_CHECKING:
    from pathlib import Path

    from mailctl.checks.finding import Finding, FindingStatus


def check(settings: Settings, workers: DiscoveredWorkers | None = None) -> dict[str, Finding]:
    """Return the findings by their names."""
    return by_name(check_pitfalls(settings, None, workers or DiscoveredWorkers()))


def test_sound_settings_have_none() -> None:
    """That is the only finding then."""
    found = check(production())
    assert [(name, finding.status) for name, finding in found.items()] == [("none", OK)]


@pytest.mark.parametrize(
    ("changes", "name", "status"),
    [
        ({"celery_broker_url": SecretStr("memory://")}, "memory broker", FAIL),
        ({"celery_queue_default": "celery"}, "CELERY_QUEUE_DEFAULT", WARN),
        ({"secret_key": Settings().secret_key}, "SECRET_KEY", FAIL),
        ({"secret_key": SecretStr("short")}, "SECRET_KEY", FAIL),
        ({"mailctl_secret_keys_old": Settings().secret_key}, "MAILCTL_SECRET_KEYS_OLD", FAIL),
        ({"email_from_address": Settings().email_from_address}, "EMAIL_FROM_ADDRESS", FAIL),
        ({"project_name": Settings().project_name}, "PROJECT_NAME", FAIL),
        ({"email_enabled": False}, "EMAIL_ENABLED", WARN),
        ({"frontend_url": "http://app.example.org"}, "FRONTEND_URL", FAIL),
        ({"frontend_url": "http://localhost:3000"}, "FRONTEND_URL", FAIL),
        ({"email_tls": "none"}, "EMAIL_TLS", WARN),
        (
            {"celery_broker_url": BrokerUrl("rediss://redis:6379/0?ssl_cert_reqs=none")},
            "unverified broker",
            WARN,
        ),
        (
            {"celery_result_backend": BrokerUrl("rediss://redis:6379/0?ssl_cert_reqs=CERT_NONE")},
            "unverified result backend",
            WARN,
        ),
        ({"email_tls": "none", "email_host": "localhost", "email_host_user": "app"}, "credentials", FAIL),
    ],
)
def test_each_is_found_in_production(changes: dict[str, Any], name: str, status: FindingStatus) -> None:
    """It is the only finding, and has a fix."""
    found = check(production(**changes))
    assert {name: finding.status for name, finding in found.items()} == {name: status}
    assert found[name].fix


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, FAIL),
        ({"mailctl_link_origins": "https://a.example"}, FAIL),
        ({"mailctl_link_origins": "ftp://a.example"}, FAIL),
        ({"mailctl_link_origins": "http://localhost:3000"}, WARN),
        ({"email_enabled": False}, WARN),
    ],
)
def test_local_links_are_a_failure_exactly_if_their_emails_are_deferred(
    changes: dict[str, Any], status: FindingStatus
) -> None:
    """A service may be tried out on one computer: without a mail server, or with the origin named."""
    settings = production(frontend_url="http://localhost:3000", **changes)
    found = check(settings)["FRONTEND_URL"]
    assert found.status is status
    assert ("deferred" in found.detail) is (status is FAIL)


@pytest.mark.parametrize("url", ["http://[", "https://h:port", "x" * 5000])
def test_a_frontend_url_that_is_none_is_left_to_the_check_of_links(url: str) -> None:
    """It is reported once, and no other check fails because of it."""
    assert "FRONTEND_URL" not in check(production(frontend_url=url))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "mail.localhost"])
def test_mail_to_this_host_needs_no_encryption(host: str) -> None:
    """Nobody else can read it."""
    assert "none" in check(production(email_tls="none", email_host=host))


def test_development_may_do_all_this() -> None:
    """Except sending credentials unencrypted, which no profile does."""
    assert "none" in check(Settings(email_tls="none", email_host="mail.example.org"))
    assert check(Settings(email_tls="none", email_host_user="app"))["credentials"].status is FAIL


def test_an_env_file_that_all_users_can_read_is_a_warning(tmp_path: Path) -> None:
    """If it has secrets, and in production."""
    path = tmp_path / ".env"
    path.write_text("DEBUG=False\nEMAIL_HOST_PASSWORD=hunter2\n")
    path.chmod(0o644)
    finding = check(Settings.load())[".env"]
    assert (finding.status, finding.fix) == (WARN, "chmod o-r .env")
    assert "EMAIL_HOST_PASSWORD" in finding.detail
    assert list(check_secrets_file(Settings.load())) == [finding]
    assert list(check_secrets_file(Settings())) == []
    path.chmod(0o600)
    assert ".env" not in check(Settings.load())


def test_an_sqlite_log_for_workers_of_two_hosts_is_a_warning() -> None:
    """SQLite's locks do not work over a network."""
    workers = DiscoveredWorkers(heartbeats=(worker("celery", host="elsewhere"),))
    finding = check(Settings(), workers)["SQLite log"]
    assert finding.status is WARN
    assert "elsewhere" in finding.detail


def test_a_worker_with_the_recorder_shares_the_log() -> None:
    """It has no heartbeat unless it has mailctl's tasks; without the recorder, outcomes would be missing."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    workers = DiscoveredWorkers(queues_by_node={"celery@shop": ("celery",)})
    assert "celery@shop" in by_name(check_pitfalls(Settings(), app, workers))["SQLite log"].detail
    setattr(app, RECORDER_ATTRIBUTE, True)
    assert "SQLite log" not in by_name(check_pitfalls(Settings(), app, workers))
