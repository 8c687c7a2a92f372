"""Checks of the Celery app."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from mailctl.checks.app import check_app
from mailctl.domain.catalog import TASK_NAMES
from mailctl.errors import ConfigurationError
from mailctl.settings import Settings
from tests.unit.checks.samples import FAIL, OK, WARN, by_name, write_module

if TYPE_CHECKING:
    from pathlib import Path

    from mailctl.checks.finding import Finding


def check(settings: Settings) -> dict[str, Finding]:
    """Return the findings by their names."""
    return by_name(check_app(settings))


def test_the_app_of_mailctl_has_the_five_tasks() -> None:
    """It is created from the settings."""
    found = check(Settings())
    assert "mailctl.celery_app" in found["import"].detail
    assert found["tasks"].detail == "all 5 tasks are registered"


def test_a_task_of_the_service_replaces_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is named, because somebody may wonder why ours does not run."""
    source = (
        "from celery import Celery\n"
        "app = Celery('shop', broker='redis://:hunter2@h/0', backend='redis://h/1',"
        " set_as_current=False)\n"
        "@app.task(name='send_welcome_email_task', lazy=False, shared=False)\n"
        "def greet(user_data):\n"
        "    pass\n"
    )
    module = write_module("shop_with_tasks", source, tmp_path, monkeypatch)
    found = check(Settings(mailctl_app=f"{module}:app"))
    assert found["import"].detail.startswith("shop_with_tasks:app")
    assert found["tasks"].status is OK
    own = found["send_welcome_email_task"]
    assert own.status is OK
    assert own.detail == "the service's own task send_welcome_email_task replaces mailctl's"
    assert found["broker"].detail.startswith("redis://:***@h/0")
    assert not found.keys() & (TASK_NAMES - {"send_welcome_email_task"})


def test_an_app_without_results_or_json_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first is a matter of taste, the second stops every email."""
    source = (
        "from celery import Celery\n"
        "app = Celery('shop', broker='memory://', set_as_current=False)\n"
        "app.conf.accept_content = ['pickle']\n"
    )
    module = write_module("shop_without_json", source, tmp_path, monkeypatch)
    found = check(Settings(mailctl_app=f"{module}:app"))
    assert found["results"].status is WARN
    assert found["serializer"].status is FAIL


def test_an_app_that_cannot_be_imported_is_an_error_without_passwords(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The service's own code may put them into its messages."""
    source = "raise ValueError('cannot parse redis://:hunter2-hunter2@h')\n"
    module = write_module("shop_broken", source, tmp_path, monkeypatch)
    settings = Settings(mailctl_app=f"{module}:app", redis_password=SecretStr("hunter2-hunter2"))
    with pytest.raises(ConfigurationError, match=r"ValueError: cannot parse redis://:\*\*\*@h"):
        check(settings)
