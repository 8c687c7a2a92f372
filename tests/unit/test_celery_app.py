"""The Celery app follows from the settings, or is the service's own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from mailctl.celery_app import (
    BROKER_TIMEOUT_SECONDS,
    VISIBILITY_TIMEOUT_SECONDS,
    app_from_settings,
    consumed_queues,
    create_celery_app,
    has_memory_broker,
    has_private_results,
    is_built_in_app,
    is_redis,
    load_app,
    missing_results_reason,
    overridden_tasks,
    queue_for_task,
    unreadable_results_reason,
)
from mailctl.errors import ConfigurationError
from mailctl.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

_MODULE = "an_app_of_a_shop"
KEY = "Zm9vYmFyYmF6cXV4cXV1eGNvcmdlZ3JhdWx0"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, _MODULE, raising=False)
    return tmp_path / f"{_MODULE}.py"


def production(**settings: Any) -> Settings:
    return Settings(**{"debug": False, "secret_key": KEY, **settings})


def test_development_needs_no_server() -> None:
    """Broker and results exist in the process only."""
    app = create_celery_app(Settings())
    assert (has_memory_broker(app), has_private_results(app), is_built_in_app(app)) == (True, True, True)


def test_messages_are_json_and_acknowledged_late() -> None:
    """A message of a killed process is redelivered."""
    conf = create_celery_app(production()).conf
    assert (conf.task_serializer, conf.accept_content, conf.timezone) == ("json", ["json"], "UTC")
    assert (conf.task_acks_late, conf.task_reject_on_worker_lost, conf.worker_prefetch_multiplier) == (
        True,
        True,
        1,
    )


def test_publishing_to_redis_fails_fast() -> None:
    """The delivery log has the email."""
    options = create_celery_app(production(redis_host="h")).conf.broker_transport_options
    assert (options["socket_timeout"], options["max_retries"]) == (BROKER_TIMEOUT_SECONDS, 0)
    assert options["visibility_timeout"] == VISIBILITY_TIMEOUT_SECONDS


def test_sentinels_have_a_name_for_the_master_and_a_password() -> None:
    """For broker and results."""
    settings = production(redis_url="sentinel://s1:26379/0", redis_sentinel_password="pw")
    conf = create_celery_app(settings).conf
    for options in (conf.broker_transport_options, conf.result_backend_transport_options):
        assert options["master_name"] == "mymaster"
        assert options["sentinel_kwargs"]["password"] == "pw"


def test_other_brokers_get_no_options_of_redis() -> None:
    """They would refuse them."""
    assert create_celery_app(production(celery_broker_url="amqp://h")).conf.broker_transport_options == {}


@pytest.mark.parametrize(
    ("url", "is_one"),
    [("redis://h", True), ("rediss://h", True), ("sentinel://h", True), ("amqp://h", False)],
)
def test_redis_is_recognised_by_its_scheme(url: str, is_one: bool) -> None:
    """Whatever follows."""
    assert is_redis(url) is is_one


def test_queues_follow_from_the_app() -> None:
    """From its routes and its default queue."""
    app = create_celery_app(Settings(celery_queue_default="mail"))
    app.conf.task_routes = {"send_welcome_email_task": {"queue": "welcome"}}
    # First: a lookup of a route adds its queue, in some versions of Celery.
    assert consumed_queues(app) == ("mail",)
    assert queue_for_task(app, "send_welcome_email_task") == "welcome"
    assert queue_for_task(app, "send_email_task") == "mail"


def test_the_app_of_a_service_has_its_tasks_and_the_ones_of_mailctl(module: Path) -> None:
    """A task that both define is the service's."""
    module.write_text(
        "from celery import Celery\n"
        "app = Celery('shop', broker='memory://')\n"
        "@app.task(name='send_welcome_email_task', shared=False)\n"
        "def welcome(user_data): ...\n"
    )
    app = load_app(f"{_MODULE}:app")
    assert overridden_tasks(app) == {"send_welcome_email_task"}
    assert "send_password_reset_email_task" in app.tasks
    assert not is_built_in_app(app)
    assert app_from_settings(Settings(mailctl_app=f"{_MODULE}:app")) is app


def test_without_an_own_app_there_is_the_built_in_one() -> None:
    """With mailctl's own tasks."""
    assert is_built_in_app(app_from_settings(Settings()))


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("app = 7\n", "not a Celery app"),
        ("raise RuntimeError('x')\n", "cannot be imported"),
        (
            "from celery import Celery\napp = Celery('shop', broker='memory://', include=['nope_nope'])\n",
            "importing its tasks failed",
        ),
        (
            "from celery import Celery\napp = Celery('shop', broker='redis://:hun#ter2@h/0')\n",
            "its broker_read_url",
        ),
    ],
)
def test_an_app_that_cannot_be_used_is_refused(module: Path, source: str, problem: str) -> None:
    """Without its password."""
    module.write_text(source)
    with pytest.raises(ConfigurationError, match=problem) as caught:
        load_app(f"{_MODULE}:app")
    assert "ter2" not in f"{caught.value.message}{caught.value.fix}"


@pytest.mark.parametrize(
    ("backend", "is_ignored", "reason"),
    [
        ("redis://h", False, ""),
        ("db+sqlite:///results.db", False, ""),
        ("redis://h", True, ""),
        ("rpc://", True, "rpc://"),
        ("rpc://", False, "rpc://"),
        ("cache+memory://", False, "cache+memory://"),
        (None, False, "no result backend"),
        ("disabled://", False, "no result backend"),
    ],
)
def test_some_results_cannot_be_read_by_other_processes(
    backend: str | None, is_ignored: bool, reason: str
) -> None:
    """The reason names the setting."""
    app = Celery("shop", broker="memory://", backend=backend, set_as_current=False)
    app.conf.task_ignore_result = is_ignored
    found = unreadable_results_reason(app)
    assert (found == "") is (reason == "")
    assert reason in found
    of_service = missing_results_reason(app)
    assert (of_service == "") is (reason == "" and not is_ignored)
    assert (found or ("task_ignore_result" if is_ignored else "")) in of_service
