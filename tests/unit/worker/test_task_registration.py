"""Who gets a name that both mailctl and a service define: in the service's app the service, in any order."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, Task, _state, shared_task

from mailctl.celery_app import create_celery_app, is_service_task
from mailctl.settings import Settings
from mailctl.worker.task_registration import register_in_every_app

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = "registration.welcome"


def mailctl_task(user_data: Any = None) -> str:
    """Stand for a task of mailctl."""
    return "mailctl"


mailctl_task.__module__ = "mailctl.tasks"


def own_task(user_data: Any = None) -> str:
    """Stand for a task of the service."""
    return "service"


class OwnTask(Task):  # type: ignore[misc]
    """Stand for a class-based task of the service."""

    name = _NAME

    def run(self, user_data: Any = None) -> str:
        """Return whose task it is."""
        return "service"


#: The order in which a process imports both, and Celery finalizes the app.
ORDERS = list(permutations(("mailctl", "service", "finalize")))
#: The ways in which a service defines a task.
DEFINITIONS: dict[str, Callable[[Celery], object]] = {
    "app.task": lambda app: app.task(name=_NAME)(own_task),
    "app.task, not shared": lambda app: app.task(name=_NAME, shared=False)(own_task),
    "app.task, not lazy": lambda app: app.task(name=_NAME, lazy=False)(own_task),
    "shared_task": lambda _: shared_task(name=_NAME)(own_task),
    "class": lambda app: app.register_task(OwnTask()),
    "registry": lambda app: app.tasks.register(OwnTask),
}


@pytest.fixture(autouse=True)
def _forget_shared_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Share tasks with the apps of this test only."""
    monkeypatch.setattr(_state, "_on_app_finalizers", set(_state._on_app_finalizers))
    monkeypatch.setattr(_state, "_apps", set())


def make_app(settings: Settings | None = None) -> Celery:
    """Return an app, mailctl's own if there are settings."""
    app = (
        create_celery_app(settings) if settings else Celery("shop", broker="memory://", set_as_current=False)
    )
    _state._apps.add(app)
    return app


def define(app: Celery, definition: str, order: tuple[str, ...]) -> None:
    """Define both tasks and finalize the app, in an order."""
    steps: dict[str, Callable[[], object]] = {
        "mailctl": lambda: register_in_every_app(mailctl_task, name=_NAME),
        "service": lambda: DEFINITIONS[definition](app),
        "finalize": app.finalize,
    }
    for step in order:
        steps[step]()


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
@pytest.mark.parametrize("definition", DEFINITIONS)
def test_the_task_of_the_service_is_the_one_of_its_app(definition: str, order: tuple[str, ...]) -> None:
    """Whichever of both is imported first, before or after the app is finalized; without a warning."""
    app = make_app()
    define(app, definition, order)
    assert is_service_task(app, _NAME)
    assert app.tasks[_NAME].run() == "service"


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_mailctls_own_app_has_the_task_of_mailctl(
    order: tuple[str, ...],
) -> None:
    """A process may have both apps, such as a worker of mailctl that imports a function of the service."""
    app = make_app(Settings())
    define(app, "shared_task", order)
    assert app.tasks[_NAME].run() == "mailctl"


def test_an_app_without_such_a_task_has_that_of_mailctl() -> None:
    """Whether it was finalized before or after the import."""
    finalized, other = make_app(), make_app()
    finalized.finalize()
    register_in_every_app(mailctl_task, name=_NAME)
    assert [app.tasks[_NAME].run() for app in (finalized, other)] == ["mailctl", "mailctl"]


def test_two_tasks_of_the_service_with_a_name_are_as_in_celery() -> None:
    """Celery keeps the first."""
    app = make_app()
    register_in_every_app(mailctl_task, name=_NAME)
    app.finalize()
    app.task(name=_NAME)(own_task)
    app.task(name=_NAME)(lambda user_data=None: "another")
    assert app.tasks[_NAME].run() == "service"
